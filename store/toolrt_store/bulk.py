"""
Many rows in one statement, given as one JSON text.

To bind a value takes SQLite's Python driver longer than to store it, and it holds the
interpreter's lock meanwhile; executemany gives the lock up and waits for it once a row.
One text is bound at once and taken apart by SQLite itself, while other threads run: a
main thread that is busy slows a batch down far less.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolrt_store import sqlite

ROWS_TO_JSON: Final = msgspec.json.Encoder().encode
#: Whether SQLite has unhex(), which came with 3.41.
CAN_INSERT_TEXT: Final = tuple(map(int, sqlite.SQLITE_VERSION.split("."))) >= (3, 41)
_NUL: Final = "\\u0000"
#: For fewer rows the statement costs more than it saves.
_FEWEST: Final = 4


class Bulk:
    """
    Inserts rows into *columns* of *table*.

    Args:
        blobs: The columns that hold bytes.

        conflict: What is said after the rows, such as ``ON CONFLICT …``.
    """

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        *,
        blobs: Sequence[str] = (),
        conflict: str = "",
    ) -> None:
        into = f"INSERT INTO {table} ({', '.join(columns)})"
        self._each = f"{into} VALUES ({', '.join('?' * len(columns))}) {conflict}"
        taken = [
            f"unhex(value ->> {place})" if name in blobs else f"value ->> {place}"
            for place, name in enumerate(columns)
        ]
        # WHERE: else ON would be taken for that of a join (sqlite.org/lang_upsert.html).
        self._all = (
            f"{into} SELECT {', '.join(taken)} FROM json_each(?) WHERE 1 {conflict}"
        )
        self._blobs = tuple(columns.index(name) for name in blobs)

    def insert(
        self, connection: sqlite.Connection, rows: Sequence[Sequence[Any]]
    ) -> int:
        """Insert *rows*, and return how many the database says it took."""
        if (
            len(rows) < _FEWEST
            or not CAN_INSERT_TEXT
            or any(type(row[place]) is str for row in rows for place in self._blobs)
        ):
            return self._insert_each(connection, rows)
        text = ROWS_TO_JSON([self._with_hex(row) for row in rows]).decode()
        if _NUL in text:
            return self._insert_each(connection, rows)
        return self.insert_text(connection, text)

    def _insert_each(
        self, connection: sqlite.Connection, rows: Sequence[Sequence[Any]]
    ) -> int:
        if len(rows) == 1:
            return connection.execute(self._each, rows[0]).rowcount
        if not rows:
            return 0
        return connection.executemany(self._each, rows).rowcount

    def insert_text(self, connection: sqlite.Connection, text: str) -> int:
        """
        Insert the rows of *text*, and return how many the database says it took.

        A JSON array of arrays, blobs as hex. No text in it may hold NUL, which SQLite
        takes for the end of it.
        """
        return connection.execute(self._all, (text,)).rowcount

    def _with_hex(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for place in self._blobs:
            value = values[place]
            if value is not None:
                values[place] = value.hex()
        return values
