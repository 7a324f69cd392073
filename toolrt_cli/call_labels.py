"""
What the record says of a call beside what the pipeline knows: its labels.

``uid`` is the user's number. ``caller`` tells how the caller is known where any actor
may call under its name: ``key`` if its private key is at hand and the call brings a
token, else ``asserted``. ``unmet.1``, ``unmet.2`` and so on are the digests of tokens
that the arguments of the call do not meet, with who issued each, what it would have
granted of what the tool needs, and the arguments that it asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt import Tool
from toolrt.attempt import storable
from toolrt_cli.run_proofs import binding_text, unmet_links
from toolrt_cli.wiring import Session

_UNMET: Final = re.compile(r"unmet\.[0-9]+")
_PARTS: Final = ("issuer", "grants", "with")
#: Characters that are kept of what a token asks for: it may be as long as a token.
_MOST: Final = 256


class Unmet(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the arguments of a call did not meet, as its record tells it."""

    digest: str
    issuer: str
    capabilities: tuple[str, ...]
    #: The arguments that it asks for, in words.
    only_with: str


def labels_of(
    session: Session,
    caller: str,
    tool: Tool | None,
    params: Mapping[str, Any],
    tokens: Sequence[str],
) -> dict[str, str]:
    """
    Return the labels of a call of *tool* by *caller* that brings *tokens*.

    Raises:
        ConfigError: The DID of the caller is none of an Ed25519 key.
    """
    labels = {"uid": str(os.getuid())}
    table = session.config.config.callers.get(caller)
    if caller != str(session.actor) and (table is None or table.actors is None):
        is_shown = bool(tokens) and _shows_key(session, caller)
        labels["caller"] = "key" if is_shown else "asserted"
    if tokens and tool is not None:
        labels |= _unmet_labels(session, tool, params, tokens)
    return labels


def _shows_key(session: Session, caller: str) -> bool:
    """Return whether *caller* has to show its key with a token, and does."""
    from toolrt_cli.delegations import identity_of

    if session.config.config.ucan.bearer:
        return False
    identity = identity_of(session.config, caller, session.environ)
    return identity is not None and identity.is_proven()


def _unmet_labels(
    session: Session, tool: Tool, params: Mapping[str, Any], tokens: Sequence[str]
) -> dict[str, str]:
    from toolrt.ucan.verify import issuer_of
    from toolrt_cli.delegations import limits_of

    labels: dict[str, str] = {}
    limits = limits_of(session.config)
    unmet = unmet_links(session.config, tool, params, tokens)
    for number, (index, link) in enumerate(unmet, 1):
        wanted = sorted(tool.required & set(link.capabilities))
        # What nobody signed is not put on record as somebody's word.
        if not wanted or issuer_of(tokens[index], limits=limits) is None:
            continue
        # An argument may be called anything, also what no record can hold.
        only_with = storable(binding_text(link.bindings))
        cut = only_with if len(only_with) <= _MOST else f"{only_with[:_MOST]}…"
        told = (link.issuer, ", ".join(wanted), cut)
        name = f"unmet.{number}"
        labels[name] = link.digest
        labels |= {f"{name}.{p}": t for p, t in zip(_PARTS, told, strict=True)}
    return labels


def unmet_of(labels: Mapping[str, str]) -> Iterator[Unmet]:
    """Yield the tokens that *labels*, read back from a record, tell of in full."""
    for name, digest in labels.items():
        told = [labels.get(f"{name}.{part}", "") for part in _PARTS]
        if _UNMET.fullmatch(name) and all(told):
            issuer, grants, only_with = told
            yield Unmet(
                digest=digest,
                issuer=issuer,
                capabilities=tuple(grants.split(", ")),
                only_with=only_with,
            )
