"""What the store's own events say was done to it."""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from typing import Final

import msgspec

from toolrt_store import blocks, sqlite
from toolrt_store.query import Condition, Named, Span, contexts
from toolrt_store.ranges import ranges
from toolrt_store.rows import SYSTEM
from toolrt_store.system import STORE_TOOL

_OF_STORE: Final = (
    "verb = (SELECT id FROM names WHERE text = ?)"
    " AND tool = (SELECT id FROM names WHERE text = ?)"
)


class _Extra(msgspec.Struct):
    payload: dict[str, object] = {}


def stated(
    connection: sqlite.Connection, what: str, fact: str, *, after: int
) -> frozenset[int]:
    """
    Return the numbers that the store's events about *what* give for *fact*.

    Args:
        after: Only the events above that sequence number say anything.
    """
    found = contexts(Condition(_OF_STORE, (what, STORE_TOOL)))
    sql = (
        f"SELECT extra FROM events WHERE kind = {SYSTEM}"
        f" AND context IN ({found.sql}) AND seq BETWEEN ? AND ?"
    )
    where = ranges(connection, [Named(blocks.CONTEXT, found)], Span(after_seq=after))
    numbers = set()
    for one in where:
        for (extra,) in connection.execute(sql, (*found.values, one.first, one.last)):
            number = _fact(extra, fact)
            if number is not None:
                numbers.add(number)
    return frozenset(numbers)


def _fact(extra: str | None, fact: str) -> int | None:
    try:
        number = msgspec.json.decode(extra or "{}", type=_Extra).payload.get(fact)
    except (msgspec.MsgspecError, ValueError):
        return None
    return number if isinstance(number, int) else None
