"""A sink whose batches another process stores: it is seen in nothing but the time."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from toolrt import RateLimitedError
from toolrt.event import Event
from toolrt.limits import CallLimits
from toolrt_store import (
    IdentityConflictError,
    SqliteEventStore,
    StoreLockedError,
    UnstorableEventError,
    sink_process,
)
from toolrt_store.lock import WriteLock
from toolrt_store.sink_process import ProcessSink

from .samples import call_id, details, finish, gate_event, start_python
from .test_batch_wire import PAIRS, wire

#: Runs before the process of a sink does what it is told; ``c`` is its module.
_SPOILED = """
import sys; n = int(sys.argv[1]); sys.path += sys.argv[2 : 2 + n]
import os, toolrt_store.sink_child as c; real = c._stored
{spoil}
sys.exit(c.main([]))
"""
DIES_BEFORE = "c._stored = lambda *given: os._exit(9)"
DIES_BEHIND = "c._stored = lambda *given: (real(*given), os._exit(9))"
BABBLES = "c._say = lambda to, answer: c.send(to, b'no answer')"


@pytest.fixture
def sink(store: SqliteEventStore) -> Iterator[ProcessSink]:
    """A sink of the store, with a process of its own."""
    with opened(store) as found:
        yield found


def opened(store: SqliteEventStore) -> ProcessSink:
    """Return a sink with a process of its own."""
    sink = store.sink(own_process=True)
    assert isinstance(sink, ProcessSink)
    return sink


def told_by(sink: ProcessSink) -> tuple[ProcessSink, list[str]]:
    """Return *sink* and the lines of trouble that it will have told."""
    told: list[str] = []
    sink.on_trouble = told.append
    return sink, told


def pid_of(sink: ProcessSink) -> int:
    """Return the process of *sink*, which has written."""
    assert sink._other._child is not None
    return sink._other._child._process.pid


def give(sink: ProcessSink, *numbers: int, **changes: Any) -> None:
    """Give *sink* the call events of those calls, and wait until they are settled."""
    for number in numbers:
        sink.on_record(wire(call_id=call_id(number)), details(**changes))
    assert sink.flush(300)


def ids(store: SqliteEventStore) -> list[str]:
    """Return the ids of the events that are stored, oldest first."""
    return [one.id for one in reversed(store.query_events().items)]


def call_ids(*numbers: int) -> list[str]:
    """Return the ids of the call events of those calls."""
    return [f"{call_id(number)}/call" for number in numbers]


def spoil(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let the processes of sinks do that."""
    monkeypatch.setattr(sink_process, "_BOOT", _SPOILED.format(spoil=how))


def test_the_same_is_stored(tmp_path: Path) -> None:
    """Event for event, whoever writes; with details and without."""
    found: list[list[Event]] = []
    for own_process in (True, False):
        path = tmp_path / str(own_process) / "audit.db"
        with SqliteEventStore.open(path) as store:
            sink = store.sink(own_process=own_process)
            for number, (event, told) in enumerate(PAIRS):
                sink.on_record(event.replace(call_id=call_id(number)), told)
            assert sink.flush(300)  # a process takes its time to come up
            found.append(list(store.query_events().items))
            assert sink.stats().written == len(PAIRS)
            assert store.verify().is_intact

    assert found[0] == found[1]
    assert len(found[0]) == len(PAIRS)


def test_another_process_writes(store: SqliteEventStore, sink: ProcessSink) -> None:
    """One, in a session of its own; what it has accepted is read at once."""
    give(sink, 1)
    pid = pid_of(sink)
    sink.on_call(wire(call_id=call_id(2)))

    assert ids(store) == call_ids(1, 2)
    assert pid_of(sink) == pid != os.getpid()
    assert os.getsid(pid) == pid


def test_calls_are_of_this_process(store: SqliteEventStore, sink: ProcessSink) -> None:
    """It is known in the store and alive there, before it has stored anything itself."""
    give(sink, 1, process=store.process)

    (event,) = store.query_events().items
    assert event.details is not None
    assert event.details.process == store.process
    rows = store.select("SELECT id, pid FROM processes").rows
    (slot,) = [number for number, pid in rows if pid == os.getpid()]
    assert store._liveness.is_alive(slot)


def test_an_attempt_ends(store: SqliteEventStore, sink: ProcessSink) -> None:
    """Its gate event is of this process, its call event came from the other."""
    told = details(process=store.process)
    store.append_event(gate_event(1, details=told))
    give(sink, 1, process=store.process)

    (attempt,) = store.query_attempts()
    assert attempt.outcome == "success"
    assert store.count_events() == 2
    assert store.verify().is_intact


def test_places_are_given_back(store: SqliteEventStore, sink: ProcessSink) -> None:
    """A call that ends over there makes room for one that begins here."""
    told = details(process=store.process)
    one_at_once = CallLimits("std:fs.read", 1)
    store.append_event_within(gate_event(1, details=told), one_at_once)
    with pytest.raises(RateLimitedError):
        store.append_event_within(gate_event(2, details=told), one_at_once)
    give(sink, 1, process=store.process)

    store.append_event_within(gate_event(3, details=told), one_at_once)
    assert store.select("SELECT seq FROM places").rows == ((4,),)
    assert store._require_writer().places._held == {4}


def test_a_policy_is_kept_first(store: SqliteEventStore, sink: ProcessSink) -> None:
    """What was put off until the next append does not wait for one of this process."""
    give(sink, 1)
    digest = store.keep_policy("allow")
    give(sink, 2, policy=digest)

    assert store.policy(digest) == "allow"


@pytest.mark.parametrize(
    ("faulty", "kind"),
    [
        pytest.param(wire(call_id=call_id(1)), IdentityConflictError, id="twice"),
        pytest.param(wire(call_id="x", tool_id="\0"), UnstorableEventError, id="NUL"),
        pytest.param(wire(call_id="x", tier="\udc80"), UnstorableEventError, id="text"),
    ],
)
def test_one_at_fault_keeps_no_other_from_the_store(
    store: SqliteEventStore, sink: ProcessSink, faulty: Any, kind: type[Exception]
) -> None:
    """It alone counts as failed, for the reason that it has."""
    give(sink, 1)
    for event in (wire(call_id=call_id(2)), faulty, wire(call_id=call_id(3))):
        sink.on_record(event, details())
    assert sink.flush(300)

    assert ids(store) == call_ids(1, 2, 3)
    assert isinstance(sink.last_error, kind)
    stats = sink.stats()
    assert (stats.accepted, stats.written, stats.failed) == (4, 3, 1)


def test_a_lock_that_does_not_come_free(db_path: Path) -> None:
    """It is told as it is, and the next batch goes on."""
    with SqliteEventStore.open(db_path, lock_timeout_s=1.0) as store:
        sink = opened(store)
        give(sink, 1)
        lock = WriteLock(str(db_path))
        with lock.hold(5):
            give(sink, 2)
        lock.close()
        give(sink, 3)

        assert isinstance(sink.last_error, StoreLockedError)
        assert sink.last_error.waited_s == 1.0
        assert (sink.stats().written, sink.stats().failed) == (2, 1)
        assert ids(store) == call_ids(1, 3)


def test_a_store_that_is_only_read(store: SqliteEventStore) -> None:
    """The same failure as without the process, and none is started."""
    with SqliteEventStore.open(store.path, read_only=True) as reader:
        sink = reader.sink(own_process=True)
        sink.on_call(wire())
        assert sink.flush(300)

    assert "opened read-only" in str(sink.last_error)


def test_a_store_that_was_replaced(store: SqliteEventStore, sink: ProcessSink) -> None:
    """Neither process writes to what stands there now, nor to what stood there."""
    give(sink, 1)
    os.rename(store.path, f"{store.path}.old")
    give(sink, 2)

    assert "removed while it was open" in str(sink.last_error)
    assert (sink.stats().written, sink.stats().failed) == (1, 1)


def test_the_seal_is_looked_after(store: SqliteEventStore, sink: ProcessSink) -> None:
    """What keeps the process from signing is known in this one."""
    Path(f"{store.path}.key").write_bytes(b"no key")
    give(sink, 0)
    before = store.seal_problem
    give(sink, *range(1, 1_100))

    assert (before is None, store.seal_problem is None) == (True, False)
    assert store.count_events() == 1_100


def test_nothing_is_left_of_it(store: SqliteEventStore) -> None:
    """No zombie, no descriptor."""
    give(opened(store), 0)  # what is opened once for all
    gc.collect()  # what earlier tests left behind must not go meanwhile
    before = len(os.listdir("/dev/fd"))
    sink = opened(store)
    give(sink, 1)
    pid = pid_of(sink)
    assert len(os.listdir("/dev/fd")) == before + 1
    sink.close()

    assert len(os.listdir("/dev/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="/proc is Linux's")
def test_it_has_no_descriptor_of_the_program(
    store: SqliteEventStore, sink: ProcessSink, tmp_path: Path
) -> None:
    """Its socket, the files of the store, and nothing that the program has open."""
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        give(sink, 1)
        where = f"/proc/{pid_of(sink)}/fd"
        found = {os.readlink(f"{where}/{number}") for number in os.listdir(where)}

    others = {one for one in found if not one.startswith(store.path)}
    assert len(others) == 2
    assert "/dev/null" in others


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("raise SystemExit('no room')", id="does not come up"),
        pytest.param(BABBLES, id="babbles"),
        pytest.param(DIES_BEFORE, id="dies before the commit"),
        pytest.param(DIES_BEHIND, id="dies behind the commit"),
    ],
)
def test_without_it_this_process_writes(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Every event once, none counted as failed, and it is told once."""
    spoil(monkeypatch, how)
    sink, told = told_by(opened(store))
    give(sink, 1, 2, 3)
    give(sink, 4)

    assert ids(store) == call_ids(1, 2, 3, 4)
    assert (sink.stats().written, sink.stats().failed) == (4, 0)
    assert len(told) == 1
    assert "this one writes" in told[0]


def test_one_that_cannot_be_started(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told why."""
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    sink, told = told_by(opened(store))
    give(sink, 1)

    assert ids(store) == call_ids(1)
    assert told[0].startswith("its process cannot be started: [Errno 2]")


def test_one_that_finds_another_store(store: SqliteEventStore, tmp_path: Path) -> None:
    """It stores nothing there."""
    with SqliteEventStore.open(tmp_path / "other" / "audit.db") as other:
        assert store._opening is not None
        store._opening = replace(store._opening, path=other.path)
        sink, told = told_by(opened(store))
        give(sink, 1)

        assert other.count_events() == 0
    assert ids(store) == call_ids(1)
    assert "another store stands here" in told[0]


def test_what_was_stored_long_before_is_no_part_of_a_batch(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies proves nothing about an id that was taken already."""
    spoil(monkeypatch, DIES_BEFORE)
    store.append_calls([(wire(call_id=call_id(1)), None)])
    sink = opened(store)
    give(sink, 1)

    assert isinstance(sink.last_error, IdentityConflictError)
    assert (sink.stats().written, sink.stats().failed) == (0, 1)


def test_after_a_rest_there_is_another(
    store: SqliteEventStore, sink: ProcessSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And should that one die, it is told again."""
    monkeypatch.setattr(sink_process, "_REST_S", 0)
    told: list[str] = []
    sink.on_trouble = told.append
    pids = set()
    for number in range(3):
        give(sink, 2 * number)
        pids.add(pid_of(sink))
        os.kill(pid_of(sink), signal.SIGKILL)
        give(sink, 2 * number + 1)

    assert ids(store) == call_ids(*range(6))
    assert len(pids) == 3
    assert len(told) == 3


@pytest.mark.slow
def test_close_holds_though_it_hangs(store: SqliteEventStore) -> None:
    """It is killed in time for this process to store what waits."""
    sink = opened(store)
    give(sink, 1)
    pid = pid_of(sink)
    os.kill(pid, signal.SIGSTOP)
    sink.on_call(wire(call_id=call_id(2)))
    sink.close(8.0)  # which leaves each of them four seconds

    assert ids(store) == call_ids(1, 2)
    assert (sink.stats().written, sink.stats().failed) == (2, 0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.slow
def test_one_that_hangs_is_given_up(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, without anybody closing the sink."""
    monkeypatch.setattr(sink_process, "_SILENCE_S", 5.0)  # time to come up
    with SqliteEventStore.open(db_path, lock_timeout_s=0.1) as store:
        sink, told = told_by(opened(store))
        give(sink, 1)
        os.kill(pid_of(sink), signal.SIGSTOP)
        give(sink, 2)

        assert ids(store) == call_ids(1, 2)
        assert told == ["its process is gone: it hangs, by signal 9; this one writes"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_leaves_it_to_the_parent(db_path: Path) -> None:
    """The child is refused as ever, and ends it neither by its end nor by its life."""
    code = """
import os, sys, warnings
warnings.simplefilter("ignore")
from tests.store.test_batch_wire import wire
from toolrt_store import SqliteEventStore
store = SqliteEventStore.open(sys.argv[1])
sink = store.sink(own_process=True)
sink.on_call(wire(call_id="a"))
sink.flush(300)
pid = sink._other._child._process.pid
if os.fork() == 0:
    sink.on_call(wire(call_id="b"))
    sink.flush(300)
    print(sink.last_error.problem, flush=True)
    sys.exit()
os.wait()
sink.on_call(wire(call_id="c"))
print(store.count_events(), sink._other._child._process.pid == pid, flush=True)
if os.fork() == 0:
    import time
    time.sleep(60)
store.close()
try:
    os.waitpid(pid, 0)
except ChildProcessError:
    print("gone", flush=True)
os.killpg(0, 9)
"""
    process = start_python(f"import os; os.setsid()\n{code}", db_path)
    said = process.communicate(timeout=300)[0]

    assert said == "opened before a fork\n2 True\ngone\n"


def test_the_end_of_the_interpreter_writes_out(db_path: Path) -> None:
    """A program that closes nothing loses nothing."""
    code = """
import sys
from tests.store.test_batch_wire import wire
from toolrt_store import SqliteEventStore
sink = SqliteEventStore.open(sys.argv[1]).sink(own_process=True)
for number in range(50):
    sink.on_call(wire(call_id=f"call-{number}"))
"""
    finish([start_python(code, db_path)])

    with SqliteEventStore.open(db_path, read_only=True) as store:
        assert store.count_events() == 50
