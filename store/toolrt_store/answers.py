"""
What a store answers: events, attempts, counts, grants, and whether all is as recorded.

One connection behind one mutex; each answer is of one snapshot of the database, and
includes what the sinks of the store have accepted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from toolrt.clock import new_ulid
from toolrt.event import MAX_COUNT, Event, EventFilter, Page, PageRequest
from toolrt_store import attempts, errors, query, sqlite, usage
from toolrt_store.attempts import Attempt, AttemptFilter, LiveProcesses, Order
from toolrt_store.database import BUSY_TIMEOUT_S
from toolrt_store.dictionary import Dictionary
from toolrt_store.follow import follow
from toolrt_store.grant_sets import GrantSets
from toolrt_store.liveness import Liveness
from toolrt_store.query import Condition
from toolrt_store.ranges import Range
from toolrt_store.reader import Reader
from toolrt_store.retention import Pruned, cut_before, pruned_up_to
from toolrt_store.usage import Coverage, Usage

if TYPE_CHECKING:
    from toolrt.audit.queue_sink import QueueSink
    from toolrt_store.adhoc import Selection
    from toolrt_store.checkpoint import SignedCheckpoint
    from toolrt_store.grant_use import GrantCalls, GrantUse, PolicyInForce
    from toolrt_store.verify import Verification

_POLICY: Final = "SELECT content FROM policies WHERE digest = ?"
_FOLLOW_BATCH: Final = 500
_MOST_PREFIX_MATCHES: Final = 20
_ALL_EVENTS: Final = EventFilter()
_FIRST_PAGE: Final = PageRequest()
_ALL_ATTEMPTS: Final = AttemptFilter()
#: The fields that `Answers.count_attempts_by` groups by.
GROUP_FIELDS: Final = (
    *("actor", "caller", "code", "day", "decision", "effect", "hour", "namespace"),
    *("outcome", "pack", "tool", "verb"),
)
#: The fields that `Answers.values` lists.
VALUE_FIELDS: Final = ("actor", "caller", "capability", "namespace", "outcome", "tool")


class Answers:
    """The reading half of a store; `toolrt_store.SqliteEventStore` is the whole."""

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
        self._connection = connection
        self._mutex = threading.Lock()
        self._dictionary = Dictionary(connection)
        self._sets = GrantSets(connection, self._dictionary)
        self._reader = Reader(connection, self._dictionary, self._sets)
        self._liveness = Liveness(path, group=group)
        self._sinks: list[QueueSink] = []
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

    def checkpoints(self) -> list[SignedCheckpoint]:
        """Return the checkpoints, oldest first. Nothing is verified."""
        from toolrt_store.checkpoint import SignedCheckpoint

        sql = (
            "SELECT note, signature, successor_signature FROM checkpoints ORDER BY size"
        )
        with self._reading():
            found = self._connection.execute(sql).fetchall()
        return [SignedCheckpoint(*row) for row in found]

    def policy(self, digest: str) -> str | None:
        """Return the content of the policy that events name by *digest*, or None."""
        with self._reading():
            row = self._connection.execute(_POLICY, (digest,)).fetchone()
        return None if row is None else row[0]

    def prunable(self, before_us: int) -> Pruned:
        """Return what `prune` would remove, and up to where; nothing is."""
        with self._reading():
            cut = cut_before(self._connection, before_us)
            gone = pruned_up_to(self._connection)
        return Pruned(max(0, cut - gone), max(cut, gone))

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
            raise translated(self.path, error) from error
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


def translated(path: str, error: sqlite.Error) -> errors.StoreError:
    """Return what *error*, of a connection to the store at *path*, means."""
    return errors.from_sqlite(path, error, waited_s=BUSY_TIMEOUT_S)
