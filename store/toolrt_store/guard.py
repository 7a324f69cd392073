"""
What is looked at before every commit, and where a record goes that no commit took.

Nothing is written to files that are not the store's any more, and no call is let in when
the record of its end might find no room.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final

import msgspec

from toolrt.event import Event
from toolrt_store import database, errors, sqlite
from toolrt_store.files import require_space
from toolrt_store.generation import Generation
from toolrt_store.plain import Call
from toolrt_store.spool import Spool

DEFAULT_RESERVE: Final = 32 * 1024 * 1024
_FEWEST_SLOTS: Final = 4
#: The disk is asked so often; what a process writes meanwhile is far below any reserve.
_SPACE_AGE_S: Final = 0.02
_HEAD: Final = "SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1"


class Guard:
    """The surroundings of one open store. Used under its mutex, but for `save`."""

    def __init__(
        self, path: str, connection: sqlite.Connection, spool: Spool, reserve: int
    ) -> None:
        self._path = path
        self._connection = connection
        self._spool = spool
        self._reserve = reserve
        self._generation = Generation.of(path)
        #: Whether the spool holds something, as far as is known here.
        self.has_spooled = not spool.is_empty()
        self._checked_space_s = -1.0
        self.note(self._data_version())

    def note(self, version: int) -> None:
        """
        Remember how the files are: what we wrote ourselves is in them.

        Args:
            version: SQLite's data version, as the transaction had it.
        """
        self._version = version
        found, log = self._generation.check()
        self._database = _look_at(found)
        self._log_bytes = 0 if log is None else log.st_size

    def note_commit(self, version: int) -> None:
        """Like `note`, after a commit: of the two files SQLite may have changed one."""
        self._version = version
        # Where it is gone the next check says so.
        with suppress(OSError):
            self._database = _look_at(os.lstat(self._path))

    def check(self, events: Sequence[Event | Call]) -> None:
        """
        Check that *events* may be written.

        Raises:
            ForeignStoreError: Somebody wrote over the store's files.
            StoreUnavailableError: Other files stand in place of the store's; or gate
                events are among them, and the disk or the spool is nearly full.
        """
        self._require_untouched()
        now_s = time.monotonic()
        is_recent = now_s - self._checked_space_s < _SPACE_AGE_S
        if is_recent and not self.has_spooled:
            return
        if any(event.kind == "gate" for event in events):
            if not is_recent:
                require_space(self._path, self._reserve)
                self._checked_space_s = now_s
            if self.has_spooled and self._spool.free_slots() < _FEWEST_SLOTS:
                raise errors.StoreUnavailableError(
                    self._path, "its emergency spool is full: make room, open it again"
                )

    def _require_untouched(self) -> None:
        """
        Look for bytes that came into the files by another way than SQLite's.

        The connection would not notice: it reads what it has read before.
        """
        found, log = self._generation.check()
        log_bytes = 0 if log is None else log.st_size
        # SQLite itself cuts a log that has grown beyond what is kept of it.
        least = min(self._log_bytes, database.LOG_KEPT_BYTES)
        if _look_at(found) == self._database and log_bytes >= least:
            self._log_bytes = log_bytes
            return
        version = self._data_version()
        if version == self._version:
            # Nobody committed since. It may have been a checkpoint, by other tools.
            self._require_same_anew()
        self.note(version)

    def _require_same_anew(self) -> None:
        ask = self._connection.execute
        try:
            with closing(database.open_reader(self._path)) as anew:
                is_same = anew.execute(_HEAD).fetchone() == ask(_HEAD).fetchone()
                found = anew.execute("PRAGMA quick_check(1)").fetchone()[0]
        except (errors.StoreError, sqlite.Error):
            is_same, found = False, ""
        if not is_same or found != "ok":
            raise errors.ForeignStoreError(
                self._path, "it was overwritten while it was open"
            )

    def _data_version(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

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


def _look_at(found: os.stat_result) -> tuple[int, int]:
    """Return size and time of the database."""
    return found.st_size, found.st_mtime_ns
