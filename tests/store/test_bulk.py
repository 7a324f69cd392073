"""Many rows in few statements: they arrive as executemany would have left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt_store import sqlite
from toolrt_store.bulk import DATA, NUMBER, REFERENCE, Bulk

from ..property.strategies import REPEATABLE

TABLE = (
    "CREATE TABLE kept (seq INTEGER PRIMARY KEY, number INTEGER, other INTEGER,"
    " data ANY, text TEXT) STRICT"
)
BULK = Bulk(
    "kept",
    {"seq": NUMBER, "number": NUMBER, "other": REFERENCE, "data": DATA, "text": DATA},
)
SELECT = "SELECT * FROM kept ORDER BY seq"

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "\0", "0", "a\0b", "\xe9\U0001f980"]),
)
data = st.one_of(texts, st.binary(max_size=8), st.sampled_from([b"", b"\0", b"0"]))
rows = st.lists(
    st.tuples(numbers, st.one_of(st.none(), st.integers(1, 2**40)), data, texts),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def connection() -> Iterator[sqlite.Connection]:
    """A database in memory with a table of every kind of column."""
    with closing(new_database()) as opened:
        yield opened


def new_database() -> sqlite.Connection:
    opened = sqlite.connect(":memory:", isolation_level=None)
    opened.execute(TABLE)
    return opened


@REPEATABLE
@given(rows)
def test_rows_arrive_as_they_are(found: list[tuple[Any, ...]]) -> None:
    given_rows = [(seq, *row) for seq, row in enumerate(found, 5)]
    with closing(new_database()) as connection:
        assert BULK.insert(connection, columns_of(given_rows)) == len(given_rows)
        assert connection.execute(SELECT).fetchall() == given_rows


def columns_of(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 511, 512, 513, 1_200])
def test_any_number_of_rows_arrives(connection: sqlite.Connection, count: int) -> None:
    found = [
        (seq, -seq, None, b"%d" % seq, f"text {seq}") for seq in range(1, count + 1)
    ]
    assert BULK.insert(connection, columns_of(found)) == count
    assert connection.execute(SELECT).fetchall() == found


def test_no_reference_is_null(connection: sqlite.Connection) -> None:
    BULK.insert(connection, [(1,), (0,), (0,), (None,), (None,)])
    assert connection.execute(SELECT).fetchall() == [(1, 0, None, None, None)]


def test_what_was_swallowed_is_not_counted(connection: sqlite.Connection) -> None:
    connection.execute(
        "CREATE TRIGGER swallow BEFORE INSERT ON kept WHEN NEW.seq = 3"
        " BEGIN SELECT RAISE(IGNORE); END"
    )
    found = [(seq, seq, None, None, None) for seq in range(1, 9)]
    assert BULK.insert(connection, columns_of(found)) == len(found) - 1


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
def test_a_number_beyond_64_bits_is_refused(
    connection: sqlite.Connection, number: int
) -> None:
    found = [(seq, seq, None, None, None) for seq in range(1, 9)]
    with pytest.raises(OverflowError):
        BULK.insert(connection, columns_of([*found, (9, number, None, None, None)]))


def test_no_rows_are_none(connection: sqlite.Connection) -> None:
    assert BULK.insert(connection, []) == 0


def test_a_conflict_is_dealt_with(connection: sqlite.Connection) -> None:
    adding = Bulk(
        "kept",
        {"seq": NUMBER, "number": NUMBER},
        conflict="ON CONFLICT (seq) DO UPDATE SET number = number + excluded.number",
    )
    for _ in range(2):
        adding.insert(connection, [range(6), range(10, 16)])
    found = connection.execute("SELECT number FROM kept ORDER BY seq").fetchall()
    assert found == [(2 * (10 + seq),) for seq in range(6)]
