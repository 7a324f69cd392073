"""
Blocks of 4,096 events, and what is in each: the index behind all filters.

Once a block is full, each name in it is noted with how often it occurs, in one go. It
takes far less than an index on each column, is read to skip the blocks that cannot match,
and answers how many events have a name without reading them. It says nothing that the
events do not: `rebuild` makes it again from them.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from toolrt_store import sqlite
from toolrt_store.bulk import NUMBER, Bulk, Column
from toolrt_store.rows import (
    CALL,
    COLUMNS,
    DRY_RUN,
    EXECUTION_FAILED,
    SUCCESS,
)

BLOCK: Final = 4_096
#: The columns of ``events`` that are indexed; the place is the role.
ROLES: Final = ("context", "actor", "caller", "outcome", "grant_set")
CONTEXT, ACTOR, CALLER, OUTCOME, GRANT_SET = range(len(ROLES))

_INDEXED: Final = ("kind", "at_us", *ROLES, "flags")
#: The places in COLUMNS of what an index is made from.
INDEXED: Final = tuple(COLUMNS.split(", ").index(name) for name in _INDEXED)

_RAN: Final = frozenset({SUCCESS, EXECUTION_FAILED})
#: Calls that ran with what they were granted: what counts as a use of it.
IS_USE: Final = (
    f"kind = {CALL} AND outcome IN ({SUCCESS}, {EXECUTION_FAILED})"
    f" AND NOT flags & {DRY_RUN} AND caller IS NOT NULL AND grant_set IS NOT NULL"
)
_SELECT: Final = f"""
SELECT {", ".join(_INDEXED)} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq
"""
_INSERT_BLOCK: Final = "INSERT INTO blocks (block, first_us, last_us) VALUES (?, ?, ?)"
_NAMED: Final = Bulk(
    "block_names",
    {"role": NUMBER, "name": NUMBER, "block": NUMBER, "events": NUMBER},
)
_USED: Final = Bulk(
    "uses",
    {
        "caller": NUMBER,
        "grant_set": NUMBER,
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


def read_block(connection: sqlite.Connection, block: int) -> list[Column]:
    """Return the columns INDEXED of a full block."""
    bounds = (block * BLOCK, (block + 1) * BLOCK)
    return list(zip(*connection.execute(_SELECT, bounds), strict=True))


class Index(msgspec.Struct, frozen=True):
    """What the index says of one block: the rows of ``blocks`` and the other tables."""

    block: int
    first_us: int
    last_us: int
    names: list[tuple[int, int, int, int]]
    uses: list[tuple[int, int, int, int, int]]


def index_of(block: int, columns: Sequence[Column]) -> Index:
    """Return the index of *block*, of whose events *columns* are INDEXED."""
    times = columns[1]
    return Index(
        block, min(times), max(times), names_of(block, columns), uses_of(columns)
    )


def insert_index(connection: sqlite.Connection, index: Index) -> None:
    """Store the index of a block."""
    bounds = (index.block, index.first_us, index.last_us)
    connection.execute(_INSERT_BLOCK, bounds)
    _NAMED.insert(connection, list(zip(*index.names, strict=True)))
    _USED.insert(connection, list(zip(*index.uses, strict=True)))


def names_of(block: int, columns: Sequence[Column]) -> list[tuple[int, int, int, int]]:
    """Return the rows of ``block_names`` for *block*."""
    _, _, *names, _ = columns
    return [
        (role, name, block, events)
        for role, column in enumerate(names)
        # In their order, so that the pages of the index are met one after the other.
        for name, events in sorted(
            (name, events)
            for name, events in Counter(column).items()
            if name is not None
        )
    ]


def uses_of(columns: Sequence[Column]) -> list[tuple[int, int, int, int, int]]:
    """Return what the calls of a block add to ``uses``."""
    kinds, times, _, _, callers, outcomes, grant_sets, flags = columns
    found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for kind, at_us, caller, outcome, grant_set, flag in zip(
        kinds, times, callers, outcomes, grant_sets, flags, strict=True
    ):
        if (
            kind == CALL
            and outcome in _RAN
            and not flag & DRY_RUN
            and caller is not None
            and grant_set is not None
        ):
            found[caller, grant_set].append(at_us)
    return [
        (caller, grant_set, len(used), min(used), max(used))
        for (caller, grant_set), used in found.items()
    ]


def rebuild(connection: sqlite.Connection, pruned: int, head: int) -> None:
    """Make the index again from the events above *pruned*, a multiple of BLOCK."""
    for table in ("blocks", "block_names", "uses"):
        connection.execute(f"DELETE FROM {table}")
    for block in range(pruned // BLOCK, head // BLOCK):
        insert_index(connection, index_of(block, read_block(connection, block)))
