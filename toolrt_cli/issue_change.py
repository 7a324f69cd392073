"""
Why a token would be refused, in terms of its command line, and the smallest change to it.

Pure: the verdict was given by who made the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

import msgspec

from toolrt.ucan import CODES, Limits, Link, UcanError, binding_pairs
from toolrt_cli.provenance.answer import seconds_text
from toolrt_cli.provenance.near import ago


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a new token is to say; ``parent`` is the link that it follows."""

    parent: Link | None
    audience: str
    capabilities: tuple[str, ...]
    bindings: Mapping[str, Any]
    not_before: int
    expires: int
    now: int


class Refusal(msgspec.Struct, frozen=True):
    """Why, in one sentence, and what to change."""

    why: str
    change: str


def smallest_change(
    exc: UcanError, wanted: Wanted, *, issuer: str, proof: str | None, limits: Limits
) -> Refusal:
    """
    Return why *wanted* is refused with the code of *exc*, and the change that helps.

    Args:
        issuer: The DID that would sign.

        proof: The file of the parent.
    """
    parent = wanted.parent
    if parent is not None:
        if parent.expires <= wanted.now:
            ended = seconds_text(parent.expires)
            return Refusal(
                f"the proof expired at {ended}", "have it renewed by its issuer"
            )
        held = _held_against(exc.code, wanted, parent, issuer)
        if held is not None:
            return held
    if exc.code == "ttl":
        return Refusal(
            f"it would count for longer than {ago(limits.max_ttl_s)}",
            f"--expires {_end(wanted.not_before + limits.max_ttl_s)}",
        )
    if exc.code == "not_yet":
        return Refusal("it would end before it begins", "a later --expires")
    if exc.code == "caps":
        return Refusal(
            "capabilities are 1 to 64 different names of a-z, 0-9 and _.:/-",
            "name each capability in full: there are no wildcards",
        )
    if exc.code in ("did", "weak_key"):
        return Refusal("", "--to an identity, a caller with a did, or did:key:z6Mk…")
    if exc.code == "depth":
        return Refusal(
            f"a chain has at most {limits.max_depth} links",
            "have somebody nearer to the root of the proof issue it",
        )
    if proof is not None and exc.code in ("signature", "root_subject"):
        return Refusal(
            f"the proof: {CODES[exc.code]}",
            f"toolrt delegation verify {quote(proof)} shows the link",
        )
    return Refusal("", "change what it says")


def _held_against(
    code: str, wanted: Wanted, parent: Link, issuer: str
) -> Refusal | None:
    """Return what the parent does not cover."""
    if code == "alignment":
        return Refusal(
            f"the proof is for {parent.audience}, and {issuer} would sign",
            "--from the identity with that key, or a --proof that is for this one",
        )
    if code == "time_widening":
        if wanted.expires > parent.expires:
            end = seconds_text(parent.expires)
            return Refusal(
                f"the proof ends at {end}", f"--expires {_end(parent.expires)}"
            )
        start = seconds_text(parent.not_before)
        return Refusal(f"the proof begins at {start}", f"--not-before {start}")
    if code == "cap_widening":
        extra = sorted(set(wanted.capabilities) - set(parent.capabilities))
        return Refusal(
            f"the proof does not grant {', '.join(extra)},"
            f" but {', '.join(parent.capabilities)}",
            f"leave out {' '.join(f'--cap {one}' for one in extra)},"
            f" or ask {parent.issuer} for a proof that grants it",
        )
    if code == "binding_widening":
        own = binding_pairs(wanted.bindings)
        dropped = [pair for pair in parent.bindings if pair not in own]
        words = " ".join(f"--with {quote(f'{n}:={text}')}" for n, text in dropped)
        named = ", ".join(f"{name} = {text}" for name, text in dropped)
        return Refusal(f"the proof counts only with {named}", f"add {words}")
    return None


def _end(at: int) -> str:
    return str(seconds_text(at))
