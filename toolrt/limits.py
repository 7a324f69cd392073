"""
Limits: calls in flight, calls in a window of time.

Nothing here waits: a call that does not fit is refused with the time to retry. `Limiter`
counts in one process; a store that is a `LimitingStore` decides over all processes that
share it, in the transaction that writes the gate event.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from toolrt.errors import RateLimitedError

if TYPE_CHECKING:
    from toolrt.event import Event

_MINUTE_NS: Final = 60_000_000_000


class Window(msgspec.Struct, frozen=True):
    """At most `count` calls under `key` in any `span_ns` nanoseconds."""

    key: tuple[str, ...]
    count: int
    span_ns: int
    #: What the caller is told it ran into.
    name: str


class CallLimits(msgspec.Struct, frozen=True):
    """
    What limits one call: its tool's ``max_concurrent``, 0 for none, and its windows.

    Every one of them must have room.
    """

    tool_id: str
    max_concurrent: int
    windows: tuple[Window, ...] = ()


@runtime_checkable
class LimitingStore(Protocol):
    """An EventStore that also decides on limits, over all processes that share it."""

    def append_event_within(self, event: Event, limits: CallLimits) -> Event:
        """
        Store the gate event *event* durably and count its call in.

        The call is in flight until its call event is stored, or its process is gone.

        Raises:
            RateLimitedError: The event is stored, and the call does not fit: it counts
                nowhere.
            ToolrtError: Nothing was stored or counted.
        """


def per_minute(tool_id: str, caller: str | None, count: int) -> Window:
    """Return the window of a tool's ``rate_limit_per_min`` for one caller."""
    key = ("tool", tool_id, caller or "")
    return Window(key, count, _MINUTE_NS, f"{tool_id}: {count} a minute")


class Limiter:
    """Counts calls. Thread-safe; one for each registry."""

    def __init__(self) -> None:
        # Reentrant: a signal handler that makes a call may interrupt one.
        self._lock = RLock()
        self._in_flight: dict[str, int] = {}
        self._admitted: dict[tuple[str, ...], deque[int]] = {}

    def admit(self, limits: CallLimits, now_ns: int) -> None:
        """
        Count a call in, or refuse it and count nothing.

        Args:
            now_ns: A monotonic clock, in nanoseconds.

        Raises:
            RateLimitedError: ``retry_after_ms`` is None where only the end of another
                call makes room.
        """
        tool_id, max_concurrent = limits.tool_id, limits.max_concurrent
        windows = limits.windows
        with self._lock:
            flying = self._in_flight.get(tool_id, 0)
            if max_concurrent and flying >= max_concurrent:
                limit = f"{tool_id}: {max_concurrent} at once"
                raise RateLimitedError(None, limit=limit)
            for window in windows:
                self._require_room(window, now_ns)
            for window in windows:
                self._admitted.setdefault(window.key, deque()).append(now_ns)
            if max_concurrent:
                self._in_flight[tool_id] = flying + 1

    def release(self, tool_id: str, max_concurrent: int) -> None:
        """Count a call out that `admit` counted in."""
        if max_concurrent:
            with self._lock:
                self._in_flight[tool_id] -= 1

    def _require_room(self, window: Window, now_ns: int) -> None:
        times = self._admitted.get(window.key)
        if times is None:
            return
        while times and times[0] <= now_ns - window.span_ns:
            times.popleft()
        if not times:
            del self._admitted[window.key]
        if len(times) >= window.count:
            wait_ns = times[-window.count] + window.span_ns - now_ns
            raise RateLimitedError(-(-wait_ns // 1_000_000), limit=window.name)
