"""
What is wrong, or soon will be, with a store, looked at from outside.

The database is never opened here: its files are looked at by name, and what only it can
tell, the time of its last event, is handed in. One finding for each check, in a fixed
order; a check that cannot be made says so as a warning.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from toolrt_store import errors, files
from toolrt_store.spool import SLOTS, Spool
from toolrt_store.sqlite import SQLITE_VERSION

Status = Literal["ok", "warn", "fail"]

WAL_WARNING_BYTES: Final = 64 << 20
MOST_CLOCK_STEP_US: Final = 300 * 1_000_000
#: Fewer slots than this and the next emergencies may find no room.
FEW_SLOTS: Final = 16
# Programs that write back the log of a database that others have open.
_CHECKPOINTERS: Final = frozenset(
    {"litestream", "sqlite3", "sqlitebrowser", "sqlite-utils", "datasette"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; ``fix`` says what to do, and is empty where all is well."""

    check: str
    status: Status
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a file of the store open."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.command})"


def check_store(
    path: str,
    *,
    last_event_us: int | None,
    now_us: int,
    reserve: int,
    group: str | None = None,
) -> tuple[Finding, ...]:
    """
    Return one finding for each check of the store at *path*.

    Never raises for what it finds.

    Args:
        last_event_us: The time of the last event; None if there is none.

        reserve: How many bytes are to stay free on the disk.

        group: The group that shares the store, if any.
    """
    path = os.path.abspath(path)
    holders = find_holders(path)
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("sqlite", lambda: check_sqlite(SQLITE_VERSION, holders)),
        ("log", lambda: check_log(path, holders)),
        ("space", lambda: check_space(path, reserve)),
        ("network", lambda: _check_disk(path)),
        ("directory", lambda: _check_directory(path, group)),
        ("files", lambda: _check_files(path, group)),
        ("clock", lambda: check_clock(last_event_us, now_us)),
        ("spool", lambda: check_spool(path, group)),
        ("key", lambda: _check_key(path)),
    ]
    return tuple(_guarded(path, name, check) for name, check in checks)


def _guarded(path: str, name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except errors.StoreError as error:
        text, _, fix = error.problem.partition(": ")
        return Finding(
            check=name,
            status="fail",
            text=text,
            fix=fix or "name another store: --store",
        )
    except (OSError, ValueError) as error:
        problem = errors.from_os(path, error).problem
        return Finding(check=name, status="warn", text=f"cannot be checked: {problem}")


def check_sqlite(version: str, holders: Sequence[Holder]) -> Finding:
    """Look for the SQLite that two checkpoints at once can corrupt a database with."""
    if not can_corrupt(version):
        return Finding(check="sqlite", status="ok", text=f"SQLite {version}")
    text = f"SQLite {version} can corrupt a database that two programs checkpoint"
    fix = "install pysqlite3, or an SQLite from 3.51.3 on that was not withdrawn"
    others = [one for one in holders if one.command in _CHECKPOINTERS]
    if not others:
        # toolrt's own processes checkpoint under the writing lock, one at a time.
        return Finding(check="sqlite", status="warn", text=text, fix=fix)
    text += f", and {_listed(others)} may do so"
    return Finding(check="sqlite", status="fail", text=text, fix=fix)


def can_corrupt(version: str) -> bool:
    """
    Return whether that version of SQLite has the bug that a WAL database can die of.

    3.7.0 to 3.51.2 have it, save 3.50.7 and 3.44.6, to which the repair was carried
    back; 3.52.0 was withdrawn.
    """
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if numbers == (3, 52, 0):
        return True
    if (3, 50, 7) <= numbers < (3, 51) or (3, 44, 6) <= numbers < (3, 45):
        return False
    return (3, 7) <= numbers < (3, 51, 3)


def check_log(path: str, holders: Sequence[Holder]) -> Finding:
    """Look whether the log grows without being written back, and who may hold it."""
    size = _size_of(f"{path}-wal")
    text = f"the log has {files.size_text(size)}"
    if holders:
        text += f"; the store is open in {_listed(holders)}"
    if size < WAL_WARNING_BYTES:
        return Finding(check="log", status="ok", text=text)
    fix = "end the process that reads the store for long; then the log is written back"
    return Finding(check="log", status="warn", text=text, fix=fix)


def check_space(path: str, reserve: int) -> Finding:
    """Hold the free space against the reserve."""
    directory = os.path.dirname(path)
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    free = files.free_bytes(directory)
    text = f"{files.size_text(free)} free, the reserve is {files.size_text(reserve)}"
    if free >= 2 * reserve:
        return Finding(check="space", status="ok", text=text)
    fix = "make room on the disk, or prune the store"
    status: Status = "fail" if free < reserve else "warn"
    return Finding(check="space", status=status, text=text, fix=fix)


def check_clock(last_event_us: int | None, now_us: int) -> Finding:
    """Hold the clock against the last event."""
    if last_event_us is None:
        return Finding(check="clock", status="ok", text="no event to hold it against")
    behind_us = last_event_us - now_us
    if behind_us <= 0:
        return Finding(check="clock", status="ok", text="not behind the last event")
    text = f"{behind_us / 1e6:.4g} s behind the last event"
    if behind_us <= MOST_CLOCK_STEP_US:
        return Finding(check="clock", status="ok", text=text)
    fix = "set the clock right: what has expired could count as valid again"
    return Finding(check="clock", status="fail", text=text, fix=fix)


def check_spool(path: str, group: str | None = None) -> Finding:
    """Look for records that wait to be replayed, and for room for more."""
    spool = Spool(path, group=group)
    if not os.path.lexists(f"{path}.spool"):
        fix = "open the store for writing once, by any call"
        return Finding(check="spool", status="warn", text="there is none", fix=fix)
    waiting, torn, free = len(spool.records()), len(spool.torn()), spool.free_slots()
    text = f"{waiting} records wait, {torn} slots are torn, {free} of {SLOTS} are free"
    if torn:
        fix = f"keep a copy of {shlex.quote(path)}.spool: a record was lost in part"
        return Finding(check="spool", status="fail", text=text, fix=fix)
    if waiting or free < FEW_SLOTS:
        fix = "open the store for writing: what waits is stored then"
        return Finding(check="spool", status="warn", text=text, fix=fix)
    return Finding(check="spool", status="ok", text=text)


def _check_disk(path: str) -> Finding:
    files.require_local(path)
    return Finding(check="network", status="ok", text="on a disk of this host")


def _check_directory(path: str, group: str | None) -> Finding:
    directory = os.path.dirname(path)
    if not os.path.lexists(directory):
        text, fix = f"{directory} is not there yet", "the first call makes it"
        return Finding(check="directory", status="warn", text=text, fix=fix)
    found = os.stat(directory)
    gid = files.group_id(group, path)
    if found.st_mode & stat.S_IWOTH:
        fix = f"chmod o-w {shlex.quote(directory)}"
        text = f"everyone may write to {directory}"
        return Finding(check="directory", status="fail", text=text, fix=fix)
    problem = files.owner_problem(found, euid=os.geteuid(), gid=gid)
    if problem is not None:
        return Finding(
            check="directory",
            status="warn",
            text=f"{directory} {problem}",
            fix="its owner can replace the store: use a directory of your own",
        )
    if found.st_mode & stat.S_IWGRP and found.st_gid != gid:
        fix = f"chmod g-w {shlex.quote(directory)}"
        text = f"its group may write to {directory}"
        return Finding(check="directory", status="warn", text=text, fix=fix)
    return Finding(check="directory", status="ok", text=f"{directory} is private")


def _check_files(path: str, group: str | None) -> Finding:
    if not files.is_there(path):
        return Finding(
            check="files",
            status="warn",
            text="there is no store yet",
            fix="the first call makes one",
        )
    gid = files.group_id(group, path)
    problems = [
        one for suffix in files.SUFFIXES for one in _file_problems(path, suffix, gid)
    ]
    if not problems:
        return Finding(check="files", status="ok", text="private, and ours")
    return Finding(
        check="files",
        status="fail" if any(one.status == "fail" for one in problems) else "warn",
        text="; ".join(one.text for one in problems),
        fix="; ".join(one.fix for one in problems),
    )


def _file_problems(path: str, suffix: str, gid: int | None) -> Iterator[Finding]:
    try:
        found = os.lstat(path + suffix)
    except FileNotFoundError:
        return
    name = os.path.basename(path + suffix)
    owner = files.owner_problem(found, euid=os.geteuid(), gid=gid)
    if owner is not None:
        fix = f"find out who made {shlex.quote(path + suffix)}"
        yield Finding(check="files", status="fail", text=f"{name} {owner}", fix=fix)
    mode = files.mode_problem(found, path + suffix, gid=gid)
    if mode is not None:
        text, _, fix = mode.partition(": ")
        # The others hold no data: they can be locked by whoever may read them.
        status: Status = "fail" if suffix in files.SECRET_SUFFIXES else "warn"
        text = f"{name} is {text}"
        yield Finding(check="files", status=status, text=text, fix=fix)


def _check_key(path: str) -> Finding:
    if _size_of(f"{path}.key"):
        return Finding(check="key", status="ok", text=f"{path}.key")
    return Finding(
        check="key",
        status="warn",
        text="there is no key to sign checkpoints with",
        fix="the next checkpoint makes one; if there was one, restore it",
    )


def _size_of(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _listed(holders: Sequence[Holder]) -> str:
    return ", ".join(str(one) for one in holders)


def find_holders(path: str, proc: str = "/proc") -> tuple[Holder, ...]:
    """
    Return the processes that have the database or its log open, as far as we may see.

    This one included; empty where the system does not tell.
    """
    try:
        real = os.path.realpath(path)
        wanted = {real, f"{real}-wal", f"{real}-shm"}
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal())
    except (OSError, ValueError):
        return ()
    return tuple(
        Holder(pid, _command_of(f"{proc}/{pid}"))
        for pid in pids
        if not wanted.isdisjoint(_open_files(f"{proc}/{pid}/fd"))
    )


def _open_files(directory: str) -> set[str]:
    try:
        return {_target(f"{directory}/{name}") for name in os.listdir(directory)}
    except OSError:
        return set()  # It has ended, or is another user's.


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _command_of(directory: str) -> str:
    try:
        return files.read_text(f"{directory}/comm").rstrip("\n")
    except OSError:
        return "ended"
