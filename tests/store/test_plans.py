"""How SQLite finds what is asked for: by key, never by reading all events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolrt import EventFilter
from toolrt_store import SqliteEventStore, query, ranges
from toolrt_store.rows import FROM_EVENTS, SELECTED

from .samples import NOON_US, call_id
from .tampering import fill

ONE = ("x",)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a full block."""
    directory = tmp_path_factory.mktemp("plans")
    directory.chmod(0o700)
    fill(directory / "audit.db")
    return directory / "audit.db"


def plan(path: Path, sql: str, *values: object) -> list[str]:
    """Return the steps of SQLite's plan for *sql*."""
    with SqliteEventStore.open(path, read_only=True) as store:
        rows = store._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    return [row[3] for row in rows]


NAMED = [
    EventFilter(verbs=ONE),
    EventFilter(tools=ONE),
    EventFilter(namespaces=ONE),
    EventFilter(actors=ONE),
    EventFilter(callers=ONE),
    EventFilter(outcomes=ONE),
    EventFilter(capabilities=ONE),
]
OTHERS = [
    EventFilter(kinds=("call",)),
    EventFilter(after=NOON_US),
    EventFilter(before=NOON_US),
    EventFilter(min_duration_ms=4),
    EventFilter(callers=ONE, outcomes=ONE, verbs=ONE, after=NOON_US),
]


@pytest.mark.parametrize("chosen", [*NAMED, OTHERS[-1]], ids=repr)
def test_blocks_are_found_by_the_key_of_their_index(
    path: Path, chosen: EventFilter
) -> None:
    """Each name of a filter is looked up; nothing of the index is read through."""
    sql, values = ranges.blocks_sql(query.named(chosen), query.span(chosen))

    steps = plan(path, sql, *values)

    found = [step for step in steps if "block_names" in step]
    assert found
    assert all("USING PRIMARY KEY (role=? AND name=?" in step for step in found)
    scanned = {step for step in steps if step.startswith("SCAN")}
    # Small tables: one row a tool, one row a block.
    assert scanned <= {"SCAN contexts", "SCAN blocks"}


@pytest.mark.parametrize("chosen", [*NAMED, *OTHERS], ids=repr)
def test_events_are_read_by_ranges_of_their_sequence(
    path: Path, chosen: EventFilter
) -> None:
    """Within a range each event is looked at once, in order, without a sort."""
    condition = query.where(chosen)
    sql = (
        f"SELECT {SELECTED} {FROM_EVENTS} WHERE e.seq BETWEEN ? AND ?"
        f" AND {condition.sql} ORDER BY e.seq DESC LIMIT ?"
    )

    steps = plan(path, sql, 1, 99, *condition.values, 5)

    assert steps[0] == "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    assert not any("TEMP B-TREE FOR ORDER" in step for step in steps)


def seen(path: Path, chosen: EventFilter) -> list[str]:
    """Return the plans of all that a query of *chosen* asks of ``events``."""
    with SqliteEventStore.open(path, read_only=True) as store:
        reader = store._reader
        asked: list[tuple[str, tuple[object, ...]]] = []

        class Listening:
            def execute(self, sql: str, values: tuple[object, ...] = ()) -> object:
                asked.append((sql, values))
                return store._connection.execute(sql, values)

        reader._connection = Listening()  # type: ignore[assignment]
        store.query_events(chosen)
        store.get_event((chosen.ids or ("x/gate",))[0])
        reader._connection = store._connection
    return [
        step
        for sql, values in asked
        if "FROM events AS e" in sql
        for step in plan(path, sql, *values)
    ]


@pytest.mark.parametrize(
    "chosen",
    [
        EventFilter(ids=(f"{call_id()}/gate",)),
        EventFilter(ids=(f"{call_id()}/call",)),
        EventFilter(ids=("system/3",)),
        EventFilter(ids=(f"{call_id()}/call", f"{call_id(2)}/gate", "system/3")),
        EventFilter(call_ids=(call_id(), "mine")),
    ],
    ids=repr,
)
def test_ids_are_found_through_their_indexes(path: Path, chosen: EventFilter) -> None:
    """An id is no reason to walk over all events; it once was."""
    steps = seen(path, chosen)

    bad = [
        step
        for step in steps
        if re.match(r"SCAN e\b|SCAN events|SEARCH e .*rowid>", step)
    ]
    assert bad == []
    assert any("events_by_call" in step or "rowid=?" in step for step in steps)


def test_following_and_usage_read_no_more_than_they_need(path: Path) -> None:
    """Above a sequence by the row number; sums of the blocks by their key."""
    from toolrt_store import usage

    steps = plan(path, usage._USAGE, 1, 1)

    assert any("uses USING PRIMARY KEY (caller=?" in step for step in steps)
    assert any("events USING INTEGER PRIMARY KEY (rowid>?)" in s for s in steps)
    assert not any(step.startswith(("SCAN events", "SCAN uses")) for step in steps)
