"""
From an EventFilter to SQL over ``events AS e``. Pure functions; no text enters the SQL.

`where` says which events match; `named` and `Span` say where they can be, so that whole
blocks are skipped unread.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from toolrt.event import MAX_COUNT, EventFilter, PageRequest
from toolrt_store import blocks
from toolrt_store.call_id import encode_id
from toolrt_store.dictionary import cut
from toolrt_store.rows import CALL, GATE, KIND_NUMBERS, SYSTEM


class Condition(msgspec.Struct, frozen=True):
    """A boolean SQL expression and the values of its placeholders."""

    sql: str
    values: tuple[object, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """That an event has one of some names in a role: ``names`` selects their numbers."""

    role: int
    names: Condition


class Span(msgspec.Struct, frozen=True):
    """Where to look: above ``after_seq``, below ``before_seq``, between two times."""

    after_seq: int = 0
    before_seq: int = MAX_COUNT
    after_us: int | None = None
    before_us: int | None = None


_NAMES: Final = "SELECT id FROM names WHERE text IN"


def all_of(conditions: Iterable[Condition]) -> Condition:
    """Return the condition that all *conditions* hold."""
    found = tuple(conditions)
    sql = " AND ".join(one.sql for one in found) or "TRUE"
    return Condition(sql, tuple(value for one in found for value in one.values))


def any_of(conditions: Iterable[Condition]) -> Condition:
    """Return the condition that one of *conditions* holds."""
    found = tuple(conditions)
    sql = " OR ".join(one.sql for one in found) or "FALSE"
    return Condition(f"({sql})", tuple(value for one in found for value in one.values))


def where(filter: EventFilter) -> Condition:
    """Return the condition of *filter*."""
    return all_of(_conditions(filter))


def _conditions(filter: EventFilter) -> Iterator[Condition]:
    if filter.ids:
        yield _ids(filter.ids)
    if filter.kinds:
        # What is no kind is no event's.
        yield _in("e.kind", [KIND_NUMBERS.get(kind) for kind in filter.kinds])
    if filter.call_ids:
        yield call_ids(filter.call_ids)
    for one in named(filter):
        column = blocks.ROLES[one.role]
        yield Condition(f"e.{column} IN ({one.names.sql})", one.names.values)
    if filter.after is not None:
        yield Condition("e.at_us > ?", (filter.after,))
    if filter.before is not None:
        yield Condition("e.at_us < ?", (filter.before,))
    if filter.min_duration_ms is not None:
        yield Condition("e.duration_ms >= ?", (filter.min_duration_ms,))


def named(filter: EventFilter) -> tuple[Named, ...]:
    """Return the names that *filter* asks for, role by role."""
    found = []
    context = [
        Condition(f"{column} IN ({_NAMES} {_marks(texts)})", _kept(texts))
        for column, texts in (
            ("verb", filter.verbs),
            ("tool", filter.tools),
            ("namespace", filter.namespaces),
        )
        if texts
    ]
    if context:
        found.append(Named(blocks.CONTEXT, contexts(all_of(context))))
    for role, texts in (
        (blocks.ACTOR, filter.actors),
        (blocks.CALLER, filter.callers),
        (blocks.OUTCOME, filter.outcomes),
    ):
        if texts:
            names = Condition(f"{_NAMES} {_marks(texts)}", _kept(texts))
            found.append(Named(role, names))
    if filter.capabilities:
        texts = filter.capabilities
        names = Condition(f"{_NAMES} {_marks(texts)}", _kept(texts))
        found.append(Named(blocks.GRANT_SET, sets_with(names)))
    return tuple(found)


def _kept(texts: Iterable[str]) -> tuple[str, ...]:
    """Return what the store keeps of *texts*, which are names."""
    return tuple(map(cut, texts))


def contexts(condition: Condition) -> Condition:
    """Return the SELECT of the contexts for which *condition* holds."""
    return Condition(f"SELECT id FROM contexts WHERE {condition.sql}", condition.values)


def sets_with(capabilities: Condition) -> Condition:
    """Return the SELECT of the grant sets that hold one of *capabilities*."""
    sql = f"SELECT grant_set FROM grants WHERE capability IN ({capabilities.sql})"
    return Condition(sql, capabilities.values)


def span(filter: EventFilter, page: PageRequest | None = None) -> Span:
    """Return where the events of *filter*, and of *page*, can be."""
    after_seq = before_seq = None
    if page is not None:
        after_seq, before_seq = page.after_seq, page.before_seq
    return Span(
        0 if after_seq is None else after_seq,
        MAX_COUNT if before_seq is None else before_seq,
        filter.after,
        filter.before,
    )


def is_counted(filter: EventFilter) -> bool:
    """Return whether `named` says all that *filter* does."""
    return not (
        filter.ids
        or filter.kinds
        or filter.call_ids
        or filter.after is not None
        or filter.before is not None
        or filter.min_duration_ms is not None
    )


def call_ids(texts: Iterable[str]) -> Condition:
    """Return the condition that an event is of one of the calls *texts*."""
    ids = tuple(encode_id(one) for one in texts)
    own = f"SELECT seq FROM events WHERE call_id IN {_marks(ids)}"
    ends = f"SELECT seq FROM events WHERE gate IN ({own})"
    return Condition(f"e.seq IN ({own} UNION ALL {ends})", (*ids, *ids))


def _ids(ids: Iterable[str]) -> Condition:
    """
    Return the condition that an event has one of *ids*, however many they are.

    One list of sequences: SQLite would rather read all events than ask several.
    """
    named: dict[int, list[object]] = {GATE: [], CALL: [], SYSTEM: []}
    for one in ids:
        parsed = _parse_id(one)
        if parsed is not None:
            named[parsed[1]].append(parsed[0])
    gates, calls, sequences = named.values()
    selects = [
        (f"call_id IN {_marks(found)} AND kind = {kind}", found)
        for kind, found in ((GATE, gates), (CALL, calls))
    ]
    # The call event of a gated call has its call id there.
    own = f"SELECT seq FROM events WHERE call_id IN {_marks(calls)} AND kind = {GATE}"
    selects.append((f"gate IN ({own}) AND kind = {CALL}", calls))
    selects.append((f"seq IN {_marks(sequences)} AND kind = {SYSTEM}", sequences))
    asked = [(sql, values) for sql, values in selects if values]
    if not asked:
        return Condition("FALSE")
    union = " UNION ALL ".join(
        f"SELECT seq FROM events WHERE {sql}" for sql, _ in asked
    )
    return Condition(
        f"e.seq IN ({union})", tuple(value for _, values in asked for value in values)
    )


def id_condition(event_id: str) -> Condition:
    """Return the condition that an event has that id; false for what is no id."""
    return _ids((event_id,))


def _parse_id(event_id: str) -> tuple[object, int] | None:
    """Return the call id or sequence and the kind that *event_id* names."""
    head, _, tail = event_id.rpartition("/")
    if tail in ("gate", "call"):
        return encode_id(head), GATE if tail == "gate" else CALL
    # 18 digits fit into SQLite's integers.
    if head == "system" and tail.isascii() and tail.isdigit() and len(tail) <= 18:  # noqa: PLR2004
        return int(tail), SYSTEM
    return None


def _in(column: str, values: Iterable[object]) -> Condition:
    found = tuple(values)
    return Condition(f"{column} IN {_marks(found)}", found)


def _marks(values: Iterable[object]) -> str:
    return f"({', '.join('?' for _ in values)})"
