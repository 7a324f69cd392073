"""
Limits across processes, decided in the transaction that writes the gate event.

A call in flight holds a place until its end is committed or its process is gone; an
admitted call counts in a window of time. Both tables hold what is in force now and are
no part of the record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from toolrt.errors import RateLimitedError
from toolrt.event import Event
from toolrt.limits import CallLimits, Window
from toolrt_store import sqlite
from toolrt_store.dictionary import Dictionary
from toolrt_store.liveness import Liveness

#: Nobody knows when a call in flight ends; a caller in another process cannot wait for
#: it, and is told to ask again after this.
_RETRY_MS: Final = 1_000
_TAKEN: Final = "SELECT seq, process FROM places WHERE tool = ?"
_TAKE: Final = "INSERT INTO places (seq, tool, process) VALUES (?, ?, ?)"
_ALL_TAKEN: Final = "SELECT seq FROM places"
_LEAVE: Final = "DELETE FROM places WHERE seq = ?"
# A clock that was set back leaves admissions in the future; those of another age go.
_EXPIRE: Final = "DELETE FROM admissions WHERE key = ? AND (at_us <= ? OR at_us > ?)"
_ADMITTED: Final = "SELECT at_us FROM admissions WHERE key = ? ORDER BY at_us"
_ADMIT: Final = "INSERT INTO admissions (key, at_us, seq) VALUES (?, ?, ?)"


class Places:
    """
    The limits of one connection. Used inside a writing transaction only.

    ``ends_others``: calls end here that were let in over another connection.
    """

    def __init__(
        self,
        connection: sqlite.Connection,
        dictionary: Dictionary,
        liveness: Liveness,
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._liveness = liveness
        self.ends_others = False
        self._held: set[int] = set()
        self._taken: set[int] = set()
        self._left: set[int] = set()

    def admit(self, limits: CallLimits, event: Event, seq: int, process: int) -> None:
        """
        Count the call of the gate event *event*, stored at *seq*, in.

        Raises:
            RateLimitedError: It does not fit; nothing was counted.
        """
        at_us = event.created_at_us
        tool = self._dictionary.names[limits.tool_id]
        if limits.max_concurrent:
            self._require_place(limits, tool)
        for window in limits.windows:
            self._require_room(window, at_us)
        for window in limits.windows:
            self._connection.execute(_ADMIT, (_key(window), at_us, seq))
        if limits.max_concurrent:
            self._connection.execute(_TAKE, (seq, tool, process))
            self._taken.add(seq)

    def leave(self, ended: Iterable[int]) -> None:
        """Give the places back of the attempts whose gate events are at *ended*."""
        if self._held or self.ends_others:
            taken = {row[0] for row in self._connection.execute(_ALL_TAKEN)}
            self._held &= taken  # where a call ended elsewhere its place is gone
            left = taken.intersection(ended)
            self._connection.executemany(_LEAVE, [(seq,) for seq in left])
            self._left |= left

    def settle(self) -> None:
        """Keep what is remembered: the transaction has committed."""
        self._held = (self._held | self._taken) - self._left
        self.forget()

    def forget(self) -> None:
        """Forget what the transaction took and gave back: it was rolled back."""
        self._taken.clear()
        self._left.clear()

    def _require_place(self, limits: CallLimits, tool: int) -> None:
        taken = self._connection.execute(_TAKEN, (tool,)).fetchall()
        if len(taken) < limits.max_concurrent:
            return
        live = self._liveness.live_slots()
        dead = [(seq,) for seq, process in taken if process not in live]
        self._connection.executemany(_LEAVE, dead)
        if len(taken) - len(dead) >= limits.max_concurrent:
            limit = f"{limits.tool_id}: {limits.max_concurrent} at once"
            raise RateLimitedError(_RETRY_MS, limit=limit)

    def _require_room(self, window: Window, at_us: int) -> None:
        span_us = window.span_ns // 1000
        key = _key(window)
        self._connection.execute(_EXPIRE, (key, at_us - span_us, at_us + span_us))
        times = [row[0] for row in self._connection.execute(_ADMITTED, (key,))]
        if len(times) >= window.count:
            wait_us = times[-window.count] + span_us - at_us
            raise RateLimitedError(max(1, -(-wait_us // 1000)), limit=window.name)


def _key(window: Window) -> str:
    return "\0".join(window.key)
