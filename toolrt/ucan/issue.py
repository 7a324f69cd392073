"""Making tokens: a delegation that verification would refuse is not made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from toolrt.ucan.did import KEY_BYTES, encode_did
from toolrt.ucan.token import COMMAND, encode_segment, signing_input
from toolrt.ucan.verify import (
    DEFAULT_LIMITS,
    Limits,
    read_chain,
    require_attenuation,
    require_own_authority,
    require_signatures,
    require_window,
)

if TYPE_CHECKING:
    from nacl.signing import SigningKey

_NONCE_BYTES: Final = 16


def did_of_seed(seed: bytes) -> str:
    """
    Return the DID of the private key *seed*.

    Raises:
        ValueError: It has not 32 bytes.
    """
    return encode_did(bytes(_signing_key(seed).verify_key))


def sign_with(seed: bytes, data: bytes) -> bytes:
    """
    Return the signature of *data* by the private key *seed*.

    Raises:
        ValueError: It has not 32 bytes.
    """
    return bytes(_signing_key(seed).sign(data).signature)


def issue(
    seed: bytes,
    *,
    audience: str,
    capabilities: Iterable[str],
    expires: int,
    not_before: int | None = None,
    bindings: Mapping[str, Any] | None = None,
    proof: str | None = None,
    nonce: str | None = None,
    meta: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> str:
    """
    Return the token in which the holder of *seed* delegates to *audience*.

    Args:
        seed: The 32 bytes of an Ed25519 private key.

        audience: The DID that may use the capabilities, or delegate them on.

        expires: Unix seconds from which on the token does not count.

        not_before: Unix seconds from which on it counts.

        bindings: Arguments that a call has to give, each with its JSON value. Those of
            *proof* have to be among them.

        proof: The token that delegates the capabilities to the issuer; None if they are
            its own.

        nonce: 16 to 64 characters of base64url; fresh ones if None.

        meta: A JSON object for people; it decides nothing.

    Raises:
        UcanError: The token would be refused whatever the time and the roots, with the
            code that it would be refused with.
        ValueError: *seed* is no key.
        TypeError: *bindings* or *meta* is not JSON.
        RecursionError: They are nested without end.
    """
    issuer = did_of_seed(seed)
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": issuer,
        "cmd": COMMAND,
        "args": {"caps": list(capabilities)},
        "nonce": encode_segment(os.urandom(_NONCE_BYTES)) if nonce is None else nonce,
        "exp": expires,
    }
    if bindings:
        claims["args"]["with"] = [{name: value} for name, value in bindings.items()]
    if not_before is not None:
        claims["nbf"] = not_before
    if proof is not None:
        claims["sub"] = read_chain(proof, limits=limits)[-1].link.subject
        claims["prf"] = [proof]
    if meta is not None:
        claims["meta"] = meta
    signed = signing_input(claims)
    signature = encode_segment(sign_with(seed, signed.encode("ascii")))
    token = f"{signed}.{signature}"
    _require_sound(token, limits or DEFAULT_LIMITS)
    return token


def _require_sound(token: str, limits: Limits) -> None:
    tokens = read_chain(token, limits=limits)
    require_signatures(tokens)
    links = tuple(one.link for one in tokens)
    require_own_authority(links[0])
    for depth, link in enumerate(links):
        require_window(link, depth, limits)
    require_attenuation(links)


def _signing_key(seed: bytes) -> SigningKey:
    from nacl.signing import SigningKey

    if len(seed) != KEY_BYTES:
        raise ValueError(f"a private key has {KEY_BYTES} bytes, not {len(seed)}")
    return SigningKey(seed)
