"""What a chain grants never grows along it, whoever signs the links."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt.capability import Link
from toolrt.ucan import UcanError
from toolrt.ucan.verify import require_attenuation, start_of

from ..runtime.ucan.simulator import AT, DelegationSimulator, Key, sign
from .strategies import REPEATABLE

WORLD = DelegationSimulator()
PARTIES = (WORLD.root, WORLD.alice, WORLD.bob, WORLD.carol, WORLD.mallory)
CAPABILITIES = ("fs:read", "fs:write", "net:get")

capabilities = st.sets(st.sampled_from(CAPABILITIES), min_size=1)
bindings = st.dictionaries(
    st.sampled_from(["path", "host"]),
    st.sampled_from([0, False, 1, True, "x", None]),
    max_size=1,
)
starts = st.none() | st.integers(AT - 3, AT + 1)
ends = st.integers(AT, AT + 4)

#: Links of one authority and one party, so that only what is given can differ.
links = st.builds(
    Link,
    issuer=st.just("a"),
    audience=st.just("a"),
    subject=st.just("a"),
    capabilities=capabilities.map(lambda found: tuple(sorted(found))),
    bindings=st.sets(
        st.tuples(st.sampled_from("pq"), st.sampled_from(["0", "1", "true"])),
        max_size=3,
    ).map(lambda found: tuple(sorted(found))),
    not_before=starts,
    expires=ends,
    digest=st.just(""),
)


def covers(parent: Link, child: Link) -> bool:
    """Return whether *child* may follow on *parent*."""
    try:
        require_attenuation((parent, child))
    except UcanError:
        return False
    return True


def extent(link: Link) -> tuple[Any, ...]:
    """Return what a link gives; to begin at no time is to begin with the world."""
    return (set(link.capabilities), set(link.bindings), start_of(link), link.expires)


class TestPartialOrder:
    """A link may hand on at most what it was given: "covers" is a partial order."""

    @REPEATABLE
    @given(links)
    def test_reflexive(self, link: Link) -> None:
        """A link covers its like."""
        assert covers(link, link)

    @REPEATABLE
    @given(links, links)
    def test_antisymmetric(self, one: Link, two: Link) -> None:
        """Two that cover each other give the same."""
        if covers(one, two) and covers(two, one):
            assert extent(one) == extent(two)

    @REPEATABLE
    @given(links, links, links)
    def test_transitive(self, one: Link, two: Link, three: Link) -> None:
        """What holds link by link holds from end to end."""
        if covers(one, two) and covers(two, three):
            assert covers(one, three)

    @REPEATABLE
    @given(links, links)
    def test_as_a_model_says(self, parent: Link, child: Link) -> None:
        """Fewer capabilities, more bindings, a shorter time: that and nothing else."""
        (caps, bound, start, end), (caps2, bound2, start2, end2) = map(
            extent, (parent, child)
        )
        narrower = caps2 <= caps and bound2 >= bound and start2 >= start and end2 <= end

        assert covers(parent, child) == narrower


#: One of a chain that anybody may have signed: by whom, to whom, what.
steps = st.tuples(
    st.sampled_from(PARTIES),
    st.sampled_from(PARTIES),
    st.fixed_dictionaries(
        {
            "args": st.builds(
                lambda caps, bound: {"caps": sorted(caps), "with": bound},
                capabilities,
                bindings.map(lambda found: [{k: v} for k, v in found.items()]),
            ),
            "nbf": starts,
            "exp": ends,
        }
    ),
)


def signed(chain: list[tuple[Key, Key, dict[str, Any]]]) -> str:
    """Return the token that ends *chain*."""
    token: str | None = None
    for by, to, claims in chain:
        proof = None if token is None else [token]
        token = sign(WORLD.claims(by, to, prf=proof, **claims), by)
    assert token is not None
    return token


@pytest.mark.slow
@settings(REPEATABLE, max_examples=400)
@given(st.lists(steps, min_size=1, max_size=3), st.booleans())
def test_an_accepted_chain_gives_what_every_link_gives(
    chain: list[tuple[Key, Key, dict[str, Any]]], aligned: bool
) -> None:
    """Parties that sign what they like get what the root gave, or nothing."""
    if aligned:  # each link by whom the one before was for
        parties = [WORLD.root, *(to for _, to, _ in chain)]
        chain = [
            (by, to, claims)
            for by, (_, to, claims) in zip(parties, chain, strict=False)
        ]

    found = WORLD.verify(signed(chain), to=chain[-1][1], roots={WORLD.root.did: None})

    if found:
        assert chain[0][0] is WORLD.root
        for (_, to, _), (by, _, _) in pairwise(chain):
            assert to is by
        for _, _, claims in chain:
            assert found.capabilities <= set(claims["args"]["caps"])
            assert (claims["nbf"] or 0) <= AT < claims["exp"]
