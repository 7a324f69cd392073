"""Counters and latency histograms of one registry, per tool and outcome."""

from __future__ import annotations

from collections import Counter, deque
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
        self._lock = Lock()
        self._cells: dict[tuple[str, str], list[int]] = {}
        self._fresh: deque[tuple[str, str, int]] = deque()

    def count(self, tool_id: str, outcome: str, duration_ms: int) -> None:
        """Count one call that ended."""
        # Many are added up at once: a lock and two sums a call take twice as long.
        self._fresh.append((tool_id, outcome, duration_ms))
        if len(self._fresh) >= _FRESH:
            with self._lock:
                self._add_up()

    def _add_up(self) -> None:
        # One at a time: what is appended meanwhile is not lost.
        fresh = [self._fresh.popleft() for _ in range(len(self._fresh))]
        for (tool_id, outcome, duration_ms), calls in Counter(fresh).items():
            cell = self._cells.get((tool_id, outcome))
            if cell is None:
                cell = self._cells[tool_id, outcome] = [0] * (len(BUCKETS_MS) + 2)
            cell[0] += duration_ms * calls
            place = next(
                (at for at, most in enumerate(BUCKETS_MS) if duration_ms <= most),
                len(BUCKETS_MS),
            )
            cell[place + 1] += calls

    def read(self) -> tuple[ToolMetrics, ...]:
        """Return what was counted so far, by tool and outcome."""
        with self._lock:
            self._add_up()
            cells = sorted((key, tuple(cell)) for key, cell in self._cells.items())
        return tuple(
            ToolMetrics(tool_id, outcome, sum(buckets), total_ms, buckets)
            for (tool_id, outcome), (total_ms, *buckets_) in cells
            for buckets in [tuple(buckets_)]
        )
