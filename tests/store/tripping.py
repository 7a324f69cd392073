"""A connection that stumbles where a test tells it to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolrt_store import SqliteEventStore, sqlite

Watch = Callable[[str], object]


class TrippingConnection:
    """Passes everything on, and tells *before* and *after* of every statement."""

    def __init__(self, real: sqlite.Connection) -> None:
        self._real = real
        self.before: Watch = lambda sql: None
        self.after: Watch = lambda sql: None

    def execute(self, sql: str, *values: Any) -> sqlite.Cursor:
        """Run one statement, with a word before and after it."""
        self.before(sql)
        cursor = self._real.execute(sql, *values)
        self.after(sql)
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def tripping(store: SqliteEventStore) -> TrippingConnection:
    """Put such a connection between *store* and its database, for its transactions."""
    writer: Any = store._writer
    connection = TrippingConnection(writer._connection)
    writer._connection = connection
    return connection


def once(statement: str, error: BaseException) -> Watch:
    """Return what raises *error* at the first *statement*."""
    left = [error]

    def watch(sql: str) -> None:
        if sql.startswith(statement) and left:
            raise left.pop()

    return watch
