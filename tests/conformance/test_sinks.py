"""C10 to C18: sinks, their queue and what they do when it is full."""

import io
import threading

from toolrt import (
    AuditSink,
    Block,
    CallEvent,
    Drop,
    Fallback,
    JsonLinesAuditSink,
    Success,
    ToolNotFound,
)
from toolrt.testing import MemorySink

CALL = CallEvent("2026-01-01T00:00:00+00:00", "c", "std:x", 1, Success(), "warm")


class Shut(io.BytesIO):
    """A file that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def write(self, data: object, /) -> int:
        assert self.opened.wait(300)
        return super().write(data)  # type: ignore[arg-type]


def lines(out: io.BytesIO) -> list[CallEvent]:
    return [CallEvent.from_json(line) for line in out.getvalue().splitlines()]


def test_a_line_is_written_for_each_event() -> None:
    """C10: each line reads back as the event."""
    out = io.BytesIO()
    missing = CALL.replace(outcome=ToolNotFound())
    with JsonLinesAuditSink(out) as sink:
        sink.on_call(CALL)
        sink.on_call(missing)

    assert lines(out) == [CALL, missing]


def test_a_burst_does_not_wait_for_the_writer() -> None:
    """C11: a hundred events are taken while nothing can be written."""
    out = Shut()
    sink = JsonLinesAuditSink(out)
    for _ in range(100):
        sink.on_call(CALL)

    assert (sink.stats().accepted, sink.stats().written) == (100, 0)
    out.opened.set()
    sink.close()


def test_a_full_queue_counts_its_drops() -> None:
    """C12: what does not fit into the queue is counted."""
    out = Shut()
    sink = JsonLinesAuditSink(out, capacity=4)
    for _ in range(200):
        sink.on_call(CALL)

    assert sink.drops() == 196
    out.opened.set()
    sink.close()
    assert len(lines(out)) == 4


def test_queued_events_reach_the_writer() -> None:
    """C13: without a close."""
    out = io.BytesIO()
    sink = JsonLinesAuditSink(out)
    for _ in range(10):
        sink.on_call(CALL)

    assert sink.flush()
    assert lines(out) == [CALL] * 10
    sink.close()


def test_the_end_of_a_sink_writes_out_the_queue() -> None:
    """C14: leaving the block is enough."""
    out = Shut()
    with JsonLinesAuditSink(out) as sink:
        for _ in range(5):
            sink.on_call(CALL)
        assert lines(out) == []
        out.opened.set()

    assert lines(out) == [CALL] * 5


def test_a_sink_drops_unless_it_says_otherwise() -> None:
    """C15: the default strategy."""

    class Bare(AuditSink):
        def on_call(self, event: CallEvent, /) -> None: ...

    assert Bare().backpressure == Drop()


def test_a_blocking_sink_says_so() -> None:
    """C16: the strategy can be read back."""
    with JsonLinesAuditSink(io.BytesIO(), capacity=16, backpressure=Block()) as sink:
        assert sink.backpressure == Block()


def test_a_blocking_sink_loses_nothing() -> None:
    """C17: a hundred events go through a queue of four."""
    out = io.BytesIO()
    with JsonLinesAuditSink(out, capacity=4, backpressure=Block()) as sink:
        for _ in range(100):
            sink.on_call(CALL)
    assert sink.drops() == 0
    assert lines(out) == [CALL] * 100


def test_a_fallback_takes_the_overflow() -> None:
    """C18: nothing is dropped, and the fallback has what did not fit."""
    out, fallback = Shut(), MemorySink()
    sink = JsonLinesAuditSink(out, capacity=1, backpressure=Fallback(fallback))
    for _ in range(50):
        sink.on_call(CALL)

    assert (sink.drops(), len(fallback.events)) == (0, 49)
    out.opened.set()
    sink.close()
    assert lines(out) == [CALL]
