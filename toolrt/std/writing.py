"""
``fs.write`` and ``fs.edit``: a file is replaced as a whole, or stays as it was.

The new text goes to a file of its own beside the old one and takes over its name, all by
the descriptor of their directory. So nobody ever reads half a text, and no link, put
there at whatever moment, is written through.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from toolrt.context import CallContext
from toolrt.errors import ToolError
from toolrt.std import paths
from toolrt.std.deadline import require_time
from toolrt.std.files import read_at_most
from toolrt.std.settings import StdSettings

Create = Literal["new", "replace", "either"]

_NEW: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
)
_PERMISSION_BITS: Final = 0o777


def write(  # noqa: PLR0917 - bound by name, from the tool's arguments
    settings: StdSettings,
    ctx: CallContext,
    path: str,
    text: str,
    create: Create = "either",
    parents: bool = False,  # noqa: FBT001, FBT002 - an argument of the tool
) -> dict[str, Any]:
    """
    Make *text* the content of the file *path*, whole or not at all.

    A file that is replaced keeps its permissions; a link is never written through.

    Raises:
        ToolError: The codes of `paths.open_parent`, ``EXISTS``, ``NOT_FOUND``,
            ``NOT_A_FILE``, ``TOO_LARGE`` or ``ENCODING``.

        ToolTimeoutError: The call's time was used up; nothing was written.
    """
    data = _encoded(text, settings, path)
    with _opened_parent(settings, path, with_parents=parents) as place:
        old = _existing(settings, place, path)
        if old is None and create == "replace":
            raise ToolError("NOT_FOUND", f"{path} does not exist")
        if old is not None and create == "new":
            raise ToolError("EXISTS", f"{path} exists")
        with _written_beside(place, data, old) as name:
            require_time(ctx)
            if create == "new":
                _take_free_name(place, name, path)
            else:
                _take_name(place, name)
    digest = hashlib.sha256(data).hexdigest()
    created = old is None
    return {"path": path, "bytes": len(data), "created": created, "sha256": digest}


def edit(  # noqa: PLR0917 - bound by name, from the tool's arguments
    settings: StdSettings,
    ctx: CallContext,
    path: str,
    old: str,
    new: str,
    all: bool = False,  # noqa: FBT001, FBT002 - an argument of the tool
    expected_sha256: str | None = None,
) -> dict[str, Any]:
    """
    Replace the text *old* in the file *path* by *new*, once or, on demand, everywhere.

    The file must be the one that was read, at the end of the call still, and at its
    beginning the one with the digest *expected_sha256* if that is given.

    Raises:
        ToolError: The codes of `paths.open_parent`, ``FILE_MODIFIED``, ``NO_MATCH``,
            ``AMBIGUOUS``, ``NOT_A_FILE``, ``TOO_LARGE`` or ``ENCODING``.

        ToolTimeoutError: The call's time was used up; nothing was changed.
    """
    with _opened_parent(settings, path) as place:
        if _existing(settings, place, path) is None:
            raise ToolError("NOT_FOUND", f"{path} does not exist")
        was, before = _content(settings, ctx, place, path)
        if expected_sha256 not in (None, hashlib.sha256(before).hexdigest()):
            raise _modified(path)
        text, count = _replaced(_decoded(before, path), old, new, everywhere=all)
        data = _encoded(text, settings, path)
        with _written_beside(place, data, was) as name:
            require_time(ctx)
            if _identity(_status(place)) != _identity(was):
                raise _modified(path)
            _take_name(place, name)
    digest = hashlib.sha256(data).hexdigest()
    return {"path": path, "replaced": count, "sha256": digest}


@contextmanager
def _opened_parent(
    settings: StdSettings, path: str, *, with_parents: bool = False
) -> Iterator[paths.Place]:
    """Keep the directory of *path* open, and put what the system refuses into words."""
    place = paths.open_parent(settings.roots, path, with_parents=with_parents)
    try:
        yield place
    except IsADirectoryError as exc:  # put there since we looked
        raise ToolError("IS_DIR", f"{path} is a directory") from exc
    except OSError as exc:
        raise paths.tool_error(exc, path) from exc
    finally:
        os.close(place.directory)


def _status(place: paths.Place) -> os.stat_result | None:
    try:
        return os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _existing(
    settings: StdSettings, place: paths.Place, path: str
) -> os.stat_result | None:
    """Return the status of the file that may be replaced, None if there is none."""
    status = _status(place)
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise ToolError("IS_DIR", f"{path} is a directory")
    if stat.S_ISLNK(status.st_mode):
        raise _link_error(settings, path)
    if not stat.S_ISREG(status.st_mode):
        raise ToolError("NOT_A_FILE", f"{path} is no regular file")
    # A new name for a new file would get around a file's being read-only.
    if not os.access(place.name, os.W_OK, dir_fd=place.directory):
        raise ToolError("PERMISSION", f"{path} may not be written")
    return status


def _link_error(settings: StdSettings, path: str) -> ToolError:
    try:
        os.close(paths.open_inside(settings.roots, path).fd)
    except ToolError as exc:
        if exc.code == "OUTSIDE_ROOTS":
            return exc
    return ToolError("NOT_A_FILE", f"{path} is a link; write to what it stands for")


def _content(
    settings: StdSettings, ctx: CallContext, place: paths.Place, path: str
) -> tuple[os.stat_result, bytes]:
    """Return the status of the file before it was read, and all that is in it."""
    fd = paths.open_regular(place.name, place.directory)
    try:
        status = os.fstat(fd)
        data = read_at_most(fd, settings.max_bytes + 1, ctx)
    finally:
        os.close(fd)
    if len(data) > settings.max_bytes:
        raise _too_large(settings, path)
    return status, data


def _identity(status: os.stat_result | None) -> tuple[int, ...] | None:
    """Return what tells one state of one file from every other."""
    if status is None:
        return None
    # The time of the last change of the inode cannot be set back by its owner.
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)


def _replaced(text: str, old: str, new: str, *, everywhere: bool) -> tuple[str, int]:
    first = text.find(old)
    if first < 0:
        raise ToolError("NO_MATCH", "the text to replace is not in the file")
    count = text.count(old)
    # Occurrences that overlap leave open as well which one is meant.
    if not everywhere and text.find(old, first + 1) >= 0:
        problem = f"the text to replace is in the file {max(count, 2)} times"
        raise ToolError("AMBIGUOUS", problem)
    return text.replace(old, new), count


@contextmanager
def _written_beside(
    place: paths.Place, data: bytes, old: os.stat_result | None
) -> Iterator[str]:
    """
    Write *data* to a new file beside *place*, safe on disk, and give its name.

    It is gone afterwards unless it was given another name.
    """
    name = f".toolrt-{os.urandom(8).hex()}.tmp"
    try:
        mode = 0o666 if old is None else 0o600
        fd = os.open(name, _NEW, mode, dir_fd=place.directory)
        with open(fd, "wb", buffering=0) as file:
            _write_all(file.write, data)
            if old is not None:
                _resemble(fd, old)
            os.fsync(fd)
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place.directory)


def _write_all(put: Callable[[memoryview], int | None], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[put(left) or 0 :]


def _resemble(fd: int, old: os.stat_result) -> None:
    """Give the file at *fd* the owner, as far as we may, and the permissions of *old*."""
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, stat.S_IMODE(old.st_mode) & _PERMISSION_BITS)


def _take_name(place: paths.Place, name: str) -> None:
    here = place.directory
    os.rename(name, place.name, src_dir_fd=here, dst_dir_fd=here)


def _take_free_name(place: paths.Place, name: str, path: str) -> None:
    """Give the file *name* its place as well, unless another has it."""
    here = place.directory
    try:
        os.link(name, place.name, src_dir_fd=here, dst_dir_fd=here)
    except FileExistsError as exc:
        raise ToolError("EXISTS", f"{path} exists") from exc


def _encoded(text: str, settings: StdSettings, path: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as exc:
        raise ToolError("ENCODING", f"{path}: the text is no Unicode text") from exc
    if len(data) > settings.max_bytes:
        raise _too_large(settings, path)
    return data


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ToolError("ENCODING", f"{path} is not UTF-8 at byte {exc.start}") from exc


def _too_large(settings: StdSettings, path: str) -> ToolError:
    return ToolError("TOO_LARGE", f"{path}: more than {settings.max_bytes} bytes")


def _modified(path: str) -> ToolError:
    return ToolError("FILE_MODIFIED", f"{path} is not as it was when it was read")
