"""
Appending: one transaction under the writing lock, all of it or none.

Threads share commits: whoever gets the store's mutex commits everything that waits, one
fsync for all. The process registers itself, and holds its byte of ``.live``, in the
transaction of its first append.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import msgspec

from toolrt.errors import RateLimitedError
from toolrt.event import Event
from toolrt.limits import CallLimits
from toolrt_store import errors, sqlite
from toolrt_store.append import Appender, SwallowedError, WentBackError
from toolrt_store.blocks import full_up_to
from toolrt_store.database import BUSY_TIMEOUT_S
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.liveness import Liveness
from toolrt_store.lock import WriteLock
from toolrt_store.places import Places
from toolrt_store.plain import Call
from toolrt_store.query import id_condition

if TYPE_CHECKING:
    from toolrt_store.checkpoint import SignedCheckpoint
    from toolrt_store.sealing import Sealer

#: Whoever commits the event that completes so many writes a checkpoint; a process that
#: lives long also after so much time.
CHECKPOINT_INTERVAL: Final = 1_024
_CHECKPOINT_AGE_S: Final = 60.0
#: What SQLite calls the two unique indexes: one by its name, one by its column.
_IDENTITY_INDEXES: Final = ("events_by_call", "events.gate")
#: After a failed fsync nobody knows what the disk holds: SQLITE_IOERR_FSYNC and
#: SQLITE_IOERR_DIR_FSYNC (sqlite.org/rescode.html), and SQLITE_IOERR, which is
#: all that pysqlite3 tells.
_LOST_SYNC: Final = (10, 1034, 1290)


class _Request(msgspec.Struct, gc=True):
    """Events that one thread waits to see committed, and what became of them."""

    events: Sequence[Event | Call]
    limits: CallLimits | None = None
    first_seq: int = 0
    #: The events were stored, and the call is over a limit.
    refusal: RateLimitedError | None = None
    error: errors.StoreError | None = None
    is_done: bool = False


class Writer:
    """The writing half of a store; `append` may be called from any thread."""

    def __init__(
        self,
        path: str,
        connection: sqlite.Connection,
        *,
        mutex: threading.Lock,
        dictionary: Dictionary,
        sets: GrantSets,
        lock: WriteLock,
        liveness: Liveness,
        process: str,
        started_us: int,
        before_commit: Callable[[Sequence[Event | Call]], None],
        after_commit: Callable[[int], None],
        sealer: Callable[[], Sealer],
    ) -> None:
        self.path = path
        self._connection = connection
        self._mutex = mutex
        self._dictionary = dictionary
        self._lock = lock
        self._liveness = liveness
        self._process = process
        self._started_us = started_us
        self._before_commit = before_commit
        self._after_commit = after_commit
        self._sealer = sealer
        self._sealed_at_s = time.monotonic()
        self.places = Places(connection, dictionary, liveness)
        self._queue: list[_Request] = []
        self._queue_lock = threading.Lock()
        self._slot: int | None = None
        self._pid = os.getpid()
        self._problem: errors.StoreError | None = None
        #: Committed with the next append: what is no event of its own.
        self.postponed: list[Callable[[], None]] = []
        self.appender = Appender(connection, dictionary, sets)

    def append(
        self,
        events: Sequence[Event | Call],
        *,
        lock_timeout_s: float,
        limits: CallLimits | None = None,
    ) -> int:
        """
        Store *events* durably and return the ``seq`` of the first.

        Args:
            limits: Of the call whose gate event is alone in *events*.

        Raises:
            RateLimitedError: They are stored, and the call is over a limit.
            StoreError: They could not be stored; none was.
        """
        request = _Request(events, limits)
        with self._queue_lock:
            self._queue.append(request)
        try:
            self._wait_for(request, lock_timeout_s)
        finally:
            if not request.is_done:
                self._withdraw(request)
        if request.error is not None:
            raise request.error
        if request.refusal is not None:
            raise request.refusal
        return request.first_seq

    def change(self, lock_timeout_s: float, change: Callable[[], None]) -> None:
        """`transact` under the writing lock. The store's mutex must be held."""
        with self._lock.hold(lock_timeout_s):
            self.transact(change)

    def owes(self) -> bool:
        """Return whether the next commit has more to store than its events."""
        return self._slot is None or bool(self.postponed)

    def locked(self, timeout_s: float) -> AbstractContextManager[None]:
        """Return what holds the writing lock for the body of a ``with`` block."""
        return self._lock.hold(timeout_s)

    def transact(self, change: Callable[[], None]) -> None:
        """
        Make *change*, which may use the appender, in one transaction of its own.

        The store's mutex and the writing lock must be held. Raises `StoreError`.
        """
        self._guarded([], lambda: self._run(change))

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

    def _wait_for(self, request: _Request, timeout_s: float) -> None:
        if not self._mutex.acquire(timeout=timeout_s):
            if self._withdraw(request):
                raise errors.StoreLockedError(self.path, timeout_s)
            # Somebody is committing it this moment.
            self._mutex.acquire()
        try:
            if not request.is_done:
                with self._queue_lock:
                    waiting, self._queue = self._queue, []
                self._commit(waiting, timeout_s)
        finally:
            self._mutex.release()

    def _withdraw(self, request: _Request) -> bool:
        """Take *request* out of the queue, if nobody has yet."""
        with self._queue_lock:
            if request in self._queue:
                self._queue.remove(request)
                return True
        return False

    def _commit(self, requests: list[_Request], timeout_s: float) -> None:
        try:
            self._lock.acquire(timeout_s)
            try:
                self._commit_held(requests)
            finally:
                self._lock.release()
        except errors.StoreError as error:
            for request in requests:
                if not request.is_done:
                    request.error, request.is_done = error, True
        except BaseException:
            # Interrupted: the others' events are still to be committed, by them.
            # Unless the interrupt came after the commit, and before it was noted.
            for request in requests:
                request.is_done = request.is_done or self._is_committed(request)
            with self._queue_lock:
                self._queue[:0] = [one for one in requests if not one.is_done]
            raise

    def _is_committed(self, request: _Request) -> bool:
        """Return whether the events of *request* stand where they were to go."""
        event = msgspec.structs.replace(request.events[0], seq=request.first_seq)
        condition = id_condition(event.id)
        sql = f"SELECT 1 FROM events AS e WHERE e.seq = ? AND {condition.sql}"  # noqa: S608 - of constants
        values = (request.first_seq, *condition.values)
        try:
            return self._connection.execute(sql, values).fetchone() is not None
        except sqlite.Error:
            return False

    def _commit_held(self, requests: list[_Request]) -> None:
        if len(requests) > 1:
            try:
                self._store(requests)
            except (errors.IdentityConflictError, errors.UnstorableEventError):
                pass  # one of them is at fault: each on its own, so that none suffers
            else:
                return
        for request in requests:
            try:
                self._store([request])
            except (errors.IdentityConflictError, errors.UnstorableEventError) as error:
                request.error, request.is_done = error, True

    def _store(self, requests: list[_Request]) -> None:
        events = [event for request in requests for event in request.events]
        self._guarded(events, lambda: self._run(lambda: self._insert(requests, events)))
        for request in requests:
            request.is_done = True

    def _insert(self, requests: list[_Request], events: list[Event | Call]) -> None:
        seq = self.appender.head.seq + 1
        placed: set[str | None] = set()
        for request in requests:
            request.first_seq = seq
            request.refusal = None
            if request.limits is not None:
                event = request.events[0]
                assert isinstance(event, Event)
                assert self._slot is not None
                try:
                    self.places.admit(request.limits, event, seq, self._slot)
                except RateLimitedError as refusal:
                    request.refusal = refusal
                else:
                    placed.add(event.call_id)
            seq += len(request.events)
        self.places.leave(self.appender.append(events, placed))

    def _guarded(
        self, events: Sequence[Event | Call], work: Callable[[], None]
    ) -> None:
        """Do *work*; whatever goes wrong leaves as a StoreError."""
        if self._problem is not None:
            raise self._problem
        try:
            self._before_commit(events)
            work()
        except sqlite.Error as error:
            raise self._translated(events, error) from error
        except (ValueError, OverflowError) as error:
            raise errors.UnstorableEventError(self.path, str(error)) from error
        except SwallowedError as error:
            raise errors.ForeignStoreError(
                self.path, "it swallowed an event"
            ) from error
        except WentBackError as error:
            self._problem = errors.ForeignStoreError(
                self.path, "it was replaced by an older copy while it was open"
            )
            raise self._problem from error

    def _translated(
        self, events: Sequence[Event | Call], error: sqlite.Error
    ) -> errors.StoreError:
        if any(name in str(error) for name in _IDENTITY_INDEXES):
            return errors.IdentityConflictError(self.path, self._conflicting(events))
        found = errors.from_sqlite(self.path, error, waited_s=BUSY_TIMEOUT_S)
        if getattr(error, "sqlite_errorcode", 0) in _LOST_SYNC:
            self._problem = errors.StoreUnavailableError(
                self.path, f"a write did not reach the disk ({error}): open it again"
            )
            return self._problem
        return found

    def _run(self, change: Callable[[], None]) -> None:
        registered = self._slot is not None
        try:
            # Inside: an interrupt right behind it must not leave it open.
            self._connection.execute("BEGIN IMMEDIATE")
            head = self.appender.begin()
            if not registered:
                self._register(head.seq)
            for one in self.postponed:
                one()
            change()
            signed = self._seal_if_due(head.seq)
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back(unregister=not registered)
            raise
        self.postponed.clear()
        self.appender.settle()
        self.places.settle()
        self._after_commit(self.appender.data_version)
        for checkpoint in signed:
            self._sealed_at_s = time.monotonic()
            self._sealer().tell_anchor(checkpoint)

    def _seal_if_due(self, before: int) -> list[SignedCheckpoint]:
        """Write checkpoints if the events after *before* complete 1,024, or one is old."""
        head = self.appender.head.seq
        size = head // CHECKPOINT_INTERVAL * CHECKPOINT_INTERVAL
        if size <= before:
            is_old = time.monotonic() - self._sealed_at_s >= _CHECKPOINT_AGE_S
            if not is_old or head == before:
                return []
            size = head
        now_us = time.time_ns() // 1000
        # Where a block ends there is one as well: only there the record can be cut.
        sizes = {full_up_to(head), size} if full_up_to(head) > before else {size}
        found = [
            self._sealer().try_seal(self.appender, one, now_us) for one in sorted(sizes)
        ]
        return [one for one in found if one is not None]

    def _register(self, head_seq: int) -> None:
        slot = self._dictionary.new_process(
            self._process,
            pid=self._pid,
            started_us=self._started_us,
            first_seq=head_seq,
        )
        # Before the commit: whoever sees the row finds the process alive.
        self._liveness.hold(slot)
        self._slot = slot
        self._dictionary.processes[self._process] = slot

    def _roll_back(self, *, unregister: bool) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            self.appender.forget()
            self.places.forget()
            if unregister and self._slot is not None:
                self._liveness.drop(self._slot)
                self._slot = None
            elif self._slot is not None:
                self._dictionary.processes[self._process] = self._slot

    def _conflicting(self, events: Sequence[Event | Call]) -> str:
        seen = set()
        for event in events:
            if event.id in seen or self._is_stored(event):
                return event.id
            seen.add(event.id)
        # It was removed since, which only a retention run can do.
        return "unknown"

    def _is_stored(self, event: Event | Call) -> bool:
        condition = id_condition(event.id)
        sql = f"SELECT 1 FROM events AS e WHERE {condition.sql}"  # noqa: S608 - of constants
        return self._connection.execute(sql, condition.values).fetchone() is not None
