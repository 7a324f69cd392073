"""
From facts to the document ``toolrt.explain/1``: what grants, what does not, what ends it.

Pure: the clock, the record and the config were asked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from toolrt import AllowRule, ChainLink
from toolrt.capability import Grant
from toolrt_cli.output import to_json
from toolrt_cli.provenance.ends import ends
from toolrt_cli.provenance.facts import (
    Document,
    Facts,
    Link,
    Root,
    Rule,
    Source,
    Token,
    as_link,
    place,
)
from toolrt_cli.provenance.gate_outlook import outlook
from toolrt_cli.provenance.near import rejected
from toolrt_cli.times import show_utc

_SECOND_US: Final = 1_000_000


class Use(msgspec.Struct, frozen=True):
    """How often recorded calls used the capability by one source; times in Unix us."""

    source: AllowRule | ChainLink
    calls: int
    first_us: int
    last_us: int


class Used(msgspec.Struct, frozen=True):
    """How often recorded calls used the capability, in all and by source."""

    calls: int = 0
    first_us: int | None = None
    last_us: int | None = None
    sources: tuple[Use, ...] = ()


def explain(
    facts: Facts,
    caller: str,
    capability: str,
    *,
    used: Used,
    now_us: int,
    removed: Sequence[Source] = (),
) -> Document:
    """
    Return the document ``toolrt.explain/1`` without its ``schema`` key.

    Args:
        used: What the record says of the use of the capability.

        now_us: The moment that the answer is for, in Unix microseconds.

        removed: What is taken away to see what remains.
    """
    left = facts.without(removed)
    sources = left.sources(caller, capability)
    paths = [_path(left, caller, capability, one, used) for one in sources]
    untils = [path["effective_until"] for path in paths]
    return {
        "caller": caller,
        "capability": capability,
        "decision": "allow" if paths else "deny",
        "evaluated_at": show_utc(now_us),
        "config": {"path": facts.config_path, "sha256": facts.config_sha256},
        "paths": paths,
        "rejected": []
        if paths
        else rejected(facts, caller, capability, removed=removed, now_us=now_us),
        "used": _used(used, facts.sources(caller, capability)),
        "effective_until": None if None in untils else max(untils, default=None),
        "ends": _ends(sources),
        "gate": outlook(left, caller, capability),
        "change": None,
        "at": None,
        "today": None,
        "without": None,
    }


def _path(
    facts: Facts, caller: str, capability: str, source: Source, used: Used
) -> Document:
    if isinstance(source, Rule):
        links = [_rule_link(facts, caller, capability, source)]
    else:
        links = [
            _token_link(facts, source, index, capability)
            for index in range(len(source.links))
        ]
    return {
        "links": links,
        "effective_from": max(
            (x["not_before"] for x in links if x["not_before"]), default=None
        ),
        "effective_until": min(
            (x["expires"] for x in links if x["expires"]), default=None
        ),
        "used": _counts([use for use in used.sources if is_same(source, use.source)]),
    }


def _rule_link(facts: Facts, caller: str, capability: str, rule: Rule) -> Document:
    source = rule.source
    how = "is" if source.pattern == capability else "covers"
    checks = [_check("pattern", f"{to_json(source.pattern)} {how} {capability}")]
    if facts.declared is not None:
        is_declared = capability in facts.declared
        detail = f"{'a' if is_declared else 'no'} loaded pack needs it"
        checks.append(_check("declared", detail, ok=is_declared))
    table = facts.callers.get(caller)
    if table is not None and table.actors is not None:
        who = ", ".join(table.actors) or "nobody"
        where = f", line {table.actors_line}" if table.actors_line else ""
        detail = f"only {who} may call as {caller}{where}"
        checks.append(_check("actors", detail, ok=bool(table.actors)))
    return {
        "kind": "allow_list",
        "source": {"file": source.file, "line": source.line, "column": source.column},
        "config": source.config,
        "pattern": source.pattern,
        "issuer": None,
        "audience": caller,
        "digest": None,
        "checks": checks,
        "not_before": None,
        "expires": None,
    }


def _token_link(facts: Facts, token: Token, index: int, capability: str) -> Document:
    link = token.links[index]
    before = token.links[index - 1] if index else None
    root = token.root
    checks = [_check("signature", f"ed25519, {link.issuer}")]
    if before is not None:
        checks.append(_check("issuer", "issued by whom the link before it is for"))
        checks.append(_check("narrows", _narrowing(before, link)))
    elif root is not None:
        checks.append(_check("root", _trust(root)))
    checks.append(_check("capability", f"grants {capability}"))
    checks.append(_check("window", _window(link)))
    checks.append(_check("revocation", _revocation(token)))
    checks += [
        _check("binding", f"{name} must be {text}") for name, text in link.bindings
    ]
    if index == len(token.links) - 1:
        checks.append(_check("audience", "it is for the caller"))
        checks.append(_check("possession", _possession(token)))
    # The first link counts by the line that trusts its issuer, the others by the token.
    where = (token.file, None) if index or root is None else (root.file, root.line)
    return {
        "kind": "delegation",
        "source": {"file": where[0], "line": where[1], "column": None},
        "config": None,
        "pattern": None,
        "issuer": link.issuer,
        "audience": link.audience,
        "digest": link.digest,
        "checks": checks,
        "not_before": seconds_text(link.not_before),
        "expires": seconds_text(link.expires),
    }


def _trust(root: Root) -> str:
    ceiling = "anything"
    if root.capabilities is not None:
        ceiling = ", ".join(root.capabilities)
    return f"{place(root.file, root.line) or 'the config'} trusts it with {ceiling}"


def _revocation(token: Token) -> str:
    if token.is_from_record:
        return "not when a call used it; since then the record does not tell"
    return "not revoked"


def _possession(token: Token) -> str:
    if token.is_bearer:
        return "a bearer token: the key of the caller is not asked for"
    if token.key_of is None:
        return "counts for whoever has the key of the caller at hand"
    if token.key_of:
        return f"the key of the caller is at hand: identity {token.key_of}"
    return "counts where the key of the caller is at hand, and it is not here"


def _narrowing(before: Link, link: Link) -> str:
    if set(before.capabilities) == set(link.capabilities):
        return "passes on all of it"
    return f"{', '.join(before.capabilities)} to {', '.join(link.capabilities)}"


def _window(link: Link) -> str:
    start, end = seconds_text(link.not_before), seconds_text(link.expires)
    if end is None:
        return "held at the call; when it ends is not on record"
    return f"{f'from {start} ' if start else ''}until {end}"


def seconds_text(at: int | None) -> str | None:
    """Return Unix seconds as RFC 3339 text, None for None."""
    return None if at is None else show_utc(at * _SECOND_US)


def _check(name: str, detail: str, *, ok: bool = True) -> Document:
    return {"name": name, "ok": ok, "detail": detail}


def is_same(source: Source, recorded: AllowRule | ChainLink) -> bool:
    """
    Return whether *recorded* is a use of *source*.

    A rule is the same one as long as file and pattern are: lines move when others are
    written above them. A token is told by its digest.
    """
    if isinstance(source, Rule):
        rule = source.source
        return (
            isinstance(recorded, AllowRule)
            and recorded.pattern == rule.pattern
            # Events without details do not say which file.
            and recorded.file in (rule.file, None)
        )
    return isinstance(recorded, ChainLink) and recorded.digest == source.digest


def _counts(uses: Sequence[Use]) -> Document:
    return {
        "calls": sum(one.calls for one in uses),
        "first": show_utc(min(one.first_us for one in uses)) if uses else None,
        "last": show_utc(max(one.last_us for one in uses)) if uses else None,
    }


def _used(used: Used, sources: Sequence[Source]) -> Document:
    """Return the use in all, and what of it no path of today accounts for."""
    return {
        "calls": used.calls,
        "first": None if used.first_us is None else show_utc(used.first_us),
        "last": None if used.last_us is None else show_utc(used.last_us),
        "others": [
            {**_recorded(use.source), **_counts([use])}
            for use in used.sources
            if not any(is_same(source, use.source) for source in sources)
        ],
    }


def _recorded(source: AllowRule | ChainLink) -> Document:
    """Return a source that the record names and that grants nothing now."""
    if isinstance(source, AllowRule):
        where = {"file": source.file, "line": source.line, "column": source.column}
        return {
            "kind": "allow_list",
            "source": where,
            "pattern": source.pattern,
            "digest": None,
        }
    nowhere = {"file": None, "line": None, "column": None}
    return {
        "kind": "delegation",
        "source": nowhere,
        "pattern": None,
        "digest": source.digest,
    }


def _ends(sources: Sequence[Source]) -> list[list[Document]]:
    """Return what ends the access: see `toolrt_cli.provenance.ends`."""
    return [
        [{"kind": kind, "ref": ref} for kind, ref in group]
        for group in ends([_parts(source) for source in sources])
    ]


def _parts(source: Source) -> list[tuple[str, str]]:
    """Return what *source* needs, as kinds and names of what could go."""
    if isinstance(source, Rule):
        return [("rule", source.ref)]
    root = source.root
    where = place(root.file, root.line) if root is not None else ""
    own = [("token", link.digest) for link in reversed(source.links)]
    return [*own, *([("root", where)] if where else [])]


def source_of(caller: str, grant: Grant) -> Source:
    """Return the source of a recorded grant, as it was at the call."""
    found = grant.source
    if isinstance(found, AllowRule):
        return Rule(caller, found, (grant.capability,))
    if found.links:
        return Token(links=tuple(map(as_link, found.links)), is_bearer=found.bearer)
    # Recorded when only the last link was kept.
    last = Link(
        issuer=found.issuer,
        audience=caller,
        capabilities=(grant.capability,),
        digest=found.digest,
    )
    return Token(links=(last,), is_bearer=found.bearer)
