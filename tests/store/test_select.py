"""An operator's own SELECT: reads, and nothing else, for so long."""

from __future__ import annotations

import pytest

from toolrt_store import SqliteEventStore
from toolrt_store.adhoc import SelectError

from .samples import gate_event


@pytest.fixture(autouse=True)
def _events(store: SqliteEventStore) -> None:
    store.append_events([gate_event(number) for number in range(5)])


def test_a_select_gives_columns_and_rows(store: SqliteEventStore) -> None:
    """Also of the view, of a recursive expression, and cut at the limit."""
    found = store.select("SELECT seq, caller FROM event_log ORDER BY seq", limit=2)

    assert (found.columns, found.is_cut) == (("seq", "caller"), True)
    assert found.rows == ((1, "ci-bot"), (2, "ci-bot"))
    assert store.select(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)"
        " SELECT sum(i) FROM n"
    ).rows == ((6,),)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM events",
        "UPDATE names SET text = 'x'",
        "INSERT INTO places VALUES (1, 1, 1)",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "DROP VIEW event_log",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "ATTACH '/tmp/x.db' AS x",
        "DETACH main",
        "VACUUM INTO '/tmp/x.db'",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "REINDEX",
        "ANALYZE",
        "SELECT load_extension('x')",
        "SELECT * FROM store",
        "SELECT count(*) FROM store",
        "SELECT (SELECT value FROM store WHERE key = 'args_key')",
        "SELECT * FROM events WHERE seq IN (SELECT value FROM Store)",
        "SELECT data FROM sqlite_dbpage",
        "SELECT * FROM dbstat",
        "SELECT * FROM pragma_table_info('events')",
        "WITH x AS (SELECT * FROM store) SELECT * FROM x",
        "SELECT 1; SELECT 2",
        "EXPLAIN DELETE FROM events",
        "nonsense",
        "",
        "SELECT '\0'",
        "SELECT \ud800",
    ],
)
def test_what_is_no_plain_select_is_refused(store: SqliteEventStore, sql: str) -> None:
    """One line says why, and nothing has changed."""
    with pytest.raises(SelectError) as refused:
        store.select(sql)

    assert "\n" not in str(refused.value)
    assert refused.value.code == "select"
    assert store.count_events() == 5


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i FROM n) SELECT max(i) FROM n",
        f"SELECT count(*) FROM {', '.join(f'events e{n}' for n in range(11))}",
    ],
)
def test_an_endless_select_ends_at_its_deadline(
    store: SqliteEventStore, sql: str
) -> None:
    """The process that asked goes on."""
    with pytest.raises(SelectError, match="took longer than"):
        store.select(sql, timeout_s=0.05)


@pytest.mark.parametrize(
    "sql", ["SELECT zeroblob(999999999)", "SELECT hex(randomblob(999999999))"]
)
def test_a_huge_value_is_refused(store: SqliteEventStore, sql: str) -> None:
    """A row is no way to fill the memory."""
    with pytest.raises(SelectError):
        store.select(sql)


def test_the_key_for_arguments_is_in_no_row(store: SqliteEventStore) -> None:
    """Whatever table can be read: none holds it."""
    tables = store.select("SELECT name FROM sqlite_schema WHERE type = 'table'").rows

    for (name,) in tables:
        if name != "store":
            rows = store.select(f"SELECT * FROM {name}").rows
            assert not any(store.args_key in row for row in rows)
