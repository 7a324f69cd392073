"""Attempts as the commands of ``toolrt audit`` choose and list them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from toolrt.event import MAX_COUNT
from toolrt_cli.escape import escape
from toolrt_cli.filters import parse_filters
from toolrt_cli.grammar import UsageError
from toolrt_cli.output import Column, emit_list, write_csv, write_markdown
from toolrt_cli.problems import near_names
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock, parse_range, show_utc
from toolrt_store import (
    ATTEMPT_FIELDS,
    DECISIONS,
    DRY_VALUES,
    OUTCOMES,
    Attempt,
    AttemptFilter,
    SqliteEventStore,
    Term,
)

_MARKS: Final = {"success": "✓", "denied": "⊘", "running": "…", "interrupted": "!"}


def attempt_filter(
    words: Sequence[str], since: str | None, until: str | None
) -> AttemptFilter:
    """
    Return the filter that the *words* and bounds of a command line ask for.

    Raises:
        UsageError: One of them is wrong.
    """
    try:
        after_us, before_us = parse_range(since, until, now_us=now_us(), tz=None)
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
        "dry": DRY_VALUES,
    }
    known = all_known.get(term.field)
    if known is None:
        return
    for value in term.values:
        if not any(sign in value for sign in "*?") and value not in known:
            near = ", ".join(near_names(value, known)) or ", ".join(known)
            problem = f"{term.field}={value}: never the case; did you mean {near}?"
            raise UsageError(problem, next_step="toolrt help filters")


def now_us() -> int:
    """Return the time now, in Unix microseconds."""
    return time.time_ns() // 1000


def parse_limit(text: str) -> int | None:
    """
    Return the number that ``-n`` gives, None for all.

    Raises:
        UsageError: It is neither.
    """
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"-n {text}: must be a number or all")
    return min(int(text), MAX_COUNT)


def attempt_item(attempt: Attempt) -> dict[str, Any]:
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


def emit_attempts(
    found: Sequence[Attempt],
    meta: dict[str, Any],
    streams: Streams,
    *,
    header: bool = True,
) -> None:
    """Write a list of attempts, or rows that go below one: with no second *header*."""
    fmt = streams.settings.output
    if not header and fmt in (None, "table", "csv", "md"):
        _emit_rows(found, fmt, streams)
        return
    emit_list(
        streams.out,
        schema="attempts",
        items=[attempt_item(attempt) for attempt in found],
        columns=_columns(streams),
        name_key="call_id",
        meta=meta,
        fmt=fmt,
        terminal=streams.out_terminal,
    )


def _emit_rows(found: Sequence[Attempt], fmt: str | None, streams: Streams) -> None:
    columns, items = _columns(streams), [attempt_item(one) for one in found]
    if fmt == "csv":
        write_csv(streams.out, columns, items, header=False)
    elif fmt == "md":
        write_markdown(streams.out, columns, items, header=False)
    else:
        gap = "  " if streams.out_terminal.is_tty or fmt == "table" else "\t"
        for item in items:
            cells = [_cell(column.value(item)) for column in columns]
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


def _outcome(item: Any) -> str:
    # A dry run ran nothing: it must not be counted among what succeeded.
    return f"{item['outcome']}{' (dry run)' * item['dry_run']}"


_COLUMNS: Final = [
    Column("time", "TIME"),
    Column("outcome", "OUTCOME", _outcome),
    Column("caller", "CALLER"),
    Column("tool", "TOOL"),
    Column("duration_ms", "MS", right=True),
    Column("decision", "DECISION"),
    Column("code", "CODE"),
    Column("call_id", "CALL"),
]


def _local_time(item: Any) -> str:
    return local_clock(item["time"], now_us())


def _marked(item: Any) -> str:
    mark = _MARKS.get(item["outcome"], "✗")
    note = "(dry run)" if item["dry_run"] else item["code"]
    return " ".join(filter(None, [mark, item["outcome"], note]))


def time_or_none(at_us: int | None) -> str | None:
    """Return *at_us* as text, None for None."""
    return None if at_us is None else show_utc(at_us)


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
