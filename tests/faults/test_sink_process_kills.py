"""A sink with a process of its own: either process is killed at any moment."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from toolrt.audit.sinks import Block
from toolrt_store import SqliteEventStore, sink_process
from toolrt_store.liveness import Liveness

from ..store.samples import call_id, details, start_python
from ..store.test_batch_wire import wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="of Linux"),
]
#: ``make store-faults`` takes the long form.
KILLS = int(os.environ.get("TOOLRT_SINK_KILLS", "15"))

#: Tells its process's id, and then how many events are stored whenever it knows. Each
#: line is one write, whatever PYTHONUNBUFFERED says: a fork has the same pipe.
WRITING = """
import os, sys
from tests.store.samples import call_id, details
from tests.store.test_batch_wire import wire
from toolrt_store import SqliteEventStore
def say(text):
    os.write(1, f"{text}\\n".encode())

store = SqliteEventStore.open(sys.argv[1])
sink = store.sink(own_process=True)
number = int(sys.argv[2])
sink.on_record(wire(call_id=call_id(number)), details(process=store.process))
sink.flush(300)
say(sink._other._child._process.pid)
while True:
    for _ in range(50):
        number += 1
        sink.on_record(wire(call_id=call_id(number)), details(process=store.process))
    sink.flush(300)
    assert sink.stats().failed == 0
    say(number)
"""


def test_kills_of_the_process_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event is stored once and counts as written, whenever it was killed."""
    monkeypatch.setattr(sink_process, "_REST_S", 0)
    rng = random.Random(7)
    with SqliteEventStore.open(tmp_path / "state" / "audit.db") as store:
        sink: Any = store.sink(own_process=True, backpressure=Block(None))
        sink.on_trouble = lambda line: None
        given, is_over = 0, threading.Event()

        def feed() -> None:
            nonlocal given
            while not is_over.is_set():
                sink.on_record(wire(call_id=call_id(given)), details())
                given += 1

        feeder = threading.Thread(target=feed)
        feeder.start()
        killed: set[int] = set()
        while len(killed) < KILLS:
            child = sink._other._child
            if child is not None and child._process.pid not in killed:
                is_over.wait(rng.uniform(0, 0.3))  # from its start to the midst of work
                child.kill()
                killed.add(child._process.pid)
            is_over.wait(0.001)
        is_over.set()
        feeder.join()
        sink.close(300)

        stats = sink.stats()
        assert (stats.written, stats.failed, stats.dropped) == (given, 0, 0)
        assert store.count_events() == given
        assert store.verify().is_intact


def test_kills_of_the_program_lose_nothing_that_was_stored(tmp_path: Path) -> None:
    """What a flush has told is there, and the process is gone with the program."""
    path, rng = tmp_path / "state" / "audit.db", random.Random(8)
    for run in range(KILLS):
        program = start_python(WRITING, path, run * 1_000_000)
        assert program.stdout is not None
        child = os.pidfd_open(int(program.stdout.readline()))
        select.select([], [], [], rng.uniform(0, 0.1))
        program.kill()
        told = [int(line) for line in program.communicate()[0].splitlines()]
        is_gone = bool(select.select([child], [], [], 300)[0])
        os.close(child)

        assert is_gone
        with SqliteEventStore.open(path) as store:
            stored = {one.call_id for one in _calls(store)}
        last = max(told, default=run * 1_000_000)
        assert stored >= {call_id(n) for n in range(run * 1_000_000, last + 1)}
    with SqliteEventStore.open(path) as store:
        assert store.verify().is_intact


def _calls(store: SqliteEventStore) -> list[Any]:
    from toolrt.event import EventFilter, PageRequest

    page = PageRequest(limit=10**6)
    return list(store.query_events(EventFilter(kinds=("call",)), page).items)


def test_a_stopped_process_does_not_outlive_the_program(tmp_path: Path) -> None:
    """Once it goes on it finds that nobody is there; till then nobody ends its calls."""
    path = tmp_path / "state" / "audit.db"
    program = start_python(WRITING, path, 0)
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    child = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSTOP)
    program.kill()
    program.communicate()
    assert not select.select([child], [], [], 0)[0]
    assert Liveness(str(path)).live_slots() == {1, 2}
    os.kill(pid, signal.SIGCONT)

    assert select.select([child], [], [], 300)[0]
    os.close(child)
    assert Liveness(str(path)).live_slots() == set()


def test_a_fork_that_lives_on_does_not_keep_it(tmp_path: Path) -> None:
    """It ends with the program that it writes for."""
    forking = WRITING.replace(
        "while True:",
        """import time
if os.fork() == 0:
    say(f"fork {os.getpid()}")
    time.sleep(60)
while True:""",
    )
    program = start_python(forking, tmp_path / "state" / "audit.db", 0)
    assert program.stdout is not None
    child = os.pidfd_open(int(program.stdout.readline()))
    fork = next(int(line[5:]) for line in program.stdout if line.startswith("fork"))
    program.kill()
    program.wait()
    is_gone = bool(select.select([child], [], [], 300)[0])
    os.kill(fork, signal.SIGKILL)
    program.communicate()
    os.close(child)

    assert is_gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_service_do_not_end_it(tmp_path: Path, number: int) -> None:
    """It is the program that decides when the last event is written."""
    with SqliteEventStore.open(tmp_path / "state" / "audit.db") as store:
        sink: Any = store.sink(own_process=True)
        for one in range(3):
            sink.on_call(wire(call_id=call_id(one)))
            assert sink.flush(300)
            os.kill(sink._other._child._process.pid, number)

        assert sink._other._child._process.poll() is None
        assert not sink._other._has_told
        assert store.count_events() == 3
