"""The vectors of others, and our own, each with its exact verdict."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from toolrt.capability import Link
from toolrt.ucan import Token, UcanError, decode_did, encode_did, verify_chain
from toolrt.ucan.did import decode_base58, encode_base58
from toolrt.ucan.token import encode_segment
from toolrt.ucan.verify import require_signatures

VECTORS = Path(__file__).parents[2] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


UCAN = load("ucan-lite/cases.json")
WEAK = load("wycheproof/small_order_and_noncanonical.json")


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["name"]) for case in UCAN["cases"]]
)
def test_every_case_has_its_exact_verdict(case: dict[str, Any]) -> None:
    """Positive and negative cases, by code."""
    roots = {
        did: None if ceiling is None else frozenset(ceiling)
        for did, ceiling in UCAN["trusted_roots"].items()
    }
    if "extra_root" in case:
        roots[case["extra_root"]] = None

    found = verify_chain(
        case["token"],
        audience=case["audience"],
        roots=roots,
        revoked=frozenset(case.get("revoked", ())),
        at=case["now"],
    )

    assert found.code in case["expect"].replace("_or_", "|").split("|")
    assert bool(found) == (found.code == "ok")


def signature_verdict(key: str, message: str, signature: str) -> bool:
    """Return whether a link so signed passes; all of it is in hex."""
    if len(encode_segment(bytes.fromhex(signature))) != 86:
        return False  # no token has room for it: the vectors below hold such cases too
    link = Link(
        issuer="", audience="", subject="", capabilities=(), expires=0, digest=""
    )
    token = Token(
        link=link,
        nonce="",
        meta={},
        parent=None,
        key=bytes.fromhex(key),
        signed=bytes.fromhex(message),
        signature=bytes.fromhex(signature),
    )
    try:
        require_signatures((token,))
    except UcanError:
        return False
    return True


def test_wycheproof_agrees_on_all_its_signatures() -> None:
    """151 of 151, whatever their length."""
    wrong, count = [], 0
    for group in load("wycheproof/ed25519_test.json")["testGroups"]:
        for test in group["tests"]:
            count += 1
            held = signature_verdict(group["publicKey"]["pk"], test["msg"], test["sig"])
            if held != (test["result"] == "valid"):
                wrong.append(test["tcId"])

    assert (wrong, count) == ([], 151)


@pytest.mark.parametrize("key", WEAK["small_order_all"])
def test_a_key_of_small_order_is_refused_twice(key: str) -> None:
    """As an identity, and where the signature is checked: it would fit any message."""
    with pytest.raises(UcanError) as caught:
        decode_did("did:key:z" + encode_base58(b"\xed\x01" + bytes.fromhex(key)))

    assert caught.value.code in {"weak_key", "did"}
    identity_point = (b"\x01" + bytes(31)).hex()
    assert not signature_verdict(key, "00", identity_point + bytes(32).hex())


@pytest.mark.parametrize("key", WEAK["noncanonical_all"])
def test_a_second_spelling_of_a_key_is_refused(key: str) -> None:
    """Every encoding that is not the one of its point."""
    with pytest.raises(UcanError):
        encode_did(bytes.fromhex(key))


@pytest.mark.parametrize(
    ("raw", "text"), load("base58/bitcoin_base58_encode_decode.json")
)
def test_base58_goes_both_ways(raw: str, text: str) -> None:
    """Leading zeros count."""
    assert encode_base58(bytes.fromhex(raw)) == text
    assert decode_base58(text) == bytes.fromhex(raw)


@pytest.mark.parametrize(
    "did",
    [
        "did:key:z" + encode_base58(b"\x99\x01" + bytes(32)),
        "did:key:z" + "1" * 129,
        "did:key:z",
        "did:web:example.org",
        "",
    ],
)
def test_what_is_not_known_has_no_name(did: str) -> None:
    """It is refused all the same."""
    with pytest.raises(UcanError) as caught:
        decode_did(did)

    assert (caught.value.code, caught.value.detail) == ("did", "")


def test_a_letter_of_no_base58_is_refused() -> None:
    """Zero, O, I and l are left out of it."""
    with pytest.raises(ValueError, match="no base58"):
        decode_base58("1O")


def test_every_did_of_ed25519_is_read() -> None:
    """The five of the did:key method, with the keys that it states."""
    found = load("did-key/ed25519-x25519.json")

    for did, case in found.items():
        stated = case["verificationKeyPair"]
        if "publicKeyBase58" in stated:
            key = decode_base58(stated["publicKeyBase58"])
        else:
            key = base64.urlsafe_b64decode(stated["publicKeyJwk"]["x"] + "=")
        assert decode_did(did) == key
        assert encode_did(key) == did
    assert len(found) == 5


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("x25519", {"x25519"}),
        ("secp256k1", {"secp256k1"}),
        ("nist-curves", {"p256", "p384", "p521"}),
    ],
)
def test_other_keys_are_refused_by_name(file: str, names: set[str]) -> None:
    """Whoever has such a DID is told what is wrong with it."""
    found = load(f"did-key/{file}.json")
    dids = list(found.get("didDocument", {}) if file == "x25519" else found)

    told = set()
    for did in dids:
        with pytest.raises(UcanError, match="not ed25519") as caught:
            decode_did(did)
        assert caught.value.code == "did"
        told.add(caught.value.detail.split()[3].rstrip(","))
    assert told == names
