"""What an explanation says would end an access does end it, and nothing less does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import combinations, product
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt import AllowRule
from toolrt_cli.provenance.answer import Used, explain
from toolrt_cli.provenance.ends import ends
from toolrt_cli.provenance.facts import (
    Caller,
    Document,
    Facts,
    Link,
    Root,
    Rule,
    Source,
    Token,
    covers,
)

from .strategies import REPEATABLE

pytestmark = pytest.mark.slow

EXAMPLES: Final = int(os.environ.get("TOOLRT_GRAPHS", "150"))
FILE: Final = "/etc/toolrt.toml"
DECLARED: Final = ("fs:read", "fs:write", "repo:read")
CAPABILITY: Final = "fs:read"

#: What can be taken away: its kind and its name, as ``ends`` of the document has them.
Part = tuple[str, str]


def rule(number: int, pattern: str) -> Rule:
    source = AllowRule(pattern=pattern, file=FILE, line=number + 1, column=1)
    return Rule("ann", source, tuple(n for n in DECLARED if covers(pattern, n)))


def token(chain: str, grants: tuple[str, ...]) -> Token:
    """
    Return the token at the end of *chain*: a root's letter, then one letter a link.

    Chains that begin alike share their first links, digests and all.
    """
    links = tuple(
        Link(
            issuer=f"did:{chain[:depth]}",
            audience=f"did:{chain[: depth + 1]}",
            capabilities=grants,
            digest=f"digest-{chain[: depth + 1]}",
        )
        for depth in range(1, len(chain))
    )
    return Token(links=links, root=Root(f"did:{chain[0]}", None, FILE, ord(chain[0])))


rules = st.lists(
    st.sampled_from(["fs:*", "fs:read", "fs:w*", "repo:*", "*:read"]), max_size=4
).map(lambda patterns: tuple(rule(n, p) for n, p in enumerate(patterns)))
tokens = st.dictionaries(
    st.text("xy", min_size=2, max_size=4),
    st.sampled_from([("fs:read",), ("fs:read", "fs:write"), ("repo:read",)]),
    max_size=4,
).map(lambda chains: tuple(token(*item) for item in chains.items()))
graphs = st.builds(
    lambda rules, tokens: Facts(
        config_path=FILE,
        callers={"ann": Caller(rules=rules), "bob": Caller(rules=rules[:1])},
        tokens=tokens,
        declared=frozenset(DECLARED),
    ),
    rules,
    tokens,
)


def parts_of(facts: Facts) -> list[list[Part]]:
    """Return what each way to the capability consists of: the model's own reading."""
    found = [
        [("rule", one.ref)]
        for one in facts.callers["ann"].rules
        if CAPABILITY in one.capabilities
    ]
    for one in facts.tokens:
        if CAPABILITY in one.links[-1].capabilities:
            assert one.root is not None
            root = ("root", f"{FILE}:{one.root.line}")
            found.append([root, *(("token", link.digest) for link in one.links)])
    return found


def after(facts: Facts, gone: Iterable[Part]) -> str:
    """Return the decision once *gone* is taken away from the facts themselves."""
    taken = set(gone)
    removed: list[Source] = [
        *(one for one in facts.callers["ann"].rules if ("rule", one.ref) in taken),
        *(
            one
            for one in facts.tokens
            if any(("token", link.digest) in taken for link in one.links)
            or (one.root and ("root", f"{FILE}:{one.root.line}") in taken)
        ),
    ]
    return str(decision(facts.without(removed))["decision"])


def decision(facts: Facts) -> Document:
    return explain(facts, "ann", CAPABILITY, used=Used(), now_us=0)


def told(document: Document) -> list[frozenset[Part]]:
    """Return every set of removals that the document says ends the access."""
    groups = [[(p["kind"], p["ref"]) for p in group] for group in document["ends"]]
    return [frozenset(chosen) for chosen in product(*groups)] if groups else []


@settings(REPEATABLE, max_examples=EXAMPLES)
@given(graphs)
def test_ends_are_the_smallest_sets_that_end_the_access(facts: Facts) -> None:
    """All of a set taken away refuses; with one of it left in place it is granted."""
    document = decision(facts)
    paths = parts_of(facts)

    assert document["decision"] == ("allow" if paths else "deny")
    assert len(document["paths"]) == len(paths)
    found = told(document)
    assert bool(found) is bool(paths)
    for one in found:
        assert after(facts, one) == "deny"
        for kept in one:
            assert after(facts, one - {kept}) == "allow"


def smallest(paths: list[list[Part]]) -> set[frozenset[Part]]:
    """Return the smallest sets that hit every path, by trying all of them."""
    parts = sorted({part for path in paths for part in path})
    for size in range(1, len(parts) + 1):
        hits = {
            frozenset(some)
            for some in combinations(parts, size)
            if all(set(some) & set(path) for path in paths)
        }
        if hits:
            return hits
    return set()


@settings(REPEATABLE, max_examples=EXAMPLES)
@given(graphs)
def test_what_is_named_is_what_brute_force_finds(facts: Facts) -> None:
    """Every smallest set of removals is told, and no other."""
    assert set(told(decision(facts))) == smallest(parts_of(facts))


def test_a_path_that_nothing_can_end_is_said_by_no_way() -> None:
    """An access with a part that cannot go does not pretend to have an end."""
    assert ends([["a"], []]) == []
    assert ends([]) == []
