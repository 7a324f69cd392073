"""
The one kind of identity: a ``did:key`` of an Ed25519 key.

One key has one text. Keys that are no canonical encoding, and the few for which anybody
can make a signature, are refused wherever they stand.
"""

from __future__ import annotations

import re
from typing import Final

from toolrt.errors import UcanError

KEY_BYTES: Final = 32

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_PREFIX: Final = "did:key:z"
_ED25519: Final = b"\xed\x01"
_ED25519_DID: Final = re.compile(rf"did:key:z6Mk[{_ALPHABET}]{{44}}")
_ANY_DID: Final = re.compile(rf"did:key:z[{_ALPHABET}]{{1,128}}")
#: Names of multicodec, to say which kind of key an identity has.
_OTHER_CODECS: Final = {
    b"\xec\x01": "x25519",
    b"\xe7\x01": "secp256k1",
    b"\xeb\x01": "bls12_381-g2",
    b"\x80\x24": "p256",
    b"\x81\x24": "p384",
    b"\x82\x24": "p521",
    b"\x85\x24": "rsa",
}
_P: Final = 2**255 - 19
#: The y coordinates of the eight points of small order; each has two signs of x.
_ORDER_8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "little",
)
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def encode_did(key: bytes) -> str:
    """
    Return the DID of the public *key*.

    Raises:
        UcanError: ``weak_key`` or ``did``, where the key is not one to trust.
        ValueError: It has not 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes, not {len(key)}")
    _require_strong(key)
    return _PREFIX + encode_base58(_ED25519 + key)


def decode_did(did: str) -> bytes:
    """
    Return the public key of *did*, untrusted.

    Raises:
        UcanError: ``did``, where it is not the DID of an Ed25519 key; ``weak_key``.
    """
    if not _ED25519_DID.fullmatch(did):
        raise UcanError("did", _what_it_is(did))
    decoded = decode_base58(did[len(_PREFIX) :])
    # 47 letters that begin with 6Mk are always 34 bytes, most of them of this codec.
    if not decoded.startswith(_ED25519):
        raise UcanError("did")
    key = decoded[len(_ED25519) :]
    _require_strong(key)
    return key


def _what_it_is(did: str) -> str:
    """Return the kind of key of a DID that is not of Ed25519, where it is known."""
    if not _ANY_DID.fullmatch(did):
        return ""
    name = _OTHER_CODECS.get(decode_base58(did[len(_PREFIX) :])[:2])
    return f"its key is {name}, not ed25519" if name else ""


def _require_strong(key: bytes) -> None:
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    if y >= _P:
        raise UcanError("did", "its key is no canonical encoding")
    if y in _SMALL_ORDER:
        raise UcanError("weak_key")


def encode_base58(raw: bytes) -> str:
    """Return *raw* in base58btc, without the multibase prefix."""
    number = int.from_bytes(raw)
    letters = []
    while number:
        number, value = divmod(number, 58)
        letters.append(_ALPHABET[value])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def decode_base58(text: str) -> bytes:
    """
    Return the bytes of *text*, which takes time with the square of its length.

    Raises:
        ValueError: A letter is not of the alphabet.
    """
    number = 0
    for letter in text:
        value = _VALUES.get(letter)
        if value is None:
            raise ValueError("no base58")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
