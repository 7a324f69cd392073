"""What a sink costs a call, and what it writes, each beside the cheapest equivalent."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from figures import Asked, Figure
from pytest_benchmark.fixture import BenchmarkFixture
from sending import EVENT, send, send_at_once
from turns import Side, in_turn

from toolrt import Block, CallEvent, Drop, JsonLinesAuditSink, QueueSink

Note = Callable[[Figure], None]

EVENTS = 50_000
ROUNDS = 15
BATCH = 1_000
#: Between bursts that just fill a queue, the time to write them out.
BURST = 1_000
BURSTS = 200
PUT = "SimpleQueue.put, no bound, no drain"


class Nowhere:
    """A writer that costs nothing."""

    def write(self, events: Sequence[CallEvent]) -> None:
        """Write nothing."""


def bare_put(count: int) -> Side:
    """Return what puts into a queue that nobody bounds, drains or counts."""

    def work(waiting: queue.SimpleQueue[CallEvent]) -> None:
        put = waiting.put
        for _ in range(count):
            put(EVENT)

    return Side(work, lambda: (queue.SimpleQueue[CallEvent](),))


def bench_on_call_drop(benchmark: BenchmarkFixture, note: Note) -> None:
    """Send what the queue can hold, then let it be written; only the sending counts."""
    with QueueSink(Nowhere(), backpressure=Drop()) as sink:

        def prepare() -> tuple[QueueSink, int]:
            sink.flush()
            return sink, BURST

        ours = Side(send, prepare)
        pairs = in_turn(benchmark, ours, bare_put(BURST), rounds=BURSTS, units=BURST)
    assert sink.drops() == 0
    name = f"on_call, Drop, bursts of {BURST:,}"
    note(Figure.timed("sinks", name, "ns", pairs, cheapest=PUT))


def bench_on_call_block(benchmark: BenchmarkFixture, note: Note) -> None:
    """Send without a pause: the drain has to keep up, and nothing is lost."""
    with QueueSink(Nowhere(), backpressure=Block()) as sink:
        ours = Side(send, lambda: (sink, EVENTS))
        pairs = in_turn(benchmark, ours, bare_put(EVENTS), rounds=ROUNDS, units=EVENTS)
    stats = sink.stats()
    assert stats.written == stats.accepted
    assert sink.drops() == 0
    name, asked = "on_call, Block, sustained", Asked(700)
    note(Figure.timed("sinks", name, "ns", pairs, cheapest=PUT, asked=asked))


def without_queue(path: Path) -> Side:
    """Return what encodes and writes batches on the thread that has the events."""
    encoder = msgspec.json.Encoder()
    batch = [EVENT] * BATCH

    def work(number: int) -> None:
        for _ in range(EVENTS // BATCH):
            os.write(number, encoder.encode_lines(batch))
        os.close(number)

    def prepare() -> tuple[int]:
        path.unlink(missing_ok=True)
        return (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),)

    return Side(work, prepare)


class Case(NamedTuple):
    """One way of setting up a file of JSON lines."""

    name: str
    capacity: int
    producers: int = 1
    asked: Asked | None = None


CASES = (
    Case("JSON lines, capacity 1,024", 1024, asked=Asked(0.5, "ratio")),
    Case("JSON lines, capacity 16,384", 16_384),
    Case("JSON lines, capacity 1,024, 4 producers", 1024, producers=4),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def bench_json_lines(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path, case: Case
) -> None:
    """A file of JSON lines, from the first call to the last byte; nothing is lost."""
    path = tmp_path / "calls.jsonl"

    def prepare() -> tuple[JsonLinesAuditSink]:
        path.unlink(missing_ok=True)
        made = JsonLinesAuditSink.file(
            str(path), capacity=case.capacity, backpressure=Block(None)
        )
        return (made,)

    def work(sink: JsonLinesAuditSink) -> None:
        send_at_once(sink, EVENTS // case.producers, case.producers)
        sink.close(None)
        assert sink.stats().written == EVENTS

    plain = without_queue(tmp_path / "plain.jsonl")
    pairs = in_turn(benchmark, Side(work, prepare), plain, rounds=ROUNDS, units=EVENTS)

    cheapest = f"encode_lines + write, batches of {BATCH:,}, no queue"
    note(
        Figure.timed(
            "sinks",
            case.name,
            "events/s",
            pairs,
            cheapest=cheapest,
            asked=case.asked,
        )
    )
