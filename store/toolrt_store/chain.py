"""
The hash chain over all events.

``chain = SHA-256(chain of the event before || canonical bytes)``; before the first event
stands SHA-256 of ``toolrt/chain/2`` and the store's id. The canonical bytes are
``toolrt/event/2``, a newline, the 16 bytes of the store's id, and the resolved values of
the row (see `toolrt_store.rows.resolve`) as one compact JSON array in UTF-8, blobs in
base64, in which only ``"``, the backslash and control characters are escaped.

The same bytes are the leaves of the Merkle tree that checkpoints sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

_ENCODE: Final = msgspec.json.Encoder().encode
_LEAF: Final = b"\0"  # RFC 6962, section 2.1: leaves and nodes hash apart


class Links(msgspec.Struct, frozen=True):
    """The chain value and the leaf hash of each of some events, in their order."""

    chains: list[bytes]
    leaves: list[bytes]


def genesis(store_id: bytes) -> bytes:
    """Return what stands before the first event of a store."""
    return sha256(b"toolrt/chain/2\n" + store_id).digest()


def link(
    store_id: bytes, previous: bytes, resolved_rows: Iterable[tuple[Any, ...]]
) -> Links:
    """Return the links of events, given as their resolved values, after *previous*."""
    prefix = b"toolrt/event/2\n" + store_id
    # A third of a verification: no function calls but the hashes.
    bodies = [prefix + _ENCODE(resolved) for resolved in resolved_rows]
    chains: list[bytes] = []
    add = chains.append
    for body in bodies:
        previous = sha256(previous + body).digest()
        add(previous)
    return Links(chains, [sha256(_LEAF + body).digest() for body in bodies])
