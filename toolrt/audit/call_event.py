"""
CallEvent, wire schema 3: the record of one finished call.

The msgspec JSON of `CallEvent` is the wire form, key for key as the call runtime of the
first source system writes it. Versions 1 and 2 and unknown keys are read; a read event
keeps its own ``schema_version``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolrt.clock import now_rfc3339

__all__ = [
    "SCHEMA_VERSION",
    "CallEvent",
    "CapProvenance",
    "CapabilityDenied",
    "ExecutionFailed",
    "InvalidArgs",
    "Outcome",
    "RateLimited",
    "StringAllowList",
    "Success",
    "ToolNotFound",
    "UcanChain",
    "now_rfc3339",
]

SCHEMA_VERSION: Final = 3


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class _Outcome(msgspec.Struct, frozen=True, tag_field="kind", tag=_snake):
    @property
    def kind(self) -> str:
        """The wire tag, such as ``capability_denied``."""
        tag = type(self).__struct_config__.tag
        assert isinstance(tag, str)
        return tag


class Success(_Outcome, frozen=True):
    """The tool ran and returned a value."""


class ExecutionFailed(_Outcome, frozen=True):
    """The tool ran and failed; `code` is the tool's or one of the runtime's."""

    code: str
    retryable: bool


class InvalidArgs(_Outcome, frozen=True):
    """The arguments broke the schema; `message` holds paths and rules, no values."""

    message: str


class CapabilityDenied(_Outcome, frozen=True):
    """The caller lacked capabilities; `missing` is sorted."""

    missing: tuple[str, ...]

    def __post_init__(self) -> None:
        # Lists are welcome; records compare and hash as tuples.
        if type(self.missing) is not tuple:
            msgspec.structs.force_setattr(self, "missing", tuple(self.missing))


class RateLimited(_Outcome, frozen=True):
    """A limit was used up; `retry_after_ms` is written as null when unknown."""

    retry_after_ms: int | None = None


class ToolNotFound(_Outcome, frozen=True):
    """No tool answers to the name that was called."""


Outcome = (
    Success
    | ExecutionFailed
    | InvalidArgs
    | CapabilityDenied
    | RateLimited
    | ToolNotFound
)


class StringAllowList(
    msgspec.Struct, frozen=True, tag_field="kind", tag="string_allow_list"
):
    """The capability came from the operator's allow-list."""


class UcanChain(msgspec.Struct, frozen=True, tag_field="kind", tag="ucan_chain"):
    """The capability came from a delegation chain; depth 0 is the root link."""

    issuer_did: str
    chain_depth: int


class CapProvenance(msgspec.Struct, frozen=True):
    """One granted capability and the mechanism that granted it."""

    cap: str
    source: StringAllowList | UcanChain


class _Positional(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    ts: str
    call_id: str
    tool_id: str
    duration_ms: int
    outcome: Outcome
    tier: str


def _always_written(value: Any) -> Any:
    # omit_defaults leaves out plain defaults, never what a factory made: the fields
    # that the wire form always carries get their default from a factory.
    return msgspec.field(default_factory=lambda: value)


class CallEvent(_Positional, frozen=True, omit_defaults=True, gc=False, kw_only=True):
    """
    The record of one finished call, as it goes over the wire.

    ``ts`` is any RFC 3339 text and ``call_id`` any string; both are kept verbatim.
    ``caller_id``, ``cursor_page`` and ``capability_provenance`` are left out of the
    JSON when they are None. Sequences may be given as lists; they are kept as tuples.
    """

    caller_id: str | None = None
    granted_capabilities: tuple[str, ...] = _always_written(())
    dry_run: bool = _always_written(value=False)
    schema_version: int = _always_written(SCHEMA_VERSION)
    secrets_resolved: bool = _always_written(value=False)
    cursor_page: int | None = None
    capability_provenance: tuple[CapProvenance, ...] | None = None

    def __post_init__(self) -> None:
        if type(self.granted_capabilities) is not tuple:
            granted = tuple(self.granted_capabilities)
            msgspec.structs.force_setattr(self, "granted_capabilities", granted)
        provenance = self.capability_provenance
        if provenance is not None and type(provenance) is not tuple:
            fixed = tuple(provenance)
            msgspec.structs.force_setattr(self, "capability_provenance", fixed)

    def to_json(self) -> bytes:
        """Return the wire form: one JSON object, UTF-8, no newline."""
        return _ENCODER.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> CallEvent:
        """
        Return the event that *data* holds, of schema version 1, 2, 3 or later.

        Raises:
            msgspec.ValidationError: *data* is JSON but no CallEvent.
            msgspec.DecodeError: *data* is no JSON.
        """
        return _DECODER.decode(data)

    def replace(self, **changes: Any) -> CallEvent:
        """Return a copy with *changes* made."""
        return msgspec.structs.replace(self, **changes)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(CallEvent)
