"""
Backups: a whole copy of a store as it was at one moment, taken while writers go on.

The copy is made by SQLite's backup interface in a process of its own
(``python -I -m toolrt_store.backup SOURCE TARGET``), so that no descriptor of the
database is ever opened and closed in a process that writes to it. One read transaction
holds the moment: with it the copy never starts over, and without a lock nobody waits.
The target gets its name when it is whole and synced.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Final

import msgspec

from toolrt_store import database, errors, files, sqlite
from toolrt_store.python_child import boot, command

_STEP_PAGES: Final = 1024
_PAUSE_S: Final = 0.005
_SNAPSHOT: Final = "SELECT coalesce(max(seq), 0) FROM events"
_BOOT: Final = boot("toolrt_store.backup")
_FAILED: Final = 6
_USAGE: Final = 2


class _Answer(msgspec.Struct, omit_defaults=True):
    """What the process says when it is done: the last event copied, or what failed."""

    last_seq: int | None = None
    code: str = ""
    path: str = ""
    problem: str = ""
    found: int = 0
    supported: int = 0


def backup(source: str, target: str, *, timeout_s: float) -> int:
    """
    Copy the store at *source* to *target*, 0600; return the last sequence number in it.

    Raises:
        StoreMissingError: There is no store at *source*.
        StoreError: It cannot be read or is foreign; *target* exists already or cannot
            be written; or it took longer than *timeout_s*. No half of it is left.
    """
    source, target = os.path.abspath(source), os.path.abspath(target)
    for path in (source, target):
        if "\0" in path:
            raise errors.StoreUnavailableError(path, "embedded null byte")
    with _start(source, target) as process:
        try:
            said, complaint = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            problem = f"the backup of {source} took longer than {timeout_s:g} s"
            raise errors.StoreUnavailableError(target, problem) from None
        finally:
            # Also when we are interrupted: its half of a copy goes with it, even if it
            # ended by itself this moment.
            process.kill()
            process.wait()
            with suppress(errors.StoreError):
                _discard(_part_path(target, process.pid))
    return _understood(source, target, said, complaint)


def _start(source: str, target: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter, without a shell
            command(_BOOT, source, target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise errors.from_os(target, error) from error


def _understood(source: str, target: str, said: bytes, complaint: bytes) -> int:
    try:
        answer = msgspec.json.decode(said, type=_Answer)
    except msgspec.DecodeError:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        problem = f"the backup of {source} failed: {last or 'its process ended'}"
        raise errors.StoreUnavailableError(target, problem) from None
    if answer.last_seq is None:
        raise _error_of(answer)
    return answer.last_seq


def _error_of(answer: _Answer) -> errors.StoreError:
    if answer.code == errors.StoreMissingError.code:
        return errors.StoreMissingError(answer.path)
    if answer.code == errors.StoreTooNewError.code:
        found, supported = answer.found, answer.supported
        return errors.StoreTooNewError(answer.path, found, supported)
    if answer.code == errors.ForeignStoreError.code:
        return errors.ForeignStoreError(answer.path, answer.problem)
    return errors.StoreUnavailableError(answer.path, answer.problem)


def copy_store(
    source: str, target: str, *, pause: Callable[[float], None] = time.sleep
) -> int:
    """
    Make the copy in this process; `backup` keeps it out of one that writes.

    Raises:
        StoreError: As `backup` does.
    """
    _require_free(target)
    part = _part_path(target, os.getpid())
    with closing(database.open_reader(source)) as connection:
        _make(part)
        try:
            last_seq = _copy(connection, source, part, pause)
            _give_name(part, target)
        except BaseException:
            _discard(part)
            raise
    return last_seq


def _copy(
    connection: sqlite.Connection,
    source: str,
    part: str,
    pause: Callable[[float], None],
) -> int:
    def progress(status: int, remaining: int, total: int) -> None:
        if remaining:
            pause(_PAUSE_S)

    try:
        # Not ended before the copy is: what writers add meanwhile is not in it.
        connection.execute("BEGIN")
        last_seq: int = connection.execute(_SNAPSHOT).fetchone()[0]
        with closing(sqlite.connect(part, isolation_level=None)) as copy:
            # Until it has its name it is nothing; then it is synced whole.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            connection.backup(copy, pages=_STEP_PAGES, progress=progress)
    except sqlite.Error as error:
        raise errors.from_sqlite(
            source, error, waited_s=database.BUSY_TIMEOUT_S
        ) from error
    return last_seq


def _require_free(target: str) -> None:
    if os.path.lexists(target):
        raise errors.StoreUnavailableError(target, "exists already")


def _make(part: str) -> None:
    _discard(part)  # Of a process that had this number and was killed.
    try:
        os.close(files.make(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        raise errors.from_os(part, error) from error


def _give_name(part: str, target: str) -> None:
    try:
        # The copy's own connection is closed, so no lock of SQLite is lost with it.
        fd = files.open_beside(part, os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        _require_free(target)
    except OSError as error:
        raise errors.from_os(target, error) from error
    files.finish_new(part, target)


def _discard(part: str) -> None:
    try:
        files.discard_new(part)
    except OSError as error:
        raise errors.from_os(part, error) from error


def _part_path(target: str, pid: int) -> str:
    return f"{target}.{pid}.part"


def main(arguments: Sequence[str]) -> int:
    """Copy one store to another path and say so in JSON; return the exit code."""
    if len(arguments) != 2:  # noqa: PLR2004 - source and target
        sys.stderr.write("usage: python -I -m toolrt_store.backup SOURCE TARGET\n")
        return _USAGE
    source, target = map(os.path.abspath, arguments)
    try:
        answer = _Answer(last_seq=copy_store(source, target))
    except errors.StoreError as error:
        answer = _Answer(
            code=error.code,
            path=error.path,
            problem=error.problem,
            found=getattr(error, "found", 0),
            supported=getattr(error, "supported", 0),
        )
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0 if answer.last_seq is not None else _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
