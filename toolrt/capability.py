"""
Who may do what: grants, and the authority that resolves them for a call.

A capability is an exact string. An allow-list rule may have come from a pattern
(``fs:*``), but the pattern was expanded when the configuration was loaded: nothing here
evaluates a wildcard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from toolrt.audit.call_event import CapProvenance, StringAllowList, UcanChain


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
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="chain"
):
    """The leaf of the delegation chain behind a grant; depth 0 is a root."""

    issuer: str
    depth: int
    digest: str


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


class CapabilitySet(msgspec.Struct, frozen=True):
    """
    What a call was granted, every source of each capability included.

    ``grants`` is sorted by capability, allow-list before chain; a capability granted
    twice appears twice there and once in ``granted``.
    """

    grants: tuple[Grant, ...] = ()

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
            tuple(grant for grant in self.grants if grant.capability in capabilities)
        )


NO_CAPABILITIES = CapabilitySet()


class Authority:
    """
    Resolves what a caller is granted. Immutable; safe to share between threads.

    Args:
        allow_lists: For each caller the capabilities that the operator lists, as exact
            strings or as grants that remember their rule.
    """

    def __init__(
        self, allow_lists: Mapping[str, Iterable[str | Grant]] | None = None
    ) -> None:
        self._allowed: dict[str, dict[str, tuple[Grant, ...]]] = {
            caller: _by_capability(listed)
            for caller, listed in (allow_lists or {}).items()
        }

    def resolve(
        self,
        caller: str | None,
        requested: Iterable[str],
        proofs: Sequence[str] = (),
        at: int | None = None,
    ) -> CapabilitySet:
        """
        Return the part of *requested* that *caller* is granted.

        Args:
            caller: Who asks; nobody (None) is granted nothing.

            requested: Exact capabilities.

            proofs: Delegation tokens. None counts yet: what the allow-list does not
                grant is not granted.

            at: Unix seconds that time bounds are checked against.
        """
        allowed = self._allowed.get(caller) if caller is not None else None
        if not allowed:
            return NO_CAPABILITIES
        found = [
            grant
            for capability in sorted(set(requested))
            for grant in allowed.get(capability, ())
        ]
        return CapabilitySet(tuple(found)) if found else NO_CAPABILITIES

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
