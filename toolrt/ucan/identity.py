"""Who a caller is to those who delegate, and whether it can show that it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Self

from toolrt.ucan.did import decode_did
from toolrt.ucan.issue import did_of_seed, sign_with
from toolrt.ucan.verify import is_signed

_CHALLENGE_BYTES: Final = 32
#: No token begins so: what is signed here is good for nothing else.
_PURPOSE: Final = b"toolrt possession of a key\0"


class Identity:
    """
    A DID, and what can sign for it.

    Args:
        did: Of the caller.

        sign: Returns the Ed25519 signature of the bytes that it is given; None where the
            private key is not at hand.

    Raises:
        UcanError: *did* is none of an Ed25519 key.
    """

    __slots__ = ("_is_proven", "_key", "_sign", "did")

    def __init__(self, did: str, sign: Callable[[bytes], bytes] | None = None) -> None:
        self._key = decode_did(did)
        self.did = did
        self._sign = sign
        self._is_proven = False

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """
        Return the identity of the private key *seed*.

        Raises:
            ValueError: It has not 32 bytes.
        """
        return cls(did_of_seed(seed), lambda data: sign_with(seed, data))

    def is_proven(self) -> bool:
        """
        Return whether the key is at hand: it signs a fresh challenge for the DID.

        Asked until it has done so once.
        """
        if not self._is_proven and self._sign is not None:
            challenge = _PURPOSE + os.urandom(_CHALLENGE_BYTES)
            try:
                signature = self._sign(challenge)
                self._is_proven = is_signed(self._key, challenge, signature)
            except Exception:  # noqa: BLE001 - whatever holds the key: not shown is no
                return False
        return self._is_proven
