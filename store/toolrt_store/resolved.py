"""Reading rows back as what the chain is over."""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from toolrt_store import sqlite
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.rows import COLUMNS, resolve, text_digest

BATCH: Final = 1_024
_ROWS: Final = f"SELECT {COLUMNS} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
_TEXTS: Final = """
SELECT seq, field, salt, text, digest FROM texts WHERE seq > ? AND seq <= ?
ORDER BY seq, field
"""
TextDigests = dict[int, tuple[tuple[int, bytes], ...]]


def read_rows(
    connection: sqlite.Connection, after: int, last: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows, COLUMNS, from the one above *after* to *last*, in batches."""
    for start in range(after, last, BATCH):
        end = min(start + BATCH, last)
        yield connection.execute(_ROWS, (start, end)).fetchall()


def read_digests(connection: sqlite.Connection, after: int, last: int) -> TextDigests:
    """Return what the chain holds of the free texts of events, by sequence."""
    found: TextDigests = {}
    for seq, field, salt, text, digest in connection.execute(_TEXTS, (after, last)):
        held = digest if text is None else text_digest(salt or b"", text)
        found[seq] = (*found.get(seq, ()), (field, held))
    return found


def read_resolved(
    connection: sqlite.Connection,
    dictionary: Dictionary,
    sets: GrantSets,
    after: int,
    last: int,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield what the chain is over, of the events above *after* up to *last*."""
    for rows in read_rows(connection, after, last):
        texts = read_digests(connection, rows[0][0] - 1, rows[-1][0])
        yield resolve(rows, texts, dictionary, sets)
