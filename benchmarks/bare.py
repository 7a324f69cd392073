"""
The cheapest equivalent of a store: its very rows in the same tables, nothing around them.

No lock file, no codec, no names, no chain to compute, no thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolrt_store import SqliteEventStore, rows

Row = tuple[Any, ...]
_INSERT = f"INSERT INTO events VALUES ({', '.join('?' * rows.COLUMN_COUNT)})"
_INSERT_TEXT = "INSERT INTO texts (seq, field, salt, text) VALUES (?, ?, ?, ?)"


class BareWriter:
    """Writes prepared rows into the tables of a store, with that store's pragmas."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteEventStore.open(path)
        self._connection = self.store._connection

    def write(self, found: list[Row], texts: list[Row]) -> None:
        """Commit the rows durably."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, found)
        if texts:
            self._connection.executemany(_INSERT_TEXT, texts)
        self._connection.execute("COMMIT")


def rows_after(store: SqliteEventStore, seq: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of *store* above *seq*, and their texts."""
    ask = store._connection.execute
    return (
        ask("SELECT * FROM events WHERE seq > ?", (seq,)).fetchall(),
        ask(
            "SELECT seq, field, salt, text FROM texts WHERE seq > ?", (seq,)
        ).fetchall(),
    )
