"""The wire form of CallEvents."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from toolrt import (
    SCHEMA_VERSION,
    CallEvent,
    CapabilityDenied,
    CapProvenance,
    ExecutionFailed,
    Outcome,
    RateLimited,
    StringAllowList,
    Success,
    UcanChain,
    now_rfc3339,
)


def event(outcome: Outcome | None = None, **fields: Any) -> CallEvent:
    return CallEvent(
        now_rfc3339(),
        "01KA9V5T3D0000000000000000",
        "shelf:find",
        12,
        outcome or Success(),
        "hot",
        **{"caller_id": "ann", "granted_capabilities": ["r", "w"], **fields},
    )


def wire(made: CallEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.to_json())
    return found


def test_the_six_given_fields_are_enough_and_the_rest_can_be_set() -> None:
    """The others have their defaults until a changed copy is made."""
    bare = CallEvent(now_rfc3339(), "c", "shelf:find", 5, Success(), "warm")

    changed = bare.replace(caller_id="ann", cursor_page=2, secrets_resolved=True)

    assert (bare.tool_id, bare.duration_ms) == ("shelf:find", 5)
    assert bare.schema_version == SCHEMA_VERSION
    assert (bare.caller_id, bare.granted_capabilities) == (None, ())
    assert (bare.dry_run, bare.secrets_resolved) == (False, False)
    assert (bare.cursor_page, bare.capability_provenance) == (None, None)
    assert (changed.caller_id, changed.cursor_page) == ("ann", 2)
    assert changed.secrets_resolved


def test_a_success_on_the_wire() -> None:
    """Tool, tagged outcome, schema version 3 and the dry-run flag are written."""
    found = wire(event())

    assert found["tool_id"] == "shelf:find"
    assert found["outcome"] == {"kind": "success"}
    assert found["schema_version"] == 3
    assert found["dry_run"] is False


def test_a_capability_denial_lists_what_is_missing() -> None:
    """The tag is in snake case and the capabilities are an array."""
    found = wire(event(CapabilityDenied(("books:write",))))

    assert found["outcome"] == {"kind": "capability_denied", "missing": ["books:write"]}


def test_a_failure_carries_its_code_and_whether_to_retry() -> None:
    """A false retryable is written too."""
    found = wire(event(ExecutionFailed("NOT_ON_SHELF", retryable=False)))

    assert found["outcome"] == {
        "kind": "execution_failed",
        "code": "NOT_ON_SHELF",
        "retryable": False,
    }


def test_a_rate_limit_without_a_time_writes_null() -> None:
    """The key is never left out."""
    found = wire(event(RateLimited(None)))

    assert found["outcome"] == {"kind": "rate_limited", "retry_after_ms": None}


def test_both_sources_of_a_capability_go_over_the_wire() -> None:
    """Allow-list and delegation chain are told apart by tag, and read back equal."""
    provenance = (
        CapProvenance("books:read", StringAllowList()),
        CapProvenance("books:write", UcanChain("did:key:z6Mk", 1)),
    )
    made = event(capability_provenance=provenance)

    assert wire(made)["capability_provenance"] == [
        {"cap": "books:read", "source": {"kind": "string_allow_list"}},
        {
            "cap": "books:write",
            "source": {
                "kind": "ucan_chain",
                "issuer_did": "did:key:z6Mk",
                "chain_depth": 1,
            },
        },
    ]
    assert CallEvent.from_json(made.to_json()) == made


def test_unknown_provenance_is_left_out() -> None:
    """There is no key, and not a null."""
    assert "capability_provenance" not in wire(event())


@pytest.mark.parametrize("version", [1, 2])
def test_events_of_older_versions_are_read(version: int) -> None:
    """What they do not have is None or false; their version stays theirs."""
    older = {
        "ts": "2026-01-02T03:04:05+00:00",
        "call_id": "c",
        "tool_id": "shelf:find",
        "granted_capabilities": [],
        "duration_ms": 1,
        "outcome": {"kind": "success"},
        "tier": "warm",
        "dry_run": False,
        "schema_version": version,
    }
    if version > 1:
        older["secrets_resolved"] = False

    read = CallEvent.from_json(json.dumps(older))

    assert (read.capability_provenance, read.cursor_page) == (None, None)
    assert read.secrets_resolved is False
    assert read.schema_version == version


def test_no_caller_is_left_out() -> None:
    """There is no key, and not a null."""
    assert "caller_id" not in wire(event(caller_id=None))


def test_the_time_of_an_event_is_rfc_3339_in_utc() -> None:
    """It parses, with an offset of zero written as +00:00, and is now."""
    text = now_rfc3339()

    parsed = datetime.fromisoformat(text)
    assert text.endswith("+00:00")
    assert parsed.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - parsed) < timedelta(minutes=1)
