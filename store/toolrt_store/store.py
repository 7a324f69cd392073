"""
`SqliteEventStore`: the embedded event store of toolrt.

One SQLite connection behind one mutex. Writers of all processes queue on one lock file;
readers never do.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.audit.sinks import DEFAULT_AUDIT_QUEUE_CAPACITY, BackpressureStrategy
from toolrt.clock import new_ulid
from toolrt.event import (
    MAX_COUNT,
    BatchWriteSummary,
    CallDetails,
    Event,
    EventFilter,
    Page,
    PageRequest,
)
from toolrt.limits import CallLimits
from toolrt.namespace import DEFAULT_NAMESPACE, ActorRef
from toolrt_store import (
    attempts,
    database,
    errors,
    query,
    sqlite,
    usage,
)
from toolrt_store.attempts import Attempt, AttemptFilter, LiveProcesses, Order
from toolrt_store.dictionary import Dictionary
from toolrt_store.follow import follow
from toolrt_store.grant_sets import GrantSets
from toolrt_store.guard import DEFAULT_RESERVE, Guard
from toolrt_store.liveness import Liveness
from toolrt_store.lock import WriteLock
from toolrt_store.parts import Opening, Parts
from toolrt_store.plain import Call
from toolrt_store.query import Condition
from toolrt_store.ranges import Range
from toolrt_store.reader import Reader
from toolrt_store.recovery import is_end_of_attempt, recover, replay
from toolrt_store.redaction import redact
from toolrt_store.retention import Pruned, cut_before, prune, pruned_up_to
from toolrt_store.sink import BLOCK, make_sink
from toolrt_store.spool import Spool
from toolrt_store.usage import Coverage, Usage
from toolrt_store.writer import Writer

if TYPE_CHECKING:
    from toolrt.audit.queue_sink import QueueSink
    from toolrt_store.adhoc import Selection
    from toolrt_store.checkpoint import Checkpoint, SignedCheckpoint
    from toolrt_store.grant_use import GrantCalls, GrantUse, PolicyInForce
    from toolrt_store.sealing import Sealer
    from toolrt_store.verify import Verification

DEFAULT_LOCK_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_POLICY: Final = "SELECT content FROM policies WHERE digest = ?"
_KEEP_POLICY: Final = (
    "INSERT INTO policies (digest, content) VALUES (?, ?) ON CONFLICT DO NOTHING"
)
_FOLLOW_BATCH: Final = 500
_MOST_PREFIX_MATCHES: Final = 20
_ALL_EVENTS: Final = EventFilter()
_FIRST_PAGE: Final = PageRequest()
_ALL_ATTEMPTS: Final = AttemptFilter()
#: The fields that `SqliteEventStore.count_attempts_by` groups by.
GROUP_FIELDS: Final = (
    *("actor", "caller", "code", "day", "decision", "effect", "hour", "namespace"),
    *("outcome", "pack", "tool", "verb"),
)
#: The fields that `SqliteEventStore.values` lists.
VALUE_FIELDS: Final = ("actor", "caller", "capability", "namespace", "outcome", "tool")


class SqliteEventStore:
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
        self.path = path
        self.process = new_ulid(now_us)
        self._started_us = now_us
        self._connection = connection
        self._mutex = threading.Lock()
        self._dictionary = Dictionary(connection)
        self._sets = GrantSets(connection, self._dictionary)
        self._reader = Reader(connection, self._dictionary, self._sets)
        self._liveness = Liveness(path, group=group)
        self._writer: Writer | None = None
        self._sinks: list[QueueSink] = []
        self._guard: Guard | None = None
        self._sealer_made: Sealer | None = None
        self._anchor: str | None = None
        self._opening: Opening | None = None
        self._lock_timeout_s = DEFAULT_LOCK_TIMEOUT_S
        self._is_closed = False
        self._pid = os.getpid()
        facts = dict(connection.execute("SELECT key, value FROM store").fetchall())
        store_id, args_key = facts.get("id"), facts.get("args_key")
        pruned = facts.get("pruned")
        if not (
            (isinstance(store_id, bytes) and isinstance(args_key, bytes))
            and (isinstance(pruned, int) and pruned >= 0)
        ):
            raise errors.ForeignStoreError(path, "its rows do not agree")
        self.store_id = store_id
        self.args_key = args_key

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
            raise _translated(path, error) from error

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

    def get_event(self, event_id: str) -> Event | None:
        """Return the event with that id, or None."""
        with self._reading():
            found = self._reader.events(query.id_condition(event_id))
        return found[0] if found else None

    def query_events(
        self, filter: EventFilter = _ALL_EVENTS, page: PageRequest = _FIRST_PAGE
    ) -> Page:
        """
        Return the events that match, newest first by sequence.

        Raises:
            ValueError: *page* has an offset and a keyset bound.
        """
        with self._reading():
            items = self._reader.page(filter, page)
            total = self._reader.count_events(filter)
        return Page(tuple(items), total)

    def count_events(self, filter: EventFilter = _ALL_EVENTS) -> int:
        """Return how many events match."""
        with self._reading():
            return self._reader.count_events(filter)

    def follow(
        self,
        after_seq: int = 0,
        *,
        poll_s: float = 0.1,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Event]:
        """
        Yield the events above *after_seq* as any process commits them.

        In order, without gap or duplicate. Looks every *poll_s* seconds when there is
        nothing new, and ends once *stop* returns true.
        """
        return follow(self._read_after, after_seq, poll_s=poll_s, stop=stop)

    def append_calls(
        self, calls: Sequence[tuple[CallEvent, CallDetails | None]]
    ) -> BatchWriteSummary:
        """
        Store CallEvents in one commit, all or none; faster than `append_events`.

        Those without details get the default namespace, and their caller as the actor.
        Raises like `append_event`.
        """
        if calls:
            self._append([_call(event, details) for event, details in calls])
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

    def query_attempts(
        self,
        filter: AttemptFilter = _ALL_ATTEMPTS,
        *,
        limit: int | None = None,
        order: Order = "newest",
        after_seq: int | None = None,
    ) -> list[Attempt]:
        """
        Return the attempts that match, by the sequence of their first event.

        Args:
            limit: At most so many; None for all.

            order: ``newest`` or ``oldest`` first.

            after_seq: Only attempts with an event above it, so also those that were
                seen before and have ended since.

        Raises:
            InvalidInputError: The filter names no field, or a value does not fit it.
        """
        with self._reading_attempts() as live:
            condition = attempts.where(filter, live)
            if after_seq is not None:
                condition = query.all_of([attempts.changed_since(after_seq), condition])
            where = self._reader.where_attempts(filter)
            if order == "oldest":
                where.reverse()
            return self._reader.attempts(condition, live, where, limit, order)

    def count_attempts(self, filter: AttemptFilter = _ALL_ATTEMPTS) -> int:
        """Return how many attempts match. Raises like `query_attempts`."""
        with self._reading_attempts() as live:
            condition = attempts.where(filter, live)
            source = f"{attempts.FROM_ATTEMPTS} AND {condition.sql}"
            return self._reader.count(
                source, condition, self._reader.where_attempts(filter)
            )

    def get_attempt(self, call_id_or_prefix: str) -> list[Attempt]:
        """
        Return the attempt with that call id; else those whose id begins so.

        At most 20, newest first.
        """
        with self._reading_attempts() as live:
            where = self._reader.where_attempts(_ALL_ATTEMPTS)
            exact = attempts.id_exactly(call_id_or_prefix)
            found = self._reader.attempts(exact, live, where, 1)
            if found:
                return found
            prefix = attempts.id_prefix(call_id_or_prefix)
            return self._reader.attempts(prefix, live, where, _MOST_PREFIX_MATCHES)

    def usage(self, caller: str, capability: str) -> Usage:
        """Return how calls of *caller* were granted *capability*, for each source."""
        with self._reading():
            return usage.read_usage(self._connection, self._sets, caller, capability)

    def uses(self) -> list[GrantUse]:
        """Return how often each grant was used, by caller, capability and source."""
        from toolrt_store import grant_use

        with self._reading():
            return grant_use.read_uses(self._connection, self._dictionary, self._sets)

    def calls_by_grants(self, caller: str, after_us: int) -> list[GrantCalls]:
        """Return the grants that calls of *caller* ran with after *after_us*."""
        from toolrt_store import grant_use

        with self._reading():
            return grant_use.read_calls_by_grants(
                self._connection, self._sets, caller, after_us
            )

    def newest_with(
        self, caller: str, after_us: int, numbers: Collection[int], limit: int
    ) -> list[Event]:
        """
        Return the call events of *caller* after *after_us* that ran with some grants.

        Newest first, at most *limit*; *numbers* are those of `calls_by_grants`.
        """
        from toolrt_store import grant_use

        with self._reading():
            return grant_use.read_newest_with(
                self._connection,
                self._reader,
                caller,
                after_us,
                numbers=numbers,
                limit=limit,
            )

    def policy_at(self, at_us: int) -> PolicyInForce | None:
        """Return the policy of the newest gate event at or before *at_us*, or None."""
        from toolrt_store import grant_use

        with self._reading():
            return grant_use.read_policy_at(self._connection, self._reader, at_us)

    def values(self, field: str) -> list[tuple[str, int]]:
        """
        Return the values of *field* with the number of attempts, most frequent first.

        Raises:
            ValueError: *field* is not one of VALUE_FIELDS.
        """
        if field not in VALUE_FIELDS:
            raise ValueError(f"values of {', '.join(VALUE_FIELDS)}, not of {field!r}")
        with self._reading_attempts() as live:
            sql = attempts.values_sql(field, live)
            counted = self._connection.execute(sql).fetchall()
            named = [(self._dictionary.texts[number], n) for number, n in counted]
        return sorted(named, key=lambda one: (-one[1], one[0]))

    def knows_caller(self, caller: str) -> bool:
        """Return whether some event is of *caller*."""
        with self._reading():
            return self._reader.count_events(EventFilter(callers=(caller,))) > 0

    def knows_capability(self, capability: str) -> bool:
        """Return whether some event was granted *capability*."""
        from toolrt_store import grant_use

        with self._reading():
            return grant_use.is_granted(self._connection, capability)

    def coverage(self) -> Coverage:
        """Return how much the store holds and from when to when."""
        with self._reading():
            return usage.read_coverage(self._connection)

    def latest_us(self) -> int | None:
        """
        Return the latest time of any event, in Unix microseconds; None without events.

        A clock that was set back does not bring it back: see `coverage` for the last.
        """
        with self._reading():
            return usage.read_latest_us(self._connection)

    def verify(
        self,
        *,
        anchored: Sequence[SignedCheckpoint] | None = None,
        first_key: bytes | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verification:
        """
        Verify every event; see `toolrt_store.verify.verify`.

        Other threads can go on; what they append meanwhile is not looked at.
        """
        from toolrt_store.verify import verify_file

        with self._mutex:
            self._require_open()
        return verify_file(
            self.path,
            store_id=self.store_id,
            anchored=anchored,
            first_key=first_key,
            progress=progress,
        )

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

    def checkpoints(self) -> list[SignedCheckpoint]:
        """Return the checkpoints, oldest first. Nothing is verified."""
        from toolrt_store.checkpoint import SignedCheckpoint

        sql = (
            "SELECT note, signature, successor_signature FROM checkpoints ORDER BY size"
        )
        with self._reading():
            found = self._connection.execute(sql).fetchall()
        return [SignedCheckpoint(*row) for row in found]

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

    def policy(self, digest: str) -> str | None:
        """Return the content of the policy that events name by *digest*, or None."""
        with self._reading():
            row = self._connection.execute(_POLICY, (digest,)).fetchone()
        return None if row is None else row[0]

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

    def prunable(self, before_us: int) -> Pruned:
        """Return what `prune` would remove, and up to where; nothing is."""
        with self._reading():
            cut = cut_before(self._connection, before_us)
            gone = pruned_up_to(self._connection)
        return Pruned(max(0, cut - gone), max(cut, gone))

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

    def count_attempts_by(
        self, field: str, filter: AttemptFilter = _ALL_ATTEMPTS
    ) -> list[tuple[str | None, int]]:
        """
        Return how many attempts that match have each value of *field*, most first.

        Raises:
            ValueError: *field* is not one of GROUP_FIELDS.
        """
        if field not in GROUP_FIELDS:
            raise ValueError(f"by {', '.join(GROUP_FIELDS)}, not by {field!r}")
        with self._reading_attempts() as live:
            return self._reader.count_by(field, filter, live)

    def select(
        self, sql: str, *, limit: int = 10_000, timeout_s: float = 10.0
    ) -> Selection:
        """
        Run one SELECT of an operator's own, on a connection that can only read.

        Raises:
            SelectError: It is no single SELECT, fails, or took longer than *timeout_s*.
        """
        from toolrt_store.adhoc import select

        with self._mutex:
            self._require_open()
        return select(self.path, sql, limit=limit, timeout_s=timeout_s)

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

    def _read_after(self, seq: int) -> list[Event]:
        with self._reading():
            return self._reader.events(
                Condition("TRUE"),
                [Range(seq + 1, MAX_COUNT)],
                direction="ASC",
                limit=_FOLLOW_BATCH,
            )

    def _require_open(self) -> None:
        if self._is_closed:
            raise errors.StoreUnavailableError(self.path, "the store is closed")
        if os.getpid() != self._pid:
            # SQLite's locks do not survive a fork: two processes would be one writer.
            raise errors.StoreUnavailableError(self.path, "opened before a fork")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold the mutex and one snapshot of the database."""
        self._flush_sinks()
        with self._mutex:
            self._require_open()
            with self._snapshot():
                yield

    def _flush_sinks(self) -> None:
        for sink in self._sinks:
            sink.flush()

    @contextmanager
    def _reading_attempts(self) -> Iterator[LiveProcesses]:
        self._flush_sinks()
        with self._mutex:
            self._require_open()
            # Asked before the snapshot: who is dead by then can add nothing to it.
            live = self._live_processes()
            with self._snapshot():
                yield live

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite.Error as error:
            raise _translated(self.path, error) from error
        except (KeyError, TypeError) as error:
            # A row speaks of another that is gone, or a column holds what none can.
            raise errors.ForeignStoreError(
                self.path, "its rows do not agree"
            ) from error

    def _live_processes(self) -> LiveProcesses:
        with self._snapshot():
            sql = "SELECT coalesce(max(id), 0) FROM processes"
            newest = self._connection.execute(sql).fetchone()[0]
        return LiveProcesses(self._liveness.live_slots(), newest)


def _call(event: CallEvent, details: CallDetails | None) -> Event | Call:
    if details is not None:
        return Call(event, details)
    actor = ActorRef("caller", event.caller_id) if event.caller_id else None
    return Event.from_call(
        event,
        namespace=DEFAULT_NAMESPACE,
        actor=str(actor or ActorRef.anonymous()),
    )


def _translated(path: str, error: sqlite.Error) -> errors.StoreError:
    return errors.from_sqlite(path, error, waited_s=database.BUSY_TIMEOUT_S)
