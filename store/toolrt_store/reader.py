"""
Questions to one connection, inside one snapshot that somebody else holds.

Ranges come from the index of blocks and conditions from the filter; here both meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from toolrt.event import MAX_COUNT, Event, EventFilter, PageRequest
from toolrt_store import attempts, query, rows, sqlite, usage
from toolrt_store.attempts import Attempt, AttemptFilter, LiveProcesses, Order
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.query import Condition
from toolrt_store.ranges import Range, counted, everywhere, ranges
from toolrt_store.texts import read_texts

_ALL_EVENTS: Final = EventFilter()


class Reader:
    """Reads events and attempts. Used under the store's mutex only."""

    def __init__(
        self, connection: sqlite.Connection, dictionary: Dictionary, sets: GrantSets
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._sets = sets

    def events(
        self,
        condition: Condition,
        where: Sequence[Range] | None = None,
        *,
        direction: str = "DESC",
        limit: int = MAX_COUNT,
    ) -> list[Event]:
        """Return the events of the ranges *where*, or all, that match, in their order."""
        if where is None:
            where = (everywhere(self._connection),)
        sql = (
            f"SELECT {rows.SELECTED} {rows.FROM_EVENTS}"
            f" WHERE e.seq BETWEEN ? AND ? AND {condition.sql}"
            f" ORDER BY e.seq {direction} LIMIT ?"
        )
        found: list[Sequence[Any]] = []
        for one in where:
            values = (one.first, one.last, *condition.values, limit - len(found))
            found += self._connection.execute(sql, values).fetchall()
            if len(found) >= limit:
                break
        return self.decoded(found)

    def decoded(self, found: Sequence[Sequence[Any]]) -> list[Event]:
        """Return the events of rows that hold SELECTED."""
        texts = read_texts(self._connection, found)
        return [
            rows.decode(row, texts.get(row[0], {}), self._dictionary, self._sets)
            for row in found
        ]

    def page(self, filter: EventFilter, page: PageRequest) -> list[Event]:
        """Return the part of the events that match."""
        where = ranges(self._connection, query.named(filter), query.span(filter, page))
        is_upward = page.after_seq is not None
        if is_upward:
            where.reverse()
        items = self.events(
            query.where(filter),
            where,
            direction="ASC" if is_upward else "DESC",
            limit=min(page.offset + page.limit, MAX_COUNT),
        )[page.offset :]
        if is_upward:
            items.reverse()
        return items

    def count_events(self, filter: EventFilter) -> int:
        """Return how many events match."""
        named = query.named(filter)
        condition = query.where(filter)
        source = f"FROM events AS e WHERE {condition.sql}"
        if query.is_counted(filter) and len(named) == 1:
            number, rest = counted(self._connection, named[0])
            return number + self.count(source, condition, [rest] if rest else [])
        if filter == _ALL_EVENTS:
            return usage.read_coverage(self._connection).events
        where = ranges(self._connection, named, query.span(filter))
        return self.count(source, condition, where)

    def where_attempts(self, filter: AttemptFilter) -> list[Range]:
        """Return where the first events of such attempts can be."""
        return ranges(self._connection, attempts.named(filter), attempts.span(filter))

    def attempts(
        self,
        condition: Condition,
        live: LiveProcesses,
        where: Sequence[Range],
        limit: int | None,
        order: Order = "newest",
    ) -> list[Attempt]:
        """Return the attempts of the ranges *where* that match, in their order."""
        direction = "ASC" if order == "oldest" else "DESC"
        sql = (
            f"{attempts.select_attempts(live)} AND e.seq BETWEEN ? AND ?"
            f" AND {condition.sql} ORDER BY e.seq {direction} LIMIT ?"
        )
        most = MAX_COUNT if limit is None else limit
        found: list[Sequence[Any]] = []
        for one in where:
            values = (one.first, one.last, *condition.values, most - len(found))
            found += self._connection.execute(sql, values).fetchall()
            if len(found) >= most:
                break
        return [attempts.read_attempt(row, self._dictionary) for row in found]

    def count(self, source: str, condition: Condition, where: Sequence[Range]) -> int:
        """Return how many rows of *source* match in the ranges *where*."""
        sql = f"SELECT count(*) {source} AND e.seq BETWEEN ? AND ?"
        count = 0
        for one in where:
            values = (*condition.values, one.first, one.last)
            count += self._connection.execute(sql, values).fetchone()[0]
        return count

    def count_by(
        self, field: str, filter: AttemptFilter, live: LiveProcesses
    ) -> list[tuple[str | None, int]]:
        """Return how many attempts that match have each value of *field*."""
        condition = attempts.where(filter, live)
        sql = (
            f"SELECT {attempts.group_sql(field, live)}, count(*)"
            f" {attempts.FROM_ATTEMPTS} AND {condition.sql}"
            " AND e.seq BETWEEN ? AND ? GROUP BY 1"
        )
        found: Counter[str | None] = Counter()
        for one in self.where_attempts(filter):
            values = (*condition.values, one.first, one.last)
            found.update(dict(self._connection.execute(sql, values)))
        return sorted(found.items(), key=lambda item: (-item[1], item[0] or ""))
