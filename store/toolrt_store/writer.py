"""
Appending: one transaction under the writing lock, all of it or none.

The sequence is read inside the transaction, so it has no gaps; the process registers
itself, and holds its byte of ``.live``, in the transaction of its first append.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from toolrt.event import Event
from toolrt_store import errors, rows, sqlite
from toolrt_store.database import BUSY_TIMEOUT_S
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.liveness import Liveness
from toolrt_store.lock import WriteLock
from toolrt_store.query import id_condition

_NEXT_SEQ: Final = "SELECT coalesce(max(seq), 0) + 1 FROM events"
_IDENTITY_INDEX: Final = "events_by_call"


class Writer:
    """The writing half of a store. Used under the store's mutex only."""

    def __init__(
        self,
        path: str,
        connection: sqlite.Connection,
        *,
        dictionary: Dictionary,
        sets: GrantSets,
        lock: WriteLock,
        liveness: Liveness,
    ) -> None:
        self._path = path
        self._connection = connection
        self._dictionary = dictionary
        self._sets = sets
        self._lock = lock
        self._liveness = liveness
        self._slot: int | None = None
        self._pid = os.getpid()

    def append(
        self,
        events: Sequence[Event],
        *,
        process: str,
        started_us: int,
        lock_timeout_s: float,
    ) -> int:
        """
        Store *events* durably and return the ``seq`` of the first.

        Raises:
            StoreError: They could not be stored; none was.
        """
        with self._lock.hold(lock_timeout_s):
            try:
                return self._transact(events, process, started_us)
            except sqlite.Error as error:
                if _IDENTITY_INDEX in str(error):
                    event_id = self._conflicting(events)
                    raise errors.IdentityConflictError(self._path, event_id) from error
                raise errors.from_sqlite(
                    self._path, error, waited_s=BUSY_TIMEOUT_S
                ) from error
            except (ValueError, OverflowError) as error:
                raise errors.UnstorableEventError(self._path, str(error)) from error

    def close(self, lock_timeout_s: float) -> None:
        """Close the connection, under the lock if it comes in time."""
        try:
            self._lock.acquire(lock_timeout_s)
        except errors.StoreLockedError:
            # The last connection to close checkpoints; SQLite's own locks still hold.
            self._connection.close()
        else:
            self._connection.close()
            self._lock.release()
        self._lock.close()

    def _transact(self, events: Sequence[Event], process: str, started_us: int) -> int:
        registered = self._slot is not None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if not registered:
                self._register(process, started_us)
            first = self._insert(events)
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back(unregister=not registered)
            raise
        self._dictionary.settle()
        return first

    def _insert(self, events: Sequence[Event]) -> int:
        first: int = self._connection.execute(_NEXT_SEQ).fetchone()[0]
        values = [
            rows.encode(event, seq, self._dictionary, self._sets)
            for seq, event in enumerate(events, first)
        ]
        cursor = self._connection.executemany(rows.INSERT, values)
        # A trigger that swallows a row would raise nothing.
        if cursor.rowcount != len(events):
            raise errors.ForeignStoreError(self._path, "it swallowed an event")
        return first

    def _register(self, process: str, started_us: int) -> None:
        slot = self._dictionary.process_number(process, self._pid, started_us)
        # Before the commit: whoever sees the row finds the process alive.
        self._liveness.hold(slot)
        self._dictionary.processes[process] = self._slot = slot

    def _roll_back(self, *, unregister: bool) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            self._dictionary.forget()
            self._sets.forget()
            if unregister and self._slot is not None:
                self._liveness.drop(self._slot)
                self._slot = None

    def _conflicting(self, events: Sequence[Event]) -> str:
        seen = set()
        for event in events:
            if event.id in seen or self._is_stored(event):
                return event.id
            seen.add(event.id)
        # It was removed since, which only a retention run can do.
        return "unknown"

    def _is_stored(self, event: Event) -> bool:
        condition = id_condition(event.id)
        sql = f"SELECT 1 FROM events AS e WHERE {condition.sql}"
        return self._connection.execute(sql, condition.values).fetchone() is not None
