"""``toolrt audit``: follow, query and show what was recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolrt_cli.escape import escape
from toolrt_cli.exit_codes import Exit
from toolrt_cli.filters import parse_filters
from toolrt_cli.grammar import UsageError
from toolrt_cli.output import Column, emit_document, emit_list, to_json
from toolrt_cli.problems import NotFoundError
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import parse_range, show_local, show_utc
from toolrt_cli.wiring import Session
from toolrt_store import (
    ATTEMPT_FIELDS,
    Attempt,
    AttemptFilter,
    SqliteEventStore,
)

_MARKS: Final = {"success": "✓", "denied": "⊘", "running": "…", "interrupted": "!"}


def query_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    limit: str,
    count: bool,
) -> int:
    """Print the attempts that match, newest first, or only how many there are."""
    chosen = _filter(words, since, until)
    most = _limit(limit)
    with open_to_read(session) as store:
        if count:
            number = 0 if store is None else store.count_attempts(chosen)
            _show_count(number, streams)
            return Exit.OK
        found = [] if store is None else store.query_attempts(chosen, limit=most)
        total = 0 if store is None else store.count_attempts(chosen)
        covered = None if store is None else store.coverage()
    meta = {
        "count": len(found),
        "total": total,
        "since": _time_or_none(chosen.after_us and chosen.after_us + 1),
        "until": _time_or_none(chosen.before_us),
        "covers": None
        if covered is None
        else {
            "events": covered.events,
            "first": _time_or_none(covered.first_us),
            "last": _time_or_none(covered.last_us),
        },
    }
    _emit(found, meta, streams)
    _footer(meta, streams)
    return Exit.OK


def tail_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    limit: str,
    follow: bool,
) -> int:
    """Print the last attempts, newest last; with *follow* those that come, too."""
    chosen = _filter(words, since, until)
    most = _limit(limit)
    with open_to_read(session) as store:
        found = [] if store is None else store.query_attempts(chosen, limit=most)
        head = 0 if store is None else _head(store)
        if follow and streams.settings.output == "json":
            raise UsageError("a list without an end has no -o json: use -o jsonl")
        found.reverse()
        _emit(found, {"count": len(found)}, streams)
        streams.out.flush()
        if not follow:
            return Exit.OK
        if store is not None:
            return _follow(store, chosen, head, streams)
    return _follow_new(session, chosen, streams)


def _head(store: SqliteEventStore) -> int:
    from toolrt import PageRequest

    newest = store.query_events(page=PageRequest(limit=1)).items
    return newest[0].seq or 0 if newest else 0


def _follow_new(session: Session, chosen: AttemptFilter, streams: Streams) -> int:
    """Wait for the store to be made, then follow it from its first event."""
    while True:
        with open_to_read(session) as store:
            if store is not None:
                return _follow(store, chosen, 0, streams)
        time.sleep(0.2)


def _follow(
    store: SqliteEventStore, chosen: AttemptFilter, head: int, streams: Streams
) -> int:
    """Print each attempt as it ends: by its call event, or by the gate's refusal."""
    for event in store.follow(head):
        is_end = event.kind == "call" or event.outcome != "success"
        if not is_end or event.call_id is None:
            continue
        call = _call_term(event.call_id)
        matching = msgspec.structs.replace(chosen, terms=(*chosen.terms, call))
        found = store.query_attempts(matching, limit=1)
        if found:
            _emit(found, {}, streams, header=False)
            streams.out.flush()
    return Exit.OK


def _call_term(call_id: str) -> Any:
    from toolrt_store import Term

    return Term("call", "=", (call_id,))


def show_command(session: Session, streams: Streams, name: str) -> int:
    """
    Print everything about one attempt; *name* is its call id or the start of one.

    Raises:
        NotFoundError: No record, or more than one, has that id.
    """
    with open_to_read(session) as store:
        found = [] if store is None else _named(store, name)
        if len(found) != 1:
            near = tuple(attempt.call_id for attempt in found[:3])
            raise NotFoundError("record", name, near)
        assert store is not None
        document = _full(store, found[0])

    def show() -> None:
        leaves = _flat(document)
        width = max(len(key) for key, _ in leaves) + 2
        for key, value in leaves:
            streams.out.write(f"{escape(key):<{width}}{escape(value)}\n")

    fmt = streams.settings.output
    emit_document(streams.out, "attempt", document, fmt, streams.out_terminal, show)
    return Exit.OK


def _named(store: SqliteEventStore, name: str) -> list[Attempt]:
    if name == "@last":
        return store.query_attempts(AttemptFilter(), limit=1)
    return store.get_attempt(name)


def _full(store: SqliteEventStore, attempt: Attempt) -> dict[str, Any]:
    """Return the attempt with what both of its events say."""
    from toolrt import EventFilter

    events = store.query_events(EventFilter(call_ids=(attempt.call_id,))).items
    details = next((e.details for e in events if e.details is not None), None)
    document: dict[str, Any] = _item(attempt)
    if details is not None:
        document |= {
            "grants": [
                {"capability": g.capability, **msgspec.to_builtins(g.source)}
                for g in details.grants.grants
            ],
            "args_digest": details.args_digest and details.args_digest.hex(),
            "policy": details.policy,
            "reason": details.reason,
            "labels": dict(details.labels),
        }
    document["events"] = [
        {"id": event.id, "seq": event.seq, **event.payload}
        for event in reversed(events)
    ]
    return document


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return the leaves of *value* with their dotted paths."""
    if isinstance(value, dict) and value:
        pairs = value.items()
        return [leaf for key, one in pairs for leaf in _flat(one, f"{path}.{key}")]
    if isinstance(value, list | tuple) and value:
        rows = enumerate(value)
        return [leaf for index, one in rows for leaf in _flat(one, f"{path}[{index}]")]
    if value in (None, [], {}, ()):
        return []
    text = value if isinstance(value, str) else to_json(value)
    return [(path.removeprefix("."), text)]


def path_command(session: Session, streams: Streams) -> int:
    """Print the path of the store."""
    document = {"path": session.store_path}

    def show() -> None:
        streams.out.write(escape(session.store_path) + "\n")

    fmt = streams.settings.output
    emit_document(streams.out, "path", document, fmt, streams.out_terminal, show)
    return Exit.OK


def _filter(
    words: Sequence[str], since: str | None, until: str | None
) -> AttemptFilter:
    now_us = time.time_ns() // 1000
    try:
        after_us, before_us = parse_range(since, until, now_us=now_us, tz=None)
    except ValueError as exc:
        raise UsageError(str(exc), next_step="toolrt help time") from exc
    terms = parse_filters(words, known=ATTEMPT_FIELDS)
    if after_us is not None:
        after_us -= 1  # the filter's bounds are exclusive, "since" is not
    return AttemptFilter(terms=terms, after_us=after_us, before_us=before_us)


def _limit(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"-n {text}: must be a number or all")
    return int(text)


def _item(attempt: Attempt) -> dict[str, Any]:
    """Return the attempt as design.md section 8 lists it."""
    return {
        "call_id": attempt.call_id,
        "time": show_utc(attempt.at_us),
        "caller": attempt.caller,
        "actor": attempt.actor,
        "tool": attempt.tool,
        "namespace": attempt.namespace,
        "decision": attempt.decision,
        "outcome": attempt.outcome,
        "code": attempt.code,
        "duration_ms": attempt.duration_ms,
        "seq": attempt.seq,
    }


def _emit(
    found: Sequence[Attempt],
    meta: dict[str, Any],
    streams: Streams,
    *,
    header: bool = True,
) -> None:
    fmt = streams.settings.output
    if not header and fmt in (None, "table", "csv", "md"):
        _emit_lines(found, fmt, streams)
        return
    emit_list(
        streams.out,
        schema="attempts",
        items=[_item(attempt) for attempt in found],
        columns=_columns(streams),
        name_key="call_id",
        meta=meta,
        fmt=fmt,
        terminal=streams.out_terminal,
    )


def _emit_lines(found: Sequence[Attempt], fmt: str | None, streams: Streams) -> None:
    """Write rows that follow a table: the same columns, no second header."""
    for attempt in found:
        item = _item(attempt)
        cells = [_cell(column.value(item)) for column in _columns(streams)]
        gap = "  " if streams.out_terminal.is_tty or fmt == "table" else "\t"
        streams.out.write(gap.join(cells) + "\n")


def _cell(value: object) -> str:
    return "" if value is None else escape(str(value))


def _columns(streams: Streams) -> list[Column]:
    if not streams.out_terminal.is_tty:
        return _COLUMNS
    return [
        Column("time", "TIME", _local_time),
        Column("outcome", "OUTCOME", _marked),
        Column("caller", "CALLER"),
        Column("tool", "TOOL"),
        Column("duration_ms", "MS", right=True),
        Column("call_id", "CALL"),
    ]


_COLUMNS: Final = [
    Column("time", "TIME"),
    Column("outcome", "OUTCOME"),
    Column("caller", "CALLER"),
    Column("tool", "TOOL"),
    Column("duration_ms", "MS", right=True),
    Column("decision", "DECISION"),
    Column("code", "CODE"),
    Column("call_id", "CALL"),
]


def _local_time(item: Any) -> str:
    """Return the time on the wall; the date only where it is not today's."""
    from toolrt.clock import parse_rfc3339

    at = show_local(parse_rfc3339(item["time"].replace("Z", "+00:00")), None)
    today = show_local(time.time_ns() // 1000, None)[:10]
    return at[11:] if at.startswith(today) else at[:19]


def _marked(item: Any) -> str:
    mark = _MARKS.get(item["outcome"], "✗")
    return " ".join(filter(None, [mark, item["outcome"], item["code"]]))


def _show_count(number: int, streams: Streams) -> None:
    def show() -> None:
        streams.out.write(f"{number}\n")

    fmt = streams.settings.output
    document = {"count": number}
    emit_document(streams.out, "count", document, fmt, streams.out_terminal, show)


def _time_or_none(at_us: int | None) -> str | None:
    return None if at_us is None else show_utc(at_us)


def _footer(meta: dict[str, Any], streams: Streams) -> None:
    """Say what was searched, so that an empty answer can be told from an empty store."""
    covers = meta["covers"]
    if covers is None or not covers["events"]:
        streams.remark("nothing is recorded yet")
        return
    streams.remark(
        f"{meta['count']} of {meta['total']} attempts;"
        f" the store covers {covers['first']} to {covers['last']}"
    )
