"""Each source that is named grants by itself, and none that grants is left out."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolrt import AllowRule, Authority, Grant
from toolrt.ucan import Identity

from ..runtime.ucan.simulator import AT, DelegationSimulator
from .strategies import REPEATABLE

WORLD = DelegationSimulator()
IDENTITIES = {"bob": Identity.from_seed(WORLD.bob.seed)}
NAMES = ("fs:read", "net:get", "x")

capabilities = st.sets(st.sampled_from(NAMES), min_size=1).map(sorted)
rules = st.builds(
    lambda name, line: Grant(name, AllowRule(pattern=name, file="f", line=line)),
    st.sampled_from(NAMES),
    st.integers(1, 4),
)
arguments = st.fixed_dictionaries({"path": st.sampled_from(["/srv", "/etc"])})
tokens = st.builds(
    lambda caps, nonce, bound: WORLD.second(
        proof=WORLD.first(args={"caps": list(NAMES)}),
        args={"caps": caps, "with": [bound] if bound else []},
        nonce=nonce * 16,
    ),
    capabilities,
    st.sampled_from("abcd"),
    st.none() | arguments,
)


def sources(
    listed: list[Grant], proofs: list[str], params: dict[str, Any]
) -> set[Grant]:
    """Return every grant of bob, who asks for all there is."""
    authority = Authority(
        {"bob": listed}, roots={WORLD.root.did: None}, identities=IDENTITIES
    )
    return set(authority.resolve("bob", NAMES, proofs, AT, params).grants)


@REPEATABLE
@given(st.lists(rules, max_size=4), st.lists(tokens, max_size=3), arguments)
def test_the_sources_named_are_those_that_grant(
    listed: list[Grant], proofs: list[str], params: dict[str, Any]
) -> None:
    """Together they grant what each grants alone: no more, no less, nobody else's."""
    found = sources(listed, proofs, params)

    alone = [sources([one], [], params) for one in listed]
    alone += [sources([], [one], params) for one in proofs]
    assert found == set().union(*alone)
    for name in {one.capability for one in found}:
        rest = [one for one in listed if one.capability != name]
        kept = [
            one
            for one in proofs
            if all(grant.capability != name for grant in sources([], [one], params))
        ]
        assert all(one.capability != name for one in sources(rest, kept, params))
