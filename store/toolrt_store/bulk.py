"""
Many rows in one statement, given as one blob of fields.

To bind a value takes SQLite's Python driver longer than to store it, and it holds the
interpreter's lock meanwhile; executemany gives the lock up and waits for it once a row.
One blob is bound at once and taken apart by SQLite itself, while other threads run.

Each row is a record of the same length, fields one after the other: a number as decimal
digits, padded on the left; bytes behind one byte that says whether there are any; of a
text its offset and its length, as numbers. The texts follow the last record. (JSON would
do as well, but to take one value out of it costs 0.3 us, out of this 0.08.)
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from toolrt_store import sqlite

Connection: TypeAlias = sqlite.Connection
Row: TypeAlias = Sequence[Any]
Column: TypeAlias = Sequence[Any]

#: What a column holds; for one of bytes that is their number.
NUMBER: Final = "number"
#: A row of another table: such numbers begin at 1.
REFERENCE: Final = "reference"
TEXT: Final = "text"

#: More digits than those of 64 bits are not to be cut off in silence: what is wider
#: makes the record longer, and is bound in the ordinary way.
_WIDTH: Final = 18
_NUMBER: Final = b"%%%dd" % _WIDTH
#: For fewer rows the statement costs more than it saves.
_FEWEST: Final = 4


class Statement(msgspec.Struct, frozen=True):
    """Rows on their way into a table: what is executed, and what is bound."""

    sql: str
    values: tuple[Any, ...]

    def run(self, connection: Connection) -> int:
        """Insert the rows, and return how many the database says it took."""
        return connection.execute(self.sql, self.values).rowcount


class Bulk:
    """
    Inserts rows into *table*.

    Args:
        columns: What each column holds.

        conflict: What is said after the rows, such as ``ON CONFLICT …``.
    """

    def __init__(
        self, table: str, columns: Mapping[str, str | int], *, conflict: str = ""
    ) -> None:
        self._into = f"INSERT INTO {table} ({', '.join(columns)})"
        self._conflict = conflict
        self._kinds = tuple(columns.values())
        places = ", ".join("?" * len(columns))
        self._each = f"{self._into} VALUES ({places}) {conflict}"
        self._layout = lru_cache(maxsize=64)(self._laid_out)

    def insert(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Insert *rows*, and return how many the database says it took."""
        statement = self.statement(rows) if len(rows) >= _FEWEST else None
        if statement is not None:
            return statement.run(connection)
        if len(rows) == 1:
            return connection.execute(self._each, rows[0]).rowcount
        return connection.executemany(self._each, rows).rowcount if rows else 0

    def statement(self, rows: Sequence[Row]) -> Statement | None:
        """Return what inserts *rows*; None if fields cannot hold their values."""
        columns: list[Column] = list(zip(*rows, strict=True))
        count = len(columns[0])
        varying, told, same = [], [], []
        texts = _Texts()
        for place, column in enumerate(columns):
            first = column[0]
            # What is the same in all rows is bound once. The first column never is:
            # there are as many records as rows.
            if place and column[count // 2] == first and column.count(first) == count:
                same.append(first)
                continue
            fields = _fields(self._kinds[place], column, texts)
            if fields is None:
                return None
            varying.append(place)
            told += fields
        template, length, sql = self._layout(tuple(varying))
        records = b"".join(map(template.__mod__, zip(*told, strict=True)))
        if len(records) != count * length:
            return None
        return Statement(sql, (records + texts.joined(), len(records), *same))

    def _laid_out(self, varying: tuple[int, ...]) -> tuple[bytes, int, str]:
        """Return the template of a record, its length, and the statement."""
        template, length, taken, bound = b"", 0, [], 2
        for place, kind in enumerate(self._kinds):
            if place not in varying:
                taken.append(f"?{(bound := bound + 1)}")
                continue
            field, width, value = _field(kind, length + 1)
            template += field
            length += width
            taken.append(value)
        # WHERE: else ON would be taken for that of a join (sqlite.org/lang_upsert.html).
        sql = (
            "WITH RECURSIVE record(at) AS (VALUES (0) UNION ALL"
            f" SELECT at + {length} FROM record WHERE at + {length} < ?2)"
            f" {self._into} SELECT {', '.join(taken)} FROM record WHERE 1"
            f" {self._conflict}"
        )
        return template, length, sql


class _Texts:
    """The texts of some rows, behind the records."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._end = 1

    def add(self, text: str) -> tuple[int, int]:
        """Add *text*; return where it begins, counted from 1, and its length."""
        data = text.encode()
        self._parts.append(data)
        begins, self._end = self._end, self._end + len(data)
        return begins, len(data)

    def joined(self) -> bytes:
        """Return the texts, one after the other."""
        return b"".join(self._parts)


def _fields(kind: str | int, column: Column, texts: _Texts) -> list[Column] | None:
    """Return the fields of the values of *column*; None if they cannot hold them."""
    if kind == NUMBER:
        # A fraction would be cut off in silence.
        return [column] if set(map(type, column)) == {int} else None
    if kind == REFERENCE:
        return [[value or 0 for value in column] if None in column else column]
    if kind == TEXT:
        places = [(0, 0) if value is None else texts.add(value) for value in column]
        return list(zip(*places, strict=True))
    assert type(kind) is int
    absent = bytes(kind + 1)
    if str in set(map(type, column)):
        return None
    found = [absent if value is None else b"\1" + value for value in column]
    return [found] if set(map(len, found)) == {kind + 1} else None


def _field(kind: str | int, begins: int) -> tuple[bytes, int, str]:
    """Return template, width and SQL of a field that begins at *begins* in a record."""

    def number(offset: int) -> str:
        return f"CAST(substr(?1, at + {begins + offset}, {_WIDTH}) AS INTEGER)"

    if kind == NUMBER:
        return _NUMBER, _WIDTH, number(0)
    if kind == REFERENCE:
        return _NUMBER, _WIDTH, f"nullif({number(0)}, 0)"
    if kind == TEXT:
        found = f"substr(?1, ?2 + nullif({number(0)}, 0), {number(_WIDTH)})"
        return _NUMBER * 2, _WIDTH * 2, f"CAST({found} AS TEXT)"
    assert type(kind) is int
    value = (
        f"CASE substr(?1, at + {begins}, 1) WHEN x'01'"
        f" THEN substr(?1, at + {begins + 1}, {kind}) END"
    )
    return b"%b", kind + 1, value
