"""The AuditEvent of each decision: in the gate, in the log and in the store."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt import (
    ActorRef,
    AuditEvent,
    AuditObligation,
    Event,
    PermissionDeniedError,
    ToolCall,
)
from toolrt.testing import MemoryEventStore
from toolrt_store import SqliteEventStore

from .samples import AuditingGate, builder


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteEventStore]:
    with SqliteEventStore.open(tmp_path / "audit.db") as store:
        yield store


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        vars(record)["audit_event"]
        for record in caplog.records
        if (record.name, record.getMessage()) == ("toolrt.gate", "gate.check")
    ]


def envelope(event: Event) -> AuditEvent:
    return msgspec.convert(event.payload, AuditEvent)


def only_event(store: MemoryEventStore | SqliteEventStore) -> Event:
    (event,) = store.query_events().items
    return event


def deny_one(store: Any) -> Event:
    gate = AuditingGate("find", reason="only before noon")
    registry = builder().with_gate(gate).with_event_store(store).build()
    with pytest.raises(PermissionDeniedError):
        registry.dispatch("find", {"namespace": "south"})
    return only_event(store)


def oblige_one(store: Any) -> Event:
    registry = builder().with_gate(AuditingGate()).with_event_store(store).build()
    registry.dispatch("find", {"namespace": "south"})
    return only_event(store)


def test_every_call_makes_one_audit_event() -> None:
    """Two calls make two, whatever the verb."""
    gate, store = AuditingGate(), MemoryEventStore()
    registry = builder().with_gate(gate).with_event_store(store).build()

    registry.dispatch("find")
    registry.dispatch("lend")

    assert len(gate.events) == 2
    assert [event.verb for event in store.events] == ["find", "lend"]


def test_the_event_of_an_allowed_call_holds_the_obligations() -> None:
    """It names the gate and has no reason of denial."""
    gate = AuditingGate()

    builder().with_gate(gate).build().dispatch("find")

    (event,) = gate.events
    assert (event.verb, event.decision) == ("find", "allow")
    assert event.obligations == (AuditObligation("find.asked"),)
    assert event.deny_reason is None
    assert event.gate_impl == "auditing"


def test_the_event_of_a_denied_call_holds_the_reason() -> None:
    """It has no obligations."""
    gate = AuditingGate("lend")

    with pytest.raises(PermissionDeniedError):
        builder().with_gate(gate).build().dispatch("lend")

    (event,) = gate.events
    assert (event.verb, event.decision) == ("lend", "deny")
    assert (event.deny_reason, event.obligations) == ("closed today", ())


def test_the_event_repeats_what_the_gate_was_asked() -> None:
    """The call's own namespace, its verb, and the anonymous actor of nobody."""
    gate = AuditingGate()
    registry = builder().with_gate(gate).with_default_namespace("north").build()

    registry.dispatch("find", {"namespace": "south"})

    (event,) = gate.events
    assert (event.namespace, event.verb) == ("south", "find")
    assert event.actor == ActorRef("anonymous", "local")


def test_an_allowed_call_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One gate.check record at INFO carries the event as JSON text."""
    caplog.set_level(logging.INFO, logger="toolrt.gate")
    registry = builder().with_gate(AuditingGate()).build()

    registry.dispatch("find", {"namespace": "south"})

    (text,) = logged(caplog)
    event = msgspec.json.decode(text, type=AuditEvent)
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert (event.decision, event.verb, event.namespace) == ("allow", "find", "south")
    assert (event.gate_impl, event.deny_reason) == ("auditing", None)


def test_a_denied_call_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The record has the reason, and obligations as an empty array."""
    caplog.set_level(logging.INFO, logger="toolrt.gate")
    registry = builder().with_gate(AuditingGate("lend")).build()

    registry.run(ToolCall("lend"))

    (text,) = logged(caplog)
    found = json.loads(text)
    assert (found["decision"], found["gate_impl"]) == ("deny", "auditing")
    assert found["deny_reason"] == "closed today"
    assert found["obligations"] == []


def test_an_allowed_call_is_stored_once() -> None:
    """One event with verb, namespace, substrate and outcome."""
    store = MemoryEventStore()

    builder().with_event_store(store).build().dispatch("find", {"namespace": "south"})

    event = only_event(store)
    assert store.count_events() == 1
    assert (event.verb, event.namespace) == ("find", "south")
    assert (event.substrate, event.outcome) == ("event", "success")


def test_a_denied_call_is_stored_once() -> None:
    """The event's outcome says denied."""
    store = MemoryEventStore()

    event = deny_one(store)

    assert store.count_events() == 1
    assert (event.verb, event.outcome) == ("find", "denied")


def test_without_a_store_a_call_runs_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log is then the one place that tells of the decision."""
    caplog.set_level(logging.INFO, logger="toolrt.gate")

    assert builder().build().dispatch("find")["from"] == "shelf"
    assert len(logged(caplog)) == 1


def test_a_denial_reads_back_from_the_store() -> None:
    """Reason, gate and decision are in the event's payload."""
    event = deny_one(MemoryEventStore())

    audit = envelope(event)
    assert event.outcome == "denied"
    assert audit.deny_reason == "only before noon"
    assert (audit.gate_impl, audit.decision) == ("auditing", "deny")


def test_obligations_read_back_from_the_store() -> None:
    """Their kind and their values are kept."""
    event = oblige_one(MemoryEventStore())

    audit = envelope(event)
    assert event.outcome == "success"
    assert audit.gate_impl == "auditing"
    assert audit.obligations == (AuditObligation("find.asked"),)


def test_a_denial_reads_back_from_sqlite(sqlite: SqliteEventStore) -> None:
    """Nothing of it is lost on the way through the database."""
    event = deny_one(sqlite)

    audit = envelope(event)
    assert event.outcome == "denied"
    assert audit.deny_reason == "only before noon"
    assert (audit.gate_impl, audit.decision) == ("auditing", "deny")
    assert event.payload["obligations"] == []


def test_obligations_read_back_from_sqlite(sqlite: SqliteEventStore) -> None:
    """They are in the stored JSON itself, not filled in by a default."""
    event = oblige_one(sqlite)

    audit = envelope(event)
    assert event.outcome == "success"
    assert event.payload["obligations"] == [{"kind": "audit", "tag": "find.asked"}]
    assert (audit.gate_impl, audit.decision) == ("auditing", "allow")
    assert audit.obligations == (AuditObligation("find.asked"),)


def test_the_envelope_is_the_same_for_a_verb_that_writes() -> None:
    """Its keys do not depend on the verb; the default gate names itself."""
    store = MemoryEventStore()
    registry = builder().with_event_store(store).with_default_namespace("south").build()

    registry.dispatch("lend", {"namespace": "south"})

    event = only_event(store)
    assert (event.verb, event.outcome, event.namespace) == ("lend", "success", "south")
    timestamp = event.payload["timestamp"]
    assert event.payload == {
        "timestamp": timestamp,
        "actor": {"kind": "anonymous", "id": "local"},
        "namespace": "south",
        "verb": "lend",
        "decision": "allow",
        "gate_impl": "AllowAllGate",
        "obligations": [],
    }


def test_the_id_of_an_event_follows_from_its_call() -> None:
    """An event is found by its call id and its kind, which a refusal tells as well."""
    store = MemoryEventStore()
    registry = builder().with_gate(AuditingGate("lend")).with_event_store(store).build()

    ran, refused = registry.run(ToolCall("find")), registry.run(ToolCall("lend"))

    assert isinstance(refused.error, PermissionDeniedError)
    ids = [event.id for event in store.events]
    assert ids == [f"{ran.call_id}/gate", refused.error.receipt.event_id]
    assert store.get_event(ids[0]) == store.events[0]


def test_events_are_of_three_kinds() -> None:
    """A decision, a finished call and an entry of the store's own are told apart."""
    store = MemoryEventStore()
    builder().with_event_store(store, calls=True).build().dispatch("find")
    own = Event(
        kind="system",
        namespace="local",
        verb="",
        tool_id="",
        actor="os:root",
        outcome="success",
        call_id=None,
        created_at_us=0,
        payload={},
    )
    store.append_event(own)

    assert [event.kind for event in store.events] == ["gate", "call", "system"]
    assert store.events[2].id == "system/3"
