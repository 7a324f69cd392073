"""
The delegation tokens that a caller shows, read from files and verified.

What a token says is told only once its signatures hold; the token itself never leaves
this module.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Mapping, Sequence
from typing import Final

from toolrt.secrets import read_private_file
from toolrt.ucan import (
    CODES,
    Limits,
    UcanError,
    read_chain,
    verify_chain,
)
from toolrt.ucan.verify import require_signatures
from toolrt_cli.config import LoadedConfig
from toolrt_cli.provenance.facts import OK, Link, Root, Token, as_link

#: At most so many tokens in one request.
MOST: Final = 16
_MAX_REVOCATIONS: Final = 16 * 1024**2
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_EVERYONE_WRITES: Final = 0o022


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
    table = config.config.callers.get(caller)
    listed = [config.resolve(one) for one in (table.proofs if table else ())]
    found = [*listed, *(os.path.abspath(one) for one in files)]
    if not found:
        return ()
    audience = (table.did if table else None) or caller
    verifier = _Verifier(config, audience, now_us // 1_000_000)
    # By what they are: a token given twice is one.
    tokens = {
        one.digest or path: one
        for path, one in ((path, verifier.token(path)) for path in found[:MOST])
    }
    if len(found) > MOST:
        why = CODES["too_many"]
        tokens[""] = Token(code="too_many", why=why, file=found[MOST])
    return tuple(tokens.values())


class _Verifier:
    """Verifies the tokens of one caller under one config, at one moment."""

    def __init__(self, config: LoadedConfig, audience: str, at: int) -> None:
        self._audience = audience
        self._at = at
        table = config.config.ucan
        self._limits = Limits(
            max_depth=table.max_depth,
            max_ttl_s=int(table.max_ttl),
            leeway_s=int(table.leeway),
        )
        self._is_bearer = table.bearer
        self._roots = roots_of(config)
        self._revoked = _revocations(config)

    def token(self, path: str) -> Token:
        """Return the token in the file *path*, with the verdict on it."""
        try:
            data = read_private_file(path, self._limits.max_chars + 1)
        except OSError as exc:
            why = f"cannot be read: {exc.strerror}"
            return Token(code="unreadable", why=why, file=path)
        text = data.removesuffix(b"\n").decode("ascii", "replace")
        links = self._signed_links(text)
        root = self._roots.get(links[0].issuer) if links else None
        if self._revoked is None:
            why = CODES["revocations"]
            return Token(code="revocations", why=why, links=links, file=path, root=root)
        code = verify_chain(
            text,
            audience=self._audience,
            roots={did: _ceiling(one) for did, one in self._roots.items()},
            revoked=self._revoked,
            at=self._at,
            limits=self._limits,
        ).code
        why = "" if code == OK else CODES[code]
        return Token(
            code=code,
            why=why,
            links=links,
            file=path,
            root=root,
            is_bearer=self._is_bearer,
        )

    def _signed_links(self, text: str) -> tuple[Link, ...]:
        """Return what the links say, the root first; nothing unless all are signed."""
        try:
            tokens = read_chain(text, limits=self._limits)
            require_signatures(tokens)
        except UcanError:
            return ()
        return tuple(as_link(one.link) for one in tokens)


def _ceiling(root: Root) -> frozenset[str] | None:
    return None if root.capabilities is None else frozenset(root.capabilities)


def roots_of(config: LoadedConfig) -> Mapping[str, Root]:
    """Return the issuers that *config* trusts, by their DID."""
    found = {}
    for index, one in enumerate(config.config.ucan.root):
        at = config.position("ucan", "root", index)
        line = at.line if at else None
        found[one.did] = Root(one.did, one.capabilities, config.path, line)
    return found


def _revocations(config: LoadedConfig) -> Container[str] | None:
    """Return the revoked digests; None where they are kept but cannot be had."""
    named = config.config.ucan.revocations
    if named is None:
        return frozenset()
    try:
        descriptor = os.open(config.resolve(named), _OPEN)
        with open(descriptor, encoding="utf-8") as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_mode & _EVERYONE_WRITES:
                return None
            text = file.read(_MAX_REVOCATIONS + 1)
    except (OSError, UnicodeDecodeError):
        return None
    if len(text) > _MAX_REVOCATIONS:
        return None
    # One a line; what follows the digest is for people.
    return frozenset(line.split()[0] for line in text.splitlines() if line.strip())
