"""What a chain grants, and every attack on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from toolrt.ucan import (
    CODES,
    Limits,
    UcanError,
    read_chain,
    require_chain,
    token_digest,
    verify_chain,
)

from .simulator import AT, HOUR, DelegationSimulator, attacks

VERDICTS = {
    "widen_capabilities": "cap_widening",
    "widen_by_prefix": "cap_widening",
    "exceed_the_ceiling": "root_ceiling",
    "drop_the_binding": "binding_widening",
    "swap_the_binding": "binding_widening",
    "bind_to_true_and_not_to_one": "binding_widening",
    "outlive_the_parent": "time_widening",
    "begin_before_the_parent": "time_widening",
    "begin_at_no_time": "time_widening",
    "use_it_too_late": "expired",
    "outlast_an_expired_parent": "expired",
    "use_it_too_early": "not_yet",
    "end_before_it_begins": "not_yet",
    "live_too_long": "ttl",
    "live_too_long_without_a_start": "ttl",
    "sign_for_another": "signature",
    "forge_the_parent": "signature",
    "edit_the_payload": "signature",
    "add_a_multiple_of_the_order": "signature",
    "change_spare_bits": "b64",
    "change_spare_bits_of_the_parent": "b64",
    "trust_itself": "untrusted_root",
    "delegate_what_is_the_roots": "root_subject",
    "strip_the_proof": "root_subject",
    "strip_the_proof_and_own_it": "untrusted_root",
    "switch_the_authority": "subject",
    "hijack_a_proof": "alignment",
    "take_what_is_for_another": "audience",
    "use_a_revoked_leaf": "revoked",
    "use_a_revoked_parent": "revoked",
    "chain_too_deep": "depth",
    "offer_two_proofs": "multi_parent",
    "name_a_proof_by_digest": "form",
}


@pytest.fixture
def world() -> DelegationSimulator:
    return DelegationSimulator()


def test_a_chain_grants_what_its_leaf_says(world: DelegationSimulator) -> None:
    """The links come root first, each with what it says."""
    token = world.second(args={"caps": ["fs:read"], "with": [{"path": "/srv"}]})

    found = world.verify(token)

    assert found
    assert (found.code, found.link) == ("ok", None)
    assert found.capabilities == {"fs:read"}
    assert [link.issuer for link in found.links] == [world.root.did, world.alice.did]
    assert [link.audience for link in found.links] == [world.alice.did, world.bob.did]
    assert {link.subject for link in found.links} == {world.root.did}
    assert found.links[0].capabilities == ("fs:read", "net:get")
    assert found.links[1].bindings == (("path", '"/srv"'),)
    assert (found.links[1].not_before, found.links[1].expires) == (AT - HOUR, AT + HOUR)
    assert found.links[1].digest == token_digest(token)


def test_a_verdict_cannot_be_changed(world: DelegationSimulator) -> None:
    """Nor can what it is made of, nor the limits that calls share."""
    found = world.verify(world.second())

    for value, name in (
        (found, "code"),
        (found.links[0], "capabilities"),
        (Limits(), "max_depth"),
        (read_chain(world.first())[0], "link"),
    ):
        with pytest.raises(AttributeError):
            setattr(value, name, None)


def test_a_root_alone_is_a_chain(world: DelegationSimulator) -> None:
    """One link, from the root to who calls."""
    assert world.verify(world.first(), to=world.alice)


@pytest.mark.parametrize("name", attacks())
def test_every_attack_is_refused_by_its_code(
    world: DelegationSimulator, name: str
) -> None:
    """And the verdict holds nothing that could be used."""
    token = attacks()[name](world)
    to = world.alice if name.startswith("live_too_long") else world.bob

    found = world.verify(token, to=to)

    assert found.code == VERDICTS[name]
    assert not found
    assert (found.capabilities, found.links) == (frozenset(), ())


def test_every_attack_has_a_verdict() -> None:
    """The table and the simulator know the same attacks, and codes are stated ones."""
    assert attacks().keys() == VERDICTS.keys()
    assert set(VERDICTS.values()) <= CODES.keys()


@pytest.mark.parametrize(
    ("attack", "link"),
    [
        (DelegationSimulator.forge_the_parent, 0),
        (DelegationSimulator.sign_for_another, 1),
        (DelegationSimulator.outlast_an_expired_parent, 0),
        (DelegationSimulator.use_a_revoked_parent, 0),
        (DelegationSimulator.widen_capabilities, 1),
        (DelegationSimulator.hijack_a_proof, 1),
        (DelegationSimulator.switch_the_authority, 1),
        (DelegationSimulator.outlive_the_parent, 1),
        (DelegationSimulator.drop_the_binding, 1),
        (DelegationSimulator.exceed_the_ceiling, 0),
        (DelegationSimulator.trust_itself, 0),
        (DelegationSimulator.strip_the_proof, 0),
        (DelegationSimulator.use_it_too_early, 1),
        (DelegationSimulator.end_before_it_begins, 1),
        (DelegationSimulator.live_too_long, 0),
        (DelegationSimulator.live_too_long_without_a_start, 0),
        (DelegationSimulator.take_what_is_for_another, 2),
        (DelegationSimulator.chain_too_deep, None),
    ],
)
def test_the_link_at_fault_is_named(
    world: DelegationSimulator,
    attack: Callable[[DelegationSimulator], str],
    link: int | None,
) -> None:
    """Root first, from 0."""
    assert world.verify(attack(world)).link == link


@pytest.mark.parametrize(
    ("at", "code"),
    [
        pytest.param(AT - HOUR - 1, "not_yet", id="a second before"),
        pytest.param(AT - HOUR, "ok", id="first second"),
        pytest.param(AT + HOUR - 1, "ok", id="last second"),
        pytest.param(AT + HOUR, "expired", id="a second after"),
    ],
)
def test_the_end_is_exclusive(world: DelegationSimulator, at: int, code: str) -> None:
    """It counts from its first second until just before its end."""
    assert world.verify(world.second(), at=at).code == code


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (AT - HOUR - 61, "not_yet"),
        (AT - HOUR - 60, "ok"),
        (AT + HOUR + 59, "ok"),
        (AT + HOUR + 60, "expired"),
    ],
)
def test_the_leeway_widens_both_ends(
    world: DelegationSimulator, at: int, code: str
) -> None:
    """By as much as it says."""
    limits = Limits(leeway_s=60)

    assert world.verify(world.second(), at=at, limits=limits).code == code


def test_the_leeway_does_not_shorten_what_a_link_may_live(
    world: DelegationSimulator,
) -> None:
    """A clock that is behind sees a link that has its whole time before it."""
    token = world.first(nbf=AT + 60, exp=AT + 60 + 30 * 86_400)

    assert world.verify(token, to=world.alice, limits=Limits(leeway_s=60))


def test_a_link_may_live_as_long_as_the_limit(world: DelegationSimulator) -> None:
    """To the second, with and without a stated start."""
    month = 30 * 86_400
    whole = world.first(nbf=AT - HOUR, exp=AT - HOUR + month)
    rest = world.first(nbf=None, exp=AT + month)

    assert world.verify(whole, to=world.alice)
    assert world.verify(rest, to=world.alice)


def test_a_child_may_be_narrower_in_everything(world: DelegationSimulator) -> None:
    """Fewer capabilities, a shorter time, one more binding."""
    args = {"caps": ["net:get"], "with": [{"host": "a", "path": "/srv"}]}

    found = world.verify(world.second(args=args, nbf=AT - 1, exp=AT + 1))

    assert found
    assert found.links[1].bindings == (("host", '"a"'), ("path", '"/srv"'))


def test_five_links_are_a_chain_and_the_limit_can_be_lower(
    world: DelegationSimulator,
) -> None:
    """The sixth is too many."""
    token = world.third()

    assert world.verify(token, to=world.carol, limits=Limits(max_depth=3))
    found = world.verify(token, to=world.carol, limits=Limits(max_depth=2))
    assert found.code == "depth"


def test_size_is_counted_in_characters(world: DelegationSimulator) -> None:
    """As long as the limit is allowed."""
    token = world.second()

    assert world.verify(token, limits=Limits(max_chars=len(token)))
    found = world.verify(token, limits=Limits(max_chars=len(token) - 1))
    assert found.code == "size"


def test_a_root_without_a_ceiling_may_grant_anything(
    world: DelegationSimulator,
) -> None:
    """None is any, an empty ceiling is nothing."""
    token = world.second()

    assert world.verify(token, roots={world.root.did: None})
    found = world.verify(token, roots={world.root.did: frozenset()})
    assert found.code == "root_ceiling"
    assert world.verify(token, roots={}).code == "untrusted_root"


def test_what_an_issuer_signed_before_a_time_can_be_revoked(
    world: DelegationSimulator,
) -> None:
    """Of every link of that issuer; one that does not say when it began is before."""
    token = world.second()

    def verdict(did: str, before: int, token: str = token) -> str:
        return world.verify(token, revoked_before={did: before}).code

    assert verdict(world.alice.did, AT - HOUR) == "ok"
    assert verdict(world.alice.did, AT - HOUR + 1) == "revoked"
    assert verdict(world.root.did, AT - HOUR + 1) == "revoked"
    assert verdict(world.bob.did, AT) == "ok"
    timeless = world.second(proof=world.first(nbf=None), nbf=None)
    assert verdict(world.alice.did, 1, timeless) == "revoked"


def test_what_cannot_tell_what_is_revoked_refuses(world: DelegationSimulator) -> None:
    """Not knowing is no."""

    class Broken:
        def __contains__(self, digest: object) -> NoReturn:
            raise OSError("no such file")

    found = world.verify(world.second(), revoked=Broken())

    assert (found.code, found.link) == ("revocations", 0)


@pytest.mark.parametrize(
    "token",
    [None, 1, b"a.b.c", [], "", "..", "a" * 99, "\ud800", object(), ("a.b.c",)],
    ids=[
        "none",
        "int",
        "bytes",
        "list",
        "empty",
        "dots",
        "word",
        "half",
        "any",
        "tuple",
    ],
)
def test_no_token_at_all_is_refused_and_never_raises(
    world: DelegationSimulator, token: Any
) -> None:
    """Whatever it is."""
    assert world.verify(token).code == "form"


def test_a_text_that_looks_like_one_is_none(world: DelegationSimulator) -> None:
    """A subclass could say one thing when asked and another when looked at."""

    class Text(str):
        __slots__ = ()

    assert world.verify(Text(world.second())).code == "form"


def test_the_wrapper_raises_what_the_verdict_says(world: DelegationSimulator) -> None:
    """The message holds the code, and nothing of the token."""
    asked: dict[str, Any] = {"audience": world.bob.did, "roots": world.roots, "at": AT}

    assert require_chain(world.second(), **asked) == verify_chain(
        world.second(), **asked
    )
    with pytest.raises(UcanError, match=r"refused: cap_widening\Z") as caught:
        require_chain(world.widen_capabilities(), **asked)
    assert (caught.value.code, caught.value.link) == ("cap_widening", 1)


def test_reading_verifies_nothing(world: DelegationSimulator) -> None:
    """It tells what the links say, to whoever inspects them."""
    root, leaf = read_chain(world.sign_for_another())

    assert (root.link.audience, leaf.link.issuer) == (world.alice.did, world.alice.did)
    assert (root.parent, leaf.parent) == (None, world.first())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_chars": 0},
        {"max_depth": 0},
        {"max_ttl_s": 0},
        {"leeway_s": -1},
        {"leeway_s": 61},
    ],
    ids=str,
)
def test_limits_that_are_none_are_refused(wrong: dict[str, int]) -> None:
    """A misuse of the interface, said where it happens."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_the_limits_are_those_that_are_written_down() -> None:
    """16,384 characters, 5 links, 30 days, no leeway."""
    assert Limits() == Limits(
        max_chars=16_384, max_depth=5, max_ttl_s=30 * 24 * HOUR, leeway_s=0
    )


def test_limits_at_their_ends_are_limits() -> None:
    """One of each, and the whole leeway."""
    found = Limits(max_chars=1, max_depth=1, max_ttl_s=1, leeway_s=60)

    assert found.leeway_s == 60
