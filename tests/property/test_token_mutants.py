"""
Mutants of valid tokens: none is accepted, and none raises.

``TOOLRT_TOKENS`` says how many; `make fuzz-tokens` takes a million.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from toolrt.ucan import CODES, Limits, verify, verify_chain

from ..runtime.ucan.simulator import AT, DelegationSimulator, segment, sign, to_json

COUNT: Final = int(os.environ.get("TOOLRT_TOKENS", "5000"))
SEED: Final = 20_260_102

WORLD: Final = DelegationSimulator()
VALID: Final = (
    sign(WORLD.claims(WORLD.root, WORLD.bob), WORLD.root),
    WORLD.second(),
    WORLD.second(args={"caps": ["fs:read"], "with": [{"path": "/srv"}, {"n": 1}]}),
    sign(
        WORLD.claims(
            WORLD.carol,
            WORLD.bob,
            prf=[WORLD.third(proof=WORLD.second(), meta={"why": "\u00e9"})],
        ),
        WORLD.carol,
    ),
)
LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
STRANGE: Final[list[str]] = [*LETTERS, *"=+/.! \n\0\u00e9\uff45\ud800\U0001f980"]
VALUES: Final[list[Any]] = [
    None,
    True,
    0,
    -1,
    1.5,
    AT,
    AT + 10**9,
    2**53,
    2**63,
    "",
    "*",
    "fs:write",
    WORLD.root.did,
    WORLD.mallory.did,
    [],
    ["admin"],
    [[[[[[[[[]]]]]]]]],
    {},
    {"caps": ["admin"]},
    {"caps": ["fs:read"], "with": []},
    float("nan"),
    "\ud800",
]


def change_a_letter(rng: random.Random, token: str) -> str:
    at = rng.randrange(len(token))
    return token[:at] + rng.choice(STRANGE) + token[at + 1 :]


def insert_a_letter(rng: random.Random, token: str) -> str:
    at = rng.randrange(len(token) + 1)
    return token[:at] + rng.choice(STRANGE) + token[at:]


def delete_some(rng: random.Random, token: str) -> str:
    at = rng.randrange(len(token))
    return token[:at] + token[at + rng.choice((1, 1, 2, 4, 40)) :]


def repeat_a_segment(rng: random.Random, token: str) -> str:
    parts = token.split(".")
    parts.insert(rng.randrange(4), rng.choice(parts))
    return ".".join(parts)


def splice(rng: random.Random, token: str) -> str:
    other = rng.choice(VALID).split(".")
    return ".".join(
        rng.choice(pair) for pair in zip(token.split("."), other, strict=True)
    )


def join_halves(rng: random.Random, token: str) -> str:
    other = rng.choice(VALID)
    return token[: rng.randrange(len(token))] + other[rng.randrange(len(other)) :]


def flip_a_bit(rng: random.Random, token: str) -> str:
    parts = token.split(".")
    which = rng.randrange(3)
    raw = bytearray(urlsafe_b64decode(parts[which] + "=="))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    parts[which] = segment(bytes(raw))
    return ".".join(parts)


def change_the_json(rng: random.Random, token: str) -> str:
    """Under the old signature."""
    header, payload, signature = token.split(".")
    return f"{header}.{segment(_changed(rng, payload))}.{signature}"


def sign_what_is_not_hers(rng: random.Random, token: str) -> str:
    """Mallory's signature under claims that she changed or left as they were."""
    return sign(_changed(rng, token.split(".")[1]), WORLD.mallory)


def _changed(rng: random.Random, payload: str) -> bytes:
    claims = json.loads(urlsafe_b64decode(payload + "=="))
    name = rng.choice([*claims, "nbf", "prf", "meta", "x"])
    match rng.randrange(4):
        case 0:
            claims.pop(name, None)
        case 1:
            claims[name] = rng.choice(VALUES)
        case 2:
            claims["args"][rng.choice(["caps", "with", "x"])] = rng.choice(VALUES)
        case _:
            text = to_json(claims)
            at = rng.randrange(len(text))
            return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
    return to_json(claims)


MUTATIONS: Final[tuple[Callable[[random.Random, str], str], ...]] = (
    change_a_letter,
    change_a_letter,
    insert_a_letter,
    delete_some,
    repeat_a_segment,
    splice,
    join_halves,
    flip_a_bit,
    change_the_json,
    sign_what_is_not_hers,
)


def mutants(seed: int, count: int) -> Iterator[str]:
    """Yield *count* texts that are not one of VALID."""
    rng = random.Random(seed)
    while count:
        mutant = rng.choice(MUTATIONS)(rng, rng.choice(VALID))
        if mutant not in VALID:
            yield mutant
            count -= 1


def verdicts(count: int) -> Counter[str]:
    """Return how many mutants had each verdict; a root without a ceiling is trusted."""
    roots = {WORLD.root.did: None}
    limits = Limits(max_chars=8_192)
    return Counter(
        verify_chain(
            mutant, audience=WORLD.bob.did, roots=roots, at=AT, limits=limits
        ).code
        for mutant in mutants(SEED, count)
    )


def test_what_is_mutated_is_valid() -> None:
    """What the mutants were made of is accepted: they could be, too."""
    assert all(WORLD.verify(token) for token in VALID)


def test_no_mutant_is_accepted_and_none_raises() -> None:
    """Every verdict is a stated code, and all the usual ones come up."""
    started = time.perf_counter()
    found = verdicts(COUNT)
    seconds = time.perf_counter() - started

    sys.stdout.write(
        f"token mutants: seed {SEED}, n {COUNT}, accepted {found['ok']},"
        f" seconds {seconds:.1f}\n"
    )
    assert found["ok"] == 0
    assert found.keys() <= CODES.keys()
    assert sum(found.values()) == COUNT
    assert found.keys() >= {"form", "b64", "json", "claims", "signature", "header"}


def test_a_verifier_without_signatures_accepts_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mutants would find it."""
    monkeypatch.setattr(verify, "is_signed", lambda *_: True)

    assert verdicts(2_000)["ok"] > 0
