"""
Putting events into the tables, inside a transaction that somebody else begins and ends.

The sequence and the head of the chain are read inside it, so there are no gaps; what is
remembered between transactions is checked against the head, and a head that went back is
a store that was replaced.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from toolrt.event import Event
from toolrt_store import sqlite
from toolrt_store.blocks import (
    BLOCK,
    INDEXED,
    full_up_to,
    index_of,
    insert_index,
    read_block,
)
from toolrt_store.bulk import DATA, NUMBER, REFERENCE, Bulk
from toolrt_store.call_id import encode_id
from toolrt_store.chain import genesis, link
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.plain import Call, as_call, encode_call, encode_gate
from toolrt_store.rows import (
    CALL,
    GATE,
    GATE_COLUMN,
    SEQ,
    SYSTEM,
    Encoded,
    OpenGate,
    digests_of,
    encode,
    resolve,
    shareable_details,
)

#: Another number once another connection has committed (sqlite.org/pragma.html).
_DATA_VERSION: Final = "PRAGMA data_version"
_HEAD: Final = "SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1"
_CHAIN_OF: Final = "SELECT chain FROM events WHERE seq = ?"
#: Blobs sort above all text: the newest ULID, if there is one.
_NEWEST_ID: Final = """
SELECT call_id FROM events WHERE call_id IS NOT NULL ORDER BY call_id DESC LIMIT 1
"""
_WITH_ID: Final = f"""
SELECT kind, seq, (SELECT c.kind FROM events AS c WHERE c.gate = events.seq)
FROM events WHERE call_id = ? AND kind IN ({GATE}, {CALL})
"""
_PRUNED: Final = "SELECT value FROM store WHERE key = 'pruned'"
#: So many events are encoded and then inserted: a part of a batch that stays in the
#: processor's caches meanwhile.
_PART: Final = 512
_EVENTS: Final = Bulk(
    "events",
    {
        "seq": NUMBER,
        "kind": NUMBER,
        "at_us": NUMBER,
        "gate": REFERENCE,
        "call_id": DATA,
        "context": NUMBER,
        "actor": NUMBER,
        "caller": REFERENCE,
        "outcome": NUMBER,
        "duration_ms": NUMBER,
        "flags": NUMBER,
        "grant_set": REFERENCE,
        "process": REFERENCE,
        "args_digest": DATA,
        "code": REFERENCE,
        "extra": DATA,
        "chain": DATA,
    },
)
_TEXTS: Final = Bulk(
    "texts", {"seq": NUMBER, "field": NUMBER, "salt": DATA, "text": DATA}
)
#: Gate events remembered until their calls end.
_MOST_OPEN: Final = 4_096
_MOST_LEAVES: Final = 65_536


class Head(msgspec.Struct, frozen=True):
    """The last event: its sequence, 0 before the first, and its chain value."""

    seq: int
    chain: bytes


class SwallowedError(Exception):
    """An insert raised nothing and stored nothing."""


class WentBackError(Exception):
    """What was committed here before is not in the database any more."""


class Appender:
    """
    Adds events to one connection. Used under the store's mutex only.

    `begin` in every transaction, then `append`; `settle` once it has committed, `forget`
    once it was rolled back. ``head`` is the last event, those of the running transaction
    included; ``leaves`` are the leaf hashes of the events after ``leaves_after``.
    """

    def __init__(
        self, connection: sqlite.Connection, dictionary: Dictionary, sets: GrantSets
    ) -> None:
        self._connection = connection
        self.dictionary = dictionary
        self.sets = sets
        sql = "SELECT value FROM store WHERE key = 'id'"
        self._store_id: bytes = connection.execute(sql).fetchone()[0]
        self.head = Head(0, genesis(self._store_id))
        self.leaves: list[bytes] = []
        self.leaves_after = 0
        #: SQLite's data version, as the running transaction has it.
        self.data_version = 0
        self._settled = self.head
        self._newest_id: bytes | str | None = None
        self._open: dict[str, OpenGate] = {}
        #: Gate events of the part that is encoded: no query finds them yet.
        self._not_inserted: dict[str, OpenGate] = {}
        #: The free texts of what was appended, not inserted yet.
        self._texts: list[tuple[Any, ...]] = []
        #: INDEXED of the last events, as far as they were appended here.
        self._unindexed: list[list[Any]] = [[] for _ in INDEXED]

    def begin(self) -> Head:
        """
        Return the head, as this transaction sees it.

        Raises:
            WentBackError: An event that was committed here is gone or another one.
        """
        known = self._settled
        (version,) = self._connection.execute(_DATA_VERSION).fetchone()
        if version == self.data_version and self._newest_id is not None:
            self.head = known
            return known
        self.data_version = version
        row = self._connection.execute(_HEAD).fetchone()
        head = Head(0, genesis(self._store_id)) if row is None else Head(*row)
        if head != known:
            if not self._is_kept(known):
                raise WentBackError
            self._catch_up(head)
        elif self._newest_id is None:
            self._catch_up(head)
        self.head = head
        return head

    def append(
        self, events: Sequence[Event | Call], placed: Collection[str | None] = ()
    ) -> list[int]:
        """
        Store *events*, and return the sequences of the gate events that they end.

        Args:
            placed: The call ids whose gate events take a place of ``max_concurrent``.

        Raises:
            ValueError: One holds what cannot be kept.
            SwallowedError: The database took fewer rows than it was given.
            sqlite3.Error: They could not be stored.
        """
        ended: list[int] = []
        for start in range(0, len(events), _PART):
            some = events[start : start + _PART]
            encoded = [
                self._encoded(event, seq, placed)
                for seq, event in enumerate(some, self.head.seq + 1)
            ]
            ended += self._insert(encoded)
        self._insert_texts()
        return ended

    def _encoded(
        self, event: Event | Call, seq: int, placed: Collection[str | None]
    ) -> Encoded:
        if isinstance(event, Call):
            call_id = event.event.call_id
            gate = self._open.pop(call_id, None) or self._stored_gate(call_id)
            return encode_call(event, seq, self.dictionary, self.sets, gate)
        gate = self._gate_of(event, seq)
        is_placed = event.call_id in placed
        if event.kind == "gate":
            return encode_gate(
                event, seq, self.dictionary, self.sets, is_placed=is_placed
            )
        call = as_call(event, self.sets) if event.kind == "call" else None
        if call is not None:
            return encode_call(call, seq, self.dictionary, self.sets, gate)
        return encode(event, seq, self.dictionary, self.sets, gate, is_placed=is_placed)

    def end_attempt(self, event: Event, gate: OpenGate) -> None:
        """Store *event*, a system event that is the end of the attempt of *gate*."""
        seq = self.head.seq + 1
        self._insert([encode(event, seq, self.dictionary, self.sets, gate)])
        self._insert_texts()

    def settle(self) -> None:
        """Keep what is remembered: the transaction has committed."""
        self._settled = self.head
        self.dictionary.settle()

    def forget(self) -> None:
        """Forget what the transaction made: it was rolled back."""
        self.dictionary.forget()
        self.sets.forget()
        self._open.clear()
        self._not_inserted.clear()
        self._texts.clear()
        self._forget_unindexed()
        self.leaves.clear()
        self.leaves_after = self._settled.seq
        self.head = self._settled
        self._newest_id = None

    def forget_leaves(self, size: int) -> None:
        """Forget the leaf hashes of the first *size* events: a checkpoint has them."""
        del self.leaves[: max(0, size - self.leaves_after)]
        self.leaves_after = max(size, self.leaves_after)

    def leaves_of(self, resolved: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """Return the leaf hashes of events, given as their resolved values."""
        return link(self._store_id, b"", resolved).leaves

    def gate_of(self, call_id: str) -> OpenGate | None:
        """
        Return the stored gate event of a call, unless something else ended it.

        Also of a call that has its call event: another one is refused by the index.
        """
        rows = self._connection.execute(_WITH_ID, (encode_id(call_id),))
        found = {kind: (seq, ended_by) for kind, seq, ended_by in rows}
        gate_seq, ended_by = found.get(GATE, (None, None))
        if gate_seq is None or ended_by == SYSTEM or CALL in found:
            return None
        return OpenGate(gate_seq, None)

    def _catch_up(self, head: Head) -> None:
        # Others have written: what follows from the last event is asked again.
        self.leaves.clear()
        self.leaves_after = head.seq
        self._forget_unindexed()
        row = self._connection.execute(_NEWEST_ID).fetchone()
        self._newest_id = row[0] if row else ""

    def _is_kept(self, known: Head) -> bool:
        """Return whether the database still holds, or has pruned, what it did."""
        row = self._connection.execute(_CHAIN_OF, (known.seq,)).fetchone()
        if row is None:
            pruned: int = self._connection.execute(_PRUNED).fetchone()[0]
            return known.seq <= pruned
        return bool(row[0] == known.chain)

    def _gate_of(self, event: Event, seq: int) -> OpenGate | None:
        """Return the stored gate event that *event* ends; remember a new one."""
        call_id = event.call_id
        if call_id is None or event.kind == "system":
            return None
        if event.kind == "gate":
            if self._is_new(call_id) or not self._has_call(call_id):
                self._remember(call_id, OpenGate(seq, shareable_details(event)))
            return None
        return self._open.pop(call_id, None) or self._stored_gate(call_id)

    def _stored_gate(self, call_id: str) -> OpenGate | None:
        if self._is_new(call_id):
            return None
        # Of a call that ends twice in one part the second end is a conflict, too.
        return self._not_inserted.get(call_id) or self.gate_of(call_id)

    def _is_new(self, call_id: str) -> bool:
        """Return whether *call_id* is above all that are stored; then it is the newest."""
        stored = encode_id(call_id)
        newest = self._newest_id
        if isinstance(stored, str) or (isinstance(newest, bytes) and stored <= newest):
            return False
        self._newest_id = stored
        return True

    def _has_call(self, call_id: str) -> bool:
        found = self._connection.execute(_WITH_ID, (encode_id(call_id),)).fetchall()
        return any(kind == CALL for kind, _, _ in found)

    def _remember(self, call_id: str, gate: OpenGate) -> None:
        if len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[call_id] = self._not_inserted[call_id] = gate

    def _insert(self, encoded: Sequence[Encoded]) -> list[int]:
        """Store the next events; return the sequences of the gate events they end."""
        rows = [one.columns for one in encoded]
        told = {one.columns[SEQ]: one.texts for one in encoded if one.texts}
        digests = {seq: digests_of(texts) for seq, texts in told.items()}
        resolved = resolve(rows, digests, self.dictionary, self.sets)
        links = link(self._store_id, self.head.chain, resolved)
        if len(self.leaves) > _MOST_LEAVES:
            self.leaves.clear()
            self.leaves_after = self.head.seq
        self.leaves += links.leaves
        *columns, _ = zip(*rows, strict=True)
        stored = _EVENTS.insert(self._connection, [*columns, links.chains])
        self._require(stored, len(encoded))
        self._not_inserted.clear()
        self._texts += [(seq, *text) for seq in told for text in told[seq]]
        self.head = Head(self.head.seq + len(encoded), links.chains[-1])
        self._index(columns)
        return [gate for gate in columns[GATE_COLUMN] if gate is not None]

    def _insert_texts(self) -> None:
        texts, self._texts = self._texts, []
        stored = _TEXTS.insert(self._connection, list(zip(*texts, strict=True)))
        self._require(stored, len(texts))

    def _index(self, columns: Sequence[Sequence[Any]]) -> None:
        """Index the block that the last events, given as their columns, make full."""
        for column, place in zip(self._unindexed, INDEXED, strict=True):
            column.extend(columns[place])
        excess = self.head.seq - full_up_to(self.head.seq)
        if excess >= len(columns[0]):
            return
        block = self.head.seq // BLOCK - 1
        end = len(self._unindexed[0]) - excess
        found: Sequence[Sequence[Any]]
        if end >= BLOCK:
            found = [column[end - BLOCK : end] for column in self._unindexed]
        else:
            # Others wrote into the block, too.
            found = read_block(self._connection, block)
        insert_index(self._connection, index_of(block, found))
        for column in self._unindexed:
            del column[:end]

    def _forget_unindexed(self) -> None:
        for column in self._unindexed:
            column.clear()

    @staticmethod
    def _require(stored: int, count: int) -> None:
        # A trigger that swallows a row raises nothing.
        if stored != count:
            raise SwallowedError
