"""
The delegation tokens that a caller shows, read from files and verified.

What a token says is told only once its signatures hold; the token itself never leaves
this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from toolrt.capability import MAX_PROOFS
from toolrt.ucan import CODES, ChainResult, UcanError, read_chain, verify_chain
from toolrt.ucan.verify import require_signatures
from toolrt_cli import delegations, identities
from toolrt_cli.config import LoadedConfig
from toolrt_cli.provenance.facts import OK, Link, Root, Token, as_link
from toolrt_cli.revocations import revocations_of
from toolrt_cli.token_files import ProofFileError, proof_files, read_proof


def tokens_of(
    config: LoadedConfig, caller: str, files: Sequence[str], *, now_us: int
) -> tuple[Token, ...]:
    """
    Return the tokens of *caller*: those of its ``proofs``, then those of *files*.

    One that cannot be read or does not hold is among them, with the reason as its code.

    Args:
        files: More files, as they were named on the command line.

        now_us: When they have to hold, in Unix microseconds.
    """
    found = proof_files(config, caller, files)
    if not found:
        return ()
    did = delegations.did_of(config, caller)
    is_nobody = did is None and not config.config.ucan.bearer
    # Of who has no DID a call asks for the key before it asks whom a token is for.
    audience = None if is_nobody else did or caller
    verifier = Verifier(config, audience, now_us // 1_000_000)
    tokens_read = [(path, verifier.token(path)) for path in found[:MAX_PROOFS]]
    if is_nobody:
        tokens_read = [(path, _without_key(token)) for path, token in tokens_read]
    # By what they are: a token given twice is one.
    tokens = {one.digest or path: one for path, one in tokens_read}
    if len(found) > MAX_PROOFS:
        why = CODES["too_many"]
        tokens[""] = Token(code="too_many", why=why, file=found[MAX_PROOFS])
    return tuple(tokens.values())


def _without_key(token: Token) -> Token:
    """Return *token* as what it is to a caller without a key."""
    if token.code != OK:
        return token
    return msgspec.structs.replace(token, code="possession", why=CODES["possession"])


class Verifier:
    """
    Verifies tokens under one config, at one moment.

    Args:
        audience: Whom they have to be for; None: whomever they are for.

        at: Unix seconds.
    """

    def __init__(self, config: LoadedConfig, audience: str | None, at: int) -> None:
        self._audience = audience
        self._at = at
        self._limits = delegations.limits_of(config)
        self._is_bearer = config.config.ucan.bearer
        self._roots = roots_of(config)
        self._ceilings = delegations.roots_of(config)
        self._revocations = revocations_of(config)

    def token(self, path: str) -> Token:
        """Return the token in the file *path*, with the verdict on it."""
        try:
            text = read_proof(path)
        except ProofFileError as exc:
            return Token(code="unreadable", why=exc.problem, file=exc.path)
        links = self.signed_links(text)
        result = self.verdict(text)
        held = identities.find_did(links[-1].audience) if links else None
        return Token(
            code=result.code,
            why=_why(result, links),
            links=links,
            file=path,
            root=self._roots.get(links[0].issuer) if links else None,
            is_bearer=self._is_bearer,
            key_of=held.name if held else "",
        )

    def verdict(self, text: str) -> ChainResult:
        """Return the verdict on the token *text*."""
        audience = self._audience
        if audience is None:
            links = self.signed_links(text)
            audience = links[-1].audience if links else ""
        return verify_chain(
            text,
            audience=audience,
            roots=self._ceilings,
            revoked=self._revocations,
            at=self._at,
            limits=self._limits,
        )

    def signed_links(self, text: str) -> tuple[Link, ...]:
        """Return what the links say, the root first; nothing unless all are signed."""
        try:
            tokens = read_chain(text, limits=self._limits)
            require_signatures(tokens)
        except UcanError:
            return ()
        return tuple(as_link(one.link) for one in tokens)


def _why(result: ChainResult, links: Sequence[Link]) -> str:
    """Return the verdict in words; with the digest of a link that is not the token's."""
    if result:
        return ""
    said = CODES[result.code]
    if result.link is None or result.link >= len(links) - 1:
        return said
    return f"{said}: {links[result.link].digest}"


def roots_of(config: LoadedConfig) -> Mapping[str, Root]:
    """Return the issuers that *config* trusts, by their DID."""
    found = {}
    for index, one in enumerate(config.config.ucan.root):
        at = config.position("ucan", "root", index)
        line = at.line if at else None
        found[one.did] = Root(one.did, one.capabilities, config.path, line)
    return found
