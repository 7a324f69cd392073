"""The queue in front of a writer: bounds, losses, ends."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from toolrt import (
    Block,
    CallEvent,
    Drop,
    Fallback,
    PartialWriteError,
    QueueSink,
    SinkStats,
    SinkUnavailableError,
)
from toolrt.testing import MemorySink

from .writers import SOON, Failing, Held, Kept, Pairs, event, ids


def stats(**counts: int) -> SinkStats:
    """Return the counters, those not named 0."""
    names = SinkStats.__struct_fields__
    return SinkStats(**{**dict.fromkeys(names, 0), **counts})


def send(sink: QueueSink, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        sink.on_call(event(number))


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def join(thread: threading.Thread) -> None:
    thread.join(SOON)
    assert not thread.is_alive()


class TestOrder:
    """What goes in comes out, once and in order."""

    def test_events_reach_the_writer_in_order(self) -> None:
        """Closing writes out what waits."""
        writer = Kept()
        with QueueSink(writer) as sink:
            send(sink, 100)

        assert ids(writer.events) == [f"p-{n}" for n in range(100)]
        assert sink.stats().written == 100

    def test_details_go_to_a_writer_that_takes_them(self) -> None:
        """Without details there is None in their place."""
        writer = Pairs()
        with QueueSink(writer) as sink:
            sink.on_record(event(1), "details")
            sink.on_call(event(2))
            sink.flush()
            sink.on_record(event(3), "more")

        assert writer.pairs == [
            (event(1), "details"),
            (event(2), None),
            (event(3), "more"),
        ]

    def test_a_writer_of_events_gets_no_details(self) -> None:
        """They are left out, on the short way and on the long one."""
        writer = Kept()
        with QueueSink(writer) as sink:
            sink.on_record(event(1), "details")
            sink.on_record(event(2), "details")

        assert writer.events == [event(1), event(2)]

    def test_batches_grow_while_the_writer_is_slow(self) -> None:
        """What gathered during a write is written together."""
        writer = Held()
        with QueueSink(writer) as sink:
            send(sink, 1)
            assert writer.has_begun.wait(SOON)
            send(sink, 400, start=1)
            writer.let_go.set()

        assert [len(batch) for batch in writer.batches] == [1, 400]

    def test_a_batch_is_at_most_half_of_the_queue(self) -> None:
        """Calls that wait can fill one half while the other is being written."""
        writer = Held()
        with QueueSink(writer, capacity=9) as sink:
            send(sink, 1)
            assert writer.has_begun.wait(SOON)
            send(sink, 8, start=1)
            writer.let_go.set()

        assert [len(batch) for batch in writer.batches] == [1, 5, 3]

    def test_a_drain_that_sleeps_is_woken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a silence the first event is written without a flush."""
        monkeypatch.setattr("toolrt.audit.queue_sink._POLLS_BEFORE_SLEEP", 0)
        writer = Held()
        sink = QueueSink(writer)
        writer.let_go.set()
        for number in range(5):
            writer.has_begun.clear()
            sink.on_call(event(number))
            assert writer.has_begun.wait(SOON)
            sink.flush()
        sink.close()

        assert len(writer.events) == 5


class TestFullQueue:
    """What each strategy does."""

    def test_drop_counts_what_it_drops(self) -> None:
        """The batch that is being written counts as held."""
        writer = Held()
        sink = QueueSink(writer, capacity=4)
        send(sink, 10)

        assert sink.stats() == stats(accepted=4, dropped=6, depth=4, peak=4)
        assert sink.drops() == 6
        writer.let_go.set()
        sink.close()
        assert sink.stats() == stats(accepted=4, written=4, dropped=6, peak=4)

    def test_block_waits_for_room(self) -> None:
        """Nothing is lost, and the calls go on once the writer does."""
        writer = Held()
        sink = QueueSink(writer, 4, Block(None))
        producer = in_thread(lambda: send(sink, 50))
        assert writer.has_begun.wait(SOON)
        assert sink.stats().depth <= 4

        writer.let_go.set()
        join(producer)
        sink.close()
        assert ids(writer.events) == [f"p-{n}" for n in range(50)]
        assert sink.drops() == 0

    def test_block_drops_after_its_deadline(self) -> None:
        """A writer that hangs holds a call no longer than that."""
        writer = Held()
        sink = QueueSink(writer, 2, Block(0.01))
        send(sink, 3)

        assert sink.stats() == stats(accepted=2, dropped=1, depth=2, peak=2)
        writer.let_go.set()
        sink.close()

    def test_a_required_sink_raises_after_the_deadline(self) -> None:
        """The one case where a sink raises into the call."""
        writer = Held()
        sink = QueueSink(writer, 1, Block(0.01), required=True, name="calls")
        sink.on_call(event())

        with pytest.raises(
            SinkUnavailableError, match=r"sink calls: no room within 0.01"
        ):
            sink.on_call(event())
        assert sink.drops() == 1
        writer.let_go.set()
        sink.close()

    def test_fallback_takes_what_does_not_fit(self) -> None:
        """With details, counted as diverted."""
        writer, fallback = Held(), MemorySink()
        sink = QueueSink(writer, 2, Fallback(fallback))
        send(sink, 2)
        sink.on_record(event(2), "details")

        assert fallback.events == [event(2)]
        assert fallback.details == ["details"]
        assert sink.stats() == stats(accepted=2, diverted=1, depth=2, peak=2)
        writer.let_go.set()
        sink.close()

    def test_a_fallback_that_raises_loses_the_event(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged and counted as dropped, and the call goes on."""

        class Broken:
            def on_call(self, event: CallEvent, /) -> None:
                raise OSError("gone")

        writer = Held()
        sink = QueueSink(writer, 1, Fallback(Broken()))
        send(sink, 2)

        assert sink.stats() == stats(accepted=1, dropped=1, depth=1, peak=1)
        assert "sink 'Broken' raised" in caplog.text
        writer.let_go.set()
        sink.close()

    def test_an_interrupt_while_waiting_is_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C goes through, and the event counts as dropped."""
        writer = Held()
        sink = QueueSink(writer, 1, Block(None))
        sink.on_call(event())

        def interrupt(timeout: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(sink._progress, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sink.on_call(event())
        monkeypatch.undo()
        assert sink.stats() == stats(accepted=1, dropped=1, depth=1, peak=1)
        writer.let_go.set()
        sink.close()

    def test_blocking_an_event_loop_is_said_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only with Block, and only on the thread of the loop."""

        async def calls(sink: QueueSink) -> None:
            send(sink, 2)
            sink.flush()

        with QueueSink(Kept(), 1, Block()) as blocking, QueueSink(Kept()) as dropping:
            send(blocking, 1)
            assert caplog.text == ""
            asyncio.run(calls(dropping))
            assert caplog.text == ""
            asyncio.run(calls(blocking))
            asyncio.run(calls(blocking))

        assert caplog.text.count("asyncio loop") == 1


class TestFaults:
    """Writers that raise, hang or end their thread."""

    def test_write_errors_are_counted_and_said_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once when it begins, once when it is over; in between it goes on trying."""
        caplog.set_level(logging.WARNING)
        fault = OSError(28, "no space")
        writer = Failing(fault, fault, None, None, fault)
        sink = QueueSink(writer, name="calls")
        for number in range(5):
            sink.on_call(event(number))
            assert sink.flush()

        assert sink.stats() == stats(accepted=5, written=2, failed=3, peak=1)
        assert sink.last_error is fault
        failing = "sink calls: cannot write: [Errno 28] no space"
        recovered = "sink calls: writes again"
        assert caplog.messages == [failing, recovered, failing]
        sink.close()

    def test_a_writer_can_say_how_much_it_wrote(self) -> None:
        """The rest of the batch counts as failed."""
        reason = OSError("full")
        writer = Failing(PartialWriteError(2, reason))
        sink = QueueSink(writer, 8)
        held = sink._lock
        with held:  # so that all are in one batch
            send(sink, 3)
        sink.close()

        assert sink.stats() == stats(accepted=3, written=2, failed=1, peak=3)
        assert sink.last_error is reason

    @pytest.mark.parametrize("strategy", [Drop(), Block(None)], ids=repr)
    def test_a_dead_drain_takes_no_more(self, strategy: Any) -> None:
        """A writer that ends the thread leaves nothing waiting, and nobody."""
        sink = QueueSink(Failing(SystemExit(1)), 4, strategy)
        sink.on_call(event())
        assert sink.flush()
        sink.on_call(event())

        assert sink.stats() == stats(accepted=1, failed=1, dropped=1, peak=1)
        sink.close()

    def test_a_dead_drain_diverts(self) -> None:
        """The fallback serves for the rest of the sink's life."""
        fallback = MemorySink()
        sink = QueueSink(Failing(SystemExit(1)), 4, Fallback(fallback))
        sink.on_call(event(1))
        assert sink.flush()
        sink.on_call(event(2))

        assert fallback.events == [event(2)]
        assert sink.stats().diverted == 1
        sink.close()

    def test_no_more_threads_is_a_loss_and_no_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next event tries again."""

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        sink = QueueSink(writer := Kept())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            sink.on_call(event(1))
        sink.on_call(event(2))
        sink.close()

        assert writer.events == [event(2)]
        assert sink.stats() == stats(accepted=1, written=1, dropped=1, peak=1)


class TestClose:
    """The end."""

    def test_nothing_is_taken_after_close(self) -> None:
        """It counts as dropped, with a fallback as well."""
        fallback = MemorySink()
        for strategy in (Drop(), Block(None), Fallback(fallback)):
            sink = QueueSink(Kept(), 4, strategy)
            sink.close()
            sink.on_call(event())
            sink.close()

            assert sink.stats() == stats(dropped=1)
        assert fallback.events == []

    def test_what_is_left_at_the_deadline_failed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What the writer still writes later changes no counter."""
        writer = Held()
        sink = QueueSink(writer, 8)
        send(sink, 3)
        assert writer.has_begun.wait(SOON)
        sink.close(0.01)

        assert sink.stats() == stats(accepted=3, failed=3, peak=3)
        assert "closed with 3 events unwritten" in caplog.text
        writer.let_go.set()
        assert sink._thread is not None
        join(sink._thread)
        sink.close()
        assert sink.stats() == stats(accepted=3, failed=3, peak=3)

    def test_calls_that_wait_are_let_go(self) -> None:
        """Whoever waits for room at the close is told at once that there is none."""
        writer = Held()
        sink = QueueSink(writer, 1, Block(None))
        sink.on_call(event())
        producer = in_thread(lambda: sink.on_call(event()))
        sink.close(0.01)

        join(producer)
        assert sink.stats() == stats(accepted=1, failed=1, dropped=1, peak=1)
        writer.let_go.set()

    def test_the_fallback_is_flushed_and_stays_open(self) -> None:
        """It may serve another sink."""
        held, kept = Held(), Kept()
        fallback = QueueSink(kept)
        sink = QueueSink(held, 1, Fallback(fallback))
        send(sink, 2)
        held.let_go.set()
        sink.close()

        assert ids(kept.events) == ["p-1"]
        fallback.on_call(event(5))
        fallback.close()
        assert ids(kept.events) == ["p-1", "p-5"]

    def test_a_flush_ends_at_its_deadline(self) -> None:
        """It says whether all is written."""
        writer = Held()
        sink = QueueSink(writer)
        assert sink.flush()
        send(sink, 1)

        assert not sink.flush(0.01)
        writer.let_go.set()
        assert sink.flush()
        sink.close()

    def test_a_writer_may_close_its_own_sink(self) -> None:
        """The thread does not wait for itself."""

        class Closing(Kept):
            def write(self, events: Any) -> None:
                super().write(events)
                sink.close()

        writer = Closing()
        sink = QueueSink(writer)
        sink.on_call(event())
        assert sink.flush()
        sink.close()

        assert sink.stats() == stats(accepted=1, written=1, peak=1)


def run(code: str) -> str:
    """Run *code* as a program and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=os.path.dirname(__file__),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PROGRAM = """
import os, sys, threading
from toolrt import *
event = CallEvent("2026-01-01T00:00:00+00:00", "c", "t", 1, Success(), "warm")
"""


@pytest.mark.slow
class TestProcesses:
    """The end of the interpreter, and forks."""

    def test_the_end_of_the_interpreter_writes_out_what_waits(self) -> None:
        """No close, no with."""
        code = "s = JsonLinesAuditSink.stdout()\nfor _ in range(500): s.on_call(event)"

        assert run(PROGRAM + code).count("\n") == 500

    def test_a_writer_that_hangs_does_not_keep_the_interpreter(self) -> None:
        """The end is bounded, and what is lost is said."""
        code = """
import toolrt.audit.queue_sink
toolrt.audit.queue_sink._CLOSE_S = 0.1
class Hangs:
    def write(self, events): threading.Event().wait()
s = QueueSink(Hangs())
s.on_call(event)
"""
        assert run(PROGRAM + code) == ""

    def test_a_fork_starts_anew(self) -> None:
        """The child writes its own events and none of the parent's; nobody hangs."""
        code = """
class Out:
    def write(self, events):
        os.write(1, b"".join(e.call_id.encode() + b"\\n" for e in events))
class Held(Out):
    go = threading.Event()
    def write(self, events):
        self.go.wait()
        super().write(events)
s = QueueSink(Held())
s.on_call(event.replace(call_id="parent"))
held, done = threading.Event(), threading.Event()
def hold():
    with s._lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    Held.go = threading.Event()
    Held.go.set()
    zero = dict.fromkeys(SinkStats.__struct_fields__, 0)
    assert s.stats() == SinkStats(**zero)
    s.on_call(event.replace(call_id="child"))
    sys.exit()
os.waitpid(child, 0)
done.set()
Held.go.set()
"""
        assert run(PROGRAM + code) == "child\nparent\n"


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, "4"])
def test_a_capacity_that_is_none_is_refused(capacity: Any) -> None:
    """At least one event must fit."""
    with pytest.raises(ValueError, match="capacity: expected an integer from 1"):
        QueueSink(Kept(), capacity)


def test_strategies_check_themselves() -> None:
    """A deadline in the past, or a fallback that is no sink, is a bug of the caller."""
    with pytest.raises(ValueError, match="0 or more seconds, got -1"):
        Block(-1)
    with pytest.raises(ValueError, match="got nan"):
        Block(float("nan"))
    with pytest.raises(TypeError, match="on_call, got int"):
        Fallback(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Drop, Block or Fallback, got str"):
        QueueSink(Kept(), 1, "drop")  # type: ignore[arg-type]


def test_the_counters_agree_at_every_moment() -> None:
    """Read while others send and write, every snapshot balances."""
    sink = QueueSink(Kept(), 16, Block(None))
    producers = [in_thread(lambda: send(sink, 2000)) for _ in range(3)]
    while any(one.is_alive() for one in producers):
        seen = sink.stats()
        assert seen.accepted == seen.written + seen.failed + seen.depth
        assert seen.depth <= seen.peak <= 16
    sink.close()

    assert sink.stats().written == 6000
