"""
Many rows in one statement, their values as SQLite's Python driver binds them at once.

For None and for bytes the driver asks each time whether they adapt to something else,
which takes 0.9 us, more than to store a row with its index entries; numbers, texts and
bytearrays take less than 0.1. So None is bound as 0, of which SQLite makes NULL again,
and bytes as a bytearray: 2.7 us a row in place of 7.4. One statement for many rows makes
that 2.2, and gives the interpreter's lock up and waits for it once, not once a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from toolrt_store import sqlite

#: The values of one column, a value for each row.
Column: TypeAlias = Sequence[Any]

#: What a column holds: a number that is always there;
NUMBER: Final = "number"
#: the number of a row elsewhere, which is never 0, or None;
REFERENCE: Final = "reference"
#: a text, bytes, or None.
DATA: Final = "data"

#: The most rows of one statement: with 1,000 it outgrows the processor's caches. To
#: prepare it takes 25 us a row, once a connection.
_MOST: Final = 512


class Bulk:
    """
    Inserts rows into *table*.

    Args:
        columns: What each column holds.

        conflict: What is said after the rows, such as ``ON CONFLICT …``.
    """

    def __init__(
        self, table: str, columns: Mapping[str, str], *, conflict: str = ""
    ) -> None:
        self._into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
        self._conflict = conflict
        self._kinds = tuple(columns.values())
        self._sql = lru_cache(maxsize=None)(self._sql_of)

    def insert(self, connection: sqlite.Connection, columns: Sequence[Column]) -> int:
        """Insert rows, given as their columns; return how many the database took."""
        if not columns:
            return 0
        width, count = len(self._kinds), len(columns[0])
        if (
            count == 1
        ):  # a durable call waits for it: a tenth of what is beside its commit
            row = _bindable(DATA, [value for (value,) in columns])
            return connection.execute(self._sql(1), row).rowcount
        values: list[Any] = [None] * (width * count)
        for place, (kind, column) in enumerate(zip(self._kinds, columns, strict=True)):
            values[place::width] = _bindable(kind, column)
        stored = start = 0
        for rows in _sizes(count):
            end = start + rows * width
            stored += connection.execute(self._sql(rows), values[start:end]).rowcount
            start = end
        return stored

    def _sql_of(self, rows: int) -> str:
        marks = ("?" if kind == NUMBER else "nullif(?, 0)" for kind in self._kinds)
        row = f"({', '.join(marks)})"
        return f"{self._into} {', '.join([row] * rows)} {self._conflict}"


def _sizes(count: int) -> Iterator[int]:
    """Yield of how many rows the statements for *count* are: there are few such sizes."""
    size = _MOST
    while count:
        if count >= size:
            yield size
            count -= size
        else:
            size //= 2


def _bindable(kind: str, column: Column) -> Column:
    """Return *column* with what stands for None and for bytes."""
    if kind == NUMBER:
        return column
    if kind == REFERENCE:
        return [value or 0 for value in column]
    return [
        0 if value is None else bytearray(value) if type(value) is bytes else value
        for value in column
    ]
