"""
What a sink costs a call, and what it writes, each beside the cheapest equivalent.

    python benchmarks/bench_sinks.py [EVENTS] [ROUNDS]

Figure and equivalent are measured in turn, in one run; the best round of each counts, for
a round that was disturbed says nothing of the code.
"""

from __future__ import annotations

import os
import platform
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from toolrt import (
    Block,
    CallEvent,
    CapProvenance,
    Drop,
    JsonLinesAuditSink,
    QueueSink,
    Success,
    UcanChain,
)

_DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
EVENT = CallEvent(
    "2026-01-01T00:00:00.000000+00:00",
    "01KDVEXAMPLE0000000000000A",
    "std:fs.read",
    12,
    Success(),
    "warm",
    caller_id=_DID,
    granted_capabilities=("fs:read", "fs:write", "net:fetch"),
    capability_provenance=(CapProvenance("fs:read", UcanChain(_DID, 1)),),
)
BATCH = 1_000
#: Between bursts that just fill a queue, the time to write them out.
BURST = 1_000

Measured = Callable[[int], float]


class Nowhere:
    """A writer that costs nothing."""

    def write(self, events: Sequence[CallEvent]) -> None:
        """Write nothing."""


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def send(sink: QueueSink, count: int) -> None:
    on_call = sink.on_call
    for _ in range(count):
        on_call(EVENT)


def bare_put(count: int) -> float:
    """Put into a SimpleQueue that nobody bounds, drains or counts."""
    put = queue.SimpleQueue[CallEvent]().put

    def work() -> None:
        for _ in range(count):
            put(EVENT)

    return seconds(work) / count


def sustained(count: int) -> float:
    """Send without a pause, with Block: the drain has to keep up."""
    with QueueSink(Nowhere(), backpressure=Block()) as sink:
        taken = seconds(lambda: send(sink, count)) / count
    assert sink.stats().written == count
    return taken


def in_bursts(count: int) -> float:
    """Send what the queue can hold, then let it be written; only the sending counts."""
    taken = 0.0
    with QueueSink(Nowhere(), backpressure=Drop()) as sink:
        for _ in range(count // BURST):
            taken += seconds(lambda: send(sink, BURST))
            sink.flush()
    assert sink.drops() == 0
    return taken / (count // BURST * BURST)


def without_queue(count: int) -> float:
    """Encode and write batches on the thread that has the events."""
    encoder = msgspec.json.Encoder()
    batch = [EVENT] * BATCH
    with temporary() as path:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

        def work() -> None:
            for _ in range(count // BATCH):
                os.write(number, encoder.encode_lines(batch))

        taken = seconds(work)
        os.close(number)
    return taken / (count // BATCH * BATCH)


def json_lines(capacity: int, producers: int = 1) -> Measured:
    """Return what measures a file of JSON lines, from the first call to the last byte."""

    def measure(count: int) -> float:
        each = count // producers
        with temporary() as path:
            sink = JsonLinesAuditSink.file(
                path, capacity=capacity, backpressure=Block(None)
            )
            threads = [
                threading.Thread(target=send, args=(sink, each))
                for _ in range(producers)
            ]

            def work() -> None:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                sink.close(None)

            taken = seconds(work if producers > 1 else lambda: _alone(sink, each))
        stats = sink.stats()
        assert stats.written == stats.accepted == each * producers
        return taken / (each * producers)

    return measure


def _alone(sink: QueueSink, count: int) -> None:
    send(sink, count)
    sink.close(None)


@contextmanager
def temporary() -> Iterator[str]:
    """Give a path in a directory of its own, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "calls.jsonl")


def best(count: int, rounds: int, measured: Sequence[Measured]) -> list[float]:
    """Return the best time an event of each, all measured in turn."""
    taken = [[measure(count) for measure in measured] for _ in range(rounds)]
    return [min(times) for times in zip(*taken, strict=True)]


def report(count: int, rounds: int) -> Iterator[str]:
    """Yield the lines of the report."""
    release = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    size = len(EVENT.to_json()) + 1
    yield f"{release}; {count:,} events of {size} bytes, best of {rounds} rounds"
    put, burst, block = best(count, rounds, [bare_put, in_bursts, sustained])
    yield _line("SimpleQueue.put: no bound, no drain", put, put, "")
    yield _line(f"on_call, Drop, bursts of {BURST:,}", burst, put, "")
    yield _line("on_call, Block, sustained", block, put, "limit 700 ns")
    small, large = json_lines(1024), json_lines(16_384)
    plain, default, deep = best(count, rounds, [without_queue, small, large])
    yield _line("encode_lines + write, no queue", plain, plain, "")
    yield _line("JSON lines, capacity 1,024", default, plain, "limit 2 times")
    yield _line("JSON lines, capacity 16,384", deep, plain, "limit 2 times")
    crowds = (1, 2, 4, 8, 16)
    times = best(count, rounds, [without_queue, *(json_lines(1024, n) for n in crowds)])
    for producers, taken in zip(crowds, times[1:], strict=True):
        yield _line(f"JSON lines, {producers} producers", taken, times[0], "")


def _line(name: str, taken: float, cheapest: float, limit: str) -> str:
    """Return one figure: time and rate of an event, times of the cheapest, its limit."""
    rate = f"{taken * 1e9:6.0f} ns {1 / taken:12,.0f}/s"
    return f"{name:36} {rate} {taken / cheapest:6.2f} times  {limit}".rstrip()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    for line in report(*(numbers + [100_000, 5][len(numbers) :])):
        print(line, flush=True)
