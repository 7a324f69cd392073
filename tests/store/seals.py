"""A log of checkpoints as a store would keep it, and the keys that sign it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from toolrt_store.checkpoint import (
    NO_NOTE,
    Checkpoint,
    SignedCheckpoint,
    note_digest,
    parse_note,
    public_key,
    seal,
    sign,
)

from .samples import NOON_US

STORE_ID = bytes(range(16))


def seed(number: int) -> bytes:
    """Return the private key *number*."""
    return hashlib.sha256(f"seed {number}".encode()).digest()


def digest(text: str) -> bytes:
    """Return 32 bytes that only *text* gives."""
    return hashlib.sha256(text.encode()).digest()


def checkpoint(size: int = 1024, **changes: Any) -> Checkpoint:
    """Return the checkpoint over *size* events of an ordinary store."""
    fields: dict[str, Any] = {
        "store_id": STORE_ID,
        "size": size,
        "root": digest(f"root {size}"),
        "head": digest(f"head {size}"),
        "at_us": NOON_US + size,
        "key": public_key(seed(0)),
    }
    return Checkpoint(**(fields | changes))


class SealSimulator:
    """Makes a valid sequence of checkpoints, one call a checkpoint."""

    def __init__(self) -> None:
        self.log: list[SignedCheckpoint] = []
        self.seed = seed(0)

    def add(self, size: int, **changes: Any) -> SignedCheckpoint:
        """Add the checkpoint over *size* events."""
        made = seal(self._next(size, **changes), self.seed)
        self.log.append(made)
        return made

    def rotate(self, size: int, successor: bytes) -> SignedCheckpoint:
        """Add the checkpoint over *size* events that hands over to *successor*."""
        made = seal(
            self._next(size, next_key=public_key(successor)), self.seed, successor
        )
        self.log.append(made)
        self.seed = successor
        return made

    def _next(self, size: int, **changes: Any) -> Checkpoint:
        previous = note_digest(self.log[-1].note) if self.log else NO_NOTE
        return checkpoint(
            size, **{"previous": previous, "key": public_key(self.seed)} | changes
        )


def resigned(
    signed: SignedCheckpoint, by: bytes, successor: bytes | None = None, **changes: Any
) -> SignedCheckpoint:
    """Return *signed* with *changes*, signed anew by *by* whatever key it names."""
    from toolrt_store.checkpoint import note

    text = note(msgspec.structs.replace(parse_note(signed.note), **changes))
    return SignedCheckpoint(
        text, sign(text, by), None if successor is None else sign(text, successor)
    )


def five() -> SealSimulator:
    """Return a log of five checkpoints: the third hands over, the fifth has pruned."""
    simulator = SealSimulator()
    simulator.add(1024)
    simulator.add(2048)
    simulator.rotate(2500, seed(1))
    simulator.add(3072, at_us=NOON_US - 5)
    simulator.add(4096, pruned=2048)
    return simulator
