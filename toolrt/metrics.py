"""Counters and latency histograms of one registry, per tool and outcome."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec

#: Upper bounds of the histogram's buckets, in milliseconds; the last one has none.
BUCKETS_MS: Final = (1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 60_000)
#: How many ended calls wait until they are added up.
_FRESH: Final = 256


class ToolMetrics(msgspec.Struct, frozen=True):
    """
    The calls of one tool that ended in one way.

    ``outcome`` is the CallEvent's, or ``denied`` or ``error`` where the gate refused.
    ``total_ms`` is the sum of their durations; ``buckets`` counts those of at most
    `BUCKETS_MS` milliseconds each, and then the longer ones.
    """

    tool_id: str
    outcome: str
    count: int
    total_ms: int
    buckets: tuple[int, ...]


class Meter:
    """Counts finished calls. Thread-safe; one for each registry."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], _Cell] = {}

    def count(self, tool_id: str, outcome: str, duration_ms: int) -> None:
        """Count one call that ended."""
        self.counter(tool_id, outcome)(duration_ms)

    def counter(self, tool_id: str, outcome: str) -> Callable[[int], None]:
        """Return what counts the calls of a tool that end so; it takes milliseconds."""
        cell = self._cells.get((tool_id, outcome))
        if cell is None:  # of two threads, one makes the cell that is kept
            cell = self._cells.setdefault((tool_id, outcome), _Cell())
        return cell.count

    def read(self) -> tuple[ToolMetrics, ...]:
        """Return what was counted so far, by tool and outcome."""
        found = (
            (key, *cell.read()) for key, cell in sorted(self._cells.copy().items())
        )
        return tuple(
            ToolMetrics(tool_id, outcome, sum(buckets), total_ms, buckets)
            for (tool_id, outcome), total_ms, buckets in found
            if any(buckets)
        )


class _Cell:
    """The calls of one tool that ended in one way."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._total_ms = 0
        self._buckets = [0] * (len(BUCKETS_MS) + 1)
        self._fresh: list[int] = []

    def count(self, duration_ms: int) -> None:
        # Many are added up at once: a lock and two sums a call take twice as long.
        self._fresh.append(duration_ms)
        # Whoever has the lock adds up, if it is this thread in a signal handler too.
        if len(self._fresh) >= _FRESH and not self._lock.locked():
            with self._lock:
                self._add_up()

    def read(self) -> tuple[int, tuple[int, ...]]:
        """Return the sum of the durations, and how many are in each bucket."""
        with self._lock:
            self._add_up()
            return self._total_ms, tuple(self._buckets)

    def _add_up(self) -> None:
        fresh = self._fresh[:]
        calls_added = len(fresh)
        total_ms, buckets = self._total_ms, self._buckets[:]
        for duration_ms, calls in Counter(fresh).items():
            total_ms += duration_ms * calls
            buckets[bisect_left(BUCKETS_MS, duration_ms)] += calls
        # Nothing is called any more: an interrupt comes before all of it or after.
        # What was appended meanwhile comes after what was copied, and stays.
        self._total_ms, self._buckets = total_ms, buckets
        del self._fresh[:calls_added]
