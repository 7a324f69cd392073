"""What provenance asks the record: use of grants, calls by grants, policies in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolrt import (
    ActorRef,
    AllowRule,
    AuditEvent,
    CallDetails,
    CallEvent,
    CapabilitySet,
    Event,
    ExecutionFailed,
    Grant,
    Outcome,
    Success,
)
from toolrt.audit.call_event import RateLimited
from toolrt.clock import new_ulid, rfc3339
from toolrt_store import SqliteEventStore

START_US = 1_767_225_600_000_000
WIDE = AllowRule(pattern="fs:*", file="/c.toml", line=2, column=17, config="ab")
EXACT = AllowRule(pattern="fs:read", file="/c.toml", line=3, column=17, config="ab")
READ = (Grant("fs:read", WIDE),)
BOTH = (Grant("fs:read", WIDE), Grant("fs:read", EXACT))
WRITE = (Grant("fs:write", WIDE),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEventStore]:
    with SqliteEventStore.open(str(tmp_path / "audit.db")) as opened:
        yield opened


def call(
    caller: str,
    grants: tuple[Grant, ...],
    at_us: int,
    *,
    outcome: Outcome = Success(),  # noqa: B008 - frozen
    policy: str | None = None,
    dry_run: bool = False,
) -> list[Event]:
    """Return the two events of a call."""
    granted = CapabilitySet(grants)
    details = CallDetails(
        namespace="local",
        actor="os:ann",
        caller=caller,
        grants=granted,
        policy=policy,
    )
    call_id = new_ulid(at_us)
    gate = AuditEvent(
        timestamp=rfc3339(at_us),
        actor=ActorRef("os", "ann"),
        namespace="local",
        verb="fs.read",
        decision="allow",
        gate_impl="RuleGate",
    )
    event = CallEvent(
        rfc3339(at_us + 1_000),
        call_id,
        "std:fs.read",
        1,
        outcome,
        "warm",
        caller_id=caller,
        granted_capabilities=granted.granted,
        capability_provenance=granted.provenance,
        dry_run=dry_run,
    )
    return [
        Event.from_audit(
            gate,
            call_id=call_id,
            tool_id="std:fs.read",
            caller_id=caller,
            details=details,
        ),
        Event.from_call(event, namespace="local", actor="os:ann", details=details),
    ]


def test_use_is_told_by_caller_capability_and_source(store: SqliteEventStore) -> None:
    """A call with two sources counts in each; what did not run used nothing."""
    store.append_events(call("ann", BOTH, START_US))
    store.append_events(
        call("ann", READ, START_US + 10, outcome=ExecutionFailed("X", retryable=False))
    )
    store.append_events(call("bob", WRITE, START_US + 20))
    store.append_events(call("bob", WRITE, START_US + 30, outcome=RateLimited(5)))
    store.append_events(call("bob", WRITE, START_US + 40, dry_run=True))

    found = {
        (one.caller, one.capability, one.source.pattern): one.calls
        for one in store.uses()
        if isinstance(one.source, AllowRule)
    }

    assert found == {
        ("ann", "fs:read", "fs:*"): 2,
        ("ann", "fs:read", "fs:read"): 1,
        ("bob", "fs:write", "fs:*"): 1,
    }


def test_use_over_full_blocks_and_the_rest(store: SqliteEventStore) -> None:
    """What the index has summed up and what it has not are added."""
    for first in range(0, 3_000, 1_000):
        store.append_events(
            [
                event
                for n in range(first, first + 1_000)
                for event in call("ann", READ, START_US + n * 1_000)
            ]
        )

    (use,) = store.uses()

    assert use.calls == 3_000
    assert (use.first_us, use.last_us) == (
        START_US + 1_000,
        START_US + 2_999 * 1_000 + 1_000,
    )
    (by,) = store.calls_by_grants("ann", START_US + 2_990 * 1_000)
    assert by.calls == 10
    newest = store.newest_with("ann", START_US, (by.number,), 3)
    assert [one.created_at_us for one in newest] == [
        START_US + n * 1_000 + 1_000 for n in (2_999, 2_998, 2_997)
    ]


def test_calls_by_grants_are_of_one_caller_and_time(store: SqliteEventStore) -> None:
    """Others', and those before, do not count."""
    store.append_events(call("ann", READ, START_US))
    store.append_events(call("ann", WRITE, START_US + 5_000))
    store.append_events(call("bob", WRITE, START_US + 6_000))

    found = store.calls_by_grants("ann", START_US + 2_000)

    assert [(one.grants, one.calls) for one in found] == [(WRITE, 1)]
    assert store.calls_by_grants("nobody", 0) == []
    assert store.newest_with("nobody", 0, (1,), 5) == []


def test_a_policy_counts_from_its_first_event_on(store: SqliteEventStore) -> None:
    """The newest gate event at or before the time names it; others name none."""
    first, second = store.keep_policy("one"), store.keep_policy("two")
    store.append_events(call("ann", READ, START_US, policy=first))
    store.append_events(call("ann", READ, START_US + 10_000, policy=second))
    store.append_events(call("ann", READ, START_US + 20_000))

    def content(at_us: int) -> str | None:
        found = store.policy_at(at_us)
        return None if found is None else found.content

    assert content(START_US - 1) is None
    assert content(START_US) == "one"
    assert content(START_US + 9_999) == "one"
    assert content(START_US + 10_000) == "two"
    assert content(START_US + 99_000) == "two"


def test_a_policy_that_is_not_kept_has_no_content(store: SqliteEventStore) -> None:
    """Its digest is told all the same."""
    store.append_events(call("ann", READ, START_US, policy="cd" * 32))

    found = store.policy_at(START_US)

    assert found is not None
    assert (found.digest, found.content, found.seq) == ("cd" * 32, None, 1)


def test_a_capability_is_known_once_it_was_granted(store: SqliteEventStore) -> None:
    """Exactly, and not by its start."""
    store.append_events(call("ann", READ, START_US))

    assert store.knows_capability("fs:read")
    assert not store.knows_capability("fs:rea")
    assert not store.knows_capability("fs:write")


def test_an_empty_store_answers(store: SqliteEventStore) -> None:
    """With nothing."""
    assert store.uses() == []
    assert store.calls_by_grants("ann", 0) == []
    assert store.policy_at(START_US) is None
    assert not store.knows_capability("fs:read")
