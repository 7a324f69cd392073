"""The store's append and its size, with the cheapest equivalent beside each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bare import BareWriter, Row, rows_after
from busy import Busy, feed_and_count
from figures import Asked, Figure
from mix import attempts
from mix import events as mixed
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn

from toolrt.audit.call_event import CallEvent
from toolrt.event import CallDetails, Event
from toolrt_store import SqliteEventStore, sqlite

Note = Callable[[Figure], None]

BATCH = 1_000
ROUNDS = 60
SINGLES = 500
SIZED = 100_000


def gates(process: str, first: int) -> Iterator[Event]:
    """Yield gate events only."""
    return (one for one in mixed(process, first=first) if one.kind == "gate")


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


def again(store: SqliteEventStore, bare: BareWriter) -> Side:
    """Return the side that writes the rows that the store has just written."""
    copied = store.coverage().events

    def new_rows() -> tuple[list[Row], list[Row]]:
        nonlocal copied
        found = rows_after(store, copied)
        copied = store.coverage().events
        return found

    return Side(bare.write, new_rows)


def bench_append_event(
    benchmark: BenchmarkFixture, note: Note, store: SqliteEventStore, bare: BareWriter
) -> None:
    """One gate event, durable when append_event returns."""
    source = gates(store.process, 10_000)
    ours = Side(store.append_event, lambda: (next(source),))
    pairs = in_turn(benchmark, ours, again(store, bare), rounds=SINGLES)
    name, cheapest = "one durable gate event", "the same row, committed durably"
    asked = Asked(1.3, "ratio")
    note(Figure.timed("store", name, "us", pairs, cheapest=cheapest, asked=asked))


def bench_append_events(
    benchmark: BenchmarkFixture, note: Note, store: SqliteEventStore, bare: BareWriter
) -> None:
    """A thousand events in one commit."""
    source = mixed(store.process, first=50_000)
    ours = Side(store.append_events, lambda: (list(itertools.islice(source, BATCH)),))
    pairs = in_turn(benchmark, ours, again(store, bare), rounds=ROUNDS, units=BATCH)
    note(_batches("any events", pairs))


def bench_append_calls(
    benchmark: BenchmarkFixture, note: Note, store: SqliteEventStore, bare: BareWriter
) -> None:
    """A thousand CallEvents of a sink in one commit, their gate events stored before."""
    source = calls(store, 200_000)
    side = again(store, bare)

    def prepare() -> tuple[list[tuple[CallEvent, CallDetails]]]:
        batch = list(itertools.islice(source, BATCH))
        bare.write(*side.prepare())  # the gate events, stored to make the batch
        return (batch,)

    ours = Side(store.append_calls, prepare)
    pairs = in_turn(benchmark, ours, side, rounds=ROUNDS, units=BATCH)
    note(_batches("CallEvents of a sink", pairs))


def _batches(what: str, pairs: list[tuple[float, float]]) -> Figure:
    return Figure.timed(
        "store",
        f"batches of {BATCH:,}, {what}",
        "events/s",
        pairs,
        cheapest="executemany of the same rows",
        asked=Asked(0.75, "ratio"),
    )


def calls(
    store: SqliteEventStore, first: int
) -> Iterator[tuple[CallEvent, CallDetails]]:
    """Yield CallEvents with their details, each after its gate event was stored."""
    ended = (found for found in attempts(store.process, first=first) if len(found) > 1)
    while True:
        some = list(itertools.islice(ended, BATCH))
        store.append_events([gate for gate, _ in some])
        yield from (_call(call) for _, call in some)


def _call(event: Event) -> tuple[CallEvent, CallDetails]:
    assert event.details is not None
    return msgspec.convert(event.payload, CallEvent), event.details


@pytest.mark.parametrize("own_process", [True, False])
def bench_busy_main(
    benchmark: BenchmarkFixture,
    note: Note,
    store: SqliteEventStore,
    own_process: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What a queued sink stores while the main thread computes, and what it costs."""
    # Without their gate events: so many are never in flight at once.
    ended = (found for found in attempts(store.process, first=500_000) if found[1:])
    waiting = [_call(call) for _, call in itertools.islice(ended, 200 * BATCH)]
    found: list[Busy] = []
    pedantic: Callable[..., Any] = benchmark.pedantic
    pedantic(
        lambda: found.append(feed_and_count(store, waiting, own_process=own_process)),
        rounds=1,
    )

    stored, speed = Asked(30_000), Asked(0.75, "ratio")
    for name, unit, pair, asked, cheapest in (
        (
            *("stored, main thread busy", "events/s", found[0].stored, stored),
            "what was given to the sink",
        ),
        (
            *("speed that thread keeps", "counts/s", found[0].counted, speed),
            "the same thread, alone",
        ),
    ):
        note(
            Figure.of(
                "store",
                name if own_process else f"{name}, no process for it",
                unit,
                [pair],
                cheapest=cheapest,
                better="more",
                asked=asked if own_process else None,
            )
        )


def bench_size(benchmark: BenchmarkFixture, note: Note, tmp_path: Path) -> None:
    """How many bytes an event takes, with chain, indexes and checkpoints."""
    path, plain = tmp_path / "size.db", tmp_path / "plain.db"

    def fill() -> None:
        with SqliteEventStore.open(path) as store:
            source = mixed(store.process)
            for _ in range(SIZED // BATCH):
                store.append_events(list(itertools.islice(source, BATCH)))

    pedantic: Callable[..., Any] = benchmark.pedantic
    pedantic(fill, rounds=1)
    _copy_plain(path, plain)
    sizes = (path.stat().st_size / SIZED, plain.stat().st_size / SIZED)
    cheapest = "the rows alone: no chain, no index"
    note(
        Figure.of(
            "store",
            f"an event, of {SIZED:,}",
            "bytes",
            [sizes],
            cheapest=cheapest,
            asked=Asked(128),
        )
    )


def _copy_plain(path: Path, plain: Path) -> None:
    """Copy the events of a store into a database that holds nothing else."""
    connection = sqlite.connect(str(path))
    names = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    columns = ", ".join(name for name in names if name != "chain")
    connection.execute("ATTACH ? AS plain", (str(plain),))
    connection.execute(
        f"CREATE TABLE plain.events AS SELECT {columns} FROM main.events"
    )
    connection.commit()
    connection.close()
