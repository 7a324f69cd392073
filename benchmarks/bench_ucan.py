"""
Verifying a chain of two links, beside its limit: the two signature checks alone.

The rest is reading two tokens strictly and comparing them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from figures import Asked, Figure
from nacl.signing import VerifyKey
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn

from toolrt import Authority
from toolrt.ucan import Identity, did_of_seed, issue, read_chain, verify_chain

Note = Callable[[Figure], None]

ROUNDS = 40
CALLS = 50
AT = 1_800_000_000
HOUR = 3_600
ROOT, ALICE, BOB = (name.ljust(32, b".") for name in (b"root", b"alice", b"bob"))
ROOTS = {did_of_seed(ROOT): frozenset({"fs:read", "net:get"})}
DID = did_of_seed(BOB)


def token() -> str:
    """Return what the root gave alice and alice bob."""
    asked: dict[str, Any] = {
        "capabilities": ["fs:read", "net:get"],
        "not_before": AT - HOUR,
        "expires": AT + HOUR,
    }
    first = issue(ROOT, audience=did_of_seed(ALICE), **asked)
    return issue(ALICE, audience=DID, proof=first, **asked)


def two_signatures() -> Callable[[], Any]:
    """The limit: what no verification can do without."""
    links = read_chain(token())

    def check() -> bool:
        for link in links:
            VerifyKey(link.key).verify(link.signed, link.signature)
        return True

    return check


def two_links() -> Callable[[], Any]:
    """All the rules."""
    made = token()
    return lambda: bool(verify_chain(made, audience=DID, roots=ROOTS, at=AT))


def one_call() -> Callable[[], Any]:
    """What a call with that token waits for its grants."""
    made = token()
    authority = Authority(roots=ROOTS, identities={"bob": Identity.from_seed(BOB)})
    return lambda: bool(authority.resolve("bob", ["fs:read"], [made], AT).granted)


@pytest.mark.parametrize(
    ("name", "make", "asked"),
    [
        ("verify a chain of two links", two_links, Asked(450.0)),
        ("grants of a call with that token", one_call, None),
    ],
    ids=["chain", "call"],
)
def bench_chain(
    benchmark: BenchmarkFixture,
    note: Note,
    name: str,
    make: Callable[[], Callable[[], Any]],
    asked: Asked | None,
) -> None:
    """Nothing of a token is remembered from one call to the next."""

    def repeated(work: Callable[[], Any]) -> Side:
        def many() -> None:
            for _ in range(CALLS):
                assert work()

        return Side(many)

    sides = repeated(make()), repeated(two_signatures())
    pairs = in_turn(benchmark, *sides, rounds=ROUNDS, units=CALLS)
    note(
        Figure.timed(
            "ucan", name, "us", pairs, cheapest="two signature checks", asked=asked
        )
    )
