"""Texts and names that are too long: the beginning is kept, and what shows the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from toolrt.audit.call_event import InvalidArgs
from toolrt.capability import AllowRule, CapabilitySet, ChainLink, Grant, Refusal
from toolrt_store import SqliteEventStore, StoreError
from toolrt_store.dictionary import MAX_TEXT, cut

from .samples import call_event, call_id, details, gate_event

LONG = "ä" + "x" * 3_000


def shown(text: str) -> str:
    """Return what is kept of *text*."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:2_000]}… [cut: {len(text)} characters, sha256 {digest}]"


def test_what_fits_is_kept_whole() -> None:
    """The last length that fits, and the first that does not."""
    assert cut("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert cut("x" * (MAX_TEXT + 1)) == shown("x" * (MAX_TEXT + 1))


def test_long_texts_and_names_are_cut_and_verify(db_path: Path) -> None:
    """Length and digest say what was there; the chain is over what is kept."""
    told = details(reason=LONG, pack=LONG, caller=LONG)
    gate = gate_event(1, details=told, caller=LONG, decision="deny", deny_reason=LONG)
    call = call_event(2, details=told, caller=LONG, outcome=InvalidArgs(LONG))
    with SqliteEventStore.open(db_path) as store:
        store.append_events([gate, replace(call, verb=LONG, tool_id=LONG)])

    with SqliteEventStore.open(db_path) as store:
        second, first = store.query_events().items
        assert store.verify().is_intact
        assert store.checkpoint() is not None
        assert store.verify().signed_up_to == 2
    assert first.caller_id == second.verb == second.tool_id == shown(LONG)
    assert first.payload["deny_reason"] == shown(LONG)
    assert second.payload["outcome"]["message"] == shown(LONG)
    assert first.details is not None
    assert first.details.reason == first.details.pack == shown(LONG)


def test_a_payload_that_is_too_large_is_cut(store: SqliteEventStore) -> None:
    """Its length and digest stay, and the columns of the event are whole."""
    event = gate_event(1, session_id="s" * 70_000, details=details())
    stored = store.append_event(event)

    found = store.get_event(stored.id)

    assert found is not None
    assert (found.verb, found.caller_id) == (event.verb, event.caller_id)
    assert len(str(found.payload)) < 1_000
    ((extra,),) = store.select("SELECT extra FROM events").rows
    assert '"sha256"' in extra
    assert '"characters":70' in extra
    assert store.verify().is_intact


def test_two_long_names_that_begin_alike_are_two(store: SqliteEventStore) -> None:
    """The digest tells them apart, and a filter finds the one it names."""
    from toolrt import EventFilter

    names = [LONG + end for end in "ab"]
    store.append_events([gate_event(n, caller=name) for n, name in enumerate(names)])

    assert store.count_events(EventFilter(callers=(cut(names[0]),))) == 1
    assert store.count_events(EventFilter(callers=(names[1],))) == 1


def test_a_refusal_is_kept_whatever_its_event_holds_besides(
    store: SqliteEventStore,
) -> None:
    """Who makes the call chooses how long the id of its session is."""
    refused = CapabilitySet(refusal=Refusal("expired", "ab" * 32))
    told = details(grants=refused, parent_call_id=call_id(9))
    event = gate_event(1, session_id="s" * 70_000, details=told)

    found = store.get_event(store.append_event(event).id)

    assert found is not None
    assert found.details == told
    assert store.verify().is_intact


SOURCES = [
    pytest.param(AllowRule(pattern=LONG, file=LONG, config=LONG), id="rule"),
    pytest.param(ChainLink(issuer=LONG, depth=1, digest=LONG), id="chain"),
]


@pytest.mark.parametrize("source", SOURCES)
def test_long_grants_are_cut_and_verify(
    db_path: Path, source: AllowRule | ChainLink
) -> None:
    """A set is found by what is kept of it, so it is not taken for another's work."""
    told = details(grants=CapabilitySet((Grant(LONG, source),)))
    with SqliteEventStore.open(db_path) as store:
        store.append_events([gate_event(1, details=told), gate_event(2, details=told)])

    with SqliteEventStore.open(db_path) as store:
        assert store.verify().is_intact
        (found, _) = store.query_events().items
    assert found.details is not None
    assert found.details.grants.granted == (shown(LONG),)


def test_long_grants_without_details_are_cut_and_verify(db_path: Path) -> None:
    """The same for what only the payload tells of."""
    source = {"kind": "ucan_chain", "issuer_did": LONG, "chain_depth": 1}
    event = call_event(1)
    payload = {
        **event.payload,
        "granted_capabilities": [LONG],
        "capability_provenance": [{"cap": LONG, "source": source}],
    }
    with SqliteEventStore.open(db_path) as store:
        store.append_event(replace(event, payload=payload))

    with SqliteEventStore.open(db_path) as store:
        assert store.verify().is_intact


@pytest.mark.parametrize("value", [5.0, True])
def test_what_only_looks_like_a_whole_number_is_refused(
    store: SqliteEventStore, value: Any
) -> None:
    """The column would hold 5 or 1: not what the chain is over."""
    for event in (
        replace(gate_event(1, details=details()), duration_ms=value),
        replace(call_event(1, details=details()), duration_ms=value),
        replace(gate_event(1), created_at_us=value),
    ):
        with pytest.raises(StoreError, match="no whole number"):
            store.append_event(event)

    assert store.count_events() == 0


@pytest.mark.parametrize("depth", [500, 900, 3_000])
def test_what_is_nested_too_deeply_is_refused(
    store: SqliteEventStore, depth: int
) -> None:
    """By an error of the store, whichever part of it gives up first."""
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    event = call_event(1)

    with pytest.raises(StoreError, match="no plain JSON"):
        store.append_event(replace(event, payload={**event.payload, "x": nested}))

    assert store.append_event(event).seq == 1
