"""Grants and the authority."""

from typing import Any

import pytest

from toolrt import (
    AllowRule,
    Authority,
    CapabilitySet,
    CapProvenance,
    ChainLink,
    Grant,
    Refusal,
    StringAllowList,
    UcanChain,
)


def test_nothing_is_granted_without_a_rule() -> None:
    """Fail closed: no caller, no list or no match is no grant."""
    authority = Authority({"alice": ["fs:read"]})

    assert authority.resolve(None, ["fs:read"]).granted == ()
    assert authority.resolve("bob", ["fs:read"]).granted == ()
    assert authority.resolve("alice", ["fs:write"]).granted == ()
    assert Authority().resolve("alice", ["fs:read"]).granted == ()


def test_what_is_requested_and_listed_is_granted_sorted() -> None:
    """A call never carries more than it asked for."""
    authority = Authority({"alice": ["c", "a", "b"]})

    found = authority.resolve("alice", ["c", "a", "x", "a"])

    assert found.granted == ("a", "c")
    assert found.provenance == (
        CapProvenance("a", StringAllowList()),
        CapProvenance("c", StringAllowList()),
    )


def test_no_wildcard_is_evaluated_at_a_call() -> None:
    """A pattern in a list is a literal here."""
    authority = Authority({"alice": ["fs:*"]})

    assert authority.resolve("alice", ["fs:read"]).granted == ()
    assert "fs:*" in authority.resolve("alice", ["fs:*"])


def test_two_rules_that_grant_one_capability_both_show() -> None:
    """Every source is kept; the capability is listed once."""
    one = Grant("a", AllowRule(pattern="a", file="f", line=1, column=2))
    two = Grant("a", AllowRule(pattern="*", file="f", line=3, column=4))

    found = Authority({"alice": [one, two]}).resolve("alice", ["a"])

    assert found.grants == (one, two)
    assert found.granted == ("a",)
    assert len(found.provenance) == 2


def test_a_chain_has_its_own_wire_form() -> None:
    """The leaf's issuer and depth are credited."""
    link = ChainLink(issuer="did:key:zA", depth=1, digest="00")

    assert (link.links, link.bearer) == ((), False)
    assert Grant("a", link).provenance == CapProvenance("a", UcanChain("did:key:zA", 1))


def test_a_set_can_be_narrowed() -> None:
    """Narrowing keeps the sources of what stays."""
    found = Authority({"alice": ["a", "b"]}).resolve("alice", ["a", "b"])

    assert found.within({"b"}).granted == ("b",)
    assert "b" in found
    assert "c" not in found
    assert "a" not in found.within({"b"})
    assert CapabilitySet().granted == ()


def test_the_whole_list_of_a_caller_can_be_read() -> None:
    """Grants come by capability; an unknown caller has none."""
    authority = Authority({"alice": ["b", "a"]})

    assert [grant.capability for grant in authority.grants_of("alice")] == ["a", "b"]
    assert authority.grants_of("bob") == ()


@pytest.mark.parametrize(
    "made",
    [
        CapabilitySet(),
        Refusal("expired"),
        AllowRule(pattern="a"),
        Grant("a", AllowRule(pattern="a")),
        ChainLink(issuer="a", depth=0, digest="b"),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_was_granted_cannot_be_changed(made: Any) -> None:
    """It goes from the check to the record as it is."""
    name = made.__struct_fields__[0]

    with pytest.raises(AttributeError):
        setattr(made, name, None)
