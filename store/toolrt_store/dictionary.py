"""
What events refer to by number: names, processes and sets of grants, each stored once.

Rows of these tables never change, so what was read stays true and is remembered. What a
transaction makes is remembered only once it has committed: `settle` says that it has,
`forget` that it was rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from toolrt_store import sqlite
from toolrt_store.call_id import decode_id, encode_id

K = TypeVar("K")
V = TypeVar("V")

#: So many entries are remembered until all are read again: a service sees new callers
#: for ever.
_MOST_REMEMBERED: Final = 50_000


class Memo(dict[K, V]):
    """Remembers what *find* answers; a hit costs one look-up of a dict."""

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[K], V]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: K) -> V:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[key] = self._find(key)
        return value


class Rows:
    """Finds and makes rows, and knows whether some of them are not committed yet."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        self.pending = False

    def find(self, sql: str, *values: object) -> int | None:
        """Return the number that *sql* selects, or None."""
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def insert(self, sql: str, *values: object) -> int:
        """Make a row and return its number."""
        self.pending = True
        cursor = self._connection.execute(sql, values)
        number = cursor.lastrowid
        # A trigger that swallows the row would raise nothing.
        assert cursor.rowcount == 1
        assert number is not None
        return number


class Dictionary:
    """
    The names and processes of one connection. Used under the store's mutex only.

    ``names`` and ``processes`` give the number of a text and make a row if there is
    none; ``texts`` and ``process_texts`` give the text of a number.
    """

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        self.rows = Rows(connection)
        self.names: Memo[str, int] = Memo(self._name_number)
        self.texts: Memo[int, str] = Memo(self._name_text)
        self.processes: Memo[str, int] = Memo(self.process_number)
        self.process_texts: Memo[int, str] = Memo(self._process_text)

    def settle(self) -> None:
        """Keep what is remembered: the transaction has committed."""
        self.rows.pending = False

    def forget(self) -> None:
        """Forget what the transaction made: it was rolled back."""
        if self.rows.pending:
            self.names.clear()
            self.texts.clear()
            self.processes.clear()
            self.process_texts.clear()
            self.rows.pending = False

    def number_of(self, text: str | None) -> int | None:
        """Return the number of *text*, None for None."""
        return None if text is None else self.names[text]

    def text_of(self, number: int | None) -> str | None:
        """Return the text of *number*, None for None."""
        return None if number is None else self.texts[number]

    def process_number(
        self, process: str, pid: int | None = None, started_us: int | None = None
    ) -> int:
        """Return the number of *process*; a row that is made for it gets the rest."""
        _require_no_nul(process)
        stored = encode_id(process)
        found = self.rows.find("SELECT id FROM processes WHERE process = ?", stored)
        if found is not None:
            return found
        sql = "INSERT INTO processes (process, pid, started_us) VALUES (?, ?, ?)"
        return self.rows.insert(sql, stored, pid, started_us)

    def _name_number(self, text: str) -> int:
        _require_no_nul(text)
        found = self.rows.find("SELECT id FROM names WHERE text = ?", text)
        if found is not None:
            return found
        return self.rows.insert("INSERT INTO names (text) VALUES (?)", text)

    def _name_text(self, number: int) -> str:
        sql = "SELECT text FROM names WHERE id = ?"
        text: str = self._connection.execute(sql, (number,)).fetchone()[0]
        return text

    def _process_text(self, number: int) -> str:
        sql = "SELECT process FROM processes WHERE id = ?"
        return decode_id(self._connection.execute(sql, (number,)).fetchone()[0])


def _require_no_nul(text: str) -> None:
    if "\0" in text:
        raise ValueError("a name holds NUL")
