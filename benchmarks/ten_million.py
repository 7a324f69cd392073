"""
A store of 10,000,000 events: what a question, a verification and an append cost then.

    python benchmarks/ten_million.py DIRECTORY [EVENTS]

Builds the store once (some minutes, 1.2 GB) and measures it each time it is run. Times
are medians; the fresh rate is that of a store with a block of events, in the same run.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mix import CALLERS, events

from toolrt.event import Event, EventFilter, PageRequest
from toolrt_store import SqliteEventStore

BATCH = 10_000
APPENDED = 20


def build(path: Path, count: int) -> None:
    """Make the store at *path*, or go on with one that was begun."""
    with SqliteEventStore.open(path) as store:
        done = store.coverage().events
        if done >= count:
            return
        print(f"building {count:,} events, {done:,} are there", flush=True)
        source = events(store.process, seed=done, first=done)
        began = time.perf_counter()
        while done < count:
            store.append_events(list(itertools.islice(source, BATCH)))
            done += BATCH
        print(f"built in {time.perf_counter() - began:.0f} s")
        store.checkpoint()


def median_ms(ask: Callable[[], object], rounds: int = 15) -> float:
    """Return the median time of *ask*, in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return sorted(times)[rounds // 2] * 1e3


def append_rate(store: SqliteEventStore, source: Iterator[Event]) -> float:
    """Return how many events a second are appended in batches of 1,000."""
    times = []
    for _ in range(APPENDED):
        batch = list(itertools.islice(source, 1_000))
        began = time.perf_counter()
        store.append_events(batch)
        times.append(time.perf_counter() - began)
    return 1_000 / sorted(times)[APPENDED // 2]


def main(directory: str, count: int) -> None:
    """Build the store and print the figures."""
    path = Path(directory) / "ten_million.db"
    build(path, count)
    with SqliteEventStore.open(path) as store:
        total = store.coverage().events
        print(f"{total:,} events, {os.stat(path).st_size / total:.1f} bytes each")
        caller = CALLERS[7]
        mine = EventFilter(callers=(caller,))
        cap = "area7:read"
        deep = total - 1_000 * 50
        for name, ask in (
            (
                "last 20 of a caller",
                lambda: store.query_events(mine, PageRequest(0, 20)),
            ),
            ("use of a capability", lambda: store.usage(caller, cap)),
            (
                "page 1,000 deep",
                lambda: store.query_events(page=PageRequest(limit=50, before_seq=deep)),
            ),
            (
                "one attempt by call id",
                lambda: store.get_attempt(
                    store.query_events(mine).items[0].call_id or ""
                ),
            ),
            ("count of a caller", lambda: store.count_events(mine)),
            (
                "events of a window of 10 s",
                lambda: store.count_events(_window(store, total)),
            ),
        ):
            print(f"{name}: {median_ms(ask):.2f} ms")
        now = append_rate(store, events(store.process, seed=total, first=total))
        with tempfile.TemporaryDirectory(dir=directory) as fresh_directory:
            fresh_path = Path(fresh_directory) / "fresh.db"
            with SqliteEventStore.open(fresh_path) as fresh:
                source = events(fresh.process)
                fresh.append_events(list(itertools.islice(source, 5_000)))
                rate = append_rate(fresh, source)
        print(f"append: {now:,.0f} events/s, {now / rate:.2f} of a fresh store")
        began = time.perf_counter()
        found = store.verify()
        took = time.perf_counter() - began
        print(f"verify: {found.events / took:,.0f} events/s, intact: {found.is_intact}")


def _window(store: SqliteEventStore, total: int) -> EventFilter:
    middle = store.query_events(page=PageRequest(limit=1, before_seq=total // 2)).items[
        0
    ]
    at = middle.created_at_us
    return EventFilter(after=at, before=at + 10_000_000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000)
