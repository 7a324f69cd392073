"""``toolrt audit show|path|values|stats``: one record, and what there is of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from toolrt_cli.documents import emit, write_facts
from toolrt_cli.escape import escape
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import (
    attempt_filter,
    attempt_item,
    named_attempts,
    time_or_none,
)
from toolrt_cli.output import Column, emit_document, emit_list, leaves
from toolrt_cli.problems import NotCoveredError, NotFoundError, near_names
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.wiring import Session
from toolrt_store import (
    VALUE_FIELDS,
    Attempt,
    AttemptFilter,
    SqliteEventStore,
    StoreError,
)


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
        why = _denial(store, found[0], streams)
    if why is not None:
        document["denial"] = why

    def draw() -> None:
        apart = ("events", "denial")
        facts = {key: value for key, value in document.items() if key not in apart}
        _write_leaves(facts, "", streams)
        if why is not None:
            _write_denial(streams, why)
        for event in document["events"]:
            streams.out.write(f"\n{escape(str(event['id']))}\n")
            _write_leaves(event, "  ", streams)

    fmt = streams.settings.output
    emit_document(streams.out, "attempt", document, fmt, streams.out_terminal, draw)
    return Exit.OK


def _denial(
    store: SqliteEventStore, attempt: Attempt, streams: Streams
) -> dict[str, Any] | None:
    """Return why the attempt was denied, None if it was not or nobody can tell."""
    is_denied = attempt.decision in ("deny", "gate_unavailable")
    if not is_denied and attempt.outcome != "capability_denied":
        return None
    from toolrt_cli.provenance.denial import denial

    try:
        return denial(store, attempt)
    except (NotCoveredError, StoreError) as exc:  # the record is shown all the same
        streams.remark(f"why it was denied cannot be told: {exc}")
        return None


def _write_denial(streams: Streams, why: dict[str, Any]) -> None:
    from toolrt_cli.commands.provenance import clock_of, write_lines
    from toolrt_cli.provenance.text import render_denial

    streams.out.write("\n")
    write_lines(streams, render_denial(why, clock=clock_of(streams)))


def _write_leaves(facts: dict[str, Any], indent: str, streams: Streams) -> None:
    found = leaves(facts)
    width = max(len(key) for key, _ in found) + 2
    for key, value in found:
        streams.out.write(f"{indent}{escape(key):<{width}}{escape(value)}\n")


def _full(store: SqliteEventStore, attempt: Attempt) -> dict[str, Any]:
    """Return the attempt with what both of its events say."""
    from toolrt import EventFilter

    events = store.query_events(EventFilter(call_ids=(attempt.call_id,))).items
    details = next((e.details for e in events if e.details is not None), None)
    document: dict[str, Any] = attempt_item(attempt)
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


def values_command(session: Session, streams: Streams, field: str) -> int:
    """
    Print the values that *field* has in the record, the most frequent first.

    Raises:
        UsageError: It is no such field.
    """
    require_field(field, VALUE_FIELDS)
    with open_to_read(session) as store:
        found = [] if store is None else store.values(field)
    emit_list(
        streams.out,
        schema="values",
        items=[{"value": value, "attempts": count} for value, count in found],
        columns=GROUP_COLUMNS,
        name_key="value",
        meta={"field": field, "count": len(found)},
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
    return Exit.OK


#: How values with numbers of attempts are listed.
GROUP_COLUMNS = [
    Column("value", "VALUE"),
    Column("attempts", "ATTEMPTS", right=True),
]


def require_field(field: str, known: tuple[str, ...]) -> None:
    """
    Check that *field* is one of *known*.

    Raises:
        UsageError: It is not.
    """
    if field not in known:
        near = near_names(field, known)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"no field {field!r}: one of {', '.join(known)}{hint}")


def stats_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
) -> int:
    """
    Print how much there is: attempts by outcome, decision and day, events, from when.

    Raises:
        UsageError: A filter is wrong.
    """
    chosen = attempt_filter(words, since, until)
    with open_to_read(session) as store:
        document = _stats(store, chosen) if store is not None else _NO_STATS
    emit(streams, "stats", document, lambda: _show_stats(document, streams))
    if store is None:
        streams.remark(f"nothing is recorded yet in {session.store_path}")
    return Exit.OK


_NO_STATS: dict[str, Any] = {
    "attempts": 0,
    "events": 0,
    "first": None,
    "last": None,
    "outcomes": {},
    "decisions": {},
    "days": {},
}


def _stats(store: SqliteEventStore, chosen: AttemptFilter) -> dict[str, Any]:
    covered = store.coverage()

    def counts(field: str) -> dict[str, int]:
        found = store.count_attempts_by(field, chosen)
        return {value or "none": count for value, count in found}

    return {
        "attempts": store.count_attempts(chosen),
        # Of the whole store, whatever the filters say.
        "events": covered.events,
        "first": time_or_none(covered.first_us),
        "last": time_or_none(covered.last_us),
        "outcomes": counts("outcome"),
        "decisions": counts("decision"),
        "days": dict(sorted(counts("day").items())),
    }


def _show_stats(document: dict[str, Any], streams: Streams) -> None:
    facts = [("attempts", str(document["attempts"]))]
    if document["first"]:
        span = f"{document['first']} to {document['last']}"
        facts.append(("events", f"{document['events']} in the store, {span}"))
    for group in ("outcomes", "decisions", "days"):
        found = document[group].items()
        facts += [(f"{group[:-1]} {name}", str(count)) for name, count in found]
    write_facts(streams, facts)
