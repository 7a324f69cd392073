"""The stable codes of verdicts, and what each says."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

#: The verdict of a chain that grants.
OK: Final = "ok"

#: Every code that a refusal can have, with its meaning.
CODES: Final = MappingProxyType(
    {
        "size": "the token is longer than the limit",
        "form": "it is not three segments of base64url with a signature of 64 bytes",
        "b64": "a segment is not the one base64url form of its bytes",
        "utf8": "a segment is not UTF-8",
        "json": "a segment is not JSON",
        "json_depth": "its JSON is nested too deeply",
        "json_type": "a segment is not a JSON object",
        "dup_key": "a key stands twice in one JSON object",
        "number": "a number is no integer, or too large to be exact everywhere",
        "surrogate": "a text holds half a character",
        "header": "the header is not exactly the one that is allowed",
        "claims": "a claim is missing or unknown",
        "claim_type": "a claim has the wrong type",
        "cmd": "the command is not atd-cap",
        "nonce": "the nonce is not 16 to 64 characters of base64url",
        "args": "the arguments of the claim are not caps and with",
        "caps": "the capabilities are not 1 to 64 different names",
        "did": "an identity is not a did:key of an Ed25519 key",
        "weak_key": "an identity has a key that anybody can sign for",
        "multi_parent": "there is more than one proof",
        "depth": "the chain has more links than the limit",
        "signature": "a signature does not hold",
        "revoked": "a link was revoked",
        "revocations": "whether a link was revoked cannot be told",
        "root_subject": "the first link delegates another's authority",
        "untrusted_root": "the first issuer is not trusted",
        "root_ceiling": "the first link grants more than its issuer may",
        "not_yet": "a link does not count yet, or ends before it begins",
        "expired": "a link has expired",
        "ttl": "a link counts for longer than the limit",
        "alignment": "a link was not issued by whom the one before it was for",
        "subject": "the links do not delegate one authority",
        "time_widening": "a link counts outside of the time of the one before it",
        "cap_widening": "a link grants what the one before it does not",
        "binding_widening": "a link drops a restriction of the one before it",
        "audience": "the chain is not for the caller",
        "possession": "the private key of the caller is not at hand",
        "too_many": "there are more tokens in the request than the limit",
        "unreadable": "the file of a token is not one to read",
    }
)
