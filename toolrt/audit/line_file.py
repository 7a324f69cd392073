"""
A file of lines that several processes append to, and that may be moved meanwhile.

Every write is whole lines in one write with O_APPEND, so lines of two processes never mix.
What a crash or a full disk left of a line is closed off with a newline before the next
one. A file that was moved or removed is opened again under its name before the next write.

Locks keep no writer from another, and nobody for long: a write holds a shared one, so that
who looks for a cut line, or moves the file, can tell that no write is under way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from typing import Final

from toolrt.errors import SinkOpenError

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
#: The flag that keeps the open of a FIFO from waiting for a reader.
_AT_ONCE: Final = os.O_NONBLOCK
_MODE: Final = 0o600
_LOCK_TRIES: Final = 100
_LOCK_PAUSE_S: Final = 0.001


class LineFile:
    """
    Appends to *path*; made with mode 0600 if it is not there. For one thread at a time.

    A regular file, a FIFO that somebody reads or a device; never a link.
    """

    def __init__(self, path: str, *, rotate_bytes: int | None = None) -> None:
        """
        Open *path*.

        Raises:
            SinkOpenError: It cannot be opened, or is nothing to append to.
        """
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._must_reopen = False
        self._is_torn = False
        self._descriptor = _open(path)
        self._look_at(self._descriptor)

    def reopen(self) -> None:
        """Open the file anew before the next write. Safe in a signal handler."""
        self._must_reopen = True

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def write(self, data: bytes) -> int:
        """
        Append *data*, whole lines.

        Returns:
            How many bytes of it were written: all, or fewer if the disk is full and the
            like. What is left must begin with a whole line when it is written again.

        Raises:
            SinkOpenError: The file was moved, and cannot be opened under its name.
            OSError: Nothing could be written.
        """
        if self._must_reopen or (self._is_regular and self._was_moved()):
            self._reopen()
        if not self._is_regular:
            return os.write(self._descriptor, data)
        if self._rotate_bytes is not None:
            data = data[: self._room_for(data, self._rotate_bytes)]
        lead = b"\n" if self._is_torn else b""
        is_locked = _lock(self._descriptor, fcntl.LOCK_SH)
        try:
            count = os.write(self._descriptor, lead + data if lead else data)
        finally:
            if is_locked:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._is_torn = self._is_torn and count == 0
        count -= len(lead)
        if count <= 0:
            return 0
        # Of a line that was cut nothing counts: it is closed off and written again.
        whole = data.rfind(b"\n", 0, count) + 1
        self._is_torn = whole < count
        return whole

    def _reopen(self) -> None:
        fresh = _open(self.path)
        os.close(self._descriptor)
        self._descriptor = fresh
        self._must_reopen = False
        self._look_at(fresh)

    def _look_at(self, descriptor: int) -> None:
        info = os.fstat(descriptor)
        self._is_regular = stat.S_ISREG(info.st_mode)
        self._inode = (info.st_dev, info.st_ino)
        self._is_torn = self._is_regular and _ends_torn(self.path, descriptor)

    def _was_moved(self) -> bool:
        try:
            info = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return True
        return (info.st_dev, info.st_ino) != self._inode

    def _room_for(self, data: bytes, limit: int) -> int:
        """Return how many bytes of *data* to write, after a rotation if one is due."""
        size = os.fstat(self._descriptor).st_size
        first = data.find(b"\n") + 1
        if size and size + first > limit:
            self._rotate()
            size = os.fstat(self._descriptor).st_size
        # One line is written, however long it is.
        return max(first, data.rfind(b"\n", 0, max(0, limit - size)) + 1)

    def _rotate(self) -> None:
        """Move the file to the next free number, unless another process just did."""
        # Without the lock two that rotate would move one file over the other. Where it
        # is not to be had the file grows on.
        if not _lock(self._descriptor, fcntl.LOCK_EX):
            return
        if not self._was_moved():
            os.rename(self.path, _next_name(self.path))
        self._reopen()  # which lets go of the lock


def probe(path: str) -> None:
    """
    Raise if `LineFile` could not open *path*; make nothing.

    Raises:
        SinkOpenError: It says why.
    """
    try:
        os.close(_open(path, create=False))
    except SinkOpenError as exc:
        if exc.errno != errno.ENOENT:
            raise
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            problem = f"there is no directory {folder}"
            raise SinkOpenError(path, problem) from exc
        if not os.access(folder, os.W_OK | os.X_OK):
            problem = f"no file can be made in {folder}"
            raise SinkOpenError(path, problem) from exc


def _open(path: str, *, create: bool = True) -> int:
    flags = _FLAGS | _AT_ONCE | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, _MODE)
    except OSError as exc:
        error = SinkOpenError(path, _why(path, exc))
        error.errno = exc.errno
        raise error from exc
    except ValueError as exc:  # NUL in the name
        raise SinkOpenError(repr(path), str(exc)) from exc
    info = os.fstat(descriptor)
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        os.close(descriptor)
        raise SinkOpenError(path, "the file has other names too (hard links)")
    os.set_blocking(descriptor, True)
    return descriptor


def _why(path: str, exc: OSError) -> str:
    """Return in words why *path* could not be opened."""
    if exc.errno == errno.ELOOP:
        return "it is a symbolic link"
    if exc.errno == errno.ENXIO:
        try:
            is_fifo = stat.S_ISFIFO(os.lstat(path).st_mode)
        except OSError:
            is_fifo = False
        return "a FIFO that nobody reads" if is_fifo else "it is a socket"
    return exc.strerror or str(exc)


def _ends_torn(path: str, descriptor: int) -> bool:
    """Whether the last line has no end: a crash, or a full disk, cut it."""
    try:
        reader = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | _AT_ONCE)
    except OSError:  # a file that may be written and not read
        return False
    try:
        if not os.path.sameopenfile(reader, descriptor) or not _lacks_newline(reader):
            return False
        # Or another process is in the middle of a write. Where the lock is not to be had
        # the line counts as cut: at worst that costs an empty line.
        if not _lock(reader, fcntl.LOCK_EX):
            return True
        return _lacks_newline(reader)  # the close lets go of the lock
    finally:
        os.close(reader)


def _lacks_newline(reader: int) -> bool:
    size = os.fstat(reader).st_size
    return size > 0 and os.pread(reader, 1, size - 1) != b"\n"


def _lock(descriptor: int, kind: int) -> bool:
    """Lock within a tenth of a second, for whoever stopped with a lock must stop no other."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        except OSError:  # a file system without locks
            return False
        else:
            return True
    return False


def _next_name(path: str) -> str:
    """Return *path* with a number that is above those of all files rotated before."""
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.([0-9]+)")
    found = (pattern.fullmatch(one) for one in os.listdir(folder or "."))
    return f"{path}.{max((int(one[1]) for one in found if one), default=0) + 1}"
