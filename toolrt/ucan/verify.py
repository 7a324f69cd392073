"""
Whether a chain of delegations grants, and what.

Every link is read before anything is checked, and then, the root first: all signatures,
revocation, the root, the time of each link, each link against the one before it, and at
last whom the chain is for. The first fault is the verdict. Nothing is remembered: time
and revocation are those of this call.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from toolrt.capability import Link
from toolrt.errors import UcanError
from toolrt.ucan.codes import OK
from toolrt.ucan.token import Token, read_token

DAY_S: Final = 86_400
MAX_LEEWAY_S: Final = 60


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a chain may be at most: characters, links, seconds.

    ``leeway_s`` is by how much the clocks of issuer and verifier may differ.

    Raises:
        ValueError: A limit is below 1, or the leeway not from 0 to 60.
    """

    max_chars: int = 16_384
    max_depth: int = 5
    #: How long one link may count.
    max_ttl_s: int = 30 * DAY_S
    leeway_s: int = 0

    def __post_init__(self) -> None:
        if min(self.max_chars, self.max_depth, self.max_ttl_s) < 1:
            raise ValueError("max_chars, max_depth and max_ttl_s are at least 1")
        if not 0 <= self.leeway_s <= MAX_LEEWAY_S:
            raise ValueError(f"leeway_s is from 0 to {MAX_LEEWAY_S}")


DEFAULT_LIMITS: Final = Limits()


class ChainResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    The verdict on a chain; true if it grants.

    ``code`` is ``ok`` or a key of `CODES`. ``capabilities`` and ``links``, the root
    first, are empty unless every link was verified; ``link`` is the one at fault, where
    there is one to name.
    """

    code: str
    detail: str = ""
    capabilities: frozenset[str] = frozenset()
    links: tuple[Link, ...] = ()
    link: int | None = None

    def __bool__(self) -> bool:
        return self.code == OK


def verify_chain(
    token: str,
    *,
    audience: str,
    roots: Mapping[str, frozenset[str] | None],
    revoked: Container[str] = (),
    revoked_before: Mapping[str, int] | None = None,
    at: int,
    limits: Limits | None = None,
) -> ChainResult:
    """
    Return what the chain that ends in *token* grants *audience*. Never raises for it.

    Args:
        token: Untrusted, of any type.

        audience: The DID of whoever calls.

        roots: The trusted issuers, each with the capabilities that it may grant (None:
            any).

        revoked: Digests of links that do not count any more, nor what follows on them.

        revoked_before: For an issuer the Unix seconds before which it issued nothing
            that counts; a link that does not say when it begins is before any.

        at: Unix seconds.
    """
    try:
        return require_chain(
            token,
            audience=audience,
            roots=roots,
            revoked=revoked,
            revoked_before=revoked_before,
            at=at,
            limits=limits,
        )
    except UcanError as exc:
        return ChainResult(code=exc.code, detail=exc.detail, link=exc.link)


def require_chain(
    token: str,
    *,
    audience: str,
    roots: Mapping[str, frozenset[str] | None],
    revoked: Container[str] = (),
    revoked_before: Mapping[str, int] | None = None,
    at: int,
    limits: Limits | None = None,
) -> ChainResult:
    """
    Like `verify_chain`, for those who cannot go on without the chain.

    Raises:
        UcanError: The chain does not grant; ``code`` says why.
    """
    limits = limits or DEFAULT_LIMITS
    tokens = read_chain(token, limits=limits)
    require_signatures(tokens)
    links = tuple(one.link for one in tokens)
    _require_unrevoked(links, revoked, revoked_before or {})
    require_own_authority(links[0])
    _require_trusted(links[0], roots)
    for depth, link in enumerate(links):
        _require_time(link, depth, at, limits)
    require_attenuation(links)
    leaf = links[-1]
    if leaf.audience != audience:
        raise UcanError("audience", link=len(links) - 1)
    return ChainResult(code=OK, capabilities=frozenset(leaf.capabilities), links=links)


def read_chain(token: object, *, limits: Limits | None = None) -> tuple[Token, ...]:
    """
    Return what the links of *token* say, the root first: nothing of it is verified.

    A parent is part of what its child's issuer signed, and so shorter than the child:
    no chain can lead back into itself.

    Raises:
        UcanError: A token is not in form, or the chain is too long.
    """
    limits = limits or DEFAULT_LIMITS
    found = [read_token(token, max_chars=limits.max_chars)]
    while (parent := found[-1].parent) is not None:
        if len(found) == limits.max_depth:
            raise UcanError("depth")
        found.append(read_token(parent, max_chars=limits.max_chars))
    return tuple(reversed(found))


def issuer_of(token: object, *, limits: Limits | None = None) -> str | None:
    """Return the DID that signed *token*, good or not; None where none did."""
    try:
        last = read_token(token, max_chars=(limits or DEFAULT_LIMITS).max_chars)
    except UcanError:
        return None
    is_own = is_signed(last.key, last.signed, last.signature)
    return last.link.issuer if is_own else None


def require_signatures(tokens: tuple[Token, ...]) -> None:
    """
    Check that each of *tokens* was signed by its issuer.

    Raises:
        UcanError: ``signature``.
    """
    for depth, token in enumerate(tokens):
        if not is_signed(token.key, token.signed, token.signature):
            raise UcanError("signature", link=depth)


def is_signed(key: bytes, data: bytes, signature: bytes) -> bool:
    """Return whether *signature*, of any length, is that of the public *key*."""
    # libsodium also refuses keys and R of small order, and S that is not reduced.
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(key).verify(data, signature)
    except CryptoError:  # which all that it raises is
        return False
    return True


def require_own_authority(root: Link) -> None:
    """
    Check that *root*, the first link, delegates what is its issuer's own.

    Raises:
        UcanError: ``root_subject``.
    """
    if root.issuer != root.subject:
        raise UcanError("root_subject", link=0)


def require_attenuation(links: tuple[Link, ...]) -> None:
    """
    Check that no link gives more than the one before it.

    Raises:
        UcanError: ``alignment``, ``subject``, ``time_widening``, ``cap_widening`` or
            ``binding_widening``.
    """
    for depth, (parent, child) in enumerate(pairwise(links), 1):
        if parent.audience != child.issuer:
            raise UcanError("alignment", link=depth)
        if parent.subject != child.subject:
            raise UcanError("subject", link=depth)
        # A child that does not say when it begins, begins with the world.
        if child.expires > parent.expires or start_of(child) < start_of(parent):
            raise UcanError("time_widening", link=depth)
        if not set(child.capabilities) <= set(parent.capabilities):
            raise UcanError("cap_widening", link=depth)
        if not set(parent.bindings) <= set(child.bindings):
            raise UcanError("binding_widening", link=depth)


def start_of(link: Link) -> int:
    """Return from when *link* counts, in Unix seconds."""
    return 0 if link.not_before is None else link.not_before


def require_window(link: Link, depth: int, limits: Limits) -> None:
    """
    Check that *link* ends after it begins, and not too long after.

    Raises:
        UcanError: ``not_yet`` or ``ttl``.
    """
    if link.not_before is None:
        return
    if link.not_before >= link.expires:
        raise UcanError("not_yet", "it ends before it begins", link=depth)
    if link.expires - link.not_before > limits.max_ttl_s:
        raise UcanError("ttl", link=depth)


def _require_time(link: Link, depth: int, at: int, limits: Limits) -> None:
    require_window(link, depth, limits)
    if start_of(link) - limits.leeway_s > at:
        raise UcanError("not_yet", link=depth)
    if at >= link.expires + limits.leeway_s:
        raise UcanError("expired", link=depth)
    # Where it does not say since when it counts, what is left of it may not be longer.
    if link.not_before is None and link.expires - at > limits.max_ttl_s:
        raise UcanError("ttl", link=depth)


def _require_unrevoked(
    links: tuple[Link, ...], revoked: Container[str], before: Mapping[str, int]
) -> None:
    for depth, link in enumerate(links):
        try:
            is_revoked = link.digest in revoked or start_of(link) < before.get(
                link.issuer, 0
            )
        except Exception as exc:  # whatever keeps them: not knowing is no
            raise UcanError("revocations", link=depth) from exc
        if is_revoked:
            raise UcanError("revoked", link=depth)


def _require_trusted(root: Link, roots: Mapping[str, frozenset[str] | None]) -> None:
    if root.issuer not in roots:
        raise UcanError("untrusted_root", link=0)
    ceiling = roots[root.issuer]
    if ceiling is not None and not set(root.capabilities).issubset(ceiling):
        raise UcanError("root_ceiling", link=0)
