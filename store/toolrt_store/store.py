"""
`SqliteEventStore`: the embedded event store of toolrt.

One SQLite connection behind one mutex. Writers of all processes queue on one lock file;
readers never do.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.audit.sinks import DEFAULT_AUDIT_QUEUE_CAPACITY, BackpressureStrategy
from toolrt.clock import plain_us
from toolrt.event import (
    BatchWriteSummary,
    CallDetails,
    Event,
)
from toolrt.limits import CallLimits
from toolrt.namespace import DEFAULT_NAMESPACE, ActorRef
from toolrt_store import (
    database,
    errors,
    sqlite,
)
from toolrt_store.answers import Answers, translated
from toolrt_store.guard import DEFAULT_RESERVE, Guard
from toolrt_store.lock import WriteLock
from toolrt_store.parts import Opening, Parts
from toolrt_store.plain import Call
from toolrt_store.recovery import is_end_of_attempt, recover, replay
from toolrt_store.redaction import redact
from toolrt_store.retention import Pruned, prune
from toolrt_store.sink import BLOCK, make_sink
from toolrt_store.spool import Spool
from toolrt_store.writer import Writer

if TYPE_CHECKING:
    from toolrt.audit.queue_sink import QueueSink
    from toolrt_store.checkpoint import Checkpoint
    from toolrt_store.sealing import Sealer

DEFAULT_LOCK_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_KEEP_POLICY: Final = (
    "INSERT INTO policies (digest, content) VALUES (?, ?) ON CONFLICT DO NOTHING"
)


class SqliteEventStore(Answers):
    """
    An event store in one SQLite file, shared by any number of processes.

    Made by `open`. Safe to share between threads, not across a fork; `close` is
    idempotent. Every failure is a `StoreError`.

    ``path`` is the absolute path of the database; ``store_id`` 16 random bytes made with
    it; ``args_key`` its key for digests of arguments; ``process`` the ULID by which it
    knows this process.
    """

    def __init__(
        self,
        path: str,
        connection: sqlite.Connection,
        *,
        now_us: int,
        group: str | None = None,
    ) -> None:
        super().__init__(path, connection, now_us=now_us, group=group)
        self._started_us = now_us
        self._writer: Writer | None = None
        self._guard: Guard | None = None
        self._sealer_made: Sealer | None = None
        self._anchor: str | None = None
        self._opening: Opening | None = None
        self._lock_timeout_s = DEFAULT_LOCK_TIMEOUT_S

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: database.Durability = "full",
        read_only: bool = False,
        lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
        group: str | None = None,
        reserve: int = DEFAULT_RESERVE,
        anchor: str | None = None,
    ) -> Self:
        """
        Return the store at *path*; one is made if there is none, unless *read_only*.

        Args:
            durability: ``full`` syncs each commit; ``normal`` may lose the last commits
                to a power failure, never to a crash of the process.

            lock_timeout_s: How long to wait for other writers, here and in appends.

            group: Its members share the store; without one it is its owner's alone.

            reserve: Bytes that stay free on the disk: gate events are refused below.

            anchor: A file, best elsewhere, that is told of every checkpoint.

        Raises:
            StoreMissingError: It is missing and *read_only*.
            StoreUnavailableError: It cannot be opened or made, or is open to others.
            StoreLockedError: Another process kept the lock past the deadline.
            StoreTooNewError: A later toolrt wrote it.
            ForeignStoreError: Something else stands there, or its schema was changed.
            ValueError: *durability* is neither.
        """
        full_path = os.path.abspath(os.fspath(path))
        now_us = time.time_ns() // 1000
        if read_only:
            return cls._over(full_path, database.open_reader(full_path), now_us)
        if durability not in ("full", "normal"):
            raise ValueError(f"durability is full or normal, not {durability!r}")
        lock = database.lock_for(full_path, group=group)
        try:
            with lock.hold(lock_timeout_s):
                connection = database.open_writer(
                    full_path, durability=durability, now_us=now_us, group=group
                )
                store = cls._over(full_path, connection, now_us, group=group)
                try:
                    spool = Spool(full_path, group=group)
                    spool.prepare()
                    guard = Guard(full_path, connection, spool, reserve)
                except BaseException:
                    connection.close()
                    raise
        except BaseException:
            lock.close()
            raise
        store._anchor = anchor
        store._opening = Opening(
            path=full_path,
            store_id=store.store_id,
            durability=durability,
            lock_timeout_s=lock_timeout_s,
            group=group,
            reserve=reserve,
            anchor=None if anchor is None else os.path.abspath(anchor),
        )
        try:
            store._begin_writing(lock, lock_timeout_s, guard)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _over(
        cls,
        path: str,
        connection: sqlite.Connection,
        now_us: int,
        group: str | None = None,
    ) -> Self:
        try:
            return cls(path, connection, now_us=now_us, group=group)
        except errors.StoreError:
            connection.close()
            raise
        except sqlite.Error as error:
            connection.close()
            raise translated(path, error) from error

    def _begin_writing(
        self, lock: WriteLock, lock_timeout_s: float, guard: Guard
    ) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._guard = guard
        self._writer = Writer(
            self.path,
            self._connection,
            mutex=self._mutex,
            dictionary=self._dictionary,
            sets=self._sets,
            lock=lock,
            liveness=self._liveness,
            process=self.process,
            started_us=self._started_us,
            before_commit=self._before_commit,
            after_commit=guard.note_commit,
            sealer=self._sealer,
        )
        with self._mutex:
            recover(self._parts())

    def _parts(self) -> Parts:
        assert self._guard is not None
        return Parts(
            path=self.path,
            connection=self._connection,
            dictionary=self._dictionary,
            sets=self._sets,
            liveness=self._liveness,
            writer=self._require_writer(),
            guard=self._guard,
            sealer=self._sealer,
            lock_timeout_s=self._lock_timeout_s,
        )

    @contextmanager
    def _changing(self) -> Iterator[Parts]:
        """Hold the mutex for work on the store itself."""
        with self._mutex:
            self._require_open()
            self._require_writer()
            yield self._parts()

    def _sealer(self) -> Sealer:
        if self._sealer_made is None:
            from toolrt_store.sealing import Sealer

            self._sealer_made = Sealer(
                self._connection, self.path, self.store_id, self._anchor
            )
        return self._sealer_made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; what was appended is stored already."""
        if os.getpid() == self._pid:
            for sink in self._sinks:
                sink.close()
        # A signal that raises can leave the mutex taken in a frame that is still being
        # unwound: to wait for it then would be for ever.
        if not self._mutex.acquire(timeout=_CLOSE_TIMEOUT_S):
            self._is_closed = True
            return
        try:
            self._close()
        finally:
            self._mutex.release()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if os.getpid() != self._pid:
            # After a fork the locks and the connection are the parent's: closing them
            # here would drop them there.
            return
        if self._writer is None:
            self._connection.close()
        else:
            self._writer.close(min(self._lock_timeout_s, _CLOSE_TIMEOUT_S))
        self._liveness.close()

    def append_event(self, event: Event) -> Event:
        """
        Store *event* durably and return it with its ``seq``.

        Raises:
            IdentityConflictError: An event with its id is stored already.
            UnstorableEventError: It holds what cannot be kept, such as a name with NUL.
            StoreError: It could not be stored; nothing was.
        """
        return msgspec.structs.replace(event, seq=self._append((event,)))

    def append_event_within(self, event: Event, limits: CallLimits) -> Event:
        """
        Store the gate event *event* and count its call in, over all processes.

        Raises:
            RateLimitedError: The event is stored, and the call is over a limit.
            StoreError: Like `append_event`; nothing was stored or counted.
        """
        return msgspec.structs.replace(event, seq=self._append((event,), limits))

    def append_events(self, events: Sequence[Event]) -> BatchWriteSummary:
        """Store *events* in one commit, all or none. Raises like `append_event`."""
        if events:
            self._append(events)
        return BatchWriteSummary(attempted=len(events), affected=len(events))

    def append_calls(
        self, calls: Sequence[tuple[CallEvent, CallDetails | None]]
    ) -> BatchWriteSummary:
        """
        Store CallEvents in one commit, all or none; faster than `append_events`.

        Those without details get the default namespace, and their caller as the actor.
        Raises like `append_event`.
        """
        if calls:
            try:
                found = [_call(event, details) for event, details in calls]
            except ValueError as error:
                raise errors.UnstorableEventError(self.path, str(error)) from error
            self._append(found)
        return BatchWriteSummary(attempted=len(calls), affected=len(calls))

    def sink(
        self,
        *,
        capacity: int = DEFAULT_AUDIT_QUEUE_CAPACITY,
        backpressure: BackpressureStrategy = BLOCK,
        own_process: bool = False,
    ) -> QueueSink:
        """
        Return a sink that stores CallEvents here, in batches, behind a bounded queue.

        What is read from this store includes what its sinks have accepted, and `close`
        writes it out.

        Args:
            own_process: Another process does the writing: for a program whose threads
                leave the interpreter's lock no time. It costs that process and its
                start, with the first events; without it the writing goes on here.
        """
        if own_process and self._opening is not None:
            from toolrt_store.sink_process import ProcessSink

            sink: QueueSink = ProcessSink(
                self, self._opening, self._changing, capacity, backpressure
            )
        else:
            sink = make_sink(self, capacity, backpressure)
        self._sinks.append(sink)
        return sink

    def checkpoint(self, *, rotate: bool = False) -> Checkpoint | None:
        """
        Write a checkpoint over all events; None if the newest one reaches so far.

        Args:
            rotate: Make a new key, which signs from then on. It is itself an event.

        Raises:
            SealKeyError: The key cannot be used.
            StoreError: It could not be stored.
        """
        from toolrt_store.sealing import write_checkpoint

        with self._changing() as parts:
            return write_checkpoint(parts, rotate=rotate)

    @property
    def seal_problem(self) -> errors.StoreError | None:
        """Why the last checkpoint was not written, or its anchor not told; or None."""
        own = None if self._sealer_made is None else self._sealer_made.problem
        told = (getattr(sink, "seal_problem", None) for sink in self._sinks)
        return own or next(filter(None, told), None)

    def keep_policy(self, content: str) -> str:
        """
        Keep what the policy in force says, and return its digest for `CallDetails`.

        Kept once, with the next append: the SHA-256 of *content* in hex is its name.
        """
        digest = hashlib.sha256(content.encode()).hexdigest()
        if self.policy(digest) is None:

            def keep() -> None:
                self._connection.execute(_KEEP_POLICY, (digest, content))

            with self._mutex:
                self._require_writer().postponed.append(keep)
        return digest

    def prune(self, before_us: int, *, reason: str | None = None) -> Pruned:
        """
        Remove the oldest events, as far as all of them are before *before_us*.

        Only whole prefixes up to a signed checkpoint go, and never an attempt in part.
        That it was done is itself an event. What is left still verifies.

        Raises:
            SealKeyError: The key cannot be used.
            StoreError: It could not be done.
        """
        with self._changing() as parts:
            pruned = prune(parts, before_us, reason)
        if pruned.events:
            self.checkpoint()
        return pruned

    def redact(self, event_id: str, *, reason: str | None = None) -> int:
        """
        Remove the free texts of one event for good; return how many there were.

        The chain holds their digests, so it stays intact. It is itself an event.

        Raises:
            EventMissingError: There is no such event.
            StoreError: It could not be done.
        """
        found = self.get_event(event_id)
        if found is None or found.seq is None:
            raise errors.EventMissingError(self.path, event_id)
        with self._changing() as parts:
            return redact(parts, found, reason)

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise errors.StoreUnavailableError(self.path, "opened read-only")
        return self._writer

    def _append(
        self, events: Sequence[Event | Call], limits: CallLimits | None = None
    ) -> int:
        self._require_open()
        writer, guard = self._require_writer(), self._guard
        assert guard is not None
        if guard.has_spooled:
            with self._mutex, suppress(errors.StoreError):
                replay(self._parts())
        try:
            return writer.append(
                events, lock_timeout_s=self._lock_timeout_s, limits=limits
            )
        except (errors.IdentityConflictError, errors.UnstorableEventError):
            raise
        except errors.StoreError as error:
            ends = [one for one in events if isinstance(one, Event)]
            if len(ends) == len(events) and all(map(is_end_of_attempt, ends)):
                guard.save(ends, error)
            raise

    def _before_commit(self, events: Sequence[Event | Call]) -> None:
        """Look once more, under the lock, whether what is written to is the store."""
        self._require_open()
        assert self._guard is not None
        self._guard.check(events)


def _call(event: CallEvent, details: CallDetails | None) -> Event | Call:
    if details is not None:
        return Call(event, details, plain_us(event.ts))
    actor = ActorRef("caller", event.caller_id) if event.caller_id else None
    return Event.from_call(
        event,
        namespace=DEFAULT_NAMESPACE,
        actor=str(actor or ActorRef.anonymous()),
    )
