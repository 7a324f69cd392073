"""
What a store keeps: the Event envelope, the filter and page of a query, the protocol.

An attempt is everything that carries one call id: its gate event, committed before the
tool starts, and its call event, committed before the result is returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.capability import CapabilitySet
from toolrt.clock import parse_rfc3339
from toolrt.gate import AuditEvent

EventKind = Literal["gate", "call", "system"]


class CallDetails(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the record needs of a call beyond the wire event; made once, by admit.

    ``args_digest`` is the first 16 bytes of an HMAC-SHA256 over the canonical JSON of
    the arguments; ``policy`` is the SHA-256 of the configuration in force, in hex;
    ``process`` is the store's name for the process that runs the call.
    """

    namespace: str
    actor: str
    caller: str | None = None
    pack: str | None = None
    effect: str | None = None
    args_digest: bytes | None = None
    grants: CapabilitySet = CapabilitySet()
    policy: str | None = None
    process: str | None = None
    parent_call_id: str | None = None
    reason: str | None = None
    labels: Mapping[str, str] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One entry of the store.

    ``outcome`` of a gate event is ``success`` (allow), ``denied`` or ``error`` (the gate
    was unavailable); of a call event its Outcome kind. ``payload`` is the AuditEvent or
    CallEvent as plain JSON data. ``seq`` is None until the event is stored.
    """

    kind: EventKind
    namespace: str
    verb: str
    tool_id: str
    actor: str
    outcome: str
    call_id: str | None
    created_at_us: int
    payload: Mapping[str, Any]
    caller_id: str | None = None
    duration_ms: int = 0
    substrate: str = "event"
    details: CallDetails | None = None
    seq: int | None = None

    @property
    def id(self) -> str:
        """``<call_id>/gate``, ``<call_id>/call`` or ``system/<seq>``."""
        if self.kind == "system":
            return f"system/{self.seq}"
        return f"{self.call_id}/{self.kind}"

    @classmethod
    def from_audit(
        cls,
        audit_event: AuditEvent,
        *,
        call_id: str,
        tool_id: str,
        caller_id: str | None = None,
        details: CallDetails | None = None,
    ) -> Event:
        """Return the gate event of *audit_event*."""
        return cls(
            kind="gate",
            namespace=audit_event.namespace,
            verb=audit_event.verb,
            tool_id=tool_id,
            actor=str(audit_event.actor),
            outcome=_GATE_OUTCOMES[audit_event.decision],
            call_id=call_id,
            created_at_us=parse_rfc3339(audit_event.timestamp),
            payload=_plain(audit_event),
            caller_id=caller_id,
            details=details,
        )

    @classmethod
    def from_call(
        cls,
        call_event: CallEvent,
        *,
        namespace: str,
        actor: str,
        details: CallDetails | None = None,
    ) -> Event:
        """Return the call event of *call_event*; its verb is what follows the pack."""
        return cls(
            kind="call",
            namespace=namespace,
            verb=call_event.tool_id.partition(":")[2] or call_event.tool_id,
            tool_id=call_event.tool_id,
            actor=actor,
            outcome=call_event.outcome.kind,
            call_id=call_event.call_id,
            created_at_us=parse_rfc3339(call_event.ts),
            payload=_plain(call_event),
            caller_id=call_event.caller_id,
            duration_ms=call_event.duration_ms,
            details=details,
        )


def _plain(record: AuditEvent | CallEvent) -> dict[str, Any]:
    """Return *record* as JSON data: lists and not tuples, as it is read back."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return data


_GATE_OUTCOMES = {"allow": "success", "deny": "denied", "gate_unavailable": "error"}


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which events a query returns: OR inside a list, AND across the fields.

    An empty list is no constraint. ``after`` and ``before`` are exclusive, in Unix
    microseconds. Texts are exact; ``capabilities`` matches events whose grants hold one.
    """

    ids: tuple[str, ...] = ()
    kinds: tuple[EventKind, ...] = ()
    verbs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    call_ids: tuple[str, ...] = ()
    after: int | None = None
    before: int | None = None
    min_duration_ms: int | None = None


#: The largest number of events that any store can speak of.
MAX_COUNT: Final = 2**63 - 1


class PageRequest(msgspec.Struct, frozen=True):
    """
    Which part of a result: *limit* events from *offset*, or a keyset page.

    ``before_seq`` gives the newest events below it, ``after_seq`` the oldest above it;
    both are exclusive and neither goes with an offset.
    """

    offset: int = 0
    limit: int = 50
    after_seq: int | None = None
    before_seq: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.offset <= MAX_COUNT and 0 <= self.limit <= MAX_COUNT):
            raise ValueError("offset and limit are from 0 to 2**63 - 1")
        if self.offset and (self.after_seq, self.before_seq) != (None, None):
            raise ValueError("a keyset page has no offset")


class Page(msgspec.Struct, frozen=True):
    """One part of a result, newest first by sequence; ``total`` counts all matches."""

    items: tuple[Event, ...]
    total: int


class BatchWriteSummary(msgspec.Struct, frozen=True):
    """What became of a batch; a batch is stored whole or not at all."""

    attempted: int
    affected: int
    failed: int = 0
    first_error: str = ""


class EventStore(Protocol):
    """
    Keeps events and answers questions about them.

    Appends are durable when they return. Two attributes are optional: ``args_key``
    (bytes), the store's own key for the digests of arguments, without which none are
    kept, and ``process`` (str), its name for this process, without which no call counts
    as in flight.
    """

    def append_event(self, event: Event) -> Event:
        """
        Store *event* and return it with its ``seq``.

        Raises:
            ToolrtError: It could not be stored; nothing was.
        """

    def append_events(self, events: Sequence[Event]) -> BatchWriteSummary:
        """Store *events*, all or none. Raises like `append_event`."""

    def get_event(self, event_id: str) -> Event | None:
        """Return the event with that id, or None."""

    def query_events(self, filter: EventFilter = ..., page: PageRequest = ...) -> Page:
        """Return the events that match, newest first by sequence."""

    def count_events(self, filter: EventFilter = ...) -> int:
        """Return how many events match."""

    def __enter__(self) -> Self:
        """Return the store."""

    def __exit__(self, *exc_info: object) -> None:
        """Close the store."""
