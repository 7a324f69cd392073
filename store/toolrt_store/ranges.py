"""
Where to look for events: ranges of sequences, newest first, made of whole blocks.

What a filter asks for is looked up in the index of blocks; the events that are in no
full block yet are always looked at.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from toolrt.event import MAX_COUNT
from toolrt_store import sqlite
from toolrt_store.blocks import BLOCK, full_up_to
from toolrt_store.query import Named, Span

# What was pruned may still be there for a while, and nobody vouches for it.
_ENDS: Final = """
SELECT
  (SELECT min(seq) FROM events
   WHERE seq > (SELECT value FROM store WHERE key = 'pruned')),
  (SELECT max(seq) FROM events)
"""


class Range(msgspec.Struct, frozen=True):
    """The events from ``first`` to ``last``, both included."""

    first: int
    last: int


def ranges(
    connection: sqlite.Connection, named: Sequence[Named], span: Span
) -> list[Range]:
    """Return where events can be that have all of *named* within *span*."""
    lowest, head = connection.execute(_ENDS).fetchone()
    if lowest is None:
        return []
    first = max(lowest, span.after_seq + 1)
    last = min(head, span.before_seq - 1)
    if first > last:
        return []
    if not named and span.after_us is None and span.before_us is None:
        return [Range(first, last)]
    full = full_up_to(head)
    found = [Range(full + 1, head)] if full < head else []
    found += [
        Range(block * BLOCK + 1, (block + 1) * BLOCK)
        for block in _blocks(connection, named, span)
    ]
    return list(_clipped(_merged(found), first, last))


def everywhere(connection: sqlite.Connection) -> Range:
    """Return the range of all events."""
    lowest, _ = connection.execute(_ENDS).fetchone()
    return Range(lowest or 1, MAX_COUNT)


def counted(connection: sqlite.Connection, named: Named) -> tuple[int, Range | None]:
    """
    Return how many events of the full blocks have one of the names of *named*.

    With it the range of the events that are in no full block yet.
    """
    sql = (
        "SELECT coalesce(sum(events), 0) FROM block_names"
        f" WHERE role = {named.role} AND name IN ({named.names.sql})"
    )
    count: int = connection.execute(sql, named.names.values).fetchone()[0]
    _, head = connection.execute(_ENDS).fetchone()
    full = full_up_to(head or 0)
    return count, Range(full + 1, head) if head and full < head else None


def blocks_sql(named: Sequence[Named], span: Span) -> tuple[str, tuple[object, ...]]:
    """Return the SELECT of the blocks that can hold such events, newest first."""
    conditions = []
    values: list[object] = []
    for one in named:
        conditions.append(
            "block IN (SELECT block FROM block_names"
            f" WHERE role = {one.role} AND name IN ({one.names.sql}))"
        )
        values += one.names.values
    if span.after_us is not None:
        conditions.append("last_us > ?")
        values.append(span.after_us)
    if span.before_us is not None:
        conditions.append("first_us < ?")
        values.append(span.before_us)
    where = " AND ".join(conditions) or "TRUE"
    return f"SELECT block FROM blocks WHERE {where} ORDER BY block DESC", tuple(values)


def _blocks(
    connection: sqlite.Connection, named: Sequence[Named], span: Span
) -> Iterator[int]:
    sql, values = blocks_sql(named, span)
    for row in connection.execute(sql, values):
        yield row[0]


def _merged(found: Iterable[Range]) -> Iterator[Range]:
    """Join ranges that touch; *found* goes down."""
    pending: Range | None = None
    for one in found:
        if pending is not None and one.last + 1 == pending.first:
            pending = Range(one.first, pending.last)
            continue
        if pending is not None:
            yield pending
        pending = one
    if pending is not None:
        yield pending


def _clipped(found: Iterable[Range], first: int, last: int) -> Iterator[Range]:
    for one in found:
        clipped = Range(max(one.first, first), min(one.last, last))
        if clipped.first <= clipped.last:
            yield clipped
