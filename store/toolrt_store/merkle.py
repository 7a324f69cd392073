"""
Tree hashes of RFC 6962, section 2.1, over a log that only grows.

A tree is never kept whole: its `Frontier` is enough to add leaves and to tell the root.
Nothing here does I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

# Different first bytes, so that no leaf can be passed off as a node or the reverse.
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of the leaf that holds *data*."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over *left* and *right*."""
    return hashlib.sha256(_NODE + left + right).digest()


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if not {HASH_BYTES}.issuperset(map(len, hashes)):
        raise ValueError(f"a hash is not of {HASH_BYTES} bytes")


class Frontier(msgspec.Struct, frozen=True):
    """
    The roots of the perfect subtrees of the first *size* leaves, largest first.

    One hash for each bit that is set in *size*, so at most 63 for any store.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"a tree of {self.size} leaves")
        if len(self.hashes) != self.size.bit_count():
            raise ValueError(
                f"a tree of {self.size} leaves has {self.size.bit_count()} perfect"
                f" subtrees, not {len(self.hashes)}"
            )
        _require_hashes(self.hashes)

    def extended(self, leaves: Sequence[bytes]) -> Frontier:
        """
        Return the frontier with *leaves*, which are leaf hashes, behind the others.

        Raises:
            ValueError: They are not all of 32 bytes.
        """
        _require_hashes(leaves)
        sha256 = hashlib.sha256
        waiting = list(self.hashes)
        level = list(leaves)
        added: list[bytes] = []
        size = self.size
        # One level a turn, lowest first: pairs go up, what has no partner stays.
        while level or size:
            if size & 1:
                level.insert(0, waiting.pop())
            if len(level) & 1:
                added.append(level.pop())
            nodes = iter(level)
            # Written out, as calling node_hash takes a quarter more.
            level = [
                sha256(_NODE + left + right).digest()
                for left, right in zip(nodes, nodes, strict=True)
            ]
            size >>= 1
        return Frontier(self.size + len(leaves), tuple(reversed(added)))

    def root(self) -> bytes:
        """Return the root of the tree; that of the empty one is the hash of nothing."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """Return the hashes one after the other; the size is kept beside them."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes, size: int) -> Frontier:
        """
        Return the frontier of *size* leaves that `to_bytes` wrote.

        Raises:
            ValueError: *data* is not as long as *size* asks for.
        """
        steps = range(0, len(data), HASH_BYTES)
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in steps))
