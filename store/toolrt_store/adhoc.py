"""
An operator's own SELECT: on a connection of its own that can only read, for so long.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Final

import msgspec

from toolrt_store import database, sqlite
from toolrt_store.errors import StoreError

# Codes of the authorizer (sqlite.org/c3ref/c_alter_table.html): what a SELECT needs.
_READ, _SELECT, _FUNCTION, _RECURSIVE = 20, 21, 31, 33
_ALLOWED: Final = frozenset({_READ, _SELECT, _FUNCTION, _RECURSIVE})
# Functions that reach outside of the database, or make as much as they are told.
_FORBIDDEN: Final = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "zeroblob", "randomblob"}
)
#: Rows of this table hold the key for the digests of arguments.
_PRIVATE_TABLE: Final = "store"
_OK, _DENY, _IGNORE = 0, 1, 2
_STEPS_A_LOOK: Final = 10_000
_MOST_BYTES: Final = 1_000_000
_LENGTH_LIMIT: Final = 0  # SQLITE_LIMIT_LENGTH


class SelectError(StoreError):
    """A SELECT of an operator was refused, failed, or took too long."""

    code = "select"


class Selection(msgspec.Struct, frozen=True):
    """The rows of a SELECT; ``is_cut`` if there are more than were asked for."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool


def select(path: str, sql: str, *, limit: int, timeout_s: float) -> Selection:
    """
    Return at most *limit* rows of *sql* over the store at *path*.

    Raises:
        SelectError: It is no single SELECT, fails, or took longer than *timeout_s*.
        StoreError: The store cannot be read.
    """
    with closing(database.open_reader(path)) as connection:
        deadline = time.monotonic() + timeout_s
        connection.set_progress_handler(
            lambda: time.monotonic() > deadline, _STEPS_A_LOOK
        )
        _limit_length(connection)
        connection.set_authorizer(_authorize)
        try:
            cursor = connection.execute(sql)
            rows = cursor.fetchmany(limit + 1)
            if cursor.description is None:
                raise SelectError(path, "there is no SELECT in it")
            columns = tuple(one[0] for one in cursor.description)
        except sqlite.Error as error:
            raise SelectError(path, _problem(error, deadline, timeout_s)) from error
        except (sqlite.Warning, ValueError) as error:
            raise SelectError(path, str(error)) from error
    if not columns:
        raise SelectError(path, "there is no SELECT in it")
    return Selection(columns, tuple(rows[:limit]), len(rows) > limit)


def _limit_length(connection: sqlite.Connection) -> None:
    # pysqlite3 lacks it.
    if hasattr(connection, "setlimit"):
        connection.setlimit(_LENGTH_LIMIT, _MOST_BYTES)


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action not in _ALLOWED or (action == _FUNCTION and second in _FORBIDDEN):
        return _DENY
    if action == _READ and first == _PRIVATE_TABLE:
        return _DENY
    return _OK


def _problem(error: sqlite.Error, deadline: float, timeout_s: float) -> str:
    if time.monotonic() > deadline:
        return f"the query took longer than {timeout_s:g} s"
    if "not authorized" in str(error) or "prohibited" in str(error):
        return f"only SELECT is allowed, and not of the table store: {error}"
    return str(error)
