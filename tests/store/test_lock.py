"""The writing lock and the liveness of processes, against real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore, StoreLockedError
from toolrt_store.liveness import Liveness
from toolrt_store.lock import WriteLock

from .samples import call_event, call_id, finish, gate_event, start_python

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def lock_held_elsewhere(db_path: Path) -> Iterator[None]:
    """Let another process hold the writing lock of *db_path*."""
    process = start_python(HOLDER, f"{db_path}.lock")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        finish([process])


def test_append_past_the_deadline_writes_nothing(db_path: Path) -> None:
    """A store that stays locked is an error that a retry may cure."""
    with SqliteEventStore.open(db_path, lock_timeout_s=0.5) as store:
        with (
            lock_held_elsewhere(db_path),
            pytest.raises(StoreLockedError, match="locked by another") as info,
        ):
            store.append_event(gate_event())

        assert info.value.retryable
        assert info.value.waited_s >= 0.5
        assert store.count_events() == 0
        assert store.append_event(gate_event()).seq == 1


def test_open_past_the_deadline_makes_nothing(db_path: Path) -> None:
    """Opening for writing waits like an append does."""
    db_path.parent.mkdir()
    with lock_held_elsewhere(db_path), pytest.raises(StoreLockedError):
        SqliteEventStore.open(db_path, lock_timeout_s=0)

    assert not db_path.exists()


def test_reader_needs_no_lock(db_path: Path) -> None:
    """A read-only open works while a writer holds the lock and its connection."""
    with SqliteEventStore.open(db_path) as writer:
        writer.append_event(gate_event())
        with (
            lock_held_elsewhere(db_path),
            SqliteEventStore.open(db_path, read_only=True) as reader,
        ):
            assert reader.count_events() == 1


def test_waiter_gets_the_lock_when_it_is_released(tmp_path: Path) -> None:
    """Whoever waits in the queue goes on as soon as the holder is done."""
    first, second = (WriteLock(str(tmp_path / "x.db")) for _ in range(2))
    first.acquire(0)
    taken = threading.Event()

    def wait() -> None:
        with second.hold(30):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.is_set()
    first.release()
    thread.join()

    assert taken.is_set()
    first.acquire(0)
    first.close()
    second.close()


def test_lock_that_comes_too_late_goes_back(tmp_path: Path) -> None:
    """A waiter that gave up does not keep what the kernel grants it later."""
    path = str(tmp_path / "x.db")
    holder, late, third = (WriteLock(path) for _ in range(3))
    holder.acquire(0)
    with pytest.raises(StoreLockedError):
        late.acquire(0)

    holder.release()

    third.acquire(30)
    with pytest.raises(StoreLockedError):
        late.acquire(0)
    third.release()
    late.acquire(30)
    for lock in (holder, late, third):
        lock.close()


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    """A tool that outlives the call holds no lock of the store."""
    lock = WriteLock(str(tmp_path / "x.db"))

    assert not os.get_inheritable(lock._fd)
    assert fcntl.fcntl(lock._fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    lock.close()


def test_held_slots_are_live(tmp_path: Path) -> None:
    """A slot lives as long as its holder, seen from the same process too."""
    path = str(tmp_path / "x.db")
    mine, other = Liveness(path), Liveness(path)
    assert other.live_slots() == frozenset()

    for slot in (1, 2, 7):
        mine.hold(slot)
    other.hold(5)

    assert other.live_slots() == {1, 2, 5, 7}
    mine.drop(2)
    assert not other.is_alive(2)
    mine.close()
    assert other.live_slots() == {5}
    other.close()


WRITER = """
import sys
from tests.store.samples import gate_event
from toolrt_store import SqliteEventStore
number, count = int(sys.argv[2]), int(sys.argv[3])
with SqliteEventStore.open(sys.argv[1], lock_timeout_s=300) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(count):
        print(store.append_event(gate_event(1000 * number + step)).seq)
"""


@pytest.mark.slow
def test_processes_write_at_once_without_gap(db_path: Path) -> None:
    """Several processes that start together leave one gapless sequence."""
    SqliteEventStore.open(db_path).close()
    processes = [start_python(WRITER, db_path, number, 25) for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    said = finish(processes)

    seqs = sorted(int(line) for text in said for line in text.split())
    assert seqs == list(range(1, 101))
    with SqliteEventStore.open(db_path, read_only=True) as reader:
        assert reader.coverage().events == 100


@pytest.mark.slow
def test_processes_make_one_store_together(db_path: Path) -> None:
    """Several processes that find no store make one and the same."""
    processes = [start_python(WRITER, db_path, number, 2) for number in range(3)]

    lines = " ".join(finish(processes)).split()

    assert sorted(line for line in lines if line != "ready") == list("123456")


CALLER = """
import sys
from tests.store.samples import details, gate_event
from toolrt_store import SqliteEventStore
store = SqliteEventStore.open(sys.argv[1])
store.append_event(gate_event(details=details(process=store.process)))
print("gated", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_killed_call_is_interrupted(db_path: Path) -> None:
    """Between gate and end a call runs; once its process is killed it was interrupted."""
    process = start_python(CALLER, db_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "gated\n"

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        (running,) = reader.query_attempts()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (interrupted,) = reader.query_attempts()

    assert (running.call_id, running.outcome) == (call_id(), "running")
    assert interrupted.outcome == "interrupted"
    with SqliteEventStore.open(db_path) as store:
        store.append_event(call_event())
        assert store.query_attempts()[0].outcome == "success"


FOLLOWED = """
import sys
from tests.store.samples import gate_event
from toolrt_store import SqliteEventStore
with SqliteEventStore.open(sys.argv[1]) as store:
    for number in range(2, 32, 2):
        store.append_events([gate_event(number), gate_event(number + 1)])
"""


@pytest.mark.slow
def test_follow_sees_other_processes(db_path: Path) -> None:
    """Events of another process arrive in order, each once."""
    with SqliteEventStore.open(db_path) as store:
        store.append_event(gate_event(1))
        process = start_python(FOLLOWED, db_path)
        followed = store.follow(poll_s=0.001)

        seqs = [event.seq for event in islice(followed, 31)]

        assert seqs == list(range(1, 32))
        finish([process])


def test_follow_ends_when_told(store: SqliteEventStore) -> None:
    """The backlog above a sequence comes first; stop is asked before each read."""
    store.append_events([gate_event(number) for number in range(4)])
    answers = iter([False, False, True])

    found = store.follow(2, poll_s=0, stop=lambda: next(answers))

    assert [event.seq for event in found] == [3, 4]
