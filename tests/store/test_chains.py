"""What is kept of delegation: enough to explain a call without today's configuration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from toolrt.audit.call_event import CapabilityDenied, ToolNotFound
from toolrt.capability import CapabilitySet, ChainLink, Grant, Refusal
from toolrt.event import EventFilter
from toolrt_store import SqliteEventStore
from toolrt_store.export import open_export
from toolrt_store.export_check import verify_export

from ..runtime.ucan.simulator import DelegationSimulator
from .samples import FS_RULE, call_event, details, gate_event

WORLD = DelegationSimulator()
TOKEN = WORLD.second()
LINKS = WORLD.verify(TOKEN).links
CHAIN = ChainLink(
    issuer=LINKS[-1].issuer, depth=1, digest=LINKS[-1].digest, links=LINKS
)
BEARER = replace(CHAIN, bearer=True)
BOTH = CapabilitySet((Grant("fs:read", FS_RULE), Grant("fs:read", CHAIN)))
REFUSED = CapabilitySet(refusal=Refusal("expired", "ef" * 32))


def fill(store: SqliteEventStore, *grants: CapabilitySet) -> None:
    """Store one attempt for each of *grants*."""
    for number, one in enumerate(grants, 1):
        told = details(grants=one)
        outcome = CapabilityDenied(("fs:read",)) if one.refusal else None
        store.append_event(gate_event(number, details=told))
        store.append_event(call_event(number, outcome=outcome, details=told))


def test_every_link_of_a_chain_is_kept(db_path: Path) -> None:
    """The claims that were verified, read by another process; never the token."""
    bearer = CapabilitySet((Grant("fs:read", BEARER),))
    with SqliteEventStore.open(db_path) as store:
        fill(store, BOTH, bearer)

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        found = reader.query_events(EventFilter(kinds=("call",))).items[::-1]

    told = [event.details.grants for event in found if event.details is not None]
    assert told == [BOTH, bearer]
    assert TOKEN[-40:].encode() not in db_path.read_bytes()


def test_a_chain_of_which_only_the_leaf_is_known_reads_as_it_did() -> None:
    """Its digest in older stores and exports is over these very bytes."""
    bare = ChainLink(issuer="a", depth=1, digest="b")

    assert (
        msgspec.json.encode(bare)
        == b'{"kind":"chain","issuer":"a","depth":1,"digest":"b"}'
    )


def test_use_is_told_by_chain(db_path: Path) -> None:
    """The same chain with and without the caller's key are two sources."""
    with SqliteEventStore.open(db_path) as store:
        fill(store, BOTH, CapabilitySet((Grant("fs:read", BEARER),)))

        found = store.usage("ci-bot", "fs:read")

    assert found.calls == 2
    assert [one.source for one in found.sources] == [FS_RULE, CHAIN, BEARER]


def test_which_token_was_refused_is_kept(db_path: Path) -> None:
    """On the gate event and on the call's, whether they share details or not."""
    with SqliteEventStore.open(db_path) as store:
        fill(store, REFUSED)
        lost = call_event(7, outcome=ToolNotFound(), details=details(grants=REFUSED))
        store.append_event(lost)
        found = store.query_events().items

    assert len(found) == 3
    for event in found:
        assert event.details is not None
        assert event.details.grants == REFUSED


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE grant_sources SET links = replace(links, 'net:get', 'net:put')",
        "UPDATE grant_sources SET links = NULL",
        "UPDATE grant_sources SET links = '['",
        "UPDATE grant_sources SET links = links || ' ' WHERE links IS NOT NULL",
        "UPDATE grant_sources SET bearer = 1 WHERE links IS NOT NULL",
        "UPDATE grant_sources SET bearer = 0 WHERE links IS NOT NULL",
        "UPDATE grant_sources SET bearer = 1 WHERE pattern IS NOT NULL",
        "UPDATE grant_sources SET links = '[]' WHERE pattern IS NOT NULL",
    ],
)
def test_a_changed_chain_is_found(db_path: Path, sql: str) -> None:
    """The chain over events is over every link behind their grants."""
    with SqliteEventStore.open(db_path) as store:
        fill(store, BOTH)
    with closing(sqlite3.connect(db_path)) as connection:
        assert connection.execute(sql).rowcount >= 1
        connection.commit()

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        assert not reader.verify().is_intact


def test_an_export_carries_chains_and_refusals(db_path: Path) -> None:
    """It verifies alone, and what was changed in a link no longer does."""
    with SqliteEventStore.open(db_path) as store:
        fill(store, BOTH, REFUSED)
        store.checkpoint()
    with open_export(str(db_path)) as export:
        text = "\n".join(export.lines()).encode() + b"\n"

    assert LINKS[0].issuer.encode() in text
    assert b"refusal" in text
    assert verify_export("x", text.splitlines()).is_intact
    changed = text.replace(b"net:get", b"net:put")
    assert changed != text
    assert not verify_export("x", changed.splitlines()).is_intact
