"""The short way to encode an event ends where the long one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from toolrt import (
    CallEvent,
    CapabilityDenied,
    ExecutionFailed,
    InvalidArgs,
    RateLimited,
    Success,
    ToolNotFound,
)
from toolrt.audit.call_event import Outcome
from toolrt.clock import plain_us
from toolrt.event import Event
from toolrt_store import SqliteEventStore
from toolrt_store.append import Appender
from toolrt_store.plain import Call, as_call, encode_call, encode_gate
from toolrt_store.rows import Encoded, OpenGate, encode

from .samples import call_event, details, gate_event


@pytest.fixture
def appender(db_path: Path) -> Iterator[Appender]:
    """What encodes the events of a store."""
    with SqliteEventStore.open(db_path) as store:
        yield store._require_writer().appender


def without_salts(encoded: Encoded) -> object:
    texts = [(field, text) for field, _, text in encoded.texts]
    return encoded.columns, texts


def call_of(event: Event) -> Call:
    assert event.details is not None
    told = msgspec.convert(event.payload, CallEvent)
    return Call(told, event.details, plain_us(told.ts))


OUTCOMES: list[Outcome] = [
    Success(),
    ExecutionFailed("E_IO", retryable=True),
    ExecutionFailed("E_IO", retryable=False),
    InvalidArgs("path: must be string"),
    CapabilityDenied(("fs:read", "fs:write")),
    CapabilityDenied(()),
    RateLimited(1_500),
    RateLimited(None),
    ToolNotFound(),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
@pytest.mark.parametrize("has_gate", [False, True])
def test_a_call_is_encoded_alike(
    appender: Appender, outcome: Outcome, has_gate: bool
) -> None:
    call = call_of(call_event(outcome=outcome, details=details(reason="why")))
    gate = OpenGate(3, call.details) if has_gate else None
    parts = (appender.dictionary, appender.sets)
    short = encode_call(call, 7, *parts, gate)
    assert without_salts(short) == without_salts(
        encode(call.as_event(), 7, *parts, gate)
    )


@pytest.mark.parametrize(
    "event",
    [
        gate_event(),
        gate_event(decision="deny"),
        gate_event(details=None),
        gate_event(details=details(reason="why", labels={"a": "b"})),
        gate_event(details=details(parent_call_id="parent")),
        gate_event(details=details(actor="os:other")),
        msgspec.structs.replace(gate_event(), substrate="other"),
        msgspec.structs.replace(gate_event(), payload={"gate_impl": "RuleGate"}),
        msgspec.structs.replace(gate_event(), payload={"gate_impl": 7}),
        msgspec.structs.replace(gate_event(), created_at_us=-1),
        msgspec.structs.replace(gate_event(), created_at_us=2**62),
        msgspec.structs.replace(gate_event(), call_id="no ULID"),
    ],
    ids=lambda event: None,
)
@pytest.mark.parametrize("is_placed", [False, True])
def test_a_gate_event_is_encoded_alike(
    appender: Appender, event: Event, is_placed: bool
) -> None:
    parts = (appender.dictionary, appender.sets)
    short = encode_gate(event, 7, *parts, is_placed=is_placed)
    long = encode(event, 7, *parts, is_placed=is_placed)
    assert without_salts(short) == without_salts(long)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
@pytest.mark.parametrize("has_gate", [False, True])
def test_a_call_event_is_encoded_alike(
    appender: Appender, outcome: Outcome, has_gate: bool
) -> None:
    """What has the short way goes it, and ends where the long one does."""
    event = call_event(outcome=outcome, details=details(reason="why"))
    gate = OpenGate(3, event.details) if has_gate else None
    parts = (appender.dictionary, appender.sets)
    call = as_call(event, appender.sets)
    assert call is not None
    assert call.as_event() == event
    assert without_salts(encode_call(call, 7, *parts, gate)) == without_salts(
        encode(event, 7, *parts, gate)
    )


def with_payload(**changes: object) -> Event:
    event = call_event(details=details())
    return msgspec.structs.replace(event, payload={**event.payload, **changes})


def without(key: str) -> Event:
    event = call_event(details=details())
    payload = {name: value for name, value in event.payload.items() if name != key}
    return msgspec.structs.replace(event, payload=payload)


def changed(**changes: object) -> Event:
    return msgspec.structs.replace(call_event(details=details()), **changes)


@pytest.mark.parametrize(
    "event",
    [
        call_event(details=None),
        changed(actor="os:other"),
        changed(namespace="other"),
        changed(substrate="other"),
        changed(verb="other"),
        changed(tool_id="other:tool"),
        changed(outcome="tool_not_found"),
        changed(outcome="other"),
        changed(call_id="other"),
        changed(caller_id="other"),
        changed(duration_ms=99),
        changed(duration_ms=5.0),
        changed(created_at_us=1),
        changed(created_at_us=1.0),
        changed(payload={}),
        *(without(key) for key in call_event().payload),
        with_payload(more=1),
        with_payload(cursor_page=1),
        with_payload(cursor_page=None),
        with_payload(ts="2026-01-02T03:04:05Z"),
        with_payload(ts=5),
        with_payload(tier=None),
        with_payload(dry_run=0),
        with_payload(secrets_resolved=0),
        with_payload(schema_version=3.0),
        with_payload(schema_version=True),
        with_payload(granted_capabilities=()),
        with_payload(granted_capabilities=["other"]),
        with_payload(capability_provenance=[]),
        with_payload(outcome=Success()),
        with_payload(outcome={"kind": "success", "more": 1}),
        with_payload(outcome=["success"]),
        with_payload(outcome=None),
    ],
    ids=lambda event: None,
)
def test_an_odd_call_event_goes_the_long_way(appender: Appender, event: Event) -> None:
    assert as_call(event, appender.sets) is None
