"""
Verifying a store: the chain, the checkpoints, the index, and what an anchor remembers.

Every row is read once and its link computed anew from what its numbers stand for. What
is verified and signed, what is only chained, what was pruned and what cannot be proven
are told apart.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import msgspec

from toolrt_store import database, errors, sqlite
from toolrt_store.anchor import compare
from toolrt_store.chain import Links, genesis, link
from toolrt_store.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    check_sequence,
    parse_note,
)
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.index_check import IndexCheck
from toolrt_store.keys import is_held, key_path
from toolrt_store.merkle import Frontier
from toolrt_store.record_check import RecordCheck
from toolrt_store.resolved import read_digests, read_rows
from toolrt_store.rows import SEQ, resolve

_CHECKPOINTS: Final = """
SELECT size, note, signature, successor_signature, frontier FROM checkpoints
ORDER BY size
"""
_POLICIES: Final = "SELECT digest, content FROM policies"
_PRUNED: Final = "SELECT value FROM store WHERE key = 'pruned'"
_ENDS: Final = "SELECT max(seq) FROM events"
_MOST_MISMATCHES: Final = 100
#: What a row raises that speaks of others that are gone, or holds what none can.
_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError)


class Mismatch(msgspec.Struct, frozen=True):
    """Something that is not as it was recorded; ``seq`` is the first event concerned."""

    seq: int
    what: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """
    What verifying found.

    ``first_seq`` to ``last_seq`` were verified, those up to ``signed_up_to`` (0 for
    none) under a checkpoint signed by ``key``. ``pruned_up_to`` is 0 without pruning.
    ``mismatches`` come by sequence; empty, the record is intact as far as
    ``not_proven`` does not say otherwise.
    """

    store_id: bytes
    first_seq: int
    last_seq: int
    events: int
    signed_up_to: int
    checkpoints: int
    pruned_up_to: int
    anchored_up_to: int
    key: bytes | None
    mismatches: tuple[Mismatch, ...]
    not_proven: tuple[str, ...]

    @property
    def is_intact(self) -> bool:
        """Whether nothing contradicts the record."""
        return not self.mismatches


class _Sealed(msgspec.Struct, frozen=True):
    """A checkpoint as the store has it, with what its note says where it can be read."""

    size: int
    signed: SignedCheckpoint
    frontier: bytes
    said: Checkpoint | None


def verify(
    connection: sqlite.Connection,
    dictionary: Dictionary,
    sets: GrantSets,
    *,
    store_id: bytes,
    anchored: Sequence[SignedCheckpoint] | None = None,
    first_key: bytes | None = None,
    is_held: Callable[[bytes], bool | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """
    Verify every event of a store.

    Args:
        anchored: What an anchor holds; None without one.

        first_key: The public key known to sign the first checkpoint.

        is_held: Tells whether the private key of a public one is beside the store; None
            where nobody may know.

        progress: Told now and then how many events of how many are done.
    """
    walk = _Walk(connection, dictionary, sets, store_id)
    walk.check_checkpoints(first_key)
    walk.check_key(is_held)
    walk.check_events(progress)
    return walk.result(anchored)


def verify_file(
    path: str,
    *,
    store_id: bytes,
    anchored: Sequence[SignedCheckpoint] | None,
    first_key: bytes | None,
    progress: Callable[[int, int], None] | None,
) -> Verification:
    """
    Verify the store at *path*, on a connection of its own. See `verify`.

    Raises:
        StoreError: It cannot be read.
    """
    connection = database.open_reader(path)
    # Text that is no UTF-8 was not recorded so: it is found, and named.
    connection.text_factory = _as_it_is
    try:
        # One snapshot: what others append, prune or redact meanwhile is not in it.
        connection.execute("BEGIN")
        dictionary = Dictionary(connection)
        with _no_collector():
            return verify(
                connection,
                dictionary,
                GrantSets(connection, dictionary),
                store_id=store_id,
                anchored=anchored,
                first_key=first_key,
                is_held=lambda public: is_held(key_path(path), public),
                progress=progress,
            )
    except sqlite.Error as error:
        waited_s = database.BUSY_TIMEOUT_S
        raise errors.from_sqlite(path, error, waited_s=waited_s) from error
    except (KeyError, TypeError) as error:
        raise errors.ForeignStoreError(path, "its rows do not agree") from error
    finally:
        connection.close()


@contextmanager
def _no_collector() -> Iterator[None]:
    """
    Keep the garbage collector from looking through rows, which hold no cycles.

    It takes a twentieth of a verification; memory stays bounded without it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _as_it_is(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


class _Walk:
    """One pass over a store. Once something is wrong, the tree is not compared further."""

    def __init__(
        self,
        connection: sqlite.Connection,
        dictionary: Dictionary,
        sets: GrantSets,
        store_id: bytes,
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._sets = sets
        self._store_id = store_id
        self._mismatches: list[Mismatch] = []
        ask = connection.execute
        self._pruned: int = ask(_PRUNED).fetchone()[0]
        self._head: int = ask(_ENDS).fetchone()[0] or 0
        self._sealed = [
            _Sealed(size, SignedCheckpoint(note, *signatures), frontier, _said(note))
            for size, note, *signatures, frontier in ask(_CHECKPOINTS)
        ]
        self._is_whole = True
        self._signed_up_to = 0
        if self._pruned > self._head:
            what = f"{self._pruned} events are said to be pruned, of {self._head}"
            self._add(self._head + 1, what)
            self._pruned = 0
        self._index: IndexCheck | None = IndexCheck(connection, self._pruned)

    def check_checkpoints(self, first_key: bytes | None) -> None:
        """Check what the checkpoints say of each other, and their signatures."""
        found = check_sequence(
            [one.signed for one in self._sealed],
            store_id=self._store_id,
            first_key=first_key,
        )
        for problem in found:
            self._add(problem.first_seq, str(problem))
        for one in self._sealed:
            if one.said is not None and one.said.size != one.size:
                self._add(one.size, f"the checkpoint of {one.size} events was renamed")
            if one.size > self._head:
                gone = (
                    f"a checkpoint speaks of {one.size} events, there are {self._head}"
                )
                self._add(self._head + 1, gone)
        self._is_whole = not self._mismatches

    def check_key(self, is_held: Callable[[bytes], bool | None] | None) -> None:
        """Check that the newest checkpoint leaves the key in force beside the store."""
        said = self._sealed[-1].said if self._sealed else None
        if is_held and said is not None and is_held(said.next_signer) is False:
            what = "the checkpoints are signed by another key than the store's"
            self._add(self._pruned + 1, what)

    def check_events(self, progress: Callable[[int, int], None] | None) -> None:
        """Compute chain and tree anew, from the first event that was not pruned."""
        chain, frontier = self._beginning()
        due = {one.size: one for one in self._sealed if one.size > self._pruned}
        known = len(self._mismatches)
        for start, end, rows in read_rows(self._connection, self._pruned, self._head):
            if progress is not None:
                progress(start - self._pruned, self._head - self._pruned)
            is_full = len(rows) == end - start
            links = self._links(rows, chain) if is_full else None
            if links and links.chains == [row[-1] for row in rows]:
                frontier = self._grow(frontier, rows, links.leaves, due)
            else:
                self._find_breaks(rows, start, end, chain)
                self._is_whole = False
            chain = rows[-1][-1] if rows else b""
            self._add_to_index(rows)
        # Where events are not what they were, the index of them cannot be, either.
        events = [one.seq for one in self._mismatches[known:]]
        for seq, what in self._index.differences() if self._index else ():
            self._add(min(events, default=seq), what)
        around = RecordCheck(
            self._connection,
            self._dictionary,
            self._sets,
            pruned=self._pruned,
            head=self._head,
        )
        for seq, what in around.differences():
            self._add(seq, what)
        for digest, content in self._connection.execute(_POLICIES):
            if sha256(content.encode()).hexdigest() != digest:
                self._add(self._pruned + 1, f"policy {digest} was changed")

    def result(self, anchored: Sequence[SignedCheckpoint] | None) -> Verification:
        """Return what was found, *anchored* compared with it."""
        agreed = 0
        if anchored is not None:
            stored = [one.signed for one in self._sealed]
            problems = compare(anchored, stored, self._head)
            for problem in problems:
                self._add(problem.first_seq, f"against the anchor: {problem}")
            if not problems and anchored:
                agreed = max(parse_note(one.note).size for one in anchored)
        keys = [one.said.next_signer for one in self._sealed if one.said is not None]
        found = sorted(self._mismatches, key=lambda one: one.seq)
        return Verification(
            store_id=self._store_id,
            first_seq=self._pruned + 1,
            last_seq=self._head,
            events=max(0, self._head - self._pruned),
            signed_up_to=self._signed_up_to,
            checkpoints=len(self._sealed),
            pruned_up_to=self._pruned,
            anchored_up_to=agreed,
            key=keys[-1] if keys else None,
            mismatches=tuple(found[:_MOST_MISMATCHES]),
            not_proven=tuple(_not_proven(agreed, self._head, self._signed_up_to)),
        )

    def _beginning(self) -> tuple[bytes, Frontier]:
        """Return the chain value and the tree at the end of what was pruned."""
        if not self._pruned:
            return genesis(self._store_id), Frontier()
        for one in self._sealed:
            if one.size == self._pruned and one.said is not None:
                try:
                    frontier = Frontier.from_bytes(one.frontier, one.size)
                except ValueError:
                    break
                if frontier.root() != one.said.root:
                    break
                self._signed_up_to = one.size
                return one.said.head, frontier
        self._add(self._pruned, "no checkpoint vouches for the end of what was pruned")
        self._is_whole = False
        return b"", Frontier()

    def _grow(
        self,
        frontier: Frontier,
        rows: Sequence[tuple[Any, ...]],
        leaves: list[bytes],
        due: dict[int, _Sealed],
    ) -> Frontier:
        """Return the tree with *leaves*, compared with the checkpoints on the way."""
        if not self._is_whole:
            return frontier
        first, last = rows[0][SEQ], rows[-1][SEQ]
        done = 0
        for size in range(first, last + 1) if due else ():
            if size in due:
                frontier = frontier.extended(leaves[done : size - first + 1])
                done = size - first + 1
                self._compare(due.pop(size), frontier, rows[done - 1][-1])
        return frontier.extended(leaves[done:])

    def _compare(self, sealed: _Sealed, frontier: Frontier, head: bytes) -> None:
        said = sealed.said
        if said is None or not self._is_whole:
            return
        if (said.root, said.head, sealed.frontier) != (
            frontier.root(),
            head,
            frontier.to_bytes(),
        ):
            what = (
                f"these events are not those of the checkpoint of {sealed.size} events"
            )
            self._add(self._signed_up_to + 1, what)
            self._is_whole = False
            return
        self._signed_up_to = sealed.size

    def _add_to_index(self, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            if self._index is not None:
                self._index.add(rows)
        except _UNREADABLE:
            # A value of another type: the chain has named its event.
            self._index = None

    def _links(self, rows: Sequence[tuple[Any, ...]], chain: bytes) -> Links | None:
        """Return the links of *rows*; None if one of them cannot be read whole."""
        if not rows:
            return None
        try:
            texts = read_digests(self._connection, rows[0][SEQ] - 1, rows[-1][SEQ])
            resolved = resolve(rows, texts, self._dictionary, self._sets)
            return link(self._store_id, chain, resolved)
        except _UNREADABLE:
            return None

    def _find_breaks(
        self, rows: Sequence[tuple[Any, ...]], start: int, end: int, chain: bytes
    ) -> None:
        """Name each event that is missing or does not follow from the one before it."""
        try:
            texts = read_digests(self._connection, start, end)
        except _UNREADABLE:
            texts = {}
        expected = start + 1
        for row in rows:
            seq = row[SEQ]
            if seq != expected:
                self._add(expected, f"events {expected} to {seq - 1} are missing")
            else:
                try:
                    links = link(
                        self._store_id,
                        chain,
                        resolve([row], texts, self._dictionary, self._sets),
                    )
                    is_same = links.chains == [row[-1]]
                except _UNREADABLE:
                    is_same = False
                if not is_same:
                    what = f"it is not what was recorded after event {seq - 1}"
                    self._add(seq, what)
            chain, expected = row[-1], seq + 1
        if expected <= end:
            self._add(expected, f"events {expected} to {end} are missing")

    def _add(self, seq: int, what: str) -> None:
        self._mismatches.append(Mismatch(seq, what))


def _said(note: object) -> Checkpoint | None:
    try:
        return parse_note(note) if isinstance(note, bytes) else None
    except ValueError:
        return None


def _not_proven(anchored: int, head: int, signed: int) -> Iterator[str]:
    if anchored < head:
        yield (
            f"that nothing after event {max(anchored, signed)} was cut off"
            if anchored
            else "without an anchor: that the newest events were not cut off, and that"
            " this is not an older copy, or one that was written anew with the key"
        )
    if signed < head:
        yield f"events {signed + 1} to {head} are chained, but not signed yet"
