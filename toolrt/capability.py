"""
Who may do what: grants, and the authority that resolves them for a call.

A capability is an exact string. An allow-list rule may have come from a pattern
(``fs:*``), but the pattern was expanded when the configuration was loaded: nothing here
evaluates a wildcard. The rules of delegation chains are in ``toolrt.ucan``, imported
with the first call that brings a token.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from toolrt.audit.call_event import CapProvenance, StringAllowList, UcanChain

if TYPE_CHECKING:
    from toolrt.ucan import ChainResult, Identity, Limits

#: How many tokens a call may bring.
MAX_PROOFS: Final = 16


class AllowRule(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="rule"
):
    """
    The allow-list rule behind a grant.

    ``pattern`` is what the operator wrote; ``line`` and ``column`` count from 1 and name
    the place of the pattern in ``file``; ``config`` is the SHA-256 of that file in hex.
    The position is None where the rule did not come from a file.
    """

    pattern: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    config: str | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one link of a delegation chain says; never the token itself.

    Times are Unix seconds: it counts from ``not_before`` (None: it does not say) until
    just before ``expires``. ``bindings`` are pairs of an argument and the JSON text of
    the value that a call has to give it. ``digest`` is the SHA-256, in hex, of what the
    issuer signed; by it a delegation is revoked.
    """

    issuer: str
    audience: str
    #: Whose authority is delegated; along a chain always that of the root's issuer.
    subject: str
    #: Sorted.
    capabilities: tuple[str, ...]
    bindings: tuple[tuple[str, str], ...] = ()
    not_before: int | None = None
    expires: int
    digest: str


class ChainLink(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,  # what was recorded before there were more fields reads the same
    tag_field="kind",
    tag="chain",
):
    """
    The leaf of the delegation chain behind a grant; depth 0 is a root.

    ``links`` is the whole chain, root first, as it was verified; empty where the record
    does not tell. ``bearer``: it counted although nobody showed the caller's key.
    """

    issuer: str
    depth: int
    digest: str
    links: tuple[Link, ...] = ()
    bearer: bool = False


class Grant(msgspec.Struct, frozen=True):
    """One capability of one caller and its source."""

    capability: str
    source: AllowRule | ChainLink

    @property
    def provenance(self) -> CapProvenance:
        """The grant in its wire form."""
        if isinstance(self.source, AllowRule):
            return CapProvenance(self.capability, StringAllowList())
        return CapProvenance(
            self.capability, UcanChain(self.source.issuer, self.source.depth)
        )


class Refusal(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,  # as of a chain
):
    """
    Why the tokens of a call were refused: one of ``toolrt.ucan.CODES``.

    ``token`` is the digest of the one at fault, None where it is none in particular;
    ``issuer`` is the DID that signed it, None where none did.
    """

    code: str
    token: str | None = None
    issuer: str | None = None


class CapabilitySet(msgspec.Struct, frozen=True):
    """
    What a call was granted, every source of each capability included.

    ``grants`` is sorted by capability, allow-list before chain; a capability granted
    twice appears twice there and once in ``granted``. With a ``refusal`` nothing is
    granted, and the call must not run even if it needs nothing.
    """

    grants: tuple[Grant, ...] = ()
    refusal: Refusal | None = None

    @property
    def granted(self) -> tuple[str, ...]:
        """The granted capabilities, sorted."""
        return tuple(dict.fromkeys(grant.capability for grant in self.grants))

    @property
    def provenance(self) -> tuple[CapProvenance, ...]:
        """Every source in its wire form, in the order of ``grants``."""
        return tuple(grant.provenance for grant in self.grants)

    def __contains__(self, capability: str) -> bool:
        return any(grant.capability == capability for grant in self.grants)

    def within(self, capabilities: Collection[str]) -> CapabilitySet:
        """Return the part of the set that is in *capabilities*."""
        return CapabilitySet(
            tuple(grant for grant in self.grants if grant.capability in capabilities),
            self.refusal,
        )


NO_CAPABILITIES = CapabilitySet()


class Authority:
    """
    Resolves what a caller is granted. Safe to share between threads.

    It keeps no verdict on a token: *roots*, *revocations* and *revoked_before* are read
    anew at each call, as they are then. All it remembers is the latest time it has seen,
    so that a clock set back revives nothing that has expired.

    Args:
        allow_lists: For each caller the capabilities that the operator lists, as exact
            strings or as grants that remember their rule.

        roots: For each trusted DID the capabilities that its chains may grant (None:
            any).

        revocations: Digests of links that count no more. What it raises refuses the
            token.

        revoked_before: For a DID the Unix seconds before which it issued nothing that
            counts.

        identities: For each caller who it is to those who delegate, with its key.

        limits: What a chain may be at most; the defaults of `Limits` if None.

        bearer: Whoever brings a token may use it, without the key of the caller; every
            grant that comes of it says so.

        high_water: Unix seconds of the latest event on record: no call is before it.
    """

    def __init__(
        self,
        allow_lists: Mapping[str, Iterable[str | Grant]] | None = None,
        *,
        roots: Mapping[str, frozenset[str] | None] | None = None,
        revocations: Container[str] = (),
        revoked_before: Mapping[str, int] | None = None,
        identities: Mapping[str, Identity] | None = None,
        limits: Limits | None = None,
        bearer: bool = False,
        high_water: int = 0,
    ) -> None:
        self._allowed: dict[str, dict[str, tuple[Grant, ...]]] = {
            caller: _by_capability(listed)
            for caller, listed in (allow_lists or {}).items()
        }
        # Not copied, and no "or": an empty mapping may be filled later.
        self._roots = {} if roots is None else roots
        self._revocations = revocations
        self._revoked_before = revoked_before
        self._identities = {} if identities is None else identities
        self._limits = limits
        self._bearer = bearer
        self._latest = high_water
        self._lock = Lock()

    def resolve(
        self,
        caller: str | None,
        requested: Iterable[str],
        proofs: Sequence[str] = (),
        at: int | None = None,
        params: object = None,
    ) -> CapabilitySet:
        """
        Return the part of *requested* that *caller* is granted.

        Args:
            caller: Who asks; nobody (None) is granted nothing.

            requested: Exact capabilities.

            proofs: Delegation tokens, untrusted. One that is refused refuses them all,
                and what the allow-list grants with them.

            at: Unix seconds that time bounds are checked against; needed with *proofs*.

            params: The arguments of the call, which a delegation may be bound to.

        Raises:
            ValueError: There are *proofs* and no time.
        """
        if proofs:
            return self._with_chains(caller, frozenset(requested), proofs, at, params)
        allowed = self._allowed.get(caller) if caller is not None else None
        if not allowed:
            return NO_CAPABILITIES
        found = [
            grant
            for capability in sorted(set(requested))
            for grant in allowed.get(capability, ())
        ]
        return CapabilitySet(tuple(found)) if found else NO_CAPABILITIES

    def _with_chains(
        self,
        caller: str | None,
        wanted: frozenset[str],
        proofs: Sequence[str],
        at: int | None,
        params: object,
    ) -> CapabilitySet:
        """Return the part of *wanted* that allow-list and chains grant together."""
        chained = self._chained(caller, wanted, proofs, at, params)
        if isinstance(chained, Refusal):
            return CapabilitySet(refusal=chained)
        listed = self.resolve(caller, wanted).grants
        return CapabilitySet(tuple(sorted((*listed, *chained), key=_order)))

    def _chained(
        self,
        caller: str | None,
        wanted: frozenset[str],
        proofs: Sequence[str],
        at: int | None,
        params: object,
    ) -> list[Grant] | Refusal:
        """Return what the chains of *proofs* grant; all of them have to hold."""
        from toolrt.ucan import fits, token_digest, verify_chain
        from toolrt.ucan.verify import issuer_of

        if at is None:
            raise ValueError("tokens are checked against a time: at")
        if len(proofs) > MAX_PROOFS:
            return Refusal("too_many")
        audience = self._audience(caller)
        if isinstance(audience, Refusal):
            return audience
        at = self._no_earlier(at)
        found: dict[str, list[Grant]] = {}  # by digest: a token given twice is one
        for token in proofs:
            result = verify_chain(
                token,
                audience=audience,
                roots=self._roots,
                revoked=self._revocations,
                revoked_before=self._revoked_before,
                at=at,
                limits=self._limits,
            )
            if not result:
                issuer = issuer_of(token, limits=self._limits)
                return Refusal(result.code, token_digest(token), issuer)
            if fits(result.links[-1].bindings, params):
                source = _source(result, bearer=self._bearer)
                granted = [Grant(name, source) for name in result.capabilities & wanted]
                found[source.digest] = granted
        return [grant for granted in found.values() for grant in granted]

    def _audience(self, caller: str | None) -> str | Refusal:
        """Return the DID that *caller* has shown to be its own."""
        identity = None if caller is None else self._identities.get(caller)
        if self._bearer:
            did = caller if identity is None else identity.did
            return Refusal("audience") if did is None else did
        if identity is None or not identity.is_proven():
            return Refusal("possession")
        return identity.did

    def _no_earlier(self, at: int) -> int:
        """Return *at*, or the latest time that was seen if that is later."""
        with self._lock:
            self._latest = max(self._latest, at)
            return self._latest

    def grants_of(self, caller: str) -> tuple[Grant, ...]:
        """Return everything that the allow-list grants *caller*, by capability."""
        allowed = self._allowed.get(caller, {})
        return tuple(grant for name in sorted(allowed) for grant in allowed[name])


def _by_capability(listed: Iterable[str | Grant]) -> dict[str, tuple[Grant, ...]]:
    found: dict[str, tuple[Grant, ...]] = {}
    for item in listed:
        grant = (
            item if isinstance(item, Grant) else Grant(item, AllowRule(pattern=item))
        )
        found[grant.capability] = (*found.get(grant.capability, ()), grant)
    return found


def _source(result: ChainResult, *, bearer: bool) -> ChainLink:
    leaf = result.links[-1]
    return ChainLink(
        issuer=leaf.issuer,
        depth=len(result.links) - 1,
        digest=leaf.digest,
        links=result.links,
        bearer=bearer,
    )


def _order(grant: Grant) -> tuple[str, str]:
    """Sort by capability, the allow-list first: a digest is never empty."""
    source = grant.source
    return grant.capability, source.digest if isinstance(source, ChainLink) else ""
