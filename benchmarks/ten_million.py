"""
A store of 10,000,000 events: what a question, a verification and an append cost then.

    python benchmarks/ten_million.py DIRECTORY [EVENTS] [--into FILE]

Builds the store once (some minutes, 1.2 GB), and beside it a plain copy of its rows (3 GB)
each time it is run. The fresh rate is that of a store with 5,000 events, in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Asked, Figure, Pair, Run, rows, save, text_table
from full_store import PLAIN, Plain, build, questions
from machine import machine
from mix import events
from turns import alternately, seconds

from toolrt.event import Event
from toolrt_store import SqliteEventStore

BATCH = 1_000
APPENDED = 20
ROUNDS = 15
ASKED = {"last 20 of a caller": 5.0, "explain, the store opened": 20.0}
_SUITE = "ten million"


def asked_figures(store: SqliteEventStore, plain: Plain) -> Iterator[Figure]:
    """Yield what each question costs, beside the cheapest way to ask it."""
    cheapest = plain.questions()
    for name, ask in questions(store).items():
        both = [lambda ask=ask: seconds(ask), lambda ask=cheapest[name]: seconds(ask)]
        ours, limit = alternately(both, ROUNDS)
        pairs = list(zip(ours, limit, strict=True))
        asked = Asked(ASKED[name]) if name in ASKED else None
        yield Figure.timed(_SUITE, name, "ms", pairs, cheapest=PLAIN, asked=asked)


def append_figure(store: SqliteEventStore, directory: str) -> Figure:
    """Return the rate of appends, beside that of a store with few events."""
    total = store.coverage().events
    grown = events(store.process, seed=total, first=total)
    with (
        tempfile.TemporaryDirectory(dir=directory) as home,
        SqliteEventStore.open(Path(home) / "fresh.db") as fresh,
    ):
        source = events(fresh.process)
        fresh.append_events(list(itertools.islice(source, 5_000)))
        pairs = [
            (_append(store, grown), _append(fresh, source)) for _ in range(APPENDED)
        ]
    name, cheapest = f"append, batches of {BATCH:,}", "a store of 5,000 events"
    asked = Asked(0.5, "ratio")
    return Figure.timed(_SUITE, name, "events/s", pairs, cheapest=cheapest, asked=asked)


def _append(store: SqliteEventStore, source: Iterator[Event]) -> float:
    batch = list(itertools.islice(source, BATCH))
    return seconds(store.append_events, batch) / BATCH


def verify_figure(store: SqliteEventStore, plain: Plain) -> Figure:
    """Return the rate of a verification of everything."""
    total = store.coverage().events
    began = time.perf_counter()
    found = store.verify()
    ours = (time.perf_counter() - began) / found.events
    if not found.is_intact:
        raise RuntimeError(f"{store.path} is not intact")
    pairs: list[Pair] = [(ours, seconds(plain.hash_all) / total)]
    cheapest = "read the rows, one SHA-256 over each"
    asked = Asked(200_000)
    return Figure.timed(
        _SUITE, "verify", "events/s", pairs, cheapest=cheapest, asked=asked
    )


def size_figure(store: SqliteEventStore) -> Figure:
    """Return the bytes of one event, with all that the store keeps beside it."""
    total = store.coverage().events
    size = os.stat(store.path).st_size / total
    name = f"an event, of {total:,}"
    return Figure(suite=_SUITE, name=name, unit="bytes", ours=size, asked=Asked(128))


def main() -> None:
    """Build what is not there, measure, print and save."""
    parser = argparse.ArgumentParser(description="a store of 10,000,000 events")
    parser.add_argument("directory")
    parser.add_argument("events", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--into", type=Path, help="write the figures there, as JSON")
    words = parser.parse_args()
    path = build(Path(words.directory), words.events)
    plain = Plain(path)
    with SqliteEventStore.open(path) as store:
        figures = [
            size_figure(store),
            *asked_figures(store, plain),
            verify_figure(store, plain),
            append_figure(store, words.directory),
        ]
    plain.close()
    print(text_table(rows(figures)))
    if words.into is not None:
        save(words.into, Run(machine(), tuple(figures)))


if __name__ == "__main__":
    main()
