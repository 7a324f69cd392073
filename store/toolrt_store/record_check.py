"""
What verifying looks at beside the chain: everything that events lean on.

The chain is over what numbers stand for, so a changed name breaks it where the name is
used. It does not see what is looked up by content, such as the context that the next
event of a tool will refer to, nor rows that no event leads to. A pruning and a redaction
take something away, so there has to be an event that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from toolrt_store import sqlite
from toolrt_store.checkpoint import parse_note
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.merkle import Frontier
from toolrt_store.statements import stated

#: The first event concerned, and what is wrong.
Difference: TypeAlias = tuple[int, str]

#: The names that the first migration gives numbers, which queries rely on.
FIXED_NAMES: Final = (
    "success",
    "denied",
    "error",
    "running",
    "interrupted",
    "execution_failed",
    "invalid_args",
    "capability_denied",
    "rate_limited",
    "tool_not_found",
    "unknown",
)
#: What a row raises that speaks of others that are gone, or holds what none can.
_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, sqlite.Error)
_FIXED: Final = "SELECT id, text FROM names WHERE id <= ? ORDER BY id"
_BEFORE_THE_FIRST: Final = "SELECT min(seq) FROM events WHERE seq < 1"
_STRAY_TEXTS: Final = "SELECT min(seq) FROM texts WHERE seq < 1 OR seq > ?"
_REDACTED: Final = "SELECT DISTINCT seq FROM texts WHERE text IS NULL AND seq > ?"
_CHECKPOINTS: Final = "SELECT size, note, frontier FROM checkpoints WHERE size <= ?"


class RecordCheck:
    """Checks one store; *pruned* and *head* are the ends of its events."""

    def __init__(
        self,
        connection: sqlite.Connection,
        dictionary: Dictionary,
        sets: GrantSets,
        *,
        pruned: int,
        head: int,
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._sets = sets
        self._pruned = pruned
        self._head = head

    def differences(self) -> Iterator[Difference]:
        """Yield what is not as the store would have written it."""
        yield from self._strays()
        yield from self._names()
        yield from self._by_content("contexts", "context", self._is_context)
        yield from self._by_content("grant_sources", None, self._is_source)
        yield from self._by_content("grant_sets", "grant_set", self._is_set)
        yield from self._trees()
        yield from self._removals()

    def _strays(self) -> Iterator[Difference]:
        ask = self._connection.execute
        lowest = ask(_BEFORE_THE_FIRST).fetchone()[0]
        if lowest is not None:
            yield lowest, "it stands before the first"
        stray = ask(_STRAY_TEXTS, (self._head,)).fetchone()[0]
        if stray is not None:
            yield stray, f"a text belongs to event {stray}, which there is not"

    def _names(self) -> Iterator[Difference]:
        found = self._connection.execute(_FIXED, (len(FIXED_NAMES),)).fetchall()
        if found != list(enumerate(FIXED_NAMES, 1)):
            yield self._pruned + 1, "the names of outcomes are not those of toolrt"

    def _by_content(
        self, table: str, column: str | None, is_sound: Callable[[int], bool]
    ) -> Iterator[Difference]:
        """Yield the rows of *table* that are not what they are looked up by."""
        sql = f"SELECT id FROM {table} ORDER BY id"  # noqa: S608 - of constants
        for (number,) in self._connection.execute(sql).fetchall():
            try:
                if is_sound(number):
                    continue
            except _UNREADABLE:
                pass
            seq = self._pruned + 1
            if column is not None:
                sql = f"SELECT min(seq) FROM events WHERE {column} = ? AND seq >= ?"  # noqa: S608 - of constants
                seq = self._connection.execute(sql, (number, seq)).fetchone()[0] or seq
            yield seq, f"row {number} of {table} is not what it is found by"

    def _is_context(self, number: int) -> bool:
        sql = "SELECT content FROM contexts WHERE id = ?"
        (content,) = self._connection.execute(sql, (number,)).fetchone()
        return bool(content == self._dictionary.context_digests[number])

    def _is_source(self, number: int) -> bool:
        return self._sets.is_source_sound(number)

    def _is_set(self, number: int) -> bool:
        return self._sets.is_set_sound(number)

    def _trees(self) -> Iterator[Difference]:
        """Yield checkpoints of what was pruned whose trees are not those they sign."""
        for size, note, frontier in self._connection.execute(
            _CHECKPOINTS, (self._pruned,)
        ):
            try:
                is_sound = (
                    Frontier.from_bytes(frontier, size).root() == parse_note(note).root
                )
            except _UNREADABLE:
                is_sound = False
            if not is_sound:
                yield size, f"the checkpoint of {size} events has another's tree"

    def _removals(self) -> Iterator[Difference]:
        """Yield what was taken away without an event that says so."""
        if self._pruned and self._pruned not in stated(
            self._connection, "pruned", "up_to", after=self._pruned
        ):
            yield self._pruned, f"no event says that {self._pruned} events were pruned"
        redacted = {
            seq for (seq,) in self._connection.execute(_REDACTED, (self._pruned,))
        }
        if redacted:
            said = stated(self._connection, "redacted", "seq", after=self._pruned)
            for seq in sorted(redacted - said):
                yield seq, f"no event says that a text of event {seq} was redacted"
