"""What was stored reads back equal, payload included."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from toolrt.audit.call_event import (
    CallEvent,
    CapabilityDenied,
    CapProvenance,
    ExecutionFailed,
    InvalidArgs,
    RateLimited,
    StringAllowList,
    Success,
    ToolNotFound,
    UcanChain,
)
from toolrt.capability import (
    AllowRule,
    CapabilitySet,
    ChainLink,
    Grant,
    Link,
    Refusal,
)
from toolrt.clock import ulid_text
from toolrt.event import CallDetails, Event
from toolrt.gate import (
    AuditEvent,
    AuditObligation,
    CustomObligation,
    RateLimitObligation,
)
from toolrt.namespace import ActorRef
from toolrt_store import SqliteEventStore

from .samples import call_event, call_id, details, gate_event

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAMES = TEXTS.filter(bool)
COUNTS = st.integers(0, 1 << 40)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
TIMES = st.datetimes(timezones=OFFSETS | st.just(UTC)).map(lambda at: at.isoformat())
CALL_IDS = st.integers(0, (1 << 128) - 1).map(ulid_text) | st.text(
    st.characters(codec="utf-8"), max_size=30
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
SOURCES = st.builds(
    AllowRule,
    pattern=TEXTS,
    file=st.none() | TEXTS,
    line=st.none() | COUNTS,
    column=st.none() | COUNTS,
    config=st.none() | TEXTS,
) | st.builds(
    ChainLink,
    issuer=TEXTS,
    depth=COUNTS,
    digest=TEXTS,
    links=st.lists(
        st.builds(
            Link,
            issuer=TEXTS,
            audience=TEXTS,
            subject=TEXTS,
            capabilities=st.lists(TEXTS, max_size=2).map(tuple),
            bindings=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
            not_before=st.none() | COUNTS,
            expires=COUNTS,
            digest=TEXTS,
        ),
        max_size=2,
    ).map(tuple),
    bearer=st.booleans(),
)
GRANTS = st.builds(
    CapabilitySet,
    st.lists(st.builds(Grant, TEXTS, SOURCES), max_size=3).map(tuple),
    st.none() | st.builds(Refusal, TEXTS, st.none() | TEXTS),
)
DETAILS = st.builds(
    CallDetails,
    namespace=TEXTS,
    actor=TEXTS,
    caller=st.none() | TEXTS,
    pack=st.none() | TEXTS,
    effect=st.none() | TEXTS,
    args_digest=st.none() | st.binary(max_size=16),
    grants=GRANTS,
    policy=st.none() | TEXTS,
    process=st.none() | CALL_IDS.filter(lambda text: "\0" not in text),
    parent_call_id=st.none() | CALL_IDS,
    reason=st.none() | st.text(st.characters(codec="utf-8"), max_size=12),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
OBLIGATIONS = st.lists(
    st.builds(AuditObligation, TEXTS)
    | st.builds(RateLimitObligation, st.integers(1, 99), st.integers(1, 99))
    | st.builds(CustomObligation, JSON),
    max_size=2,
).map(tuple)
AUDIT_EVENTS = st.builds(
    AuditEvent,
    timestamp=TIMES,
    actor=st.builds(ActorRef, NAMES, NAMES),
    namespace=TEXTS,
    verb=TEXTS,
    decision=st.sampled_from(["allow", "deny", "gate_unavailable"]),
    gate_impl=TEXTS,
    obligations=OBLIGATIONS,
    deny_reason=st.none() | TEXTS,
    session_id=st.none() | TEXTS,
)
GATE_EVENTS = st.builds(
    Event.from_audit,
    AUDIT_EVENTS,
    call_id=CALL_IDS,
    tool_id=TEXTS,
    caller_id=st.none() | TEXTS,
    details=st.none() | DETAILS,
)
OUTCOMES = (
    st.just(Success())
    | st.just(ToolNotFound())
    | st.builds(ExecutionFailed, TEXTS, st.booleans())
    | st.builds(InvalidArgs, TEXTS)
    | st.builds(CapabilityDenied, st.lists(TEXTS, max_size=3).map(tuple))
    | st.builds(RateLimited, st.none() | COUNTS)
)
PROVENANCE = st.lists(
    st.builds(
        CapProvenance,
        TEXTS,
        st.just(StringAllowList()) | st.builds(UcanChain, TEXTS, COUNTS),
    ),
    max_size=3,
).map(tuple)
CALL_EVENTS = st.builds(
    Event.from_call,
    st.builds(
        CallEvent,
        TIMES,
        CALL_IDS,
        TEXTS,
        COUNTS,
        OUTCOMES,
        TEXTS,
        caller_id=st.none() | TEXTS,
        granted_capabilities=st.lists(TEXTS, max_size=3).map(tuple),
        dry_run=st.booleans(),
        schema_version=st.integers(1, 9),
        secrets_resolved=st.booleans(),
        cursor_page=st.none() | COUNTS,
        capability_provenance=st.none() | PROVENANCE,
    ),
    namespace=TEXTS,
    actor=TEXTS,
    details=st.none() | DETAILS,
)

FEW = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """One directory for the stores of all examples."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def round_trip(directory: Path, event: Event) -> Event | None:
    """Store *event* in a fresh part of a store and read it with a fresh connection."""
    with SqliteEventStore.open(directory / "audit.db", durability="normal") as store:
        alone = replace(event, call_id=f"{store.process}{event.call_id}")
        stored = store.append_event(event if _is_new(store, event) else alone)
    with SqliteEventStore.open(directory / "audit.db", read_only=True) as reader:
        assert reader.get_event(stored.id) == stored
    return stored


def _is_new(store: SqliteEventStore, event: Event) -> bool:
    return store.get_event(event.id) is None


@FEW
@given(event=GATE_EVENTS)
@example(event=gate_event())
@example(event=gate_event(id_="not a ULID", details=details()))
def test_gate_event_reads_back_equal(shared: Path, event: Event) -> None:
    """Any audit event, with or without details, under any call id and any time."""
    stored = round_trip(shared, event)

    assert stored is not None


@FEW
@given(event=CALL_EVENTS)
@example(event=call_event())
@example(event=call_event(2, details=details(labels={"a": "b"})))
def test_call_event_reads_back_equal(shared: Path, event: Event) -> None:
    """Any CallEvent, of any schema version, with any grants."""
    stored = round_trip(shared, event)

    assert stored is not None


def test_tuples_of_a_payload_read_back_as_lists(store: SqliteEventStore) -> None:
    """A payload is JSON data; what Python calls a tuple is an array there."""
    event = gate_event(1)
    odd = {**event.payload, "obligations": (), "more": ({"a": (1,)},)}

    store.append_event(replace(event, payload=odd))

    stored = store.get_event(event.id)
    assert stored is not None
    assert stored.payload == {**odd, "obligations": [], "more": [{"a": [1]}]}


def test_call_id_forms_do_not_collide(store: SqliteEventStore) -> None:
    """A ULID in lower case is another id than the ULID."""
    upper, lower = call_id(), call_id().lower()

    store.append_events([gate_event(id_=upper), gate_event(id_=lower)])

    first = store.get_event(f"{upper}/gate")
    second = store.get_event(f"{lower}/gate")
    assert first is not None
    assert second is not None
    assert (first.call_id, second.call_id) == (upper, lower)
