"""
Attempts whose process is gone without a record of their end.

The next open for writing ends each with a system event: the outcome is unknown, and that
is said. A process is looked at once, when it is dead, and marked as swept.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec.structs import replace

from toolrt.event import Event
from toolrt_store import sqlite
from toolrt_store.append import Appender
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.rows import (
    CALL,
    DETAILS,
    FROM_EVENTS,
    GATE,
    SELECTED,
    SUCCESS,
    OpenGate,
    decode,
    shareable_details,
)
from toolrt_store.texts import read_texts

_TO_SWEEP: Final = "SELECT id, first_seq FROM processes WHERE swept = 0"
_MARK: Final = "UPDATE processes SET swept = 1 WHERE id = ?"
_OPEN: Final = f"""
SELECT {SELECTED} {FROM_EVENTS}
WHERE e.seq > ? AND e.kind = {GATE} AND e.outcome = {SUCCESS} AND e.flags & {DETAILS}
  AND NOT EXISTS (SELECT 1 FROM events AS c WHERE c.gate = e.seq)
  AND NOT EXISTS (
    SELECT 1 FROM events AS c WHERE c.call_id = e.call_id AND c.kind = {CALL})
"""


def unswept(connection: sqlite.Connection) -> list[tuple[int, int]]:
    """Return the processes that were not swept yet: number, and where they began."""
    return connection.execute(_TO_SWEEP).fetchall()


def dead_processes(
    connection: sqlite.Connection, live: Collection[int]
) -> list[tuple[int, int]]:
    """Return the processes that are to be swept: number, and where they began."""
    return [one for one in unswept(connection) if one[0] not in live]


def open_gates(
    connection: sqlite.Connection, dead: Sequence[tuple[int, int]]
) -> list[tuple[Any, ...]]:
    """Return the rows of the gate events of *dead* processes whose calls did not end."""
    if not dead:
        return []
    numbers = ", ".join(str(number) for number, _ in dead)
    first = min(first_seq for _, first_seq in dead)
    sql = f"{_OPEN} AND e.process IN ({numbers}) ORDER BY e.seq"
    return list(connection.execute(sql, (first,)))


def mark_swept(connection: sqlite.Connection, dead: Sequence[tuple[int, int]]) -> None:
    """Remember that every attempt of the *dead* processes has an end on record."""
    connection.executemany(_MARK, [(number,) for number, _ in dead])


def end_attempts(
    connection: sqlite.Connection,
    appender: Appender,
    dictionary: Dictionary,
    sets: GrantSets,
    *,
    dead: Sequence[tuple[int, int]],
    now_us: int,
) -> None:
    """Append an ``interrupted`` event for each open attempt of the *dead* processes."""
    found = open_gates(connection, dead)
    texts = read_texts(connection, found)
    for row in found:
        gate = decode(row, texts.get(row[0], {}), dictionary, sets)
        assert gate.seq is not None
        appender.end_attempt(
            _interrupted(gate, now_us), OpenGate(gate.seq, shareable_details(gate))
        )
    mark_swept(connection, dead)


def _interrupted(gate: Event, now_us: int) -> Event:
    return replace(
        gate,
        kind="system",
        outcome="interrupted",
        created_at_us=now_us,
        payload={"what": "interrupted", "text": "its process is gone: outcome unknown"},
        seq=None,
    )
