"""What is issued verifies, and what would not is not issued."""

from __future__ import annotations

from typing import Any

import pytest

from toolrt.ucan import (
    Limits,
    UcanError,
    decode_did,
    did_of_seed,
    encode_did,
    issue,
    read_chain,
)

from .simulator import AT, HOUR, DelegationSimulator

WORLD = DelegationSimulator()


def first(**changes: Any) -> str:
    """Issue what the root gives alice."""
    asked: dict[str, Any] = {
        "audience": WORLD.alice.did,
        "capabilities": ["fs:read", "net:get"],
        "not_before": AT - HOUR,
        "expires": AT + HOUR,
        "bindings": {"path": "/srv"},
    }
    return issue(WORLD.root.seed, **(asked | changes))


def second(**changes: Any) -> str:
    """Issue what alice hands on to bob."""
    asked: dict[str, Any] = {
        "audience": WORLD.bob.did,
        "capabilities": ["fs:read"],
        "not_before": AT - HOUR,
        "expires": AT + HOUR,
        "bindings": {"path": "/srv"},
        "proof": first(),
    }
    return issue(WORLD.alice.seed, **(asked | changes))


def test_what_is_issued_verifies() -> None:
    """With everything that was asked for."""
    token = second(nonce="N" * 20, meta={"why": "backup"})

    found = WORLD.verify(token)
    assert found.capabilities == {"fs:read"}
    assert found.links[1].bindings == (("path", '"/srv"'),)
    assert (found.links[1].not_before, found.links[1].expires) == (AT - HOUR, AT + HOUR)
    leaf = read_chain(token)[-1]
    assert (leaf.nonce, leaf.meta) == ("N" * 20, {"why": "backup"})


def test_what_was_not_asked_for_is_not_said() -> None:
    """Neither a start nor bindings; the nonce is always a new one."""
    bare: dict[str, Any] = {"not_before": None, "bindings": None}
    (one,), (two,) = read_chain(first(**bare)), read_chain(first(**bare))

    assert (one.link.not_before, one.link.bindings, one.meta) == (None, (), {})
    assert len(one.nonce) == 22
    assert one.nonce != two.nonce


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"capabilities": ["fs:write"]}, "cap_widening"),
        ({"bindings": {}}, "binding_widening"),
        ({"bindings": {"path": "/"}}, "binding_widening"),
        ({"expires": AT + HOUR + 1}, "time_widening"),
        ({"not_before": None}, "time_widening"),
        ({"not_before": AT + HOUR}, "not_yet"),
        ({"proof": first(audience=WORLD.bob.did)}, "alignment"),
        ({"proof": "x"}, "form"),
        ({"proof": WORLD.forge_the_parent()}, "signature"),
        ({"proof": WORLD.strip_the_proof()}, "root_subject"),
        ({"capabilities": []}, "caps"),
        ({"capabilities": ["a", "a"]}, "caps"),
        ({"capabilities": ["fs:*"]}, "caps"),
        ({"audience": "bob"}, "did"),
        ({"nonce": "short"}, "nonce"),
        ({"expires": 1.5}, "number"),
        ({"meta": {"x": 1.5}}, "number"),
        ({"meta": {"x": "y" * 16_384}}, "size"),
        ({"limits": Limits(max_depth=1)}, "depth"),
        ({"limits": Limits(max_ttl_s=HOUR)}, "ttl"),
    ],
    ids=str,
)
def test_what_would_be_refused_is_not_issued(
    changes: dict[str, Any], code: str
) -> None:
    """With the code that verification would give."""
    with pytest.raises(UcanError) as caught:
        second(**changes)

    assert caught.value.code == code


def test_a_key_that_is_none_is_the_callers_mistake() -> None:
    """Of the wrong length, private or public."""
    with pytest.raises(ValueError, match="private key has 32 bytes, not 3"):
        did_of_seed(b"abc")
    with pytest.raises(ValueError, match="public key has 32 bytes, not 3"):
        encode_did(b"abc")


def test_a_did_is_that_of_its_seed() -> None:
    """One key, one text."""
    did = did_of_seed(WORLD.bob.seed)

    assert did == WORLD.bob.did
    assert encode_did(decode_did(did)) == did


def test_wider_limits_hold_for_the_proof_too() -> None:
    """A chain of seven can be issued where seven are allowed."""
    limits = Limits(max_depth=7)
    token = first(audience=WORLD.root.did)
    for _ in range(6):
        proof = token
        token = issue(
            WORLD.root.seed,
            audience=WORLD.root.did,
            capabilities=["fs:read"],
            not_before=AT - HOUR,
            expires=AT + HOUR,
            bindings={"path": "/srv"},
            proof=proof,
            limits=limits,
        )

    assert len(read_chain(token, limits=limits)) == 7
    assert WORLD.verify(token, to=WORLD.root, limits=limits)
