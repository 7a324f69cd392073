"""
Whether the index of blocks says what the events say.

An index that leaves an event out hides it from every filter, so verifying computes it
anew, block by block. Each name's entries are compared by a digest over all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from toolrt_store import sqlite
from toolrt_store.blocks import BLOCK, INDEXED, index_of
from toolrt_store.rows import SEQ

_NAMES: Final = """
SELECT role, name, block, events FROM block_names ORDER BY role, name, block
"""
_TIMES: Final = "SELECT block, first_us, last_us FROM blocks ORDER BY block"
_USES: Final = "SELECT caller, grant_set, calls, first_us, last_us FROM uses"


class IndexCheck:
    """Collects what the index has to say; `differences` compares it with what it does."""

    def __init__(self, connection: sqlite.Connection, pruned: int) -> None:
        self._connection = connection
        self._pruned = pruned
        self._rows: list[Sequence[Any]] = []
        self._names: defaultdict[tuple[int, int], Any] = defaultdict(sha256)
        self._times: list[tuple[int, int, int]] = []
        self._uses: dict[tuple[int, int], tuple[int, int, int]] = {}

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take the next events, in their order."""
        self._rows += rows
        while self._rows and self._rows[-1][SEQ] >= (end := self._end()):
            full = [row for row in self._rows if row[SEQ] <= end]
            self._rows = self._rows[len(full) :]
            self._take(end // BLOCK - 1, full)

    def differences(self) -> Iterator[tuple[int, str]]:
        """Yield where the index differs: the first event of the block, and how."""
        found: defaultdict[tuple[int, int], Any] = defaultdict(sha256)
        for role, name, block, events in self._connection.execute(_NAMES):
            found[role, name].update(b"%d %d\n" % (block, events))
        names = {key: digest.digest() for key, digest in self._names.items()}
        if names != {key: digest.digest() for key, digest in found.items()}:
            yield self._pruned + 1, "the index of blocks does not name what events name"
        times = self._connection.execute(_TIMES).fetchall()
        if times != self._times:
            yield self._pruned + 1, "the index of blocks does not tell their times"
        uses = {
            (caller, grant_set): tuple(rest)
            for caller, grant_set, *rest in self._connection.execute(_USES)
        }
        if uses != self._uses:
            yield self._pruned + 1, "the sums of uses are not those of the events"

    def _end(self) -> int:
        first: int = self._rows[0][SEQ]
        return ((first - 1) // BLOCK + 1) * BLOCK

    def _take(self, block: int, rows: Sequence[Sequence[Any]]) -> None:
        columns = list(zip(*rows, strict=True))
        index = index_of(block, [columns[place] for place in INDEXED])
        self._times.append((block, index.first_us, index.last_us))
        for role, name, _, events in index.names:
            self._names[role, name].update(b"%d %d\n" % (block, events))
        for caller, grant_set, calls, first_us, last_us in index.uses:
            known = self._uses.get((caller, grant_set), (0, first_us, last_us))
            self._uses[caller, grant_set] = (
                known[0] + calls,
                min(known[1], first_us),
                max(known[2], last_us),
            )
