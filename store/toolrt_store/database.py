"""
Opening the database: which file, with which pragmas, checked before the first write.

Writers open under the writing lock; readers take no lock, make no file of their own
accord and see the last commit.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import Final, Literal

from toolrt_store import errors, files, sqlite
from toolrt_store.lock import WriteLock, lock_path
from toolrt_store.schema import SCHEMA_VERSION, check_schema

Durability = Literal["full", "normal"]

#: How long SQLite itself waits. Our own writers queue elsewhere, so only other people's
#: tools contend here.
BUSY_TIMEOUT_S: Final = 2.0
#: So much of the log stays on disk once all of it is in the database.
LOG_KEPT_BYTES: Final = 64 * 1024 * 1024

_COMMON: Final = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    # The log shrinks again after a long reader let it grow.
    f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}",
)
_URI_SAFE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-~"
)


def open_writer(
    path: str, *, durability: Durability, now_us: int, group: str | None = None
) -> sqlite.Connection:
    """
    Return a connection that may write to the store at *path*, made if it is missing.

    The caller holds the writing lock.

    Raises:
        StoreError: Any leaf save `IdentityConflictError`; the file is untouched.
    """
    try:
        if not files.is_there(path):
            _create(path, now_us, group)
        return _checked(path, durability, now_us)
    except sqlite.Error as error:
        raise errors.from_sqlite(path, error, waited_s=BUSY_TIMEOUT_S) from error


def open_reader(path: str) -> sqlite.Connection:
    """
    Return a connection that can only read the store at *path*.

    Raises:
        StoreMissingError: There is none.
        StoreError: It cannot be read, is foreign, or newer than this toolrt.
    """
    if not files.is_there(path):
        raise errors.StoreMissingError(path)
    try:
        return _checked_reader(path)
    except sqlite.Error as error:
        raise errors.from_sqlite(path, error, waited_s=BUSY_TIMEOUT_S) from error


def lock_for(path: str, *, group: str | None = None) -> WriteLock:
    """
    Return the writing lock of the store at *path*, its directory made if need be.

    With *group*, its members share what is made.

    Raises:
        StoreError: No store can be at *path*, its files are another user's or open to
            others, or the lock file cannot be opened.
    """
    files.require_local(path)
    files.prepare_directory(path, group=group)
    if files.is_there(path) and not os.path.lexists(lock_path(path)):
        # No writer was ever here. Leave no lock file beside what is not ours.
        _require_store(path)
    files.require_private(path, group=group)
    return WriteLock(path, group=group)


def _require_store(path: str) -> None:
    try:
        with closing(_connect(path, "ro")) as connection:
            check_schema(connection, path)
    except sqlite.Error as error:
        raise errors.from_sqlite(path, error, waited_s=BUSY_TIMEOUT_S) from error


def _create(path: str, now_us: int, group: str | None) -> None:
    from toolrt_store.migrations import migrate

    new_path = files.begin_new(path, group=group)
    try:
        with closing(_connect(new_path, "rw")) as connection:
            _set_wal(connection, new_path)
            migrate(connection, now_us=now_us)
    except BaseException:
        files.discard_new(new_path)
        raise
    files.finish_new(new_path, path)


def _checked(path: str, durability: Durability, now_us: int) -> sqlite.Connection:
    has_log = files.has_log(path)
    connection = _connect(path, "rw")
    try:
        if check_schema(connection, path) < SCHEMA_VERSION:
            _upgrade(connection, path, now_us)
        _set_wal(connection, path)
        connection.execute(f"PRAGMA synchronous = {durability}")
    except BaseException:
        if has_log:
            _close_untouched(connection, path)
        connection.close()
        raise
    return connection


def _close_untouched(connection: sqlite.Connection, path: str) -> None:
    """
    Close *connection* and leave the files as they are.

    The last to close plays the log into the database, whosever log it is; a reader
    that closes after it does not.
    """
    try:
        with closing(_connect(path, "ro")) as reader, suppress(sqlite.Error):
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            connection.close()
    except sqlite.Error:
        pass  # then there is nothing that could be played


def _checked_reader(path: str) -> sqlite.Connection:
    connection = _connect(path, "ro")
    try:
        connection.execute("PRAGMA query_only = ON")
        _require_current(check_schema(connection, path), path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_current(version: int, path: str) -> None:
    if version < SCHEMA_VERSION:
        raise errors.StoreUnavailableError(
            path, f"schema {version} is migrated by the next open for writing"
        )


def _upgrade(connection: sqlite.Connection, path: str, now_us: int) -> None:
    from toolrt_store.migrations import migrate

    migrate(connection, now_us=now_us)
    check_schema(connection, path)


def _set_wal(connection: sqlite.Connection, path: str) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise errors.StoreUnavailableError(
            path, f"its file system allows no write-ahead log (journal mode {mode})"
        )


def _connect(path: str, mode: Literal["ro", "rw"]) -> sqlite.Connection:
    connection = sqlite.connect(
        f"file://{_percent_encoded(path)}?mode={mode}",
        timeout=BUSY_TIMEOUT_S,
        # Transactions are begun by hand: the driver would make them deferred.
        isolation_level=None,
        # The store's mutex is held around every use.
        check_same_thread=False,
        uri=True,
    )
    for pragma in _COMMON:
        connection.execute(pragma)
    return connection


def _percent_encoded(path: str) -> str:
    return "".join(
        chr(byte) if byte in _URI_SAFE else f"%{byte:02X}" for byte in os.fsencode(path)
    )
