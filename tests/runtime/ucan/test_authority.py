"""What a call is granted by allow-list and chains together, and when nothing at all."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from toolrt import (
    AllowRule,
    Authority,
    CapabilityDenied,
    CapabilityDeniedError,
    CapProvenance,
    ChainLink,
    DelegationRefusedError,
    Pack,
    Refusal,
    Registry,
    RegistryBuilder,
    StringAllowList,
    ToolCall,
    UcanChain,
)
from toolrt.testing import ManualClock, MemoryEventStore
from toolrt.ucan import Identity, Limits, UcanError, token_digest

from .simulator import AT, HOUR, DelegationSimulator, Key, sign

BOUND = {"path": "/srv"}


@pytest.fixture
def world() -> DelegationSimulator:
    return DelegationSimulator()


def authority(world: DelegationSimulator, **changes: Any) -> Authority:
    """Return the authority of a service that holds the keys of alice and bob."""
    asked: dict[str, Any] = {
        "roots": world.roots,
        "revocations": world.revoked,
        "identities": {
            "bob": Identity.from_seed(world.bob.seed),
            "alice": Identity.from_seed(world.alice.seed),
        },
    }
    return Authority(changes.pop("allow_lists", None), **(asked | changes))


def resolve(
    found: Authority, proofs: Any, caller: str | None = "bob", **changes: Any
) -> Any:
    asked: dict[str, Any] = {"at": AT, "params": BOUND}
    return found.resolve(
        caller, ["net:get", "fs:read", "x"], proofs, **(asked | changes)
    )


class TestGrants:
    """What holds."""

    def test_a_chain_grants_what_was_asked_for(
        self, world: DelegationSimulator
    ) -> None:
        """Credited is the leaf; the whole chain stands behind it."""
        token = world.second()

        found = authority(world).resolve("bob", ["fs:read"], [token], AT, BOUND)

        assert found.granted == ("fs:read",)
        assert found.refusal is None
        assert found.provenance == (
            CapProvenance("fs:read", UcanChain(world.alice.did, 1)),
        )
        source = found.grants[0].source
        assert isinstance(source, ChainLink)
        assert source.links == world.verify(token).links
        assert source.digest == token_digest(token)
        assert not source.bearer

    def test_both_mechanisms_show(self, world: DelegationSimulator) -> None:
        """By capability, the allow-list first, then the chains by digest."""
        chains = [world.second(nonce="N" * 22), world.second()]
        made = authority(world, allow_lists={"bob": ["fs:read", "x"]})

        found = resolve(made, chains)

        assert found.granted == ("fs:read", "net:get", "x")
        sources = [(g.capability, type(g.source)) for g in found.grants]
        assert sources == [
            ("fs:read", AllowRule),
            ("fs:read", ChainLink),
            ("fs:read", ChainLink),
            ("net:get", ChainLink),
            ("net:get", ChainLink),
            ("x", AllowRule),
        ]
        assert [g.source.digest for g in found.grants[1:3]] == sorted(
            map(token_digest, chains)
        )
        assert found == resolve(made, chains[::-1])
        assert found.provenance[0] == CapProvenance("fs:read", StringAllowList())

    def test_a_token_given_twice_is_one(self, world: DelegationSimulator) -> None:
        """It is one source."""
        found = resolve(authority(world), [world.second()] * 16)

        assert len(found.grants) == 2

    def test_a_binding_is_held_against_the_call(
        self, world: DelegationSimulator
    ) -> None:
        """A call that it does not allow has the other grants, and is not refused."""
        made = authority(world, allow_lists={"bob": ["x"]})

        for params in ({"path": "/"}, {}, None):
            found = resolve(made, [world.second()], params=params)
            assert (found.granted, found.refusal) == (("x",), None)

    def test_the_bindings_are_those_of_the_last_link(
        self, world: DelegationSimulator
    ) -> None:
        """However long the chain is."""
        made = authority(
            world,
            identities={
                "alice": Identity.from_seed(world.alice.seed),
                "carol": Identity.from_seed(world.carol.seed),
            },
        )
        bound = {"caps": ["fs:read"], "with": [{"path": "/srv"}, {"n": 1}]}
        long = world.third(args=bound)

        assert resolve(made, [world.first()], "alice").granted
        assert not resolve(made, [long], "carol").granted
        found = resolve(made, [long], "carol", params={**BOUND, "n": 1})
        assert found.provenance == (
            CapProvenance("fs:read", UcanChain(world.bob.did, 2)),
        )

    def test_the_limits_can_be_others(self, world: DelegationSimulator) -> None:
        """Those of the operator."""
        found = resolve(authority(world, limits=Limits(max_depth=1)), [world.second()])

        assert found.refusal.code == "depth"

    def test_what_an_issuer_signed_can_be_revoked(
        self, world: DelegationSimulator
    ) -> None:
        """As a whole, up to a time."""
        made = authority(world, revoked_before={world.alice.did: AT})

        assert resolve(made, [world.second()]).refusal.code == "revoked"


class TestRefusals:
    """What holds nothing, and says why by code."""

    @pytest.mark.parametrize(
        ("attack", "code", "issuer"),
        [
            ("widen_capabilities", "cap_widening", "alice"),
            ("trust_itself", "untrusted_root", "mallory"),
            ("sign_for_another", "signature", None),
            ("change_spare_bits", "b64", None),
        ],
    )
    def test_one_bad_token_refuses_the_request(
        self, world: DelegationSimulator, attack: str, code: str, issuer: str | None
    ) -> None:
        """With all that is granted; it is named by its digest, and who signed it."""
        did = issuer and getattr(world, issuer).did
        bad = getattr(world, attack)()
        made = authority(world, allow_lists={"bob": ["fs:read"]})

        for proofs in ([world.second(), bad], [bad, world.second()]):
            found = resolve(made, proofs)
            assert found.grants == ()
            assert found.refusal == Refusal(code, token_digest(bad), did)
            assert found.within(["fs:read"]).refusal == found.refusal

    def test_a_request_has_at_most_sixteen_tokens(
        self, world: DelegationSimulator
    ) -> None:
        """A thousand are not even looked at; nor are the letters of a text."""
        made = authority(world)

        assert resolve(made, [world.second()] * 16).granted
        assert resolve(made, [world.second()] * 17).refusal == Refusal("too_many")
        assert resolve(made, world.second()).refusal == Refusal("too_many")

    def test_what_is_no_token_is_refused(self, world: DelegationSimulator) -> None:
        """Of whatever type."""
        for proof in (None, 1, [world.second()]):
            assert resolve(authority(world), [proof]).refusal.code == "form"

    def test_a_token_is_checked_against_a_time(
        self, world: DelegationSimulator
    ) -> None:
        """To leave it out is a mistake of whoever calls."""
        with pytest.raises(ValueError, match="checked against a time"):
            authority(world).resolve("bob", ["fs:read"], [world.second()])


class TestTime:
    """Nothing is remembered of a token; what was seen of the time is."""

    def test_a_token_expires_between_two_calls(
        self, world: DelegationSimulator
    ) -> None:
        """It is looked at again at each."""
        made, token = authority(world), world.second()

        assert resolve(made, [token]).granted
        assert resolve(made, [token], at=AT + HOUR).refusal.code == "expired"

    def test_a_clock_set_back_revives_nothing(self, world: DelegationSimulator) -> None:
        """No call is before the last."""
        made, token = authority(world), world.second()
        resolve(made, [token], at=AT + HOUR)

        assert resolve(made, [token], at=AT).refusal.code == "expired"

    def test_no_call_is_before_the_last_on_record(
        self, world: DelegationSimulator
    ) -> None:
        """A new process knows the time from the store."""
        token = world.second()

        late = resolve(authority(world, high_water=AT + HOUR), [token])
        assert late.refusal.code == "expired"
        assert resolve(authority(world, high_water=AT + HOUR - 1), [token]).granted

    def test_a_token_is_revoked_between_two_calls(
        self, world: DelegationSimulator
    ) -> None:
        """Any link of it, or its root taken away, or what the root may grant."""
        made, token = authority(world), world.second()
        assert resolve(made, [token]).granted

        world.revoked.add(token_digest(world.first()))
        assert resolve(made, [token]).refusal.code == "revoked"

        world.revoked.clear()
        assert resolve(made, [token]).granted
        world.roots[world.root.did] = frozenset({"fs:read"})
        assert resolve(made, [token]).refusal.code == "root_ceiling"
        del world.roots[world.root.did]
        assert resolve(made, [token]).refusal.code == "untrusted_root"

    def test_roots_and_identities_may_come_later(
        self, world: DelegationSimulator
    ) -> None:
        """An empty mapping is read anew like any other."""
        roots: dict[str, None] = {}
        identities: dict[str, Identity] = {}
        made = authority(world, roots=roots, identities=identities)
        assert resolve(made, [world.second()]).refusal == Refusal("possession")

        identities["bob"] = Identity.from_seed(world.bob.seed)
        assert resolve(made, [world.second()]).refusal.code == "untrusted_root"
        roots[world.root.did] = None
        assert resolve(made, [world.second()]).granted

    def test_not_knowing_what_is_revoked_is_no(
        self, world: DelegationSimulator
    ) -> None:
        """A list that cannot be read refuses."""

        class Unreadable:
            def __contains__(self, digest: object) -> NoReturn:
                raise PermissionError

        found = resolve(authority(world, revocations=Unreadable()), [world.second()])

        assert found.refusal.code == "revocations"


class TestPossession:
    """A chain counts for whoever holds the key that it is for."""

    @pytest.mark.parametrize("caller", [None, "carol"])
    def test_a_caller_without_a_key_has_no_chain(
        self, world: DelegationSimulator, caller: str | None
    ) -> None:
        """Nobody and a stranger alike."""
        found = resolve(authority(world), [world.second()], caller)

        assert found.refusal == Refusal("possession")

    def test_nobody_is_trusted_who_was_not_named(
        self, world: DelegationSimulator
    ) -> None:
        """Without identities nobody has a key, without roots no chain a beginning."""
        token = world.second()

        assert resolve(Authority(), [token]).refusal == Refusal("possession")
        found = resolve(Authority(bearer=True), [token], world.bob.did)
        assert found.refusal == Refusal(
            "untrusted_root", token_digest(token), world.alice.did
        )

    def test_anothers_token_is_not_for_the_caller(
        self, world: DelegationSimulator
    ) -> None:
        """Alice's key is at hand, and the chain is for bob."""
        found = resolve(authority(world), [world.second()], "alice")

        assert found.refusal.code == "audience"

    def test_a_key_of_another_shows_nothing(self, world: DelegationSimulator) -> None:
        """Mallory signs for bob's DID."""
        for sign_it in (
            world.mallory.sign,
            lambda data: b"",
            lambda data: "no bytes",
            lambda data: 1 / 0,
            None,
        ):
            identity = Identity(world.bob.did, sign_it)  # type: ignore[arg-type]
            made = authority(world, identities={"bob": identity})
            assert resolve(made, [world.second()]).refusal == Refusal("possession")

    def test_a_key_is_asked_until_it_has_answered_once(
        self, world: DelegationSimulator
    ) -> None:
        """Each time with another challenge, which is no token's text."""
        asked: list[bytes] = []

        def sign_at_the_third(data: bytes) -> bytes:
            asked.append(data)
            return world.bob.sign(data) if len(asked) >= 3 else b""

        identity = Identity(world.bob.did, sign_at_the_third)

        assert [identity.is_proven() for _ in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]
        assert len(asked) == len(set(asked)) == 3
        assert all(b"\0" in data and len(data) > 32 for data in asked)

    def test_an_identity_has_a_did_to_trust(self) -> None:
        """It is refused where it is made."""
        with pytest.raises(UcanError, match="did"):
            Identity("bob")

    def test_a_bearer_needs_no_key_and_every_grant_says_so(
        self, world: DelegationSimulator
    ) -> None:
        """By name if its DID is known, or as the DID itself."""
        named = authority(
            world, bearer=True, identities={"bob": Identity(world.bob.did)}
        )
        unnamed = authority(world, bearer=True, identities={})

        for found in (
            resolve(named, [world.second()]),
            resolve(unnamed, [world.second()], world.bob.did),
        ):
            assert [grant.source.bearer for grant in found.grants] == [True, True]
        assert resolve(unnamed, [world.second()]).refusal.code == "audience"
        assert resolve(unnamed, [world.second()], None).refusal == Refusal("audience")


class Service:
    """A registry with one tool that needs two capabilities and one that needs none."""

    def __init__(self, made: Authority) -> None:
        self.store = MemoryEventStore()
        self.clock = ManualClock(AT * 1_000_000)
        self.ran: list[str] = []
        pack = Pack("p")

        @pack.handler("two", capabilities=["fs:read", "net:get"])
        def two(path: str = "/srv") -> None:
            self.ran.append("two")

        @pack.handler("none", rate_limit_per_min=1)
        def none() -> None:
            self.ran.append("none")

        @pack.handler("outer", capabilities=["fs:read"])
        def outer(path: str, *, ctx: Any) -> None:
            ctx.registry.dispatch("inner", {"path": path})

        @pack.handler("inner", capabilities=["fs:read"])
        def inner(path: str) -> None:
            self.ran.append("inner")

        self.registry: Registry = (
            RegistryBuilder()
            .register(pack)
            .with_authority(made)
            .with_clock(self.clock)
            .with_event_store(self.store, calls=True)
            .build()
        )

    def run(self, tool: str, *proofs: str, **fields: Any) -> Any:
        return self.registry.run(ToolCall(tool, caller="bob", proofs=proofs, **fields))


class TestCalls:
    """Through the whole pipeline."""

    def test_a_chain_lets_a_tool_run_and_is_on_record(
        self, world: DelegationSimulator
    ) -> None:
        """Both events say by which chain; a default argument meets a binding."""
        service = Service(authority(world))

        assert service.run("two", world.second()).ok

        for event in service.store.events:
            assert event.details is not None
            source = event.details.grants.grants[0].source
            assert isinstance(source, ChainLink)
            assert [link.issuer for link in source.links] == [
                world.root.did,
                world.alice.did,
            ]

    def test_a_refused_token_is_recorded_and_nothing_runs(
        self, world: DelegationSimulator
    ) -> None:
        """All that was asked for is missing; the caller is told the code alone."""
        bad = world.widen_capabilities()
        service = Service(authority(world, allow_lists={"bob": ["fs:read", "net:get"]}))

        found = service.run("two", bad)

        assert isinstance(found.error, DelegationRefusedError)
        assert (found.error.reason, found.error.token) == (
            "cap_widening",
            token_digest(bad),
        )
        assert str(found.error) == "p:two: a delegation is refused: cap_widening"
        assert found.error.missing == found.error.required == ("fs:read", "net:get")
        assert found.outcome == CapabilityDenied(("fs:read", "net:get"))
        gate, call = service.store.events
        for event in (gate, call):
            assert event.details is not None
            assert event.details.grants.refusal == Refusal(
                "cap_widening", token_digest(bad), world.alice.did
            )
        assert bad not in repr(service.store.events)
        assert service.ran == []

    def test_a_refused_token_refuses_a_tool_that_needs_nothing(
        self, world: DelegationSimulator
    ) -> None:
        """It does not even count against the tool's rate."""
        service = Service(authority(world))

        assert isinstance(
            service.run("none", world.trust_itself()).error, DelegationRefusedError
        )
        assert service.run("none").ok
        assert service.ran == ["none"]

    def test_what_neither_grants_is_missing(self, world: DelegationSimulator) -> None:
        """One of two capabilities comes from the chain: the other is named."""
        args = {"caps": ["fs:read"], "with": [{"path": "/srv"}]}
        service = Service(authority(world))

        error = service.run("two", world.second(args=args)).error

        assert type(error) is CapabilityDeniedError
        assert error.missing == ("net:get",)

    def test_allow_list_and_chain_add_up(self, world: DelegationSimulator) -> None:
        """Each grants one of two."""
        args = {"caps": ["fs:read"], "with": [{"path": "/srv"}]}
        service = Service(authority(world, allow_lists={"bob": ["net:get"]}))

        assert service.run("two", world.second(args=args)).ok

    def test_a_binding_is_held_against_the_arguments(
        self, world: DelegationSimulator
    ) -> None:
        """Those that the tool would have been given."""
        service = Service(authority(world))

        refused = service.run("two", world.second(), params={"path": "/etc"})

        assert isinstance(refused.error, CapabilityDeniedError)
        assert service.run("two", world.second(), params={"path": "/srv"}).ok

    def test_a_sub_call_has_the_tokens_of_its_parent(
        self, world: DelegationSimulator
    ) -> None:
        """What the chain grants holds for the calls that a handler makes, too."""
        service = Service(authority(world))

        assert service.run("outer", world.second(), params={"path": "/srv"}).ok
        assert service.ran == ["inner"]

    def test_a_session_outlives_no_token(self, world: DelegationSimulator) -> None:
        """It is checked when it is used."""
        service = Service(authority(world))
        assert service.run("two", world.second()).ok

        service.clock.advance(HOUR)

        error = service.run("two", world.second()).error
        assert isinstance(error, DelegationRefusedError)
        assert error.reason == "expired"

    def test_what_is_for_people_never_reaches_the_record(
        self, world: DelegationSimulator
    ) -> None:
        """A token's meta may hold anything; it is no part of a link."""
        service = Service(authority(world))

        assert service.run("two", world.second(meta={"why": "\x1b[31m c4n4ry"})).ok
        assert "c4n4ry" not in repr(service.store.events)


def test_a_replayed_delegation_is_used_again(world: DelegationSimulator) -> None:
    """It grants for its whole time: what is shown once a process is the key."""
    made, token = authority(world), world.second()

    assert [bool(resolve(made, [token]).granted) for _ in range(3)] == [True] * 3


def test_a_key_unknown_to_the_root_gets_nothing(world: DelegationSimulator) -> None:
    """Someone with keys of her own delegates what she never had."""
    eve = Key("eve")
    token = sign(world.claims(eve, world.bob, prf=[world.first()]), eve)

    assert resolve(authority(world), [token]).refusal.code == "alignment"
