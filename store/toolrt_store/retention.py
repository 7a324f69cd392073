"""
Retention: whole prefixes of the record leave, up to a signed checkpoint.

The checkpoint at the cut keeps what the rest needs to verify: the chain value and the
tree up to there. First the cut is committed, with the system event that says so; then
the rows go, in short transactions. A process killed between leaves rows that the next
open for writing removes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from toolrt_store import blocks, errors, sqlite
from toolrt_store.blocks import BLOCK
from toolrt_store.statements import stated
from toolrt_store.writer import Writer

_PRUNED: Final = "SELECT value FROM store WHERE key = 'pruned'"
_SET_PRUNED: Final = "UPDATE store SET value = ? WHERE key = 'pruned'"
_LOWEST: Final = "SELECT min(seq) FROM events"
_ROWS_AT_ONCE: Final = 4_096
#: The first event that is young enough to stay.
_FIRST_KEPT: Final = """
SELECT min(block) FROM blocks WHERE last_us >= ?
"""
_CHECKPOINT: Final = (
    "SELECT max(size) FROM checkpoints WHERE size <= ? AND size % ? = 0"
)
#: An end on the one side of the cut and its gate event on the other.
_ACROSS: Final = "SELECT min(gate) FROM events WHERE seq > ?1 AND gate <= ?1"
#: Attempts before the cut that have not ended.
_OPEN: Final = """
SELECT min(e.seq) FROM events AS e
WHERE e.seq <= ? AND e.kind = 0 AND e.outcome = 1 AND e.process IS NOT NULL
AND NOT EXISTS (
  SELECT 1 FROM events AS c WHERE c.gate = e.seq)
"""


class Pruned(msgspec.Struct, frozen=True):
    """What a pruning removed: so many events, and all up to ``up_to`` are gone now."""

    events: int
    up_to: int


def pruned_up_to(connection: sqlite.Connection) -> int:
    """Return the last sequence that was pruned; 0 for none."""
    found: int = connection.execute(_PRUNED).fetchone()[0]
    return found


def cut_before(connection: sqlite.Connection, before_us: int) -> int:
    """
    Return up to which sequence all events are older than *before_us*, and may go.

    It is the size of a checkpoint and the end of a block, no attempt lies across it, and
    none before it is still open. 0 if nothing may go.
    """
    last = connection.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
    row = connection.execute(_FIRST_KEPT, (before_us,)).fetchone()
    full = blocks.full_up_to(last)
    limit = full if row[0] is None else row[0] * BLOCK
    while True:
        found = connection.execute(_CHECKPOINT, (limit, BLOCK)).fetchone()[0]
        if not found:
            return 0
        straggler = _straggler(connection, found)
        if straggler is None:
            return int(found)
        limit = straggler - 1


def _straggler(connection: sqlite.Connection, cut: int) -> int | None:
    """Return the first event that keeps the prefix up to *cut* from going."""
    across = connection.execute(_ACROSS, (cut,)).fetchone()[0]
    still_open = connection.execute(_OPEN, (cut,)).fetchone()[0]
    found = [seq for seq in (across, still_open) if seq is not None]
    return min(found) if found else None


def set_cut(connection: sqlite.Connection, cut: int) -> None:
    """Let the events up to *cut* go, and forget them in the index."""
    connection.execute(_SET_PRUNED, (cut,))
    head = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
    blocks.rebuild(connection, cut, head)


def finish_pruning(
    connection: sqlite.Connection, writer: Writer, lock_timeout_s: float
) -> int:
    """
    Remove the rows that a committed cut has let go; return how many went.

    Raises:
        ForeignStoreError: No event says that they were to go.
        StoreError: They could not be removed.
    """
    cut = connection.execute(_PRUNED).fetchone()[0]
    gone = 0
    while cut:
        lowest = connection.execute(_LOWEST).fetchone()[0]
        if lowest is None or lowest > cut:
            break
        if not gone and cut not in stated(connection, "pruned", "up_to", after=cut):
            raise errors.ForeignStoreError(
                writer.path, f"no event says that {cut} events were pruned"
            )
        upto = min(cut, lowest + _ROWS_AT_ONCE - 1)

        def change(upto: int = upto) -> None:
            connection.execute("DELETE FROM events WHERE seq <= ?", (upto,))
            connection.execute("DELETE FROM texts WHERE seq <= ?", (upto,))

        writer.change(lock_timeout_s, change)
        gone += upto - lowest + 1
    return gone
