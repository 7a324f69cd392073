"""``toolrt audit``: follow, query and show what was recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolrt.event import MAX_COUNT
from toolrt_cli.escape import escape
from toolrt_cli.exit_codes import Exit
from toolrt_cli.filters import parse_filters
from toolrt_cli.grammar import UsageError
from toolrt_cli.output import Column, emit_document, emit_list, leaves
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock, parse_range, show_utc
from toolrt_cli.wiring import Session
from toolrt_store import (
    ATTEMPT_FIELDS,
    DECISIONS,
    OUTCOMES,
    Attempt,
    AttemptFilter,
    SqliteEventStore,
    Term,
)

_WAIT_S: Final = 0.2
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
    chosen = attempt_filter(words, since, until)
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
    _footer(meta, session, streams)
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
    chosen = attempt_filter(words, since, until)
    most = _limit(limit)
    if follow and streams.settings.output == "json":
        raise UsageError("a list without an end has no -o json: use -o jsonl")
    with open_to_read(session) as store:
        # The head first: what is committed after it is followed, whatever was listed.
        head = 0 if store is None else _head(store)
        found = [] if store is None else store.query_attempts(chosen, limit=most)
        found.reverse()
        _emit(found, {"count": len(found)}, streams)
        streams.out.flush()
        if not follow:
            return Exit.OK
        listed = {attempt.call_id for attempt in found if attempt.last_seq > head}
        if store is not None:
            return _follow(store, chosen, streams, head=head, listed=listed)
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
                return _follow(store, chosen, streams, head=0, listed=set())
        if _is_reader_gone(streams):
            return Exit.OK
        time.sleep(_WAIT_S)


def _follow(
    store: SqliteEventStore,
    chosen: AttemptFilter,
    streams: Streams,
    *,
    head: int,
    listed: set[str],
) -> int:
    """
    Print each attempt as it ends: by its call event, or by the gate's refusal.

    *listed* are the calls after *head* that were printed already.
    """

    def is_over() -> bool:
        if chosen.before_us is not None and _now_us() > chosen.before_us:
            return True
        return _is_reader_gone(streams)

    for event in store.follow(head, stop=is_over):
        is_end = event.kind == "call" or event.outcome != "success"
        if not is_end or event.call_id is None or event.call_id in listed:
            continue
        call = Term("call", "=", (event.call_id,))
        matching = msgspec.structs.replace(chosen, terms=(*chosen.terms, call))
        found = store.query_attempts(matching, limit=1)
        if found:
            _emit(found, {}, streams, header=False)
            streams.out.flush()
    return Exit.OK


def _is_reader_gone(streams: Streams) -> bool:
    """Whether what is written goes into a pipe that nobody reads any more."""
    import select

    poll = select.poll()
    try:
        poll.register(streams.out.fileno(), 0)
    except OSError:  # no file behind it
        return False
    return bool(poll.poll(0))


def show_command(session: Session, streams: Streams, name: str) -> int:
    """
    Print everything about one attempt; *name* is its call id or the start of one.

    Raises:
        NotFoundError: No record has that id.
        UsageError: Several ids begin so.
    """
    with open_to_read(session) as store:
        found = [] if store is None else named_attempts(store, name)
        if not found:
            raise NotFoundError("record", name)
        assert store is not None
        document = _full(store, found[0])

    def draw() -> None:
        facts = {key: value for key, value in document.items() if key != "events"}
        _write_leaves(facts, "", streams)
        for event in document["events"]:
            streams.out.write(f"\n{escape(str(event['id']))}\n")
            _write_leaves(event, "  ", streams)

    fmt = streams.settings.output
    emit_document(streams.out, "attempt", document, fmt, streams.out_terminal, draw)
    return Exit.OK


def _write_leaves(facts: dict[str, Any], indent: str, streams: Streams) -> None:
    found = leaves(facts)
    width = max(len(key) for key, _ in found) + 2
    for key, value in found:
        streams.out.write(f"{indent}{escape(key):<{width}}{escape(value)}\n")


def named_attempts(store: SqliteEventStore, name: str) -> list[Attempt]:
    """
    Return the attempt that *name* names: ``@last``, a call id, or the start of one.

    Raises:
        UsageError: Several begin so.
    """
    if name == "@last":
        return store.query_attempts(AttemptFilter(), limit=1)
    found = store.get_attempt(name)
    if len(found) > 1:
        several = ", ".join(attempt.call_id for attempt in found[:3])
        raise UsageError(f"several records begin with {name}: {several}, …")
    return found


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


def path_command(session: Session, streams: Streams) -> int:
    """Print the path of the store."""
    document = {"path": session.store_path}

    def show() -> None:
        streams.out.write(escape(session.store_path) + "\n")

    fmt = streams.settings.output
    emit_document(streams.out, "path", document, fmt, streams.out_terminal, show)
    return Exit.OK


def attempt_filter(
    words: Sequence[str], since: str | None, until: str | None
) -> AttemptFilter:
    """
    Return the filter that the *words* and bounds of a command line ask for.

    Raises:
        UsageError: One of them is wrong.
    """
    try:
        after_us, before_us = parse_range(since, until, now_us=_now_us(), tz=None)
    except ValueError as exc:
        raise UsageError(str(exc), next_step="toolrt help time") from exc
    terms = parse_filters(words, known=ATTEMPT_FIELDS)
    for term in terms:
        _require_values(term)
    if after_us is not None:
        after_us -= 1  # the filter's bounds are exclusive, "since" is not
    return AttemptFilter(terms=terms, after_us=after_us, before_us=before_us)


def _require_values(term: Term) -> None:
    """Refuse a value that its field never has: a typo must not look like no records."""
    all_known: dict[str, tuple[str, ...]] = {
        "outcome": OUTCOMES,
        "decision": DECISIONS,
    }
    known = all_known.get(term.field)
    if known is None:
        return
    for value in term.values:
        if not any(sign in value for sign in "*?") and value not in known:
            near = ", ".join(near_names(value, known)) or ", ".join(known)
            problem = f"{term.field}={value}: never the case; did you mean {near}?"
            raise UsageError(problem, next_step="toolrt help filters")


def _now_us() -> int:
    return time.time_ns() // 1000


def _limit(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"-n {text}: must be a number or all")
    return min(int(text), MAX_COUNT)


def _item(attempt: Attempt) -> dict[str, Any]:
    """Return the attempt as docs/cli.md lists it."""
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
        "dry_run": attempt.dry_run,
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
    return local_clock(item["time"], _now_us())


def _marked(item: Any) -> str:
    mark = _MARKS.get(item["outcome"], "✗")
    note = "(dry run)" if item["dry_run"] else item["code"]
    return " ".join(filter(None, [mark, item["outcome"], note]))


def _show_count(number: int, streams: Streams) -> None:
    def show() -> None:
        streams.out.write(f"{number}\n")

    fmt = streams.settings.output
    document = {"count": number}
    emit_document(streams.out, "count", document, fmt, streams.out_terminal, show)


def _time_or_none(at_us: int | None) -> str | None:
    return None if at_us is None else show_utc(at_us)


def _footer(meta: dict[str, Any], session: Session, streams: Streams) -> None:
    """Say what was searched, so that an empty answer can be told from an empty store."""
    covers = meta["covers"]
    if covers is None or not covers["events"]:
        streams.remark(f"nothing is recorded yet in {session.store_path}")
        return
    streams.remark(
        f"{meta['count']} of {meta['total']} attempts;"
        f" the store covers {covers['first']} to {covers['last']}"
    )
