"""
The files of a store: what may stand at its path, and how its own files are made.

The database, its ``-wal`` and its ``-shm`` are never opened here once they exist:
closing any descriptor of them drops the locks that SQLite holds for the whole process,
and committed events have been lost that way. They are looked at with ``lstat`` only. A
new database is made under another name and renamed, so that a store is either whole or
not there. What is made is private whatever the umask, or shared by one group alone.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from typing import Final

from toolrt_store import errors

_PRIVATE_FILE: Final = 0o600
_SHARED_FILE: Final = 0o660
_PRIVATE_DIRECTORY: Final = 0o700
_SHARED_DIRECTORY: Final = 0o2770
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
#: What may stand beside the name of a database, and what of it holds stored data.
SUFFIXES: Final = ("", "-wal", "-shm", ".lock", ".live", ".spool", ".key")
SECRET_SUFFIXES: Final = ("", "-wal", "-shm", ".spool", ".key")
#: The memory that SQLite's processes share through ``-shm`` ends at the host.
_NETWORK_TYPES: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "glusterfs"}
    | {"gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "sshfs"}
)
_MOUNT_POINT: Final = 4  # proc_pid_mountinfo(5) counts it as (5)


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


def has_log(path: str) -> bool:
    """Return whether the database at *path* has a log with something in it."""
    try:
        return os.lstat(f"{path}-wal").st_size > 0
    except OSError:
        return False


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


def group_id(group: str | None, db_path: str) -> int | None:
    """
    Return the number of *group*; None for None.

    Raises:
        StoreUnavailableError: There is no such group, or we are not in it.
    """
    if group is None:
        return None
    try:
        gid = _lookup(group)
    except (KeyError, ValueError) as error:
        problem = f"there is no group {group!r} to share it with"
        raise errors.StoreUnavailableError(db_path, problem) from error
    # Only root may give a file to a group that it is not in.
    if os.geteuid() and gid != os.getegid() and gid not in os.getgroups():
        problem = f"this user is not in the group {group!r} that shares it"
        raise errors.StoreUnavailableError(db_path, problem)
    return gid


@cache  # The groups may come over a network, and one open asks several times.
def _lookup(group: str) -> int:
    import grp

    return grp.getgrnam(group).gr_gid


def require_private(db_path: str, *, group: str | None = None) -> None:
    """
    Check who owns the files of the store at *db_path* and who may read or write them.

    With *group*, its members may own and share them.

    Raises:
        ForeignStoreError: A file belongs to another user.
        StoreUnavailableError: A file that holds stored data is open to others.
    """
    gid, euid = group_id(group, db_path), os.geteuid()
    for suffix in SUFFIXES:
        path = db_path + suffix
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise errors.from_os(db_path, error) from error
        problem = owner_problem(found, euid=euid, gid=gid)
        if problem is not None:
            name = os.path.basename(path)
            raise errors.ForeignStoreError(db_path, f"{name} {problem}")
        problem = mode_problem(found, path, gid=gid)
        if suffix in SECRET_SUFFIXES and problem is not None:
            raise errors.StoreUnavailableError(db_path, problem)


def owner_problem(found: os.stat_result, *, euid: int, gid: int | None) -> str | None:
    """Return why a file of that owner is none of ours; None if it may be."""
    if found.st_uid in (euid, 0) or found.st_gid == gid:
        return None
    return f"belongs to the user {found.st_uid}, not to {euid}"


def mode_problem(found: os.stat_result, path: str, *, gid: int | None) -> str | None:
    """Return to whom the file at *path* is open that it should not be, and the cure."""
    mode = stat.S_IMODE(found.st_mode)
    if gid is not None and found.st_gid == gid:
        wide, right = mode & 0o007, "660"
    else:
        wide, right = mode & 0o077, "600"
    # The bits of a symbolic link mean nothing; other checks refuse it.
    if not wide or stat.S_ISLNK(found.st_mode):
        return None
    import shlex

    who = "others" if wide & 0o007 else "its group"
    return f"open to {who} (mode {mode:04o}): chmod {right} {shlex.quote(path)}"


def prepare_directory(db_path: str, *, group: str | None = None) -> None:
    """
    Make the directory of *db_path*, 0700, or check the one that is there.

    With *group*, what is made is 2770 and belongs to that group.

    Raises:
        StoreUnavailableError: It cannot be made, is none, or everyone may write to it.
    """
    gid = group_id(group, db_path)
    try:
        _prepare(os.path.dirname(db_path), db_path, gid)
    except (OSError, ValueError) as error:
        raise errors.from_os(db_path, error) from error


def _prepare(directory: str, db_path: str, gid: int | None) -> None:
    try:
        mode = os.stat(directory).st_mode
    except FileNotFoundError:
        _make_directories(directory, gid)
        return
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError
    if mode & stat.S_IWOTH:  # sticky or not: anybody could make the files beside it
        raise errors.StoreUnavailableError(
            db_path, f"everyone may write to its directory {directory}"
        )


def _make_directories(directory: str, gid: int | None) -> None:
    parent = os.path.dirname(directory)
    if not os.path.isdir(parent):
        _make_directories(parent, gid)
    try:
        os.mkdir(directory, _PRIVATE_DIRECTORY)
    except FileExistsError:
        # Another process was faster; what it made is checked like any other.
        _prepare(directory, directory, gid)
    else:
        if gid is not None:
            os.chown(directory, -1, gid)
        # mkdir takes bits away by the umask, and knows no setgid.
        os.chmod(directory, _PRIVATE_DIRECTORY if gid is None else _SHARED_DIRECTORY)
        sync_directory(parent)


def open_beside(path: str, flags: int, *, group: str | None = None) -> int:
    """
    Return a descriptor of *path*, a file that stands beside the database.

    If *flags* hold ``O_CREAT`` and it is missing, it is made 0600, or 0660 for *group*.
    It is not inherited by tools.

    Raises:
        StoreUnavailableError: It cannot be opened, or is no regular file. Without
            ``O_CREAT`` the OSError goes through.
    """
    try:
        fd = _open_or_make(path, flags, group)
    except OSError as error:
        if not flags & os.O_CREAT:
            raise
        raise errors.from_os(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise errors.StoreUnavailableError(path, "is not a regular file")
    return fd


def _open_or_make(path: str, flags: int, group: str | None) -> int:
    # O_NONBLOCK: a FIFO in its place must not hang us.
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags & ~os.O_CREAT)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    try:
        return make(path, flags, group_id(group, path))
    except FileExistsError:
        # Another process was faster.
        return os.open(path, flags & ~os.O_CREAT)


def make(path: str, flags: int, gid: int | None = None) -> int:
    """Return a descriptor of a new file, 0600 or 0660; OSErrors go through."""
    fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    try:
        if gid is not None:
            os.fchown(fd, -1, gid)
        os.fchmod(fd, _PRIVATE_FILE if gid is None else _SHARED_FILE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def require_local(db_path: str, *, mountinfo: str = "/proc/self/mountinfo") -> None:
    """
    Check that *db_path* is not on a network file system, where the system tells.

    Raises:
        StoreUnavailableError: It is on one.
    """
    try:
        directory = os.path.realpath(os.path.dirname(db_path))
        if _is_on_block_device(directory):
            return
    except (OSError, ValueError) as error:
        raise errors.from_os(db_path, error) from error
    try:
        kind = file_system(read_text(mountinfo), directory)
    except OSError:
        return  # Not Linux.
    if kind is not None and is_network(kind):
        problem = (
            f"on the network file system {kind}; --store names one on a local disk"
        )
        raise errors.StoreUnavailableError(db_path, problem)


def read_text(path: str) -> str:
    """Return what a file of the system says, below ``/proc`` say; never one of ours."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _is_on_block_device(directory: str) -> bool:
    # Local, and most stores are on one: then there is nothing to read.
    try:
        return os.major(os.stat(directory).st_dev) != 0
    except FileNotFoundError:
        return False  # Made later; where it will be can be told now.


def file_system(mountinfo: str, directory: str) -> str | None:
    """Return the type of what is mounted at *directory*, a real path, by that text."""
    longest, kind = -1, None
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) <= _MOUNT_POINT or not source:
            continue
        point = _unescaped(fields[_MOUNT_POINT]).rstrip("/")
        is_above = directory == point or directory.startswith(f"{point}/")
        # Of two mounts at one point the later one hides the other.
        if is_above and len(point) >= longest:
            longest, kind = len(point), source.split(" ")[0]
    return kind


def _unescaped(field: str) -> str:
    for code, character in ("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\"):
        field = field.replace(f"\\{code}", character)
    return field


def is_network(kind: str) -> bool:
    """Return whether a file system of that type is, or may be, that of another host."""
    return kind in _NETWORK_TYPES or kind.startswith("fuse.")


def free_bytes(path: str) -> int:
    """
    Return how much this user may still write to the disk of *path*.

    Raises:
        StoreUnavailableError: It cannot be asked.
    """
    try:
        found = os.statvfs(path)
    except (OSError, ValueError) as error:
        raise errors.from_os(path, error) from error
    return found.f_bavail * found.f_frsize


def require_space(path: str, reserve: int) -> None:
    """
    Check that the disk of *path* has *reserve* bytes left.

    Raises:
        StoreUnavailableError: It has fewer, or cannot be asked.
    """
    free = free_bytes(path)
    if free < reserve:
        problem = f"{size_text(free)} free on its disk, less than the reserve of "
        raise errors.StoreUnavailableError(path, problem + size_text(reserve))


def size_text(size: int) -> str:
    """Return *size* bytes as people read it."""
    return f"{size / 2**20:.4g} MiB" if size < 1 << 30 else f"{size / 2**30:.1f} GiB"


def begin_new(db_path: str, *, group: str | None = None) -> str:
    """
    Make an empty file for a new database, 0600 or 0660, and return its path.

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
    gid = group_id(group, db_path)
    try:
        discard_new(new_path)
        # Before the first connection, so no lock of SQLite is lost by closing it.
        os.close(make(new_path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, gid))
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
        sync_directory(os.path.dirname(db_path))
    except OSError as error:
        raise errors.from_os(db_path, error) from error


def sync_directory(directory: str) -> None:
    """Make the entries of *directory* survive a loss of power."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
