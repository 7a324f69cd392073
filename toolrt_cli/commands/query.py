"""``toolrt audit query``: attempts, their events, groups of them, or rows of a SELECT."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt import Event, EventFilter, PageRequest
from toolrt.event import MAX_COUNT
from toolrt_cli.commands.audit import GROUP_COLUMNS, require_field
from toolrt_cli.documents import emit
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import (
    attempt_filter,
    emit_attempts,
    parse_limit,
    time_or_none,
)
from toolrt_cli.output import Column, Item, emit_list
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import show_utc
from toolrt_cli.wiring import Session
from toolrt_store import (
    GROUP_FIELDS,
    AttemptFilter,
    Coverage,
    SqliteEventStore,
    StoreMissingError,
)

_COMPARISONS: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_MOST_CALLS_AT_ONCE: Final = 1_000


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What ``query`` is asked beside its filters."""

    limit: str = "100"
    count: bool = False
    events: bool = False
    by: str | None = None
    sql: str | None = None
    expect: str | None = None


class _Expectation(msgspec.Struct, frozen=True):
    text: str
    sign: str
    number: int

    def as_document(self, found: int) -> dict[str, Any]:
        is_met = _COMPARISONS[self.sign](found, self.number)
        return {"wanted": self.text, "found": found, "met": is_met}


def query_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    question: Question,
) -> int:
    """
    Print what matches, newest first; exit 1 where an expectation is not met.

    Raises:
        UsageError: The words, or two options together, make no question.
        SelectError: The SELECT was refused or failed.
    """
    _require_one_kind(question, has_filters=bool(words or since or until))
    expectation = _parse_expectation(question.expect)
    chosen = attempt_filter(words, since, until)
    most = parse_limit(question.limit)
    with open_to_read(session) as store:
        if question.sql is not None:
            if store is None:
                raise StoreMissingError(session.store_path)
            return _select(store, streams, question.sql, most, expectation)
        if question.by is not None:
            return _group(store, streams, chosen, question.by, most)
        if question.events:
            return _list_events(store, streams, chosen, most)
        total = 0 if store is None else store.count_attempts(chosen)
        if question.count:
            return _count(total, streams, expectation)
        found = [] if store is None else store.query_attempts(chosen, limit=most)
        covered = None if store is None else store.coverage()
    meta = _meta(len(found), total, chosen, covered)
    if expectation is not None:
        meta["expected"] = expectation.as_document(total)
    emit_attempts(found, meta, streams)
    _footer(meta, session, streams)
    return _judged(meta, streams)


def _require_one_kind(question: Question, *, has_filters: bool) -> None:
    given = {
        "--count": question.count,
        "--events": question.events,
        "--by": question.by is not None,
        "--sql": question.sql is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} ask for different things")
    if question.sql is not None and has_filters:
        raise UsageError("--sql takes no filters: they stand in its WHERE")
    if question.expect is not None and (question.events or question.by is not None):
        raise UsageError(f"--expect does not go with {named[0]}")


def _parse_expectation(text: str | None) -> _Expectation | None:
    if text is None:
        return None
    found = re.fullmatch(r"(==|!=|<=|>=|<|>)\s*([0-9]{1,18})", text.strip())
    if found is None:
        raise UsageError(f"--expect {text!r}: must be such as '==0' or '>=1'")
    return _Expectation(text, found[1], int(found[2]))


def _judged(meta: Mapping[str, Any], streams: Streams) -> int:
    """Return the exit code by the expectation in *meta*, and say what was seen."""
    expected = meta.get("expected")
    if expected is None or expected["met"]:
        return Exit.OK
    streams.remark(f"expected {expected['wanted']}, found {expected['found']}")
    return Exit.FAILED


def _meta(
    count: int, total: int, chosen: AttemptFilter, covered: Coverage | None
) -> dict[str, Any]:
    covers = None
    if covered is not None:
        covers = {
            "events": covered.events,
            "first": time_or_none(covered.first_us),
            "last": time_or_none(covered.last_us),
        }
    return {
        "count": count,
        "total": total,
        "since": time_or_none(chosen.after_us and chosen.after_us + 1),
        "until": time_or_none(chosen.before_us),
        "covers": covers,
    }


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


def _count(number: int, streams: Streams, expectation: _Expectation | None) -> int:
    document: dict[str, Any] = {"count": number}
    if expectation is not None:
        document["expected"] = expectation.as_document(number)
    emit(streams, "count", document, lambda: streams.out.write(f"{number}\n"))
    return _judged(document, streams)


def _group(
    store: SqliteEventStore | None,
    streams: Streams,
    chosen: AttemptFilter,
    field: str,
    most: int | None,
) -> int:
    require_field(field, GROUP_FIELDS)
    found = [] if store is None else store.count_attempts_by(field, chosen)
    items = [{"value": value, "attempts": count} for value, count in found[:most]]
    meta = {"field": field, "count": len(items), "total": len(found)}
    _emit_list(streams, "groups", items, GROUP_COLUMNS, "value", meta)
    return Exit.OK


def _list_events(
    store: SqliteEventStore | None,
    streams: Streams,
    chosen: AttemptFilter,
    most: int | None,
) -> int:
    found = [] if store is None else _events(store, chosen, most)
    items = [_event_item(event) for event in found]
    _emit_list(streams, "events", items, _EVENT_COLUMNS, "id", {"count": len(items)})
    return Exit.OK


def _events(
    store: SqliteEventStore, chosen: AttemptFilter, most: int | None
) -> list[Event]:
    """Return events, newest first: all kinds, or with filters those of their attempts."""
    limit = MAX_COUNT if most is None else most
    if chosen == AttemptFilter():
        return list(store.query_events(page=PageRequest(limit=limit)).items)
    calls = [one.call_id for one in store.query_attempts(chosen, limit=most)]
    found: list[Event] = []
    for start in range(0, len(calls), _MOST_CALLS_AT_ONCE):
        some = EventFilter(call_ids=tuple(calls[start : start + _MOST_CALLS_AT_ONCE]))
        found += store.query_events(some, PageRequest(limit=limit)).items
    return sorted(found, key=lambda event: -(event.seq or 0))[:most]


def _event_item(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "time": show_utc(event.created_at_us),
        "caller": event.caller_id,
        "actor": event.actor,
        "tool": event.tool_id,
        "namespace": event.namespace,
        "outcome": event.outcome,
        "duration_ms": event.duration_ms if event.kind == "call" else None,
        "payload": event.payload,
    }


_EVENT_COLUMNS: Final = [
    Column("seq", "SEQ", right=True),
    Column("time", "TIME"),
    Column("kind", "KIND"),
    Column("outcome", "OUTCOME"),
    Column("caller", "CALLER"),
    Column("tool", "TOOL"),
    Column("duration_ms", "MS", right=True),
    Column("id", "ID"),
]


def _select(
    store: SqliteEventStore,
    streams: Streams,
    sql: str,
    most: int | None,
    expectation: _Expectation | None,
) -> int:
    found = store.select(sql, limit=MAX_COUNT - 1 if most is None else most)
    names = _unique(found.columns)
    items = [dict(zip(names, map(_plain, row), strict=True)) for row in found.rows]
    meta: dict[str, Any] = {"count": len(items), "truncated": found.is_cut}
    if expectation is not None:
        meta["expected"] = expectation.as_document(_number(found.rows))
    columns = [Column(name, name) for name in names]
    _emit_list(streams, "rows", items, columns, names[0] if names else "", meta)
    if found.is_cut:
        streams.remark(f"there are more than {len(items)} rows: -n all")
    return _judged(meta, streams)


def _number(rows: Sequence[Sequence[Any]]) -> int:
    """Return the one number that *rows* hold, as of a count; else how many there are."""
    if len(rows) == 1 and len(rows[0]) == 1 and type(rows[0][0]) is int:
        return int(rows[0][0])
    return len(rows)


def _unique(columns: Sequence[str]) -> list[str]:
    """Return *columns* with a number behind those that were there already."""
    names: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in names:
            name, number = f"{column}_{number}", number + 1
        names.append(name)
    return names


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _emit_list(  # noqa: PLR0917 - one call shape for every list here
    streams: Streams,
    name: str,
    items: Sequence[Item],
    columns: Sequence[Column],
    name_key: str,
    meta: Mapping[str, Any],
) -> None:
    emit_list(
        streams.out,
        schema=name,
        items=items,
        columns=columns,
        name_key=name_key,
        meta=meta,
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
