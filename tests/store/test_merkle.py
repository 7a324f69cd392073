"""Tree hashes agree with the vectors that Certificate Transparency's logs share."""

from __future__ import annotations

import pytest

from toolrt_store.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash

# Leaves and the roots over the first 0 to 8 of them: LeafInputs and RootHashes of
# github.com/transparency-dev/merkle, testonly/constants.go.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def frontier(size: int) -> Frontier:
    """Return the frontier of the first *size* leaves above."""
    return Frontier().extended([leaf_hash(leaf) for leaf in LEAVES[:size]])


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_other_logs(size: int) -> None:
    """Every tree of up to eight leaves has the published root."""
    assert frontier(size).root().hex() == ROOTS[size]
    assert frontier(size).size == size


def test_a_leaf_is_not_a_node() -> None:
    """The data of a leaf that looks like two hashes does not hash like their node."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert node_hash(left, right) != leaf_hash(left + right)


def test_the_empty_tree_is_where_all_begins() -> None:
    """It holds nothing, and adding nothing to any frontier changes nothing."""
    assert Frontier().root() == EMPTY_ROOT == bytes.fromhex(ROOTS[0])
    assert Frontier().to_bytes() == b""
    assert frontier(5).extended([]) == frontier(5)


def test_hashes_stand_largest_subtree_first() -> None:
    """Seven leaves are a tree of four, one of two and one."""
    four, two, one = frontier(7).hashes

    assert four.hex() == ROOTS[4]
    assert two == node_hash(leaf_hash(LEAVES[4]), leaf_hash(LEAVES[5]))
    assert one == leaf_hash(LEAVES[6])


@pytest.mark.parametrize(
    ("data", "size", "match"),
    [
        pytest.param(b"", 1, "has 1 perfect subtrees, not 0", id="nothing"),
        pytest.param(bytes(32), 0, "has 0 perfect subtrees, not 1", id="a hash of 0"),
        pytest.param(bytes(64), 4, "has 1 perfect subtrees, not 2", id="too many"),
        pytest.param(bytes(32), 7, "has 3 perfect subtrees, not 1", id="too few"),
        pytest.param(bytes(33), 3, "not of 32 bytes", id="a byte over"),
        pytest.param(bytes(63), 3, "not of 32 bytes", id="a byte short"),
        pytest.param(bytes(32), -1, "a tree of -1 leaves", id="negative"),
    ],
)
def test_bytes_must_fit_the_size(data: bytes, size: int, match: str) -> None:
    """What no frontier of that size can have written is refused."""
    with pytest.raises(ValueError, match=match):
        Frontier.from_bytes(data, size)


def test_only_hashes_are_leaves() -> None:
    """Lengths are looked at one by one: two wrong ones do not make up for each other."""
    with pytest.raises(ValueError, match="not of 32 bytes"):
        Frontier().extended([bytes(31), bytes(33)])
