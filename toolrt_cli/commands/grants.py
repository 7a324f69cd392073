"""``toolrt provenance can|list|who|unused|expiring``: grants, and the use of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from toolrt_cli.documents import emit
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import now_us, time_or_none
from toolrt_cli.output import Column, emit_list
from toolrt_cli.provenance.answer import is_same, seconds_text
from toolrt_cli.provenance.facts import OK, Document, Facts, Rule, Source, Token
from toolrt_cli.provenance.known import (
    latest_us,
    require_caller,
    require_capability,
    require_known,
    used_of,
)
from toolrt_cli.provenance.near import ago
from toolrt_cli.provenance.text import short_did
from toolrt_cli.provenance.today import facts_of
from toolrt_cli.provenance.tokens import tokens_of
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock, parse_duration, parse_range, show_utc
from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore
from toolrt_store.grant_use import GrantUse

#: The state of a token that holds and ends in the time that was asked for.
_ENDS: Final = "ends"


def can_command(
    session: Session, streams: Streams, caller: str, capability: str
) -> int:
    """
    Say yes or no, or nothing with ``--quiet``: exit 0 granted, 3 refused.

    Raises:
        NotFoundError: Nobody knows the caller or the capability.
    """
    with open_to_read(session) as store:
        facts = _facts(session, store, caller)
        require_known(session, store, caller, capability, (facts,))
    sources = facts.sources(caller, capability)
    document = {
        "caller": caller,
        "capability": capability,
        "decision": "allow" if sources else "deny",
        "sources": [_source_item(one) for one in sources],
    }

    def draw() -> None:
        if not streams.settings.quiet:
            streams.out.write("yes\n" if sources else "no\n")

    emit(streams, "can", document, draw)
    return Exit.OK if sources else Exit.DENIED


def list_command(session: Session, streams: Streams, caller: str) -> int:
    """
    Print what *caller* is granted, by which sources, and how often it was used.

    Raises:
        NotFoundError: Nobody knows the caller.
    """
    with open_to_read(session) as store:
        facts = _facts(session, store, caller)
        require_caller(session, store, caller, (facts,))
        items = [
            {"capability": name, **_grant_item(facts, store, caller, name)}
            for name in facts.capabilities_of(caller)
        ]
    columns = [Column("capability", "CAPABILITY"), *_grant_columns(streams)]
    _emit(
        streams,
        "grants",
        items,
        columns=columns,
        name_key="capability",
        meta={"caller": caller},
    )
    refused = facts.refused_token
    if refused is not None:
        streams.remark(f"nothing is granted: {refused.ref}: {refused.why}")
    return Exit.OK


def who_command(session: Session, streams: Streams, capability: str) -> int:
    """
    Print who is granted *capability*, by which sources, and how often they used it.

    Raises:
        NotFoundError: Nobody knows the capability.
    """
    with open_to_read(session) as store:
        every = [_facts(session, store, name) for name in session.config.config.callers]
        require_capability(store, capability, (facts_of(session), *every))
        items = [
            {"caller": name, **_grant_item(facts, store, name, capability)}
            for name, facts in zip(session.config.config.callers, every, strict=True)
            if facts.sources(name, capability)
        ]
    columns = [Column("caller", "CALLER"), *_grant_columns(streams)]
    _emit(
        streams,
        "holders",
        items,
        columns=columns,
        name_key="caller",
        meta={"capability": capability},
    )
    return Exit.OK


def unused_command(session: Session, streams: Streams, since: str) -> int:
    """
    Print the grants of the config, tokens and all, that no call has used since then.

    Raises:
        UsageError: *since* is no time.
    """
    try:
        since_us, _ = parse_range(since, None, now_us=now_us(), tz=None)
    except ValueError as exc:
        raise UsageError(str(exc), next_step="toolrt help time") from exc
    assert since_us is not None
    with open_to_read(session) as store:
        uses = [] if store is None else store.uses()
        covers = _covers(store)
        asked_us = latest_us(store)
    items = list(_unused(_sources(session, asked_us), uses, since_us))
    first = covers["first"] if covers else None
    is_covered = first is not None and first <= show_utc(since_us)
    meta = {"since": show_utc(since_us), "covers": covers, "covered": is_covered}
    _emit(
        streams,
        "unused",
        items,
        columns=_unused_columns(streams),
        name_key="capability",
        meta=meta,
    )
    streams.remark(_about_range(meta, len(items)))
    return Exit.OK


def _sources(session: Session, asked_us: int) -> Iterator[tuple[str, Source]]:
    """Yield what each caller is granted by: its rules, then its tokens that hold."""
    for name, caller in facts_of(session).callers.items():
        tokens = tokens_of(session.config, name, (), now_us=asked_us)
        yield from ((name, rule) for rule in caller.rules)
        yield from ((name, token) for token in tokens if token.code == OK)


def _unused(
    sources: Iterable[tuple[str, Source]], uses: Sequence[GrantUse], since_us: int
) -> Iterator[Document]:
    for name, source in sources:
        for capability in sorted(source.capabilities):
            own = _uses_of(source, name, capability, uses)
            last_us = max((use.last_us for use in own), default=None)
            if last_us is None or last_us < since_us:
                yield {
                    "caller": name,
                    "capability": capability,
                    **_source_item(source),
                    "last": time_or_none(last_us),
                }


def _about_range(meta: Document, count: int) -> str:
    covers = meta["covers"]
    if covers is None or covers["first"] is None:
        return "nothing is recorded yet: no grant can have been used"
    unsaid = "" if meta["covered"] else "; use before that is not known"
    return (
        f"{count} not used since {meta['since']};"
        f" the store covers {covers['first']} to {covers['last']}{unsaid}"
    )


def _covers(store: SqliteEventStore | None) -> Document | None:
    if store is None:
        return None
    found = store.coverage()
    return {"first": time_or_none(found.first_us), "last": time_or_none(found.last_us)}


def expiring_command(session: Session, streams: Streams, within: str) -> int:
    """
    Print the delegation tokens that end within that time, or hold no more; 1 if any do.

    Raises:
        UsageError: *within* is no duration.
    """
    with open_to_read(session) as store:
        asked_us = latest_us(store)
    try:
        until_s = asked_us // 1_000_000 + parse_duration(within)
    except ValueError as exc:
        raise UsageError(f"--within {exc}", next_step="toolrt help time") from exc
    items = [
        _token_item(name, token, asked_us // 1_000_000)
        for name in session.config.config.callers
        for token in tokens_of(session.config, name, (), now_us=asked_us)
        if token.code != OK or (_end(token) or 0) <= until_s
    ]
    items.sort(key=lambda item: (item["expires"] or "", item["caller"]))
    meta = {"until": show_utc(int(until_s) * 1_000_000)}
    _emit(
        streams,
        "expiring",
        items,
        columns=_token_columns(streams),
        name_key="digest",
        meta=meta,
    )
    if not items:
        streams.remark(f"no delegation token ends within {within}")
    return Exit.FAILED if items else Exit.OK


def _token_item(caller: str, token: Token, now_s: int) -> Document:
    end = _end(token)
    return {
        "caller": caller,
        "digest": token.digest or None,
        "file": token.file,
        "state": _ENDS if token.code == OK else token.code,
        "expires": seconds_text(end),
        "left_s": None if end is None else max(0, end - now_s),
        "capabilities": sorted(token.capabilities),
        "chain": [
            {
                "issuer": link.issuer,
                "audience": link.audience,
                "digest": link.digest,
                "expires": seconds_text(link.expires),
            }
            for link in token.links
        ],
    }


def _end(token: Token) -> int | None:
    """Return when the first of its links ends, in Unix seconds."""
    return min((x.expires for x in token.links if x.expires is not None), default=None)


def _facts(session: Session, store: SqliteEventStore | None, caller: str) -> Facts:
    tokens = tokens_of(session.config, caller, (), now_us=latest_us(store))
    return facts_of(session, tokens)


def _grant_item(
    facts: Facts, store: SqliteEventStore | None, caller: str, capability: str
) -> Document:
    used = used_of(store, caller, capability)
    return {
        "sources": [_source_item(one) for one in facts.sources(caller, capability)],
        "calls": used.calls,
        "last": time_or_none(used.last_us),
    }


def _uses_of(
    source: Source, caller: str, capability: str, uses: Iterable[GrantUse]
) -> list[GrantUse]:
    return [
        use
        for use in uses
        if use.caller == caller
        and use.capability == capability
        and is_same(source, use.source)
    ]


def _source_item(source: Source) -> Document:
    if isinstance(source, Rule):
        return {
            "kind": "allow_list",
            "ref": source.ref,
            "pattern": source.source.pattern,
        }
    return {"kind": "delegation", "ref": source.ref, "pattern": None}


def _refs(item: Any) -> str:
    return ", ".join(one["ref"] for one in item["sources"])


def _left(item: Any) -> str:
    return "" if item["left_s"] is None else ago(item["left_s"])


def _parties(item: Any) -> list[str]:
    chain = item["chain"]
    return [*(link["issuer"] for link in chain), *(x["audience"] for x in chain[-1:])]


def _chain(item: Any) -> str:
    return " → ".join(_parties(item))


def _short_chain(item: Any) -> str:
    """Return who delegates to whom; before that why the token does not hold."""
    chain = " → ".join(map(short_did, _parties(item))) or str(item["file"])
    return chain if item["state"] == _ENDS else f"{item['state']}: {chain}"


def _last_used(streams: Streams) -> Column:
    asked_us = now_us()

    def clock(item: Any) -> str:
        return local_clock(item["last"], asked_us) if item["last"] else ""

    return Column("last", "LAST USED", clock if streams.out_terminal.is_tty else None)


def _grant_columns(streams: Streams) -> list[Column]:
    return [
        Column("calls", "CALLS", right=True),
        _last_used(streams),
        Column("sources", "SOURCE", _refs, fold=True),
    ]


def _unused_columns(streams: Streams) -> list[Column]:
    return [
        Column("caller", "CALLER"),
        Column("capability", "CAPABILITY"),
        Column("pattern", "PATTERN"),
        _last_used(streams),
        Column("ref", "SOURCE", fold=True),
    ]


def _token_columns(streams: Streams) -> list[Column]:
    if streams.out_terminal.is_tty:
        return [
            Column("caller", "CALLER"),
            Column("digest", "DIGEST", lambda item: str(item["digest"] or "")[:12]),
            Column("left_s", "LEFT", _left),
            Column("chain", "CHAIN", _short_chain, fold=True),
        ]
    return [
        Column("caller", "CALLER"),
        Column("digest", "DIGEST"),
        Column("state", "STATE"),
        Column("expires", "ENDS"),
        Column("left_s", "LEFT", _left),
        Column("file", "FILE"),
        Column("chain", "CHAIN", _chain),
    ]


def _emit(
    streams: Streams,
    schema: str,
    items: Sequence[Document],
    *,
    columns: Sequence[Column],
    name_key: str,
    meta: Document,
) -> None:
    emit_list(
        streams.out,
        schema=schema,
        items=items,
        columns=columns,
        name_key=name_key,
        meta={"count": len(items), **meta},
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
