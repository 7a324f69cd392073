"""
What events refer to by number: names, contexts, processes, each stored once.

Rows of these tables never change, so what was read stays true and is remembered. What a
transaction makes is remembered only once it has committed: `settle` says that it has,
`forget` that it was rolled back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from toolrt_store import sqlite
from toolrt_store.call_id import decode_id, encode_id

K = TypeVar("K")
V = TypeVar("V")

#: So many entries are remembered until all are read again: a service sees new callers
#: for ever.
_MOST_REMEMBERED: Final = 50_000
#: The length of a salt: it says where in a salted text the text begins.
SALT_BYTES: Final = 16
_SALTS: Final = 256
#: Longer names and free texts are cut; their length and digest are kept.
MAX_TEXT: Final = 2_000
_CUT_MARK: Final = "… [cut: "
_MOST_KEPT: Final = MAX_TEXT + 120


class Context(NamedTuple):
    """What all calls of one tool under one policy share."""

    namespace: str
    verb: str
    tool: str
    pack: str | None = None
    effect: str | None = None
    policy: str | None = None
    gate_impl: str | None = None
    tier: str | None = None
    schema_version: int | None = None


#: tool, tier and schema version of a call event; namespace, pack, effect and policy.
CallShape: TypeAlias = tuple[str, str, int, str, str | None, str | None, str | None]
#: tool, verb and gate of a gate event; namespace, pack, effect and policy.
GateShape: TypeAlias = tuple[str, str, str, str, str | None, str | None, str | None]
_CONTEXT_COLUMNS: Final = ", ".join(Context._fields)
_INSERT_CONTEXT: Final = (
    f"INSERT INTO contexts (content, {_CONTEXT_COLUMNS})"  # noqa: S608 - of constants
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


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
    The names, contexts and processes of one connection. Used under the store's mutex.

    ``names``, ``contexts`` and ``processes`` give the number of a value and make a row
    if there is none; ``texts``, ``context_values`` and ``process_texts`` give the value
    of a number, ``context_digests`` what the chain holds of a context.
    """

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        self.rows = Rows(connection)
        self._salts: list[bytes] = []
        self.names: Memo[str, int] = Memo(self._name_number)
        self.texts: Memo[int, str] = Memo(self._name_text)
        self.contexts: Memo[Context, int] = Memo(self._context_number)
        self.context_values: Memo[int, Context] = Memo(self._context_value)
        self.context_digests: Memo[int, bytes] = Memo(self._context_digest)
        self.call_contexts: Memo[CallShape, int] = Memo(self._call_context)
        self.gate_contexts: Memo[GateShape, int] = Memo(self._gate_context)
        self.processes: Memo[str, int] = Memo(self.process_number)
        self.process_texts: Memo[int, str] = Memo(self._process_text)

    def salt(self) -> bytes:
        """Return a new salt for a free text."""
        if not self._salts:
            # Many at once: each call lets go of the interpreter's lock, and to have it
            # back takes 5 ms where another thread is busy.
            many = os.urandom(SALT_BYTES * _SALTS)
            self._salts = [
                many[at : at + SALT_BYTES] for at in range(0, len(many), SALT_BYTES)
            ]
        return self._salts.pop()

    def settle(self) -> None:
        """Keep what is remembered: the transaction has committed."""
        self.rows.pending = False

    def forget(self) -> None:
        """Forget what the transaction made: it was rolled back."""
        if self.rows.pending:
            self.names.clear()
            self.texts.clear()
            self.contexts.clear()
            self.call_contexts.clear()
            self.gate_contexts.clear()
            self.context_values.clear()
            self.context_digests.clear()
            self.processes.clear()
            self.process_texts.clear()
            self.rows.pending = False

    def number_of(self, text: str | None) -> int | None:
        """Return the number of *text*, None for None."""
        return None if text is None else self.names[text]

    def text_of(self, number: int | None) -> str | None:
        """Return the text of *number*, None for None."""
        return None if number is None else self.texts[number]

    def process_number(self, process: str) -> int:
        """Return the number of a process that somebody else knows."""
        stored = encode_id(process)
        found = self.rows.find("SELECT id FROM processes WHERE process = ?", stored)
        return self.new_process(process) if found is None else found

    def new_process(
        self,
        process: str,
        *,
        pid: int | None = None,
        started_us: int | None = None,
        first_seq: int = 0,
    ) -> int:
        """Make a row for *process*, whose events are above *first_seq*."""
        _require_no_nul(process)
        return self.rows.insert(
            "INSERT INTO processes (process, pid, started_us, first_seq, swept)"
            " VALUES (?, ?, ?, ?, 0)",
            encode_id(process),
            pid,
            started_us,
            first_seq,
        )

    def _name_number(self, text: str) -> int:
        _require_no_nul(text)
        text = cut(text)
        number = self.rows.find("SELECT id FROM names WHERE text = ?", text)
        if number is None:
            number = self.rows.insert("INSERT INTO names (text) VALUES (?)", text)
        self.texts[number] = text
        return number

    def _context_number(self, context: Context) -> int:
        numbers = [
            self.number_of(one) if isinstance(one, str) else one for one in context
        ]
        digest = _digest([cut(one) if isinstance(one, str) else one for one in context])
        sql = "SELECT id FROM contexts WHERE content = ?"
        number = self.rows.find(sql, digest)
        if number is None:
            number = self.rows.insert(_INSERT_CONTEXT, digest, *numbers)
        self.context_digests[number] = digest
        return number

    def _call_context(self, shape: CallShape) -> int:
        tool, tier, version, namespace, pack, effect, policy = shape
        verb = tool.partition(":")[2] or tool
        return self.contexts[
            Context(namespace, verb, tool, pack, effect, policy, None, tier, version)
        ]

    def _gate_context(self, shape: GateShape) -> int:
        tool, verb, gate_impl, namespace, pack, effect, policy = shape
        return self.contexts[
            Context(namespace, verb, tool, pack, effect, policy, gate_impl)
        ]

    def _context_value(self, number: int) -> Context:
        sql = f"SELECT {_CONTEXT_COLUMNS} FROM contexts WHERE id = ?"  # noqa: S608 - of constants
        *names, version = self._connection.execute(sql, (number,)).fetchone()
        return Context._make([*map(self.text_of, names), version])

    def _context_digest(self, number: int) -> bytes:
        # From the values and not from the column, which nobody vouches for.
        return _digest(self.context_values[number])

    def _name_text(self, number: int) -> str:
        sql = "SELECT text FROM names WHERE id = ?"
        text: str = self._connection.execute(sql, (number,)).fetchone()[0]
        return text

    def _process_text(self, number: int) -> str:
        sql = "SELECT process FROM processes WHERE id = ?"
        return decode_id(self._connection.execute(sql, (number,)).fetchone()[0])


def cut(text: str) -> str:
    """
    Return *text*; of one that is too long the beginning, its length and digest.

    What was cut before is not cut again: it can be asked for as it is shown.
    """
    if len(text) <= MAX_TEXT or (
        len(text) <= _MOST_KEPT and text.startswith(_CUT_MARK, MAX_TEXT)
    ):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:MAX_TEXT]}{_CUT_MARK}{len(text)} characters, sha256 {digest}]"


def _digest(value: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()


def _require_no_nul(text: str) -> None:
    if "\0" in text:
        raise ValueError("a name holds NUL")
