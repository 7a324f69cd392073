"""What is known about grants at one moment; everything here is plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from toolrt import AllowRule, GateRule
from toolrt.gate import glob

#: A document of a command, or a part of one: plain JSON data.
Document: TypeAlias = dict[str, Any]

#: The verdict on a token that counts.
OK: Final = "ok"


class Rule(msgspec.Struct, frozen=True):
    """One pattern in a caller's allow-list, and what it grants."""

    caller: str
    source: AllowRule
    capabilities: tuple[str, ...]

    @property
    def ref(self) -> str:
        """Where it stands, as ``file:line:column``; its pattern if it has no place."""
        return place(self.source.file, self.source.line, self.source.column) or (
            self.source.pattern
        )


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one link of a delegation chain says; never the token itself.

    Times are Unix seconds: it counts from ``not_before`` until just before ``expires``.
    """

    issuer: str
    audience: str
    capabilities: tuple[str, ...]
    not_before: int | None = None
    expires: int | None = None
    digest: str = ""
    bindings: tuple[tuple[str, str], ...] = ()


class Root(msgspec.Struct, frozen=True):
    """A trusted issuer: its ceiling (None: any capability) and where it is trusted."""

    did: str
    capabilities: tuple[str, ...] | None = None
    file: str | None = None
    line: int | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """
    A delegation token that was shown for a caller.

    ``code`` is the verdict: `OK` or the reason why it counts for nothing. ``links`` come
    root first, as far as the token could be read. ``file`` is where it was read from.
    """

    code: str = OK
    why: str = ""
    links: tuple[Link, ...] = ()
    file: str | None = None
    root: Root | None = None
    #: Whether it counts without the key of the caller.
    is_bearer: bool = False
    #: The identity here that has the key of its audience, empty where none has; None
    #: where nobody looked.
    key_of: str | None = None
    #: Whether it is known from calls alone, and not from one at the moment asked for.
    is_from_record: bool = False
    #: Its digest and its issuer where nothing else of it is known.
    named: str = ""
    named_issuer: str = ""
    #: The arguments that it asks for, where a call had others: it then granted nothing.
    unmet: str = ""

    @property
    def digest(self) -> str:
        """The digest of its last link, the token's own."""
        return self.links[-1].digest if self.links else self.named

    @property
    def ref(self) -> str:
        """What it is called: its digest, else the file that it was read from."""
        return self.digest or self.file or "token"

    @property
    def issuer(self) -> str:
        """Who issued its last link; empty where nobody knows."""
        return self.links[-1].issuer if self.links else self.named_issuer

    @property
    def capabilities(self) -> frozenset[str]:
        """What its last link grants; nothing to a call that it does not count for."""
        if not self.links or self.unmet:
            return frozenset()
        return frozenset(self.links[-1].capabilities)


#: Something that can grant a capability.
Source: TypeAlias = Rule | Token


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says of one caller; ``actors`` None lets any actor call so."""

    rules: tuple[Rule, ...] = ()
    actors: tuple[str, ...] | None = None
    #: Where ``actors`` stands in the config.
    actors_line: int | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A public tool, as far as rules and capabilities look at it."""

    verb: str
    tool_id: str
    pack: str
    effect: str
    capabilities: tuple[str, ...]


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The gate in force: ``rules`` count for the kind ``rules`` only."""

    kind: str = "allow-all"
    default: str = "allow"
    rules: tuple[GateRule, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that an answer is made from.

    ``declared`` are the capabilities that loaded packs need, ``tools`` the public tools;
    both are None where nobody knows, as of a time in the past.
    """

    config_path: str | None = None
    config_sha256: str | None = None
    callers: Mapping[str, Caller] = {}
    #: Shown for the caller that the question is about.
    tokens: tuple[Token, ...] = ()
    declared: frozenset[str] | None = None
    tools: tuple[Tool, ...] | None = None
    gate: GatePolicy = GatePolicy()

    def sources(self, caller: str, capability: str) -> list[Source]:
        """Return what grants *capability* to *caller*: rules first, then tokens."""
        if self.refused_token is not None:
            return []
        rules = self.callers[caller].rules if caller in self.callers else ()
        found: list[Source] = [r for r in rules if capability in r.capabilities]
        found += [t for t in self.tokens if capability in t.capabilities]
        return found

    @property
    def refused_token(self) -> Token | None:
        """The first token that does not hold: with one such nothing is granted."""
        return next((one for one in self.tokens if one.code != OK), None)

    def capabilities_of(self, caller: str) -> list[str]:
        """Return everything that *caller* is granted, sorted."""
        rules = self.callers[caller].rules if caller in self.callers else ()
        named = {name for rule in rules for name in rule.capabilities}
        named |= {name for token in self.tokens for name in token.capabilities}
        return [name for name in sorted(named) if self.sources(caller, name)]

    def without(self, refs: Iterable[Source]) -> Facts:
        """Return the facts as they would be if *refs* were gone."""
        gone = list(refs)
        kept = {
            name: msgspec.structs.replace(
                caller, rules=tuple(rule for rule in caller.rules if rule not in gone)
            )
            for name, caller in self.callers.items()
        }
        tokens = tuple(token for token in self.tokens if token not in gone)
        return msgspec.structs.replace(self, callers=kept, tokens=tokens)


def place(file: str | None, line: int | None, column: int | None = None) -> str:
    """Return ``file:line:column`` as far as it is known; empty without a file."""
    if file is None:
        return ""
    known = [str(one) for one in (line, column) if one is not None]
    return ":".join([file, *known])


def is_pattern(text: str) -> bool:
    """Return whether *text* is a pattern that was expanded, and no exact name."""
    return any(sign in text for sign in "*?[")


def covers(pattern: str, capability: str) -> bool:
    """Return whether *pattern*, read as it is when a config is loaded, has the name."""
    return (
        bool(glob(pattern).match(capability))
        if is_pattern(pattern)
        else (pattern == capability)
    )


def known_capabilities(facts: Facts) -> Sequence[str]:
    """Return every capability that a pack needs or a rule names exactly."""
    named = [
        rule.source.pattern
        for caller in facts.callers.values()
        for rule in caller.rules
        if not is_pattern(rule.source.pattern)
    ]
    granted = [
        name
        for caller in facts.callers.values()
        for rule in caller.rules
        for name in rule.capabilities
    ]
    shown = [name for token in facts.tokens for name in sorted(token.capabilities)]
    return tuple(
        dict.fromkeys([*sorted(facts.declared or ()), *named, *granted, *shown])
    )


def as_link(link: object) -> Link:
    """Return *link*, which has the fields of a `Link`, as one."""
    names = Link.__struct_fields__
    return Link(**{name: getattr(link, name) for name in names})
