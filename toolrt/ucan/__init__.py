"""
Delegation: signed tokens by which one key hands capabilities on to another.

`issue` makes them, `verify_chain` says what a chain of them grants. Pure functions over
values: no files, no clock. ``docs/delegation-tokens.md`` has the format and the rules.
"""

from toolrt.capability import Link
from toolrt.errors import UcanError
from toolrt.ucan.codes import CODES
from toolrt.ucan.did import decode_did, encode_did
from toolrt.ucan.identity import Identity
from toolrt.ucan.issue import did_of_seed, issue
from toolrt.ucan.token import Token, binding_pairs, fits, token_digest
from toolrt.ucan.verify import (
    ChainResult,
    Limits,
    read_chain,
    require_chain,
    verify_chain,
)

__all__ = [
    "CODES",
    "ChainResult",
    "Identity",
    "Limits",
    "Link",
    "Token",
    "UcanError",
    "binding_pairs",
    "decode_did",
    "did_of_seed",
    "encode_did",
    "fits",
    "issue",
    "read_chain",
    "require_chain",
    "token_digest",
    "verify_chain",
]
