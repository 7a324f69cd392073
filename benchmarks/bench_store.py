"""
The store's append and its size, with the cheapest equivalent beside each.

The equivalents write the very rows that the store writes, into a database of the same
schema with the same pragmas, with nothing around them: no lock file, no codec, no names,
no chain to compute. The sides are taken in turn, so that the disk treats them alike.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mix import attempts
from mix import events as mixed
from pytest_benchmark.fixture import BenchmarkFixture

from toolrt.audit.call_event import CallEvent
from toolrt.event import CallDetails, Event
from toolrt_store import SqliteEventStore, rows

BATCH = 1_000
ROUNDS = 60
SINGLES = 500

Row = tuple[Any, ...]
_INSERT = f"INSERT INTO events VALUES ({', '.join('?' * rows.COLUMN_COUNT)})"
_INSERT_TEXT = "INSERT INTO texts (seq, field, salt, text) VALUES (?, ?, ?, ?)"


def gates(process: str, first: int) -> Iterator[Event]:
    """Yield gate events only."""
    return (one for one in mixed(process, first=first) if one.kind == "gate")


class BareWriter:
    """Writes prepared rows into the tables of a store, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteEventStore.open(path)
        self._connection = self.store._connection

    def write(self, found: list[Row], texts: list[Row]) -> None:
        """Commit the rows durably."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, found)
        if texts:
            self._connection.executemany(_INSERT_TEXT, texts)
        self._connection.execute("COMMIT")


def rows_after(store: SqliteEventStore, seq: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of *store* above *seq*, and their texts."""
    ask = store._connection.execute
    return (
        ask("SELECT * FROM events WHERE seq > ?", (seq,)).fetchall(),
        ask(
            "SELECT seq, field, salt, text FROM texts WHERE seq > ?", (seq,)
        ).fetchall(),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEventStore]:
    """A store that knows the names already."""
    with SqliteEventStore.open(tmp_path / "audit.db") as opened:
        opened.append_events(list(itertools.islice(mixed(opened.process), 5_000)))
        yield opened


@pytest.fixture
def bare(store: SqliteEventStore, tmp_path: Path) -> Iterator[BareWriter]:
    """The cheapest equivalent, its tables as full as those of the store."""
    writer = BareWriter(tmp_path / "bare.db")
    writer.write(*rows_after(store, 0))
    yield writer
    writer.store.close()


@pytest.mark.benchmark(group="one durable gate event")
def bench_append_event(benchmark: BenchmarkFixture, store: SqliteEventStore) -> None:
    """One gate event, durable when append_event returns."""
    source = gates(store.process, 10_000)
    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(store.append_event, setup=lambda: ((next(source),), {}), rounds=SINGLES)


@pytest.mark.benchmark(group="batches of 1,000")
def bench_append_events(benchmark: BenchmarkFixture, store: SqliteEventStore) -> None:
    """A thousand events in one commit."""
    source = mixed(store.process, first=10_000)
    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(
        store.append_events,
        setup=lambda: ((list(itertools.islice(source, BATCH)),), {}),
        rounds=ROUNDS,
    )


def bench_ratios(store: SqliteEventStore, bare: BareWriter) -> None:
    """Print what an append costs, as a multiple of the bare insert."""
    one = _in_turn(store, bare, gates(store.process, 10_000), size=1, rounds=SINGLES)
    print(f"\none durable gate event: {one[0] / one[1]:.2f} x a bare durable commit")
    for name, append, source in (
        ("any events", store.append_events, mixed(store.process, first=50_000)),
        ("CallEvents of a sink", store.append_calls, pairs(store, 200_000)),
    ):
        many = _in_turn(store, bare, source, size=BATCH, rounds=ROUNDS, append=append)
        print(
            f"batches of {BATCH}, {name}: {many[1] / many[0]:.2f} of the rate of"
            f" executemany ({many[0] / BATCH * 1e6:.1f} us an event against"
            f" {many[1] / BATCH * 1e6:.1f})"
        )


def pairs(
    store: SqliteEventStore, first: int
) -> Iterator[tuple[CallEvent, CallDetails]]:
    """Yield CallEvents with their details, each after its gate event was stored."""
    ended = (found for found in attempts(store.process, first=first) if len(found) > 1)
    while True:
        some = list(itertools.islice(ended, BATCH))
        store.append_events([gate for gate, _ in some])
        for _, call in some:
            assert call.details is not None
            yield msgspec.convert(call.payload, CallEvent), call.details


def _in_turn(
    store: SqliteEventStore,
    bare: BareWriter,
    source: Iterator[Any],
    *,
    size: int,
    rounds: int,
    append: Callable[[list[Any]], object] | None = None,
) -> tuple[float, float]:
    """Return the median times of appending *size* events, and of their bare rows."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        copied = store.coverage().events
        batch = list(itertools.islice(source, size))
        head = store.coverage().events
        if head > copied:  # gate events, stored to make the batch
            bare.write(*rows_after(store, copied))
        began = time.perf_counter()
        if append is None:
            store.append_event(batch[0])
        else:
            append(batch)
        times[0].append(time.perf_counter() - began)
        found, texts = rows_after(store, head)
        began = time.perf_counter()
        bare.write(found, texts)
        times[1].append(time.perf_counter() - began)
    return sorted(times[0])[rounds // 2], sorted(times[1])[rounds // 2]


def bench_busy_main(store: SqliteEventStore) -> None:
    """Print what a queued sink stores while the main thread computes, and what it costs."""
    # Without their gate events: so many are never in flight at once.
    ended = (found for found in attempts(store.process, first=500_000) if found[1:])
    waiting = [
        (msgspec.convert(call.payload, CallEvent), call.details)
        for _, call in itertools.islice(ended, 200 * BATCH)
    ]
    alone = _spin(1.0)
    sink = store.sink(capacity=65_536)
    known, waiting = waiting[: 10 * BATCH], waiting[10 * BATCH :]
    for event, told in known:  # the names in them are looked up once
        sink.on_record(event, told)
    sink.flush(60.0)

    def feed() -> None:
        began = time.perf_counter()
        for number in range(0, len(waiting), 600):
            for event, told in waiting[number : number + 600]:
                sink.on_record(event, told)
            time.sleep(max(0.0, began + (number + 600) / 30_000 - time.perf_counter()))

    feeder = threading.Thread(target=feed)
    feeder.start()
    _spin(2.0)  # until the batches have the size that this load gives them
    before = sink.stats().written
    kept = _spin(4.0) / 4.0 / alone
    stored = (sink.stats().written - before) / 4.0
    feeder.join()
    sink.close(60.0)

    print(f"\na busy main thread: {stored:,.0f} events/s stored of 30,000 given")
    print(f"it keeps {kept:.2f} of its speed")


def _spin(seconds: float) -> int:
    """Return how far a thread counts in so many seconds."""
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(1_000):
            count += 1
    return count


def bench_size(tmp_path: Path) -> None:
    """Print how many bytes an event takes, with chain, indexes and checkpoints."""
    path = tmp_path / "size.db"
    count = 100_000
    with SqliteEventStore.open(path) as store:
        source = mixed(store.process)
        for _ in range(count // BATCH):
            store.append_events(list(itertools.islice(source, BATCH)))

    print(f"\n{path.stat().st_size / count:.1f} bytes an event, of {count:,}")
