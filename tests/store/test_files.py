"""What may stand at a store's path, and what the store makes there."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from toolrt_store import (
    ForeignStoreError,
    SqliteEventStore,
    StoreError,
    StoreMissingError,
    StoreTooNewError,
    StoreUnavailableError,
    migrations,
    schema,
    sqlite,
)

from .samples import finish, gate_event, start_python


def mode_of(path: Path) -> int:
    """Return the permission bits of *path* itself."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the process's umask for one test."""
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077], indirect=True)
def test_files_are_private(tmp_path: Path, umask: int) -> None:
    """Directories are 0700 and every file 0600, whatever the umask."""
    path = tmp_path / "a" / "b" / "audit.db"

    with SqliteEventStore.open(path) as store:
        store.append_event(gate_event())
        names = {"audit.db", "audit.db-wal", "audit.db-shm"}
        names |= {"audit.db.lock", "audit.db.live", "audit.db.spool"}
        assert {entry.name: mode_of(entry) for entry in path.parent.iterdir()} == (
            dict.fromkeys(names, 0o600)
        )

    assert mode_of(path.parent) == mode_of(path.parent.parent) == 0o700


def test_odd_names_are_paths(tmp_path: Path) -> None:
    """Characters that mean something in a URI are part of the file's name."""
    for name in ("a b%20?mode=ro#x.db", "ä&ö.db"):
        with SqliteEventStore.open(tmp_path / name) as store:
            store.append_event(gate_event())
        with SqliteEventStore.open(tmp_path / name, read_only=True) as reader:
            assert reader.count_events() == 1
        assert (tmp_path / name).is_file()


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_symlink(path: Path) -> None:
    SqliteEventStore.open(path.with_name("real.db")).close()
    path.symlink_to(path.with_name("real.db"))


def make_dangling_symlink(path: Path) -> None:
    path.symlink_to(path.with_name("nothing.db"))


def make_hard_link(path: Path) -> None:
    SqliteEventStore.open(path.with_name("real.db")).close()
    path.hardlink_to(path.with_name("real.db"))


def make_empty_file(path: Path) -> None:
    path.touch()


def make_text_file(path: Path) -> None:
    path.write_text("remember the milk\n" * 100)


def make_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")


def with_sql(sql: str) -> Callable[[Path], None]:
    """Return what makes a store and then runs *sql* over it, as other tools would."""

    def make(path: Path) -> None:
        SqliteEventStore.open(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)

    return make


SWALLOWING_TRIGGER = """
CREATE TRIGGER quiet BEFORE INSERT ON events BEGIN SELECT RAISE(IGNORE); END
"""
SWALLOWING_VIEW = """
ALTER TABLE processes RENAME TO hidden; CREATE VIEW processes AS SELECT * FROM hidden
"""


def contents(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what every file below *directory* is and holds; locks aside."""
    found = {}
    for entry in sorted(directory.iterdir()):
        status = entry.lstat()
        if not entry.name.endswith(".lock"):
            data = entry.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[entry.name] = (status.st_mode, status.st_nlink, data)
    return found


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (make_directory, "is a directory"),
        (make_fifo, "not a regular file"),
        (make_symlink, "symbolic link"),
        (make_dangling_symlink, "symbolic link"),
        (make_hard_link, "2 hard links"),
        (make_empty_file, "empty file"),
        (make_text_file, "not a database"),
        (make_foreign_database, "not a toolrt store"),
        (with_sql(SWALLOWING_TRIGGER), "has the trigger 'quiet'"),
        (with_sql("CREATE VIEW extra AS SELECT 1"), "has the view 'extra'"),
        (with_sql("CREATE INDEX fast ON events (at_us)"), "has the index 'fast'"),
        (with_sql("DROP TRIGGER events_refuse_update"), "lacks the trigger"),
        (with_sql(SWALLOWING_VIEW), "has the table 'hidden'"),
        (with_sql("ALTER TABLE events ADD COLUMN more TEXT"), "text of an object"),
        (with_sql("PRAGMA user_version = 0"), "unknown schema 0"),
    ],
)
def test_foreign_file_is_refused_and_untouched(
    tmp_path: Path, make: Callable[[Path], None], match: str, *, read_only: bool
) -> None:
    """What is no intact store is refused before the first write, with its reason."""
    path = tmp_path / "audit.db"
    make(path)
    before = contents(tmp_path)

    with pytest.raises(ForeignStoreError, match=match) as info:
        SqliteEventStore.open(path, read_only=read_only)

    # A reader of a WAL database cannot take away the -shm that it needed.
    after = contents(tmp_path)
    assert {name: after[name] for name in (before if read_only else after)} == before
    assert (info.value.path, info.value.code) == (str(path), "integrity")


def log_of(path: Path, sql: str) -> bytes:
    """Return the log of another database, in which *sql* was not checkpointed."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(sql)
        found = other.with_name("other.db-wal").read_bytes()
    other.unlink()
    return found


@pytest.mark.parametrize("read_only", [False, True])
def test_log_of_another_database_is_not_played_into_a_store(
    tmp_path: Path, *, read_only: bool
) -> None:
    """SQLite would take it for the store's own; the store's file stays as it was."""
    path = tmp_path / "audit.db"
    with SqliteEventStore.open(path) as store:
        store.append_event(gate_event())
    before = path.read_bytes()
    wal = path.with_name("audit.db-wal")
    wal.write_bytes(log_of(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)"))
    wal.chmod(0o600)
    log = wal.read_bytes()

    with pytest.raises(ForeignStoreError) as info:
        SqliteEventStore.open(path, read_only=read_only)

    assert "\n" not in str(info.value)
    assert (path.read_bytes(), wal.read_bytes()) == (before, log)


@pytest.mark.parametrize("header", [b"", b"SQLite format 3\0"])
@pytest.mark.parametrize("read_only", [False, True])
def test_sparse_file_is_refused_at_once(
    tmp_path: Path, header: bytes, *, read_only: bool
) -> None:
    """A terabyte of nothing is not read through."""
    path = tmp_path / "audit.db"
    path.write_bytes(header)
    path.chmod(0o600)
    os.truncate(path, 1 << 40)

    with pytest.raises(ForeignStoreError):
        SqliteEventStore.open(path, read_only=read_only)

    assert path.stat().st_size == 1 << 40
    assert path.stat().st_blocks <= 16


@pytest.mark.parametrize("column", ["at_us", "outcome", "flags", "context", "kind"])
def test_text_in_a_column_of_numbers_is_an_integrity_fault(
    db_path: Path, column: str
) -> None:
    """Other tools can store it; reading and verifying name it and raise nothing else."""
    with SqliteEventStore.open(db_path) as store:
        store.append_events([gate_event(number) for number in range(1, 4)])
    with closing(sqlite3.connect(db_path)) as connection:
        ((text,),) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'events'"
        )
        connection.execute("PRAGMA writable_schema = ON")
        set_sql = "UPDATE sqlite_schema SET sql = ? WHERE name = 'events'"
        connection.execute(set_sql, (text.replace(") STRICT", ")"),))
        connection.commit()
    with closing(sqlite3.connect(db_path)) as connection:
        ((refuse,),) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'events_refuse_update'"
        )
        connection.execute("DROP TRIGGER events_refuse_update")
        connection.execute(f"UPDATE events SET {column} = 'x' WHERE seq = 2")
        connection.execute(refuse)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(set_sql, (text,))
        connection.commit()

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        assert reader.verify().mismatches[0].seq == 2
        for ask in (reader.query_events, reader.query_attempts):
            with suppress(ForeignStoreError):
                ask()


def test_no_lock_file_is_left_beside_a_foreign_file(tmp_path: Path) -> None:
    """A mistaken path leaves no litter."""
    make_text_file(tmp_path / "notes.txt")

    with pytest.raises(ForeignStoreError):
        SqliteEventStore.open(tmp_path / "notes.txt")

    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_newer_store_is_refused_and_untouched(tmp_path: Path) -> None:
    """A store of a later toolrt is never downgraded."""
    path = tmp_path / "audit.db"
    with_sql("PRAGMA user_version = 99")(path)
    before = contents(tmp_path)

    with pytest.raises(StoreTooNewError, match="schema 99 is newer") as info:
        SqliteEventStore.open(path)

    assert (info.value.found, info.value.supported) == (99, schema.SCHEMA_VERSION)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("read_only", [False, True])
def test_path_under_a_file_is_unavailable(tmp_path: Path, *, read_only: bool) -> None:
    """A parent that is no directory is named as the reason."""
    (tmp_path / "file").write_text("x")

    for path in (tmp_path / "file" / "audit.db", tmp_path / "file" / "a" / "audit.db"):
        with pytest.raises(StoreUnavailableError, match="not a directory"):
            SqliteEventStore.open(path, read_only=read_only)

    assert (tmp_path / "file").read_text() == "x"


def test_directory_that_everyone_may_write_to_is_refused(tmp_path: Path) -> None:
    """Sticky or not: others could make the files beside the database first."""
    for mode in (0o777, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(StoreUnavailableError, match="everyone may write"):
            SqliteEventStore.open(tmp_path / "audit.db")
        assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o700)


def test_path_with_nul_is_unavailable() -> None:
    """What no file can be called is an error of the store, not of Python."""
    with pytest.raises(StoreUnavailableError):
        SqliteEventStore.open("/tmp/a\0b")


def test_log_of_a_deleted_store_is_not_played_into_a_new_one(db_path: Path) -> None:
    """A database removed without its log is not made anew beside that log."""
    db_path.parent.mkdir()
    wal = db_path.with_name("audit.db-wal")
    wal.write_bytes(b"old")
    wal.chmod(0o600)

    with pytest.raises(ForeignStoreError, match=r"audit\.db-wal is left"):
        SqliteEventStore.open(db_path)

    assert wal.read_bytes() == b"old"
    assert not db_path.exists()


def test_read_only_open_makes_nothing(db_path: Path) -> None:
    """There is nothing to read where nobody wrote."""
    with pytest.raises(StoreMissingError, match="no store"):
        SqliteEventStore.open(db_path, read_only=True)

    assert not db_path.parent.exists()


def test_read_only_store_refuses_to_append(db_path: Path) -> None:
    """A reader cannot write, and says so as a store that is unavailable."""
    SqliteEventStore.open(db_path).close()

    with (
        SqliteEventStore.open(db_path, read_only=True) as reader,
        pytest.raises(StoreUnavailableError, match="read-only"),
    ):
        reader.append_event(gate_event())


def test_half_made_store_is_made_again(db_path: Path) -> None:
    """A process killed while it made the store leaves only the other name."""
    db_path.parent.mkdir()
    db_path.with_name("audit.db.new").write_bytes(b"SQLite format 3\0 and so on")

    with SqliteEventStore.open(db_path) as store:
        assert store.append_event(gate_event()).seq == 1

    assert not db_path.with_name("audit.db.new").exists()


def test_schema_digest_is_the_one_in_the_code(tmp_path: Path) -> None:
    """The constant is the digest of what the migrations make: a released one stays."""
    connection = sqlite.connect(tmp_path / "x.db", isolation_level=None)
    with closing(connection):
        migrations.migrate(connection, now_us=0)
        found = schema.schema_digest(connection)
        named = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL"
            " AND tbl_name <> '_sqlite_migrations'"
        ).fetchall()

    assert found == schema.SCHEMA_DIGESTS[schema.SCHEMA_VERSION]
    assert set(named) == schema._EXPECTED_OBJECTS


def test_statistics_of_analyze_are_no_change(db_path: Path) -> None:
    """ANALYZE, which Datasette's users run, does not make a store foreign."""
    SqliteEventStore.open(db_path).close()
    with closing(sqlite3.connect(db_path)) as connection:
        connection.execute("ANALYZE")

    SqliteEventStore.open(db_path).close()


@pytest.mark.parametrize("sql", ["DELETE FROM events", "UPDATE events SET at_us = 0"])
def test_events_are_append_only(
    store: SqliteEventStore, db_path: Path, sql: str
) -> None:
    """Triggers refuse to change or remove an event, whoever asks."""
    store.append_event(gate_event())

    with (
        closing(sqlite3.connect(db_path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(sql)


def test_event_log_is_plain_text(store: SqliteEventStore, db_path: Path) -> None:
    """The view shows people what the columns mean, call ids as text included."""
    event = gate_event(5, decision="deny", deny_reason="no shells")
    store.append_events([event, gate_event(id_="mine")])

    with closing(sqlite3.connect(db_path)) as connection:
        rows = connection.execute(
            "SELECT time, kind, call_id, caller, tool, outcome, message FROM event_log"
        ).fetchall()

    time = "2026-01-02T03:04:05.000011Z"
    told = (time, "gate", event.call_id, "ci-bot", "std:fs.read", "denied", "no shells")
    assert rows[0] == told
    assert rows[1][2] == "mine"


SECOND_OPEN = """
import sys
before = set(sys.modules)
from toolrt_store import SqliteEventStore
with SqliteEventStore.open(sys.argv[1]) as store:
    pass
print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))
"""


def test_open_of_an_existing_store_imports_little(db_path: Path) -> None:
    """Start-up stays short: sqlite-utils comes only with a pending migration."""
    SqliteEventStore.open(db_path).close()

    (said,) = finish([start_python(SECOND_OPEN, db_path)])

    heavy = {"sqlite_utils", "rich", "typer", "click", "asyncio", "logging"}
    assert heavy.isdisjoint(said.split())
    assert "toolrt_store" in said.split()


def test_every_refusal_is_a_store_error() -> None:
    """One except clause catches all that a store can raise."""
    leaves = [ForeignStoreError, StoreMissingError, StoreTooNewError]

    assert all(issubclass(leaf, StoreError) for leaf in leaves)
