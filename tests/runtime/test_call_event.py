"""CallEvent: the wire form, exactly."""

import json
from typing import Any

import msgspec
import pytest

from toolrt import (
    SCHEMA_VERSION,
    CallEvent,
    CapabilityDenied,
    CapProvenance,
    ExecutionFailed,
    InvalidArgs,
    Outcome,
    RateLimited,
    StringAllowList,
    Success,
    ToolNotFound,
    UcanChain,
    now_rfc3339,
)


def make_event(outcome: Outcome | None = None, **fields: Any) -> CallEvent:
    return CallEvent(
        "2026-11-20T10:00:00+00:00",
        "01J000000000000000000000TE",
        "std:echo.say",
        17,
        outcome or Success(),
        "warm",
        **fields,
    )


def wire(event: CallEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.to_json())
    return found


def test_defaults_are_written_and_optional_keys_left_out() -> None:
    """Exactly the ten keys that the wire form always has."""
    assert wire(make_event()) == {
        "ts": "2026-11-20T10:00:00+00:00",
        "call_id": "01J000000000000000000000TE",
        "tool_id": "std:echo.say",
        "duration_ms": 17,
        "outcome": {"kind": "success"},
        "tier": "warm",
        "granted_capabilities": [],
        "dry_run": False,
        "schema_version": SCHEMA_VERSION,
        "secrets_resolved": False,
    }


def test_optional_keys_are_written_when_they_are_set() -> None:
    """The three optional keys appear once they hold something."""
    event = make_event(
        caller_id="a",
        cursor_page=2,
        capability_provenance=[CapProvenance("x", StringAllowList())],
    )

    found = wire(event)

    assert found["caller_id"] == "a"
    assert found["cursor_page"] == 2
    assert found["capability_provenance"] == [
        {"cap": "x", "source": {"kind": "string_allow_list"}}
    ]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(Success(), {"kind": "success"}, id="success"),
        pytest.param(
            ExecutionFailed("FS_NOT_FOUND", retryable=False),
            {"kind": "execution_failed", "code": "FS_NOT_FOUND", "retryable": False},
            id="execution_failed",
        ),
        pytest.param(
            InvalidArgs("a: is required"),
            {"kind": "invalid_args", "message": "a: is required"},
            id="invalid_args",
        ),
        pytest.param(
            CapabilityDenied(["a", "b"]),  # type: ignore[arg-type]
            {"kind": "capability_denied", "missing": ["a", "b"]},
            id="capability_denied",
        ),
        pytest.param(
            RateLimited(None),
            {"kind": "rate_limited", "retry_after_ms": None},
            id="rate_limited writes null",
        ),
        pytest.param(ToolNotFound(), {"kind": "tool_not_found"}, id="tool_not_found"),
    ],
)
def test_each_outcome_has_its_tag_and_reads_back(
    outcome: Outcome, expected: dict[str, Any]
) -> None:
    """An outcome is tagged by kind and survives the way there and back."""
    event = make_event(outcome)

    assert wire(event)["outcome"] == expected
    assert CallEvent.from_json(event.to_json()) == event
    assert outcome.kind == expected["kind"]


def test_provenance_of_both_kinds_reads_back() -> None:
    """A chain names its issuer and depth, an allow-list only itself."""
    event = make_event(
        capability_provenance=(
            CapProvenance("r", StringAllowList()),
            CapProvenance("w", UcanChain("did:key:zABC", 1)),
        )
    )

    read = CallEvent.from_json(event.to_json().decode())

    assert read == event
    assert wire(event)["capability_provenance"][1]["source"] == {
        "kind": "ucan_chain",
        "issuer_did": "did:key:zABC",
        "chain_depth": 1,
    }


def test_lists_and_tuples_make_the_same_event() -> None:
    """Sequences may be given as lists; records compare as tuples."""
    listed = make_event(granted_capabilities=["a"], capability_provenance=[])

    assert listed == make_event(granted_capabilities=("a",), capability_provenance=())


def test_an_old_event_with_unknown_keys_is_read_and_keeps_its_version() -> None:
    """Version 1 lacks secrets_resolved; unknown keys are ignored."""
    text = """{"ts": "x", "call_id": "1", "tool_id": "t", "granted_capabilities": [],
        "duration_ms": 1, "outcome": {"kind": "success"}, "tier": "warm",
        "dry_run": true, "schema_version": 1, "later": {}}"""

    event = CallEvent.from_json(text)

    assert event.schema_version == 1
    assert event.secrets_resolved is False
    assert event.dry_run is True


def test_what_is_no_call_event_is_refused() -> None:
    """JSON of another shape is a validation error, not an event."""
    with pytest.raises(msgspec.ValidationError):
        CallEvent.from_json(b'{"ts": 1}')


def test_replace_changes_a_copy() -> None:
    """An event is immutable; replace gives another one."""
    event = make_event()

    changed = event.replace(caller_id="b")

    assert (event.caller_id, changed.caller_id) == (None, "b")


def test_now_is_utc_with_an_offset() -> None:
    """The time is RFC 3339 with +00:00 and microseconds."""
    text = now_rfc3339()

    assert text.endswith("+00:00")
    assert len(text) == len("2026-11-20T10:00:00.000000+00:00")
