"""
A world of keys that delegate to each other, and those who would like more.

`DelegationSimulator` signs any claims at all, so that it can make what `issue` refuses.
Every attack is one method that returns a token; `verify` says what becomes of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from nacl.signing import SigningKey

from toolrt.ucan import ChainResult, did_of_seed, token_digest, verify_chain

AT: Final = 1_800_000_000
HOUR: Final = 3_600
HEADER: Final = {"alg": "EdDSA", "typ": "ucan/1.0+jwt", "ucv": "1.0"}
NONCE: Final = "A" * 22


class Key:
    """One who can sign."""

    def __init__(self, name: str) -> None:
        self.seed = name.encode().ljust(32, b".")
        self.did = did_of_seed(self.seed)

    def sign(self, data: bytes) -> bytes:
        return bytes(SigningKey(self.seed).sign(data).signature)


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def sign(payload: object, by: Key, header: object = HEADER) -> str:
    """Return the token of *payload*; what is bytes already goes in as it is."""
    parts = [x if isinstance(x, bytes) else to_json(x) for x in (header, payload)]
    signed = ".".join(map(segment, parts))
    return f"{signed}.{segment(by.sign(signed.encode()))}"


class DelegationSimulator:
    """Root delegates to alice, alice to bob; mallory was given nothing."""

    def __init__(self) -> None:
        self.root, self.alice, self.bob, self.carol, self.mallory = map(
            Key, ("root", "alice", "bob", "carol", "mallory")
        )
        self.roots: dict[str, frozenset[str] | None] = {
            self.root.did: frozenset({"fs:read", "net:get"})
        }
        self.revoked: set[str] = set()

    def claims(self, by: Key, to: Key, **changes: Any) -> dict[str, Any]:
        """Return the claims of a delegation of *by*; a change to None removes one."""
        claims: dict[str, Any] = {
            "iss": by.did,
            "aud": to.did,
            "sub": self.root.did,
            "cmd": "atd-cap",
            "args": {"caps": ["fs:read", "net:get"], "with": [{"path": "/srv"}]},
            "nonce": NONCE,
            "nbf": AT - HOUR,
            "exp": AT + HOUR,
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    def first(self, **changes: Any) -> str:
        """The root's delegation to alice."""
        return sign(self.claims(self.root, self.alice, **changes), self.root)

    def second(self, *, proof: str | None = None, **changes: Any) -> str:
        """Alice's delegation to bob."""
        made = {"prf": [proof or self.first()]} | changes
        return sign(self.claims(self.alice, self.bob, **made), self.alice)

    def third(self, *, proof: str | None = None, **changes: Any) -> str:
        """Bob's delegation to carol."""
        made = {"prf": [proof or self.second()]} | changes
        return sign(self.claims(self.bob, self.carol, **made), self.bob)

    def verify(
        self, token: object, to: Key | None = None, **changes: Any
    ) -> ChainResult:
        """Return the verdict on a chain for *to*, bob unless told."""
        asked: dict[str, Any] = {
            "audience": (to or self.bob).did,
            "roots": self.roots,
            "revoked": self.revoked,
            "at": AT,
        }
        return verify_chain(token, **(asked | changes))  # type: ignore[arg-type]

    def widen_capabilities(self) -> str:
        return self.second(args=_args("fs:read", "admin"))

    def widen_by_prefix(self) -> str:
        return self.second(
            proof=self.first(args=_args("fs:read")), args=_args("fs:read/../write")
        )

    def exceed_the_ceiling(self) -> str:
        wide = _args("fs:read", "admin")
        return self.second(proof=self.first(args=wide), args=wide)

    def drop_the_binding(self) -> str:
        return self.second(args={"caps": ["fs:read"], "with": []})

    def swap_the_binding(self) -> str:
        return self.second(args={"caps": ["fs:read"], "with": [{"path": "/"}]})

    def bind_to_true_and_not_to_one(self) -> str:
        first = self.first(args={"caps": ["fs:read"], "with": [{"n": 1}]})
        return self.second(
            proof=first, args={"caps": ["fs:read"], "with": [{"n": True}]}
        )

    def outlive_the_parent(self) -> str:
        return self.second(exp=AT + HOUR + 1)

    def begin_before_the_parent(self) -> str:
        return self.second(nbf=AT - HOUR - 1)

    def begin_at_no_time(self) -> str:
        return self.second(nbf=None)

    def use_it_too_late(self) -> str:
        return self.second(exp=AT)

    def outlast_an_expired_parent(self) -> str:
        return self.second(proof=self.first(exp=AT))

    def use_it_too_early(self) -> str:
        return self.second(nbf=AT + 1)

    def end_before_it_begins(self) -> str:
        return self.second(nbf=AT - 5, exp=AT - 10)

    def live_too_long(self) -> str:
        return self.first(nbf=AT - HOUR, exp=AT - HOUR + 30 * 86_400 + 1)

    def live_too_long_without_a_start(self) -> str:
        return self.first(nbf=None, exp=AT + 30 * 86_400 + 1)

    def sign_for_another(self) -> str:
        return sign(self.claims(self.alice, self.bob, prf=[self.first()]), self.mallory)

    def forge_the_parent(self) -> str:
        forged = sign(self.claims(self.root, self.alice), self.mallory)
        return self.second(proof=forged)

    def edit_the_payload(self) -> str:
        header, _, signature = self.second().split(".")
        edited = self.claims(self.alice, self.bob, prf=[self.first()], exp=AT + 9)
        return f"{header}.{segment(to_json(edited))}.{signature}"

    def add_a_multiple_of_the_order(self) -> str:
        order = 2**252 + 27742317777372353535851937790883648493
        signed, _, signature = self.second().rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        scalar = int.from_bytes(raw[32:], "little") + order
        return f"{signed}.{segment(raw[:32] + scalar.to_bytes(32, 'little'))}"

    def change_spare_bits(self) -> str:
        return _respelled(self.second())

    def change_spare_bits_of_the_parent(self) -> str:
        self.revoked.add(token_digest(self.first()))
        return self.second(proof=_respelled(self.first()))

    def trust_itself(self) -> str:
        return sign(
            self.claims(self.mallory, self.bob, sub=self.mallory.did), self.mallory
        )

    def delegate_what_is_the_roots(self) -> str:
        return sign(self.claims(self.mallory, self.bob), self.mallory)

    def strip_the_proof(self) -> str:
        return self.second(prf=None)

    def strip_the_proof_and_own_it(self) -> str:
        return self.second(prf=[], sub=self.alice.did)

    def switch_the_authority(self) -> str:
        return self.second(sub=self.alice.did)

    def hijack_a_proof(self) -> str:
        return sign(
            self.claims(self.mallory, self.bob, prf=[self.first()]), self.mallory
        )

    def take_what_is_for_another(self) -> str:
        return self.third()

    def use_a_revoked_leaf(self) -> str:
        token = self.second()
        self.revoked.add(token_digest(token))
        return token

    def use_a_revoked_parent(self) -> str:
        self.revoked.add(token_digest(self.first()))
        return self.second()

    def chain_too_deep(self) -> str:
        token = self.first(aud=self.root.did)
        for _ in range(5):
            token = sign(self.claims(self.root, self.root, prf=[token]), self.root)
        return token

    def offer_two_proofs(self) -> str:
        return self.second(prf=[self.first(), self.first()])

    def name_a_proof_by_digest(self) -> str:
        return self.second(prf=[token_digest(self.first())])


def _args(*capabilities: str) -> dict[str, Any]:
    return {"caps": list(capabilities), "with": [{"path": "/srv"}]}


def _respelled(token: str) -> str:
    """Return *token* with other spare bits at the end: what it decodes to is the same."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) + 1]


def attacks() -> Mapping[str, Callable[[DelegationSimulator], str]]:
    """Return every attack that a simulator knows, by name."""
    known = {"claims", "first", "second", "third", "verify"}
    return {
        name: method
        for name, method in vars(DelegationSimulator).items()
        if not name.startswith("_") and name not in known
    }
