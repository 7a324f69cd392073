"""The strict codec: one way to write a token, and everything else refused by name."""

from __future__ import annotations

import codecs
from typing import Any

import pytest

from toolrt.ucan import (
    CODES,
    Limits,
    UcanError,
    binding_pairs,
    fits,
    read_chain,
    token_digest,
)

from .simulator import AT, HEADER, NONCE, DelegationSimulator, sign, to_json

WORLD = DelegationSimulator()
BASE = WORLD.claims(WORLD.root, WORLD.alice)
DID = WORLD.alice.did


def raw(old: str, new: str) -> bytes:
    """Return the payload with *old*, JSON text, replaced."""
    text = to_json(BASE).decode()
    assert old in text
    return text.replace(old, new).encode("utf-8", "surrogatepass")


def caps(*listed: Any) -> dict[str, Any]:
    return BASE | {"args": {"caps": list(listed)}}


NO_CLAIMS = [
    pytest.param(
        {k: v for k, v in BASE.items() if k != name}, "claims", id=f"no {name}"
    )
    for name in ("iss", "aud", "sub", "cmd", "args", "nonce", "exp")
]
WRONG_TYPES = [
    pytest.param(BASE | {name: value}, "claim_type", id=f"{name} {value}")
    for name, value in (
        ("iss", 1),
        ("aud", [DID]),
        ("sub", None),
        ("cmd", 1),
        ("nonce", 1),
        ("exp", None),
        ("exp", "1"),
        ("exp", True),
        ("exp", -1),
        ("nbf", None),
        ("nbf", "1"),
        ("nbf", True),
        ("nbf", -1),
        ("args", []),
        ("meta", "x"),
        ("meta", None),
        ("prf", "x"),
        ("prf", [1]),
        ("prf", None),
        ("args", {"caps": ["a"], "with": {}}),
        ("args", {"caps": ["a"], "with": None}),
    )
]
PAYLOADS = [
    *NO_CLAIMS,
    *WRONG_TYPES,
    pytest.param(BASE | {"iat": AT}, "claims", id="unknown claim"),
    pytest.param(BASE | {"cmd": "atd-cap "}, "cmd", id="other command"),
    pytest.param(BASE | {"nonce": "A" * 15}, "nonce", id="short nonce"),
    pytest.param(BASE | {"nonce": "A" * 65}, "nonce", id="long nonce"),
    pytest.param(BASE | {"nonce": "A" * 16 + "\n"}, "nonce", id="nonce with newline"),
    pytest.param(BASE | {"args": {}}, "args", id="no caps"),
    pytest.param(BASE | {"args": {"caps": ["a"], "x": 1}}, "args", id="other argument"),
    pytest.param(
        BASE | {"args": {"caps": ["a"], "with": ["x"]}}, "args", id="with a text"
    ),
    pytest.param(
        BASE | {"args": {"caps": ["a"], "with": [{}]}}, "args", id="with nothing"
    ),
    pytest.param(caps(), "caps", id="no capability"),
    pytest.param(caps("a", "a"), "caps", id="one capability twice"),
    pytest.param(caps(1), "caps", id="a number for a capability"),
    pytest.param(caps("fs:*"), "caps", id="wildcard"),
    pytest.param(caps("Fs"), "caps", id="capital"),
    pytest.param(caps("a\n"), "caps", id="trailing newline"),
    pytest.param(caps(":a"), "caps", id="leading colon"),
    pytest.param(caps("a" * 129), "caps", id="long capability"),
    pytest.param(caps(""), "caps", id="empty capability"),
    pytest.param(caps(*(f"c{n}" for n in range(65))), "caps", id="65 capabilities"),
    pytest.param(BASE | {"args": {"caps": "a"}}, "caps", id="caps is text"),
    pytest.param(BASE | {"iss": f"{DID}#{DID}"}, "did", id="fragment"),
    pytest.param(BASE | {"aud": f"{DID}\n"}, "did", id="newline after a DID"),
    pytest.param(BASE | {"sub": "did:web:example.org"}, "did", id="other method"),
    pytest.param(BASE | {"aud": "did:key:z6Mk" + "1" * 44}, "did", id="other codec"),
    pytest.param(BASE | {"prf": ["a", "b"]}, "multi_parent", id="two proofs"),
    pytest.param(raw(str(AT + 3600), "1.5"), "number", id="float"),
    pytest.param(raw(str(AT + 3600), "1e3"), "number", id="exponent"),
    pytest.param(raw(str(AT + 3600), "NaN"), "number", id="NaN"),
    pytest.param(raw(str(AT + 3600), "-Infinity"), "number", id="infinity"),
    pytest.param(raw(str(AT + 3600), str(2**53)), "number", id="inexact"),
    pytest.param(raw(str(AT + 3600), str(-(2**53))), "number", id="inexact below"),
    pytest.param(raw(str(AT + 3600), "9" * 5_000), "number", id="5,000 digits"),
    pytest.param(raw('"path":', '"path":1,"path":'), "dup_key", id="key twice, deep"),
    pytest.param(raw('"exp":', '"exp":1,"exp":'), "dup_key", id="key twice"),
    pytest.param(raw('"/srv"', '"\\ud800"'), "surrogate", id="half a character"),
    pytest.param(raw('"path"', '"\\ud800"'), "surrogate", id="half a key"),
    pytest.param(raw('"/srv"', '"\ud800"'), "utf8", id="half a character, raw"),
    pytest.param(b"\xff{}", "utf8", id="no UTF-8"),
    pytest.param(codecs.BOM_UTF8 + to_json(BASE), "json", id="byte order mark"),
    pytest.param(to_json(BASE) + b"x", "json", id="garbage after it"),
    pytest.param(b"{'iss': 1}", "json", id="single quotes"),
    pytest.param(raw('"/srv"', '"a\tb"'), "json", id="raw control character"),
    pytest.param(b"[1]", "json_type", id="array"),
    pytest.param(b"1", "json_type", id="number alone"),
    pytest.param(b"[" * 5_000, "json_depth", id="deep"),
    pytest.param(b'{"a":' * 9 + b"1" + b"}" * 9, "json_depth", id="nine levels"),
    pytest.param(b'{"a":' * 8 + b"1" + b"}" * 8, "claims", id="eight levels"),
    pytest.param(
        b'{"a":' * 6 + b"[[],[],[]]" + b"}" * 6, "claims", id="eight levels and wide"
    ),
    pytest.param(
        b'{"a":' * 6 + b"[[],[[]]]" + b"}" * 6, "json_depth", id="deep after a sibling"
    ),
    pytest.param(
        b'{"a":' * 7 + b"[[],[],[]]" + b"}" * 7, "json_depth", id="nine and wide"
    ),
    pytest.param(
        BASE | {"meta": {"x": [[], [], [], [], [], [], "[[[[[[[[[["]}},
        None,
        id="wide and not deep",
    ),
    pytest.param(
        BASE | {"meta": {"x": '\\"[[[[[[[[[[[['}}, None, id="brackets in text"
    ),
    pytest.param(
        BASE | {"meta": {"x": "\u00e9 \U0001f980"}}, None, id="whole characters"
    ),
    pytest.param(BASE | {"exp": 2**53 - 1}, None, id="largest number"),
    pytest.param(BASE | {"exp": 0, "nbf": 0}, None, id="zero"),
    pytest.param(BASE | {"meta": {"x": -(2**53) + 1}}, None, id="smallest number"),
    pytest.param(BASE | {"nonce": "A" * 16}, None, id="shortest nonce"),
    pytest.param(BASE | {"nonce": "-_" * 32}, None, id="longest nonce"),
    pytest.param(caps("a" * 128), None, id="longest capability"),
    pytest.param(caps(*(f"c{n}" for n in range(64))), None, id="64 capabilities"),
    pytest.param(caps("0.a_b:/-z"), None, id="every sign"),
    pytest.param(BASE | {"prf": []}, None, id="no proof"),
]


def test_a_text_without_an_end_is_looked_at_once() -> None:
    """Looked at again from each quote in it, this one would take minutes."""
    token = sign(b"[" * 9 + b'"' + b'\\"' * 200_000, WORLD.root)

    with pytest.raises(UcanError) as caught:
        read_chain(token, limits=Limits(max_chars=len(token)))

    assert caught.value.code == "json_depth"


@pytest.mark.parametrize(("payload", "code"), PAYLOADS)
def test_a_payload_is_as_it_has_to_be(payload: object, code: str | None) -> None:
    """Signed by the root itself: form is checked before anything else."""
    token = sign(payload, WORLD.root)

    if code is None:
        assert read_chain(token)
        return
    with pytest.raises(UcanError) as caught:
        read_chain(token)
    assert caught.value.code == code
    assert code in CODES


@pytest.mark.parametrize(
    ("header", "code"),
    [
        pytest.param(HEADER | {"alg": "none"}, "header", id="alg none"),
        pytest.param(HEADER | {"typ": "JWT"}, "header", id="typ JWT"),
        pytest.param(HEADER | {"ucv": "1.1"}, "header", id="later version"),
        pytest.param(HEADER | {"kid": "x"}, "header", id="kid"),
        pytest.param({"alg": "EdDSA", "ucv": "1.0"}, "header", id="no typ"),
        pytest.param(b"[]", "json_type", id="array"),
        pytest.param(b'{"alg":"none","alg":"EdDSA"}', "dup_key", id="alg twice"),
        pytest.param(b"\xff\xff", "utf8", id="no UTF-8"),
    ],
)
def test_a_header_is_exactly_the_one(header: object, code: str) -> None:
    """No other algorithm, no key inside, nothing to be understood."""
    with pytest.raises(UcanError) as caught:
        read_chain(sign(BASE, WORLD.root, header))

    assert caught.value.code == code


def test_the_order_of_the_header_is_free() -> None:
    """It is JSON: what counts is what it says, and the signature is over the text."""
    turned = dict(reversed(HEADER.items()))

    assert WORLD.verify(sign(BASE, WORLD.root, turned), to=WORLD.alice)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda t: t + "!!!!", "form", id="junk at the end"),
        pytest.param(lambda t: t + "\n", "form", id="newline at the end"),
        pytest.param(lambda t: " " + t, "form", id="space in front"),
        pytest.param(lambda t: t + "==", "form", id="padding"),
        pytest.param(lambda t: t[:-1], "form", id="short signature"),
        pytest.param(lambda t: t + "A", "form", id="long signature"),
        pytest.param(lambda t: t + "." + t[-86:], "form", id="four segments"),
        pytest.param(lambda t: t.replace(".", "", 1), "form", id="two segments"),
        pytest.param(lambda t: t.replace("e", "\uff45", 1), "form", id="full width"),
        pytest.param(lambda t: t.replace("e", "+", 1), "form", id="other alphabet"),
        pytest.param(lambda t: "A" + t, "b64", id="a length that no bytes have"),
    ],
)
def test_a_token_is_spelled_in_one_way(change: Any, code: str) -> None:
    """What a lenient decoder skips would be a second token with the same meaning."""
    with pytest.raises(UcanError) as caught:
        read_chain(change(WORLD.first()))

    assert caught.value.code == code


def test_what_a_token_says_is_told() -> None:
    """The nonce and what is for people too, as they are."""
    meta = {"why": "\x1b[31m\n"}
    args = {"caps": ["b", "a"], "with": [{"p": [1, None], "n": 1}, {"n": 1}]}

    (found,) = read_chain(WORLD.first(meta=meta, args=args, nbf=None))

    assert (found.nonce, found.meta, found.parent) == (NONCE, meta, None)
    assert found.link.capabilities == ("a", "b")
    assert found.link.bindings == (("n", "1"), ("p", "[1,null]"))
    assert found.link.not_before is None


def test_a_digest_is_over_what_was_signed() -> None:
    """Another signature does not change by what a token is revoked."""
    token = WORLD.first()

    assert token_digest(token) == token_digest(token[:-86] + "A" * 86)
    assert token_digest(token) == read_chain(token)[0].link.digest
    assert len(token_digest("\ud800")) == 64


@pytest.mark.parametrize(
    ("bindings", "params", "fit"),
    [
        pytest.param({}, None, True, id="nothing is bound"),
        pytest.param({"a": 1}, {"a": 1}, True, id="same"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, True, id="others are free"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, False, id="one is missing"),
        pytest.param({"a": 1}, {"a": True}, False, id="true is not one"),
        pytest.param({"a": 1}, {"a": 1.0}, False, id="nor is a float"),
        pytest.param({"a": None}, {}, False, id="null is not missing"),
        pytest.param({"a": None}, {"a": None}, True, id="null"),
        pytest.param({"a": "/srv"}, {"a": "/srv/x"}, False, id="no prefix"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, True, id="deep"),
        pytest.param({"a": 1}, None, False, id="no arguments"),
        pytest.param({"a": 1}, [["a", 1]], False, id="a list"),
    ],
)
def test_a_binding_is_met_by_the_same_json(
    bindings: dict[str, Any], params: Any, fit: bool
) -> None:
    """Exactly, and all of them."""
    assert fits(binding_pairs(bindings), params) is fit


def test_one_argument_bound_to_two_values_is_met_by_none() -> None:
    """Links may add bindings; what contradicts itself lets nothing through."""
    pairs = (*binding_pairs({"a": 1}), *binding_pairs({"a": 2}))

    assert not fits(pairs, {"a": 1})
    assert not fits(pairs, {"a": 2})
