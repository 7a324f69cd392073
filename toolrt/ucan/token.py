"""
The strict codec of one token: what it says, if it is written in the one allowed way.

Nothing is verified here beyond form. The order of the checks is: size, form, base64,
UTF-8, JSON, header, claims, identities. Python's own decoders would let pass what this
refuses: other alphabets, spare bits, duplicate keys, floats, lone surrogates.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from toolrt.capability import Link
from toolrt.errors import UcanError
from toolrt.ucan.did import decode_did

HEADER: Final = {"alg": "EdDSA", "typ": "ucan/1.0+jwt", "ucv": "1.0"}
COMMAND: Final = "atd-cap"
MAX_CAPABILITIES: Final = 64

_FORM: Final = re.compile(
    r"([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{86})"
)
_CAPABILITY: Final = re.compile(r"[a-z0-9][a-z0-9_.:/-]{0,127}")
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
# One that has no end goes to the end of all: to try again behind each of its quotes
# would take time with the square of their number.
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
_MAX_DEPTH: Final = 8
_MAX_INTEGER: Final = 2**53 - 1
_REQUIRED: Final = frozenset({"iss", "aud", "sub", "cmd", "args", "nonce", "exp"})
_OPTIONAL: Final = frozenset({"nbf", "prf", "meta"})
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """
    One token as it was read: its claims are those of whoever wrote it.

    ``nonce`` and ``meta`` decide nothing; ``meta`` may hold any text. ``parent`` is the
    token of the link before, None for the first. What follows is for the check of the
    signature: the issuer's public key, the bytes that were signed, the signature.
    """

    link: Link
    nonce: str
    meta: Mapping[str, Any]
    parent: str | None
    key: bytes
    signed: bytes
    signature: bytes


def token_digest(token: object) -> str:
    """
    Return by which digest *token* is revoked: SHA-256, in hex, of what its issuer signed.

    Of what is no token it is a digest too, so that a refusal can name it.
    """
    signed = token.rpartition(".")[0] if isinstance(token, str) else ""
    return hashlib.sha256(signed.encode("utf-8", "backslashreplace")).hexdigest()


def read_token(token: object, *, max_chars: int) -> Token:
    """
    Return what *token*, untrusted and of any type, says.

    Raises:
        UcanError: It is not written in the one allowed way.
    """
    if type(token) is not str:
        raise UcanError("form")
    if len(token) > max_chars:
        raise UcanError("size")
    form = _FORM.fullmatch(token)
    if form is None:
        raise UcanError("form")
    header, payload, signature = map(_decoded, form.groups())
    if _parsed(header) != HEADER:
        raise UcanError("header")
    claims = _parsed(payload)
    _require_claims(claims)
    capabilities, bindings = _arguments(claims["args"])
    key = decode_did(claims["iss"])
    decode_did(claims["aud"])
    decode_did(claims["sub"])
    signed = token[: form.end(2)].encode("ascii")
    return Token(
        link=Link(
            issuer=claims["iss"],
            audience=claims["aud"],
            subject=claims["sub"],
            capabilities=capabilities,
            bindings=bindings,
            not_before=claims.get("nbf"),
            expires=claims["exp"],
            digest=hashlib.sha256(signed).hexdigest(),
        ),
        nonce=claims["nonce"],
        meta=claims.get("meta", {}),
        parent=_parent(claims.get("prf", [])),
        key=key,
        signed=signed,
        signature=signature,
    )


def signing_input(claims: Mapping[str, Any]) -> str:
    """Return what the issuer of *claims* signs."""
    header = encode_segment(msgspec.json.encode(HEADER))
    return f"{header}.{encode_segment(msgspec.json.encode(claims))}"


def binding_pairs(bindings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return *bindings*, argument to JSON value, as a `Link` holds them."""
    return tuple(sorted((name, _json_text(value)) for name, value in bindings.items()))


def fits(bindings: tuple[tuple[str, str], ...], params: object) -> bool:
    """
    Return whether a call with the arguments *params* is one that *bindings* allow.

    Each names an argument of the call, whose value has to be the same JSON: ``1`` is
    neither ``true`` nor ``1.0``. A call without arguments fits no binding.
    """
    if not bindings:
        return True
    if not isinstance(params, Mapping):
        return False
    return all(
        name in params and _json_text(params[name]) == text for name, text in bindings
    )


def encode_segment(raw: bytes) -> str:
    """Return *raw* as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decoded(segment: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise UcanError("b64") from None
    # Python ignores spare bits at the end: a second spelling of one token.
    if encode_segment(raw) != segment:
        raise UcanError("b64")
    return raw


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UcanError("utf8") from None
    _require_shallow(text)
    try:
        found = _DECODER.decode(text)
    except ValueError:
        raise UcanError("json") from None
    if "\\u" in text:  # the only way to write half a character
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise UcanError("surrogate") from None
    if type(found) is not dict:
        raise UcanError("json_type")
    return found


def _require_shallow(text: str) -> None:
    """Refuse deep nesting before the parser, which is recursive, sees it."""
    if text.count("{") + text.count("[") <= _MAX_DEPTH:
        return
    depth = 0
    for letter in _JSON_TEXT.sub("", text):
        if letter in "{[":
            depth += 1
            if depth > _MAX_DEPTH:
                raise UcanError("json_depth")
        elif letter in "}]":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UcanError("dup_key")
    return found


def _integer(text: str) -> int:
    if len(text) > len(str(-_MAX_INTEGER)) or abs(int(text)) > _MAX_INTEGER:
        raise UcanError("number")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise UcanError("number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_no_number,
    parse_constant=_no_number,
)


def _require_claims(claims: dict[str, Any]) -> None:
    if not claims.keys() >= _REQUIRED or claims.keys() - _REQUIRED - _OPTIONAL:
        raise UcanError("claims")
    for name in ("iss", "aud", "sub", "cmd", "nonce"):
        if type(claims[name]) is not str:
            raise UcanError("claim_type", name)
    for name in ("nbf", "exp"):
        if name in claims and (type(claims[name]) is not int or claims[name] < 0):
            raise UcanError("claim_type", name)
    for name in ("args", "meta"):
        if name in claims and type(claims[name]) is not dict:
            raise UcanError("claim_type", name)
    if claims["cmd"] != COMMAND:
        raise UcanError("cmd")
    if not _NONCE.fullmatch(claims["nonce"]):
        raise UcanError("nonce")


def _arguments(
    args: dict[str, Any],
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    if "caps" not in args or args.keys() - {"caps", "with"}:
        raise UcanError("args")
    return _capabilities(args["caps"]), _bindings(args.get("with", []))


def _capabilities(caps: Any) -> tuple[str, ...]:
    if type(caps) is not list or not 0 < len(caps) <= MAX_CAPABILITIES:
        raise UcanError("caps")
    for one in caps:
        if type(one) is not str or not _CAPABILITY.fullmatch(one):
            raise UcanError("caps")
    found = tuple(sorted(set(caps)))
    if len(found) != len(caps):
        raise UcanError("caps")
    return found


def _bindings(listed: Any) -> tuple[tuple[str, str], ...]:
    """All objects of the list have to hold, so which one a pair stands in is nothing."""
    if type(listed) is not list:
        raise UcanError("claim_type", "with")
    pairs: set[tuple[str, str]] = set()
    for one in listed:
        if type(one) is not dict or not one:
            raise UcanError("args", "with holds objects of arguments and their values")
        pairs.update(binding_pairs(one))
    return tuple(sorted(pairs))


def _parent(proofs: Any) -> str | None:
    if type(proofs) is not list or any(type(one) is not str for one in proofs):
        raise UcanError("claim_type", "prf")
    if len(proofs) > 1:
        raise UcanError("multi_parent")
    return proofs[0] if proofs else None


def _json_text(value: Any) -> str:
    return _CANONICAL.encode(value).decode()
