"""What schema plans do to a database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from toolrt import Pack, SchemaPlan, SchemaPlanError

from .samples import build


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        yield opened


def tabled(name: str, *statements: str) -> Pack:
    return Pack(name, schema_plan=SchemaPlan(name, statements))


def tables(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master")]


def test_the_plans_of_all_packs_are_applied(database: sqlite3.Connection) -> None:
    """Packs without a plan are passed over, and a second time changes nothing."""
    registry = build(
        tabled("one", "CREATE TABLE IF NOT EXISTS loans (x)"),
        Pack("bare"),
        tabled("two", "CREATE TABLE IF NOT EXISTS readers (x)"),
    )

    registry.apply_schema_plans(database)
    registry.apply_schema_plans(database)

    assert tables(database) == ["loans", "readers"]


def test_a_plan_that_fails_is_raised(database: sqlite3.Connection) -> None:
    """The error names the pack and the statement, and later plans are not applied."""
    registry = build(
        tabled("bad", "CREATE TABLE ("), tabled("late", "CREATE TABLE late (x)")
    )

    with pytest.raises(SchemaPlanError, match="'bad'") as caught:
        registry.apply_schema_plans(database)

    assert (caught.value.pack, caught.value.statement) == ("bad", "CREATE TABLE (")
    assert tables(database) == []
