"""
Which files a store has open, to notice that others stand in their place.

A database that is removed, renamed or restored while it is open goes on being written
to: the commits succeed, and nobody will ever read them. Its files are looked at by
their names, never opened. What is copied *into* the same file cannot be seen here.
"""

from __future__ import annotations

import os
from typing import Final, Self

from toolrt_store import errors

_REOPEN: Final = "nothing was written; open the store again"


class Generation:
    """
    The files that stood at the names of a store when it was opened.

    Made by `of`, once the connection has read: by then the log is there. A log that
    appears later is remembered at the first `check` that sees it.
    """

    __slots__ = ("_database", "_path", "_wal", "_wal_path")

    def __init__(
        self, path: str, database: tuple[int, int], wal: tuple[int, int] | None
    ) -> None:
        self._path = path
        self._wal_path = f"{path}-wal"
        self._database = database
        self._wal = wal

    @classmethod
    def of(cls, path: str) -> Self:
        """
        Return the generation of the store that is open at *path*.

        Raises:
            StoreUnavailableError: There is none, or it cannot be looked at.
        """
        try:
            found = os.lstat(path)
        except (OSError, ValueError) as error:
            raise errors.from_os(path, error) from error
        log = _seen(path, f"{path}-wal")
        wal = None if log is None else _identity(log)
        return cls(path, _identity(found), wal)

    def check(self) -> tuple[os.stat_result, os.stat_result | None]:
        """
        Check that the files are still the same; to be asked before every commit.

        Returns:
            The database and its log as they are, the log None if there is none yet.

        Raises:
            StoreUnavailableError: The database or its log was removed or replaced, or
                the database has a second name.
        """
        path = self._path
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            raise self._refusal("removed", path) from None
        except OSError as error:
            raise errors.from_os(path, error) from error
        if _identity(found) != self._database:
            raise self._refusal("replaced", path)
        if found.st_nlink != 1:
            problem = f"has {found.st_nlink} hard links since it was opened"
            raise errors.StoreUnavailableError(path, f"{problem}: {_REOPEN}")
        log = _seen(path, self._wal_path)
        wal = None if log is None else _identity(log)
        if wal != self._wal:
            if self._wal is not None:
                what = "removed" if wal is None else "replaced"
                raise self._refusal(what, self._wal_path)
            self._wal = wal
        return found, log

    def _refusal(self, what: str, path: str) -> errors.StoreUnavailableError:
        problem = f"{os.path.basename(path)} was {what} while it was open: {_REOPEN}"
        return errors.StoreUnavailableError(self._path, problem)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _seen(db_path: str, path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.from_os(db_path, error) from error
