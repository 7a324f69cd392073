"""Reading rows back as what the chain is over."""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from toolrt_store import sqlite
from toolrt_store.dictionary import SALT_BYTES, Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.rows import COLUMNS, resolve, text_digest

BATCH: Final = 1_024
_ROWS: Final = f"SELECT {COLUMNS} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
_TEXTS: Final = """
SELECT seq, field, salt, text, digest FROM texts WHERE seq > ? AND seq <= ?
ORDER BY seq, field
"""
_NEXT: Final = "SELECT min(seq) FROM events WHERE seq > ? AND seq <= ?"
TextDigests = dict[int, tuple[tuple[int, bytes], ...]]


def read_rows(
    connection: sqlite.Connection, after: int, last: int
) -> Iterator[tuple[int, int, list[tuple[Any, ...]]]]:
    """
    Yield the rows, COLUMNS, of the events above *after* up to *last*, in batches.

    With each batch comes after and up to which sequence it is. A gap is one batch,
    however wide somebody made it.
    """
    start = after
    while start < last:
        end = min(start + BATCH, last)
        rows = connection.execute(_ROWS, (start, end)).fetchall()
        if not rows:
            following = connection.execute(_NEXT, (start, last)).fetchone()[0]
            end = last if following is None else following - 1
        yield start, end, rows
        start = end


def read_digests(connection: sqlite.Connection, after: int, last: int) -> TextDigests:
    """Return what the chain holds of the free texts of events, by sequence."""
    found: TextDigests = {}
    for seq, field, salt, text, digest in connection.execute(_TEXTS, (after, last)):
        found[seq] = (*found.get(seq, ()), (field, _held(salt, text, digest)))
    return found


def _held(salt: bytes | None, text: str | None, digest: bytes | None) -> bytes:
    """Return the digest of a free text; of a row that was never so, none at all."""
    if text is None:
        return digest if digest is not None and salt is None else b""
    # The length of the salt says where the text begins.
    if digest is not None or salt is None or len(salt) != SALT_BYTES:
        return b""
    try:
        return text_digest(salt, text)
    except UnicodeEncodeError:
        return b""


def read_resolved(
    connection: sqlite.Connection,
    dictionary: Dictionary,
    sets: GrantSets,
    after: int,
    last: int,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield what the chain is over, of the events above *after* up to *last*."""
    for _, _, rows in read_rows(connection, after, last):
        texts = read_digests(connection, rows[0][0] - 1, rows[-1][0])
        yield resolve(rows, texts, dictionary, sets)
