"""What taking a source away would have done to the calls on record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from toolrt.capability import AllowRule, ChainLink, Grant
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import time_or_none
from toolrt_cli.problems import NotFoundError
from toolrt_cli.provenance.answer import is_same
from toolrt_cli.provenance.facts import Document, Facts, Rule, Source
from toolrt_cli.times import show_utc
from toolrt_store import SqliteEventStore

#: So many of the calls are named.
_NAMED: Final = 5
#: A shorter start of a digest is no name.
_SHORTEST: Final = 4


def named_sources(facts: Facts, caller: str, name: str) -> list[Source]:
    """
    Return the sources of *caller* that *name* means: a place in a file, or a digest.

    ``file:line:column``, ``file:line`` and ``line`` name rules; the start of a token's
    digest, or of one that it was made from, names tokens.

    Raises:
        NotFoundError: It means none.
        UsageError: It is the start of several digests.
    """
    rules = facts.callers[caller].rules if caller in facts.callers else ()
    found: list[Source] = [rule for rule in rules if _is_place(rule, name)]
    digests = {
        link.digest
        for token in facts.tokens
        for link in token.links
        if len(name) >= _SHORTEST and link.digest.startswith(name)
    }
    if len(digests) > 1:
        raise UsageError(f"several digests begin with {name}")
    found += [
        token
        for token in facts.tokens
        if any(link.digest in digests for link in token.links)
    ]
    if not found:
        own = [*(rule.ref for rule in rules), *(token.ref for token in facts.tokens)]
        raise NotFoundError(f"source of {caller}", name, tuple(own[:3]))
    return found


def _is_place(rule: Rule, name: str) -> bool:
    source = rule.source
    if source.file is None or source.line is None:
        return name == rule.ref
    for tail in (f"{source.line}:{source.column}", str(source.line)):
        if name == tail:
            return True
        file = name.removesuffix(f":{tail}")
        names = (source.file, os.path.basename(source.file))
        if file != name and (file in names or os.path.abspath(file) == source.file):
            return True
    return False


def impact(
    store: SqliteEventStore | None,
    facts: Facts,
    caller: str,
    removed: Sequence[Source],
    since_us: int,
) -> Document:
    """Return ``without`` of ``toolrt.explain/1``: what goes, and the calls that it hits."""
    covers = None if store is None else store.coverage()
    return {
        "removed": [_as_item(source) for source in removed],
        "since": show_utc(since_us),
        "covers": None
        if covers is None
        else {
            "first": time_or_none(covers.first_us),
            "last": time_or_none(covers.last_us),
        },
        "refused": {"calls": 0, "first": []}
        if store is None
        else _refused(store, facts, caller, removed, since_us),
    }


def _as_item(source: Source) -> Document:
    is_rule = isinstance(source, Rule)
    return {
        "kind": "allow_list" if is_rule else "delegation",
        "ref": source.ref,
        "pattern": source.source.pattern if isinstance(source, Rule) else None,
    }


def _refused(
    store: SqliteEventStore,
    facts: Facts,
    caller: str,
    removed: Sequence[Source],
    since_us: int,
) -> Document:
    left = list(_all_sources(facts.without(removed), caller))
    lost: dict[int, list[str]] = {}
    calls = 0
    for found in store.calls_by_grants(caller, since_us - 1):
        grants = [one for one in found.grants if isinstance(one, Grant)]
        names = _lost(grants, removed, left)
        if names:
            lost[found.number] = names
            calls += found.calls
    events = (
        store.newest_with(caller, since_us - 1, tuple(lost), _NAMED) if lost else []
    )
    every = sorted({name for names in lost.values() for name in names})
    return {
        "calls": calls,
        "first": [
            {
                "call_id": event.call_id,
                "tool": event.tool_id,
                "time": show_utc(event.created_at_us),
                "capabilities": [
                    name for name in every if name in _granted_names(event.payload)
                ],
            }
            for event in events
        ],
    }


def _granted_names(payload: Mapping[str, Any]) -> Sequence[str]:
    return tuple(payload.get("granted_capabilities", ()))


def _all_sources(facts: Facts, caller: str) -> Iterator[Source]:
    if caller in facts.callers:
        yield from facts.callers[caller].rules
    yield from facts.tokens


def _lost(
    grants: Sequence[Grant], removed: Sequence[Source], left: Sequence[Source]
) -> list[str]:
    """Return the capabilities of which every recorded source is among *removed*."""
    by_name: dict[str, list[bool]] = {}
    for grant in grants:
        gone = _is_among(grant.source, removed) and not _is_among(grant.source, left)
        by_name.setdefault(grant.capability, []).append(gone)
    return [name for name, gone in by_name.items() if all(gone)]


def _is_among(recorded: AllowRule | ChainLink, sources: Sequence[Source]) -> bool:
    return any(is_same(source, recorded) for source in sources)
