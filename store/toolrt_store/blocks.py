"""
Blocks of 4,096 events, and what is in each: the index behind all filters.

Once a block is full, each name in it is noted with how often it occurs, in one go. It
takes far less than an index on each column, is read to skip the blocks that cannot match,
and answers how many events have a name without reading them. It says nothing that the
events do not: `rebuild` makes it again from them.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from toolrt_store import sqlite
from toolrt_store.bulk import NUMBER, REFERENCE, Bulk
from toolrt_store.rows import (
    AT_US,
    CALL,
    COLUMNS,
    DRY_RUN,
    EXECUTION_FAILED,
    FLAGS,
    KIND,
    OUTCOME_COLUMN,
    SUCCESS,
)

BLOCK: Final = 4_096
#: The columns of ``events`` that are indexed; the place is the role.
ROLES: Final = ("context", "actor", "caller", "outcome", "grant_set")
CONTEXT, ACTOR, CALLER, OUTCOME, GRANT_SET = range(len(ROLES))

_NAMES: Final = COLUMNS.split(", ")
_OF_ROLE: Final[tuple[Callable[[Sequence[Any]], Any], ...]] = tuple(
    itemgetter(_NAMES.index(role)) for role in ROLES
)
_OF_TIME: Final[Callable[[Sequence[Any]], int]] = itemgetter(AT_US)
_CALLER: Final = _NAMES.index("caller")
_GRANT_SET: Final = _NAMES.index("grant_set")

_RAN: Final = frozenset({SUCCESS, EXECUTION_FAILED})
#: Calls that ran with what they were granted: what counts as a use of it.
IS_USE: Final = (
    f"kind = {CALL} AND outcome IN ({SUCCESS}, {EXECUTION_FAILED})"
    f" AND NOT flags & {DRY_RUN} AND caller IS NOT NULL AND grant_set IS NOT NULL"
)
_SELECT: Final = f"SELECT {COLUMNS} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
_INSERT_BLOCK: Final = "INSERT INTO blocks (block, first_us, last_us) VALUES (?, ?, ?)"
_NAMED: Final = Bulk(
    "block_names",
    {"role": NUMBER, "name": REFERENCE, "block": NUMBER, "events": NUMBER},
)
_USED: Final = Bulk(
    "uses",
    {
        "caller": REFERENCE,
        "grant_set": REFERENCE,
        "calls": NUMBER,
        "first_us": NUMBER,
        "last_us": NUMBER,
    },
    conflict="""
ON CONFLICT (caller, grant_set) DO UPDATE SET
  calls = calls + excluded.calls,
  first_us = min(first_us, excluded.first_us),
  last_us = max(last_us, excluded.last_us)
""",
)


def full_up_to(head: int) -> int:
    """Return the last sequence that lies in a full block, of events up to *head*."""
    return head // BLOCK * BLOCK


def read_block(connection: sqlite.Connection, block: int) -> list[tuple[Any, ...]]:
    """Return the rows of a full block."""
    bounds = (block * BLOCK, (block + 1) * BLOCK)
    found: list[tuple[Any, ...]] = connection.execute(_SELECT, bounds).fetchall()
    return found


class Index(msgspec.Struct, frozen=True):
    """What the index says of one block: the rows of ``blocks`` and the other tables."""

    block: int
    first_us: int
    last_us: int
    names: list[tuple[int, int, int, int]]
    uses: list[tuple[int, int, int, int, int]]


def index_of(block: int, rows: Sequence[Sequence[Any]]) -> Index:
    """Return the index of *block*, whose *rows* begin with COLUMNS."""
    times = list(map(_OF_TIME, rows))
    return Index(block, min(times), max(times), names_of(block, rows), uses_of(rows))


def insert_index(connection: sqlite.Connection, index: Index) -> None:
    """Store the index of a block."""
    bounds = (index.block, index.first_us, index.last_us)
    connection.execute(_INSERT_BLOCK, bounds)
    _NAMED.insert(connection, index.names)
    _USED.insert(connection, index.uses)


def names_of(
    block: int, rows: Iterable[Sequence[Any]]
) -> list[tuple[int, int, int, int]]:
    """Return the rows of ``block_names`` for *block*."""
    rows = list(rows)
    return [
        (role, name, block, events)
        for role, column in enumerate(_OF_ROLE)
        # In their order, so that the pages of the index are met one after the other.
        for name, events in sorted(
            (name, events)
            for name, events in Counter(map(column, rows)).items()
            if name is not None
        )
    ]


def uses_of(rows: Iterable[Sequence[Any]]) -> list[tuple[int, int, int, int, int]]:
    """Return what the calls of *rows* add to ``uses``."""
    found: dict[tuple[int, int], list[int]] = {}
    for at_us, caller, grant_set in [
        (row[AT_US], row[_CALLER], row[_GRANT_SET])
        for row in rows
        if row[KIND] == CALL
        and row[OUTCOME_COLUMN] in _RAN
        and not row[FLAGS] & DRY_RUN
    ]:
        if caller is not None and grant_set is not None:
            found.setdefault((caller, grant_set), []).append(at_us)
    return [
        (caller, grant_set, len(times), min(times), max(times))
        for (caller, grant_set), times in found.items()
    ]


def rebuild(connection: sqlite.Connection, pruned: int, head: int) -> None:
    """Make the index again from the events above *pruned*, a multiple of BLOCK."""
    for table in ("blocks", "block_names", "uses"):
        connection.execute(f"DELETE FROM {table}")
    for block in range(pruned // BLOCK, head // BLOCK):
        insert_index(connection, index_of(block, read_block(connection, block)))
