"""
From an EventFilter to SQL over ``events AS e``. Pure functions; no text enters the SQL.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from toolrt.event import EventFilter, PageRequest
from toolrt_store.call_id import encode_id
from toolrt_store.rows import CALL, GATE, KIND_NUMBERS, SYSTEM


class Condition(msgspec.Struct, frozen=True):
    """A boolean SQL expression and the values of its placeholders."""

    sql: str
    values: tuple[object, ...] = ()


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
        yield _in("e.call_id", [encode_id(one) for one in filter.call_ids])
    for column, texts in (
        ("verb", filter.verbs),
        ("tool", filter.tools),
        ("caller", filter.callers),
        ("actor", filter.actors),
        ("namespace", filter.namespaces),
        ("outcome", filter.outcomes),
    ):
        if texts:
            marks = _marks(texts)
            yield Condition(f"e.{column} IN ({_NAMES} {marks})", texts)
    if filter.capabilities:
        marks = _marks(filter.capabilities)
        sets = f"SELECT grant_set FROM grants WHERE capability IN ({_NAMES} {marks})"
        yield Condition(f"e.grant_set IN ({sets})", filter.capabilities)
    yield from _bounds(filter)


def _bounds(filter: EventFilter) -> Iterator[Condition]:
    if filter.after is not None:
        yield Condition("e.at_us > ?", (filter.after,))
    if filter.before is not None:
        yield Condition("e.at_us < ?", (filter.before,))
    if filter.min_duration_ms is not None:
        yield Condition("e.duration_ms >= ?", (filter.min_duration_ms,))


def paged(condition: Condition, page: PageRequest) -> tuple[Condition, str]:
    """
    Return *condition* within the bounds of *page*, and the order and limit.
    """
    bounds = [condition]
    if page.after_seq is not None:
        bounds.append(Condition("e.seq > ?", (page.after_seq,)))
    if page.before_seq is not None:
        bounds.append(Condition("e.seq < ?", (page.before_seq,)))
    direction = "ASC" if page.after_seq is not None else "DESC"
    return all_of(bounds), f"ORDER BY e.seq {direction} LIMIT ? OFFSET ?"


def _ids(ids: Iterable[str]) -> Condition:
    """Return the condition that an event has one of *ids*, however many they are."""
    calls: list[object] = []
    sequences: list[object] = []
    for one in ids:
        parsed = _parse_id(one)
        if parsed is not None:
            (sequences if parsed[1] == SYSTEM else calls).extend(parsed)
    return any_of(
        Condition(
            f"({columns}) IN (VALUES {', '.join(['(?, ?)'] * (len(found) // 2))})",
            tuple(found),
        )
        for columns, found in (
            ("e.call_id, e.kind", calls),
            ("e.seq, e.kind", sequences),
        )
        if found
    )


def id_condition(event_id: str) -> Condition:
    """Return the condition that an event has that id; false for what is no id."""
    parsed = _parse_id(event_id)
    if parsed is None:
        return Condition("FALSE")
    column = "seq" if parsed[1] == SYSTEM else "call_id"
    return Condition(f"(e.{column} = ? AND e.kind = ?)", parsed)


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
