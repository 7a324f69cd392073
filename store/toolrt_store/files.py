"""
The files of a store: what may stand at its path, and how its own files are made.

The database, its ``-wal`` and its ``-shm`` are never opened here once they exist:
closing any descriptor of them drops the locks that SQLite holds for the whole process,
and committed events have been lost that way. They are looked at with ``lstat`` only. A
new database is made under another name and renamed, so that a store is either whole or
not there.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from toolrt_store import errors

_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


def is_there(path: str) -> bool:
    """
    Return whether a file that may be a store stands at *path*.

    Raises:
        ForeignStoreError: Something stands there that no store can be.
        StoreUnavailableError: The path cannot be looked at.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise errors.from_os(path, error) from error
    problem = _problem_with(found)
    if problem is not None:
        raise errors.ForeignStoreError(path, problem)
    return True


def _problem_with(found: os.stat_result) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if stat.S_ISDIR(found.st_mode):
        return "is a directory"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_nlink > 1:
        return f"has {found.st_nlink} hard links"
    if found.st_size == 0:
        return "is an empty file"
    return None


def prepare_directory(db_path: str) -> None:
    """
    Make the directory of *db_path*, 0700, or check the one that is there.

    Raises:
        StoreUnavailableError: It cannot be made, is none, or everyone may write to it.
    """
    try:
        _prepare(os.path.dirname(db_path), db_path)
    except (OSError, ValueError) as error:
        raise errors.from_os(db_path, error) from error


def _prepare(directory: str, db_path: str) -> None:
    try:
        mode = os.stat(directory).st_mode
    except FileNotFoundError:
        _make_directories(directory)
        return
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError
    if mode & stat.S_IWOTH:  # sticky or not: anybody could make the files beside it
        raise errors.StoreUnavailableError(
            db_path, f"everyone may write to its directory {directory}"
        )


def _make_directories(directory: str) -> None:
    parent = os.path.dirname(directory)
    if not os.path.isdir(parent):
        _make_directories(parent)
    try:
        os.mkdir(directory, _PRIVATE_DIRECTORY)
    except FileExistsError:
        # Another process was faster; what it made is checked like any other.
        _prepare(directory, directory)
    else:
        _sync_directory(parent)


def open_beside(path: str, flags: int) -> int:
    """
    Return a descriptor of *path*, a file that stands beside the database.

    It is made 0600 if *flags* hold ``O_CREAT``, and is not inherited by tools.

    Raises:
        StoreUnavailableError: It cannot be opened, or is no regular file. Without
            ``O_CREAT`` the OSError goes through.
    """
    # O_NONBLOCK: a FIFO in its place must not hang us.
    safe = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags | safe, _PRIVATE_FILE)
    except OSError as error:
        if not flags & os.O_CREAT:
            raise
        raise errors.from_os(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise errors.StoreUnavailableError(path, "is not a regular file")
    return fd


def begin_new(db_path: str) -> str:
    """
    Make an empty file for a new database, 0600, and return its path.

    The writing lock must be held: what a killed process left there is removed.

    Raises:
        ForeignStoreError: A log of another database waits beside *db_path*.
        StoreUnavailableError: The file cannot be made.
    """
    for suffix in _SIDE_FILES:
        # SQLite would play a stray log into the new database.
        if os.path.lexists(db_path + suffix):
            raise errors.ForeignStoreError(
                db_path, f"is missing, but {os.path.basename(db_path)}{suffix} is left"
            )
    new_path = f"{db_path}.new"
    try:
        discard_new(new_path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new_path, flags, _PRIVATE_FILE)
        # Before the first connection, so no lock of SQLite is lost by closing it.
        os.close(fd)
    except OSError as error:
        raise errors.from_os(db_path, error) from error
    return new_path


def discard_new(new_path: str) -> None:
    """Remove what `begin_new` made, its logs included."""
    for suffix in ("", *_SIDE_FILES):
        try:
            os.unlink(new_path + suffix)
        except FileNotFoundError:
            continue


def finish_new(new_path: str, db_path: str) -> None:
    """
    Give the new database its name, durably. The writing lock must be held.

    Raises:
        StoreUnavailableError: It cannot be renamed.
    """
    try:
        os.rename(new_path, db_path)
        _sync_directory(os.path.dirname(db_path))
    except OSError as error:
        raise errors.from_os(db_path, error) from error


def _sync_directory(directory: str) -> None:
    """Make the entries of *directory* survive a loss of power."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
