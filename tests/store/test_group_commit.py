"""Threads share commits: one fsync for all who wait, and nobody suffers for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from toolrt import IdentityConflictError, RateLimitedError
from toolrt.event import Event
from toolrt.limits import CallLimits
from toolrt_store import (
    SqliteEventStore,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    UnstorableEventError,
    sqlite,
)

from .samples import call_event, details, gate_event, start_python
from .tripping import once, tripping


class Together:
    """Appends events from a thread each, all of them waiting at once."""

    def __init__(self, store: SqliteEventStore, events: Sequence[Event]) -> None:
        self._store = store
        self.results: dict[str, object] = {}
        self._threads = [
            threading.Thread(target=self._append, args=(one,)) for one in events
        ]

    def _append(self, event: Event) -> None:
        try:
            self.results[event.id] = self._store.append_event(event).seq
        except (KeyboardInterrupt, StoreError) as error:
            self.results[event.id] = error

    def begin(self) -> None:
        """Start the threads; return once all of them wait. The mutex must be held."""
        writer: Any = self._store._writer
        for thread in self._threads:
            thread.start()
        while len(writer._queue) < len(self._threads):
            threading.Event().wait(0.001)

    def end(self) -> dict[str, object]:
        """Wait for the threads, and return what each was told."""
        for thread in self._threads:
            thread.join(300)
        return self.results


def held_up(
    store: SqliteEventStore,
    events: Sequence[Event],
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, object]:
    """Append *events* so that all wait for the same commit."""
    together = Together(store, events)
    with store._mutex:
        together.begin()
        meanwhile()
    return together.end()


def test_threads_that_wait_share_one_commit(store: SqliteEventStore) -> None:
    """Ten threads, one transaction: whoever comes first commits for all."""
    commits: list[str] = []
    tripping(store).after = commits.append

    found = held_up(store, [gate_event(number) for number in range(10)])

    assert sorted(found.values(), key=str) == sorted(range(1, 11), key=str)
    assert commits.count("COMMIT") == 1


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (gate_event(1), IdentityConflictError),
        (replace(gate_event(99), verb="a\0b"), UnstorableEventError),
    ],
)
def test_one_bad_event_fails_alone(
    store: SqliteEventStore, bad: Event, error: type[StoreError]
) -> None:
    """The others of its commit are stored, without a gap."""
    store.append_event(gate_event(1))
    good = [gate_event(number) for number in range(2, 8)]

    found = held_up(store, [*good[:3], bad, *good[3:]])

    assert isinstance(found.pop(bad.id), error)
    assert sorted(map(str, found.values())) == list("234567")
    assert store.count_events() == 7
    assert store.verify().is_intact


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "INSERT", "COMMIT"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_leader_loses_nobodys_event(
    store: SqliteEventStore, statement: str, when: str
) -> None:
    """Who commits for others and is interrupted leaves their events to them."""
    store.append_event(gate_event(100))
    connection = tripping(store)
    setattr(connection, when, once(statement, KeyboardInterrupt()))
    events = [gate_event(number) for number in range(5)]

    found = held_up(store, events)

    interrupted = [key for key, one in found.items() if not isinstance(one, int)]
    assert len(interrupted) <= 1
    assert all(isinstance(found[key], KeyboardInterrupt) for key in interrupted)
    for key, seq in found.items():
        stored = store.get_event(key)
        assert key in interrupted or (stored is not None and stored.seq == seq)
    assert store.verify().is_intact


def test_an_interrupted_wait_takes_its_event_back(store: SqliteEventStore) -> None:
    """Nobody commits it later: who was interrupted has been told that it is not."""
    tripping(store).before = once("BEGIN IMMEDIATE", KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        store.append_event(gate_event(1))
    store.append_event(gate_event(2))

    assert store.get_event(gate_event(1).id) is None
    assert store.count_events() == 1


def test_an_end_that_was_not_committed_keeps_its_place(
    store: SqliteEventStore,
) -> None:
    """Its place is free once the end is stored, not before."""
    told = details(process=store.process)
    limits = CallLimits("std:fs.read", 1)
    store.append_event_within(gate_event(1, details=told), limits)
    connection = tripping(store)
    connection.before = once("COMMIT", sqlite.Error("disk full"))
    end = replace(call_event(1, details=told), details=replace(told, process=None))
    with pytest.raises(StoreUnavailableError):
        store.append_event(end)
    with pytest.raises(RateLimitedError):
        store.append_event_within(gate_event(2, details=told), limits)

    store.append_event(end)

    store.append_event_within(gate_event(3, details=told), limits)


LOCK_HOLDER = """
import sys
from toolrt_store.lock import WriteLock
lock = WriteLock(sys.argv[1])
lock.acquire(5)
print("held", flush=True)
sys.stdin.read()
"""


def test_nobody_waits_past_the_deadline(db_path: Path) -> None:
    """All who wait for a lock that another process keeps are told, and nothing stays."""
    SqliteEventStore.open(db_path).close()
    with SqliteEventStore.open(db_path, lock_timeout_s=0.5) as store:
        holder = start_python(LOCK_HOLDER, db_path)
        assert holder.stdout is not None
        holder.stdout.readline()

        found = held_up(store, [gate_event(number) for number in range(4)])
        holder.communicate()

        assert {type(one) for one in found.values()} == {StoreLockedError}
        assert store.append_event(gate_event(9)).seq == 1
