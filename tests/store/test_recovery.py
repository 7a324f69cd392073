"""What an open for writing makes good, and what it leaves to the next one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from toolrt.event import Event, EventFilter
from toolrt_store import SqliteEventStore, spool

from .samples import call_event, details, gate_event

INTERRUPTED = EventFilter(outcomes=("interrupted",))


def left_open(path: Path, number: int) -> int:
    """Begin a call in a store that is closed before it ends; return how many ended."""
    with SqliteEventStore.open(path) as store:
        told = details(process=store.process)
        store.append_event(gate_event(number, details=told))
        return store.count_events(INTERRUPTED)


def test_who_ends_the_attempts_of_others_is_looked_at_as_well(db_path: Path) -> None:
    """The process that sweeps registers in the same commit, and lives at that time."""
    assert [left_open(db_path, number) for number in (1, 2, 3, 4)] == [0, 1, 2, 3]


def spooled(path: Path, *events: Event) -> None:
    """Leave *events* in the spool of the store at *path*."""
    SqliteEventStore.open(path).close()
    for event in events:
        spool.Spool(str(path)).put(msgspec.json.encode(event))


def test_a_record_that_is_spooled_twice_is_stored_once(db_path: Path) -> None:
    """A process that was killed between two tries leaves it twice."""
    event = call_event(1, details=details(process="P"))
    spooled(db_path, event, event)

    with SqliteEventStore.open(db_path) as store:
        assert store.count_events() == 1
        assert store.verify().is_intact

    assert spool.Spool(str(db_path)).is_empty()


@pytest.mark.parametrize(
    "bad",
    [
        replace(call_event(1), verb="a\0b"),
        replace(call_event(1), call_id=None),
        replace(call_event(1), created_at_us=1 << 70),
    ],
)
def test_a_record_that_no_store_can_keep_stays_in_the_spool(
    db_path: Path, bad: Event
) -> None:
    """The store opens, stores the others, and what it cannot store is not thrown away."""
    spooled(db_path, bad, call_event(2))

    for _ in range(2):
        with SqliteEventStore.open(db_path) as store:
            assert store.get_event(call_event(2).id) is not None
            assert store.append_event(gate_event(3 + store.count_events())).seq

    assert len(spool.Spool(str(db_path)).records()) == 1


def test_what_is_no_record_stays_in_the_spool(db_path: Path) -> None:
    """Nobody's bytes are no reason not to open."""
    SqliteEventStore.open(db_path).close()
    for data in (b"", b"\xff", b"{}", b'{"kind": "call"}'):
        spool.Spool(str(db_path)).put(data)

    with SqliteEventStore.open(db_path) as store:
        assert store.count_events() == 0
        store.append_event(gate_event(1))

    assert len(spool.Spool(str(db_path)).records()) == 4
