"""
What is looked at before every commit, and where a record goes that no commit took.

Nothing is written to files that are not the store's any more, and no call is let in when
the record of its end might find no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from toolrt.event import Event
from toolrt_store import errors
from toolrt_store.files import require_space
from toolrt_store.generation import Generation
from toolrt_store.rows import Call
from toolrt_store.spool import Spool

DEFAULT_RESERVE: Final = 32 * 1024 * 1024
_FEWEST_SLOTS: Final = 4


class Guard:
    """The surroundings of one open store. Used under its mutex, but for `save`."""

    def __init__(self, path: str, spool: Spool, reserve: int) -> None:
        self._path = path
        self._spool = spool
        self._reserve = reserve
        self._generation = Generation.of(path)
        #: Whether the spool holds something, as far as is known here.
        self.has_spooled = not spool.is_empty()

    def check(self, events: Sequence[Event | Call]) -> None:
        """
        Check that *events* may be written.

        Raises:
            StoreUnavailableError: Other files stand in place of the store's; or gate
                events are among them, and the disk or the spool is nearly full.
        """
        self._generation.check()
        if any(event.kind == "gate" for event in events):
            require_space(self._path, self._reserve)
            if self.has_spooled and self._spool.free_slots() < _FEWEST_SLOTS:
                raise errors.StoreUnavailableError(
                    self._path, "its emergency spool is full: make room, open it again"
                )

    def save(self, events: Sequence[Event], error: errors.StoreError) -> None:
        """
        Put *events*, which *error* kept from the store, into the spool.

        Raises:
            RecordSpooledError: Always, unless they could not be kept: then *error*.
        """
        try:
            for event in events:
                self._spool.put(msgspec.json.encode(event))
        except errors.StoreError as failed:
            error.add_note(f"nor could the emergency spool take it: {failed}")
            raise error from failed
        self.has_spooled = True
        raise errors.RecordSpooledError(self._path, error.problem) from error

    def spooled(self) -> list[tuple[int, Event]]:
        """Return what waits in the spool: slot and event. What is torn stays there."""
        found = []
        for slot, data in self._spool.records():
            try:
                found.append((slot, msgspec.json.decode(data, type=Event)))
            except (msgspec.MsgspecError, ValueError):
                continue
        return found

    def clear(self, slots: Sequence[int]) -> None:
        """Free *slots*, whose events are stored now."""
        self._spool.clear(slots)
        self.has_spooled = not self._spool.is_empty()
