"""
Writing checkpoints: the key that signs, and the tree that grows on.

Imported when one is due: the writer says when. A key that cannot be used stops no
append: the tail stays unsigned, and `Sealer.problem` says why.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from toolrt_store import anchor, errors, keys, sqlite
from toolrt_store.append import Appender
from toolrt_store.checkpoint import (
    NO_NOTE,
    Checkpoint,
    SignedCheckpoint,
    note_digest,
    parse_note,
    public_key,
    seal,
)
from toolrt_store.merkle import Frontier
from toolrt_store.resolved import read_resolved
from toolrt_store.system import system_event

if TYPE_CHECKING:
    from toolrt_store.parts import Parts

_LAST: Final = """
SELECT size, note, frontier FROM checkpoints ORDER BY size DESC LIMIT 1
"""
_INSERT: Final = """
INSERT INTO checkpoints (size, note, signature, successor_signature, frontier)
VALUES (?, ?, ?, ?, ?)
"""
_CHAIN_OF: Final = "SELECT chain FROM events WHERE seq = ?"
_PRUNED: Final = "SELECT value FROM store WHERE key = 'pruned'"


class Last(msgspec.Struct, frozen=True):
    """The newest checkpoint: how far it reaches, its note, and the tree so far."""

    size: int
    note: bytes
    frontier: Frontier


class Sealer:
    """
    The checkpoints of one connection. Used inside a writing transaction only.

    ``problem`` is why the last one could not be written, None if it could.
    """

    def __init__(
        self,
        connection: sqlite.Connection,
        path: str,
        store_id: bytes,
        anchor_path: str | None = None,
    ) -> None:
        self._connection = connection
        self._path = path
        self._store_id = store_id
        self._anchor_path = anchor_path
        self.problem: errors.StoreError | None = None

    def try_seal(
        self, appender: Appender, size: int, now_us: int
    ) -> SignedCheckpoint | None:
        """Write a checkpoint like `seal`; None, and ``problem`` set, without a key."""
        try:
            return self.seal(appender, size, now_us)
        except keys.SealKeyError as error:
            self.problem = error
            return None

    def seal(
        self, appender: Appender, size: int, now_us: int, *, rotate: bool = False
    ) -> SignedCheckpoint | None:
        """
        Write a checkpoint over the first *size* events; None if one reaches so far.

        Args:
            rotate: Name a new key that signs from then on; the caller ends the rotation
                of the key file once this is committed.

        Raises:
            SealKeyError: The key cannot be used.
        """
        last = self._last()
        if last is not None and last.size >= size:
            return None
        seed = self._seed(last)
        successor = keys.begin_rotation(keys.key_path(self._path)) if rotate else None
        frontier = self._frontier(appender, last, size)
        signed = seal(
            Checkpoint(
                store_id=self._store_id,
                size=size,
                root=frontier.root(),
                head=self._chain_at(appender, size),
                at_us=max(now_us, 0),
                pruned=self._connection.execute(_PRUNED).fetchone()[0],
                previous=NO_NOTE if last is None else note_digest(last.note),
                key=public_key(seed),
                next_key=None if successor is None else public_key(successor),
            ),
            seed,
            successor,
        )
        self._connection.execute(
            _INSERT,
            (
                size,
                signed.note,
                signed.signature,
                signed.successor_signature,
                frontier.to_bytes(),
            ),
        )
        appender.forget_leaves(size)
        self.problem = None
        return signed

    def tell_anchor(self, signed: SignedCheckpoint) -> None:
        """Append *signed*, which is committed, to the anchor; failing stops nothing."""
        if self._anchor_path is None:
            return
        try:
            anchor.append(self._anchor_path, signed)
        except errors.StoreError as error:
            if self.problem is None:
                import logging

                logging.getLogger(__name__).warning("%s", error)
            self.problem = error

    def _last(self) -> Last | None:
        row = self._connection.execute(_LAST).fetchone()
        if row is None:
            return None
        size, note, frontier = row
        return Last(size, note, Frontier.from_bytes(frontier, size))

    def _seed(self, last: Last | None) -> bytes:
        path = keys.key_path(self._path)
        if last is not None:
            return keys.settle_rotation(path, parse_note(last.note).next_signer)
        try:
            return keys.read_key(path)
        except keys.SealKeyMissingError:
            return keys.make_key(path)

    def _frontier(self, appender: Appender, last: Last | None, size: int) -> Frontier:
        frontier = Frontier() if last is None else last.frontier
        if appender.leaves_after > frontier.size:
            # Others appended, too, or this process is young.
            upto = min(appender.leaves_after, size)
            for some in read_resolved(
                self._connection,
                appender.dictionary,
                appender.sets,
                frontier.size,
                upto,
            ):
                frontier = frontier.extended(appender.leaves_of(some))
        known = appender.leaves[
            frontier.size - appender.leaves_after : size - appender.leaves_after
        ]
        return frontier.extended(known)

    def _chain_at(self, appender: Appender, size: int) -> bytes:
        if size == appender.head.seq:
            return appender.head.chain
        chain: bytes = self._connection.execute(_CHAIN_OF, (size,)).fetchone()[0]
        return chain


def write_checkpoint(parts: Parts, *, rotate: bool) -> Checkpoint | None:
    """
    Write a checkpoint over all events; None if the newest one reaches so far.

    Raises:
        SealKeyError: The key cannot be used.
        StoreError: It could not be stored.
    """
    writer, sealer = parts.writer, parts.sealer()
    signed: list[SignedCheckpoint] = []

    def change() -> None:
        appender, now_us = writer.appender, time.time_ns() // 1000
        if rotate:
            appender.append([system_event("key_rotated", now_us)])
        found = sealer.seal(appender, appender.head.seq, now_us, rotate=rotate)
        if found is not None:
            signed.append(found)

    with writer.locked(parts.lock_timeout_s):
        writer.transact(change)
        if rotate:
            keys.finish_rotation(keys.key_path(parts.path))
    if not signed:
        return None
    sealer.tell_anchor(signed[0])
    return parse_note(signed[0].note)
