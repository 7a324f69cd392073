"""However its leaves come in, a log of the same leaves has the same root."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from toolrt_store.merkle import Frontier, leaf_hash

parts = st.lists(st.lists(st.binary(max_size=8), max_size=40), max_size=6)


def tree_hash(leaves: list[bytes]) -> bytes:
    """Return the root as the definition in RFC 6962, section 2.1 has it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    under = tree_hash(leaves[:split]) + tree_hash(leaves[split:])
    return hashlib.sha256(b"\x01" + under).digest()


@given(parts)
def test_any_split_of_the_leaves_gives_the_root_of_the_definition(
    batches: list[list[bytes]],
) -> None:
    """In batches, through bytes between them, or all at once."""
    leaves = [leaf for batch in batches for leaf in batch]
    frontier = Frontier()
    for batch in batches:
        frontier = frontier.extended([leaf_hash(leaf) for leaf in batch])
        frontier = Frontier.from_bytes(frontier.to_bytes(), frontier.size)

    assert frontier.size == len(leaves)
    assert frontier.root() == tree_hash(leaves)
    assert frontier == Frontier().extended([leaf_hash(leaf) for leaf in leaves])


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=80), st.data())
def test_every_leaf_counts(leaves: list[bytes], data: st.DataObject) -> None:
    """Another leaf anywhere, or one less, is another root."""
    at = data.draw(st.integers(0, len(leaves) - 1))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    changed = [*hashes[:at], leaf_hash(leaves[at] + b"!"), *hashes[at + 1 :]]
    fewer = [*hashes[:at], *hashes[at + 1 :]]

    root = Frontier().extended(hashes).root()

    assert Frontier().extended(changed).root() != root
    assert Frontier().extended(fewer).root() != root
