"""Many rows in one statement: they arrive as executemany would have left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt_store import sqlite
from toolrt_store.bulk import NUMBER, REFERENCE, TEXT, Bulk

from ..property.strategies import REPEATABLE

TABLE = (
    "CREATE TABLE kept (seq INTEGER PRIMARY KEY, number INTEGER, other INTEGER,"
    " digest ANY, text TEXT) STRICT"
)
BULK = Bulk(
    "kept",
    {"seq": NUMBER, "number": NUMBER, "other": REFERENCE, "digest": 4, "text": TEXT},
)
SELECT = "SELECT * FROM kept ORDER BY seq"

numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, -1, 10**17, 10**18 - 1, 10**18, -(10**17), 2**63 - 1]),
)
texts = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "\0", "a\0b", "é\U0001f980", "1" * 300]),
)
digests = st.one_of(
    st.none(),
    st.binary(min_size=4, max_size=4),
    st.sampled_from([b"\0\0\0\0", b"", b"12345", "text"]),
)
rows = st.lists(
    st.tuples(
        numbers, st.one_of(st.none(), st.integers(1, 2**40), numbers), digests, texts
    ),
    min_size=4,
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
    given_rows = [
        # 0 is no reference: rows are counted from 1.
        (seq, number, other or None, digest, text)
        for seq, (number, other, digest, text) in enumerate(found, 5)
    ]
    with closing(new_database()) as connection:
        assert BULK.insert(connection, given_rows) == len(given_rows)
        assert connection.execute(SELECT).fetchall() == given_rows


def test_ordinary_rows_take_one_statement(connection: sqlite.Connection) -> None:
    found = [(seq, 7, None, b"abcd", f"text {seq}") for seq in range(1, 9)]
    statement = BULK.statement(found)
    assert statement is not None
    assert statement.run(connection) == len(found)
    assert connection.execute(SELECT).fetchall() == found


@pytest.mark.parametrize(
    "odd",
    [
        (2, 10**18, 1, b"abcd", None),
        (2, 1.0, 1, b"abcd", None),
        (2, 1, 1, b"abc", None),
        (2, 1, 1, "text", None),
    ],
)
def test_what_fields_cannot_hold_takes_no_statement(odd: tuple[Any, ...]) -> None:
    found = [(seq, seq, seq, b"%04d" % seq, None) for seq in (1, 3, 4, 5)]
    assert BULK.statement([*found, odd]) is None


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
def test_a_number_beyond_64_bits_is_refused(
    connection: sqlite.Connection, number: int
) -> None:
    found = [(seq, seq, None, None, None) for seq in range(1, 9)]
    with pytest.raises(OverflowError):
        BULK.insert(connection, [*found, (9, number, None, None, None)])


def test_no_rows_are_none(connection: sqlite.Connection) -> None:
    assert BULK.insert(connection, []) == 0


def test_a_conflict_is_dealt_with(connection: sqlite.Connection) -> None:
    adding = Bulk(
        "kept",
        {"seq": NUMBER, "number": NUMBER},
        conflict="ON CONFLICT (seq) DO UPDATE SET number = number + excluded.number",
    )
    for _ in range(2):
        adding.insert(connection, [(seq, 10 + seq) for seq in range(6)])
    found = connection.execute("SELECT number FROM kept ORDER BY seq").fetchall()
    assert found == [(2 * (10 + seq),) for seq in range(6)]
