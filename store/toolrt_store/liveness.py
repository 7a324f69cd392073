"""
Which of the processes that wrote to a store still live.

Each process that writes holds a lock on one byte of ``<db>.live`` for its life, at the
offset that is its number in the table ``processes``. The kernel drops the lock however
the process ends, so no pid is ever trusted. Where the system has locks that belong to
an open file (Linux) they are used: they survive the closing of other descriptors of the
file and are seen from inside the same process. Elsewhere they are plain POSIX locks,
which two stores of one process over one file would share.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from typing import Final

from toolrt_store import errors
from toolrt_store.files import open_beside

_SETLK: Final[int] = getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK)
_GETLK: Final[int] = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)
_OFD: Final = hasattr(fcntl, "F_OFD_SETLK")
_END: Final = 1 << 62
_DARWIN: Final = sys.platform == "darwin"
# struct flock: type, whence, start, length, pid on Linux; macOS has the numbers first.
_FLOCK: Final = struct.Struct("qqihh" if _DARWIN else "hhqqi4x")


class Liveness:
    """The ``.live`` file of one store object: holds own bytes, asks about the others."""

    def __init__(self, db_path: str, *, group: str | None = None) -> None:
        self._db_path = db_path
        self._path = f"{db_path}.live"
        self._group = group
        self._fd: int | None = None
        self._held: set[int] = set()

    def hold(self, slot: int) -> None:
        """
        Hold the byte of *slot* until `drop` or `close`, or the end of the process.

        Raises:
            StoreUnavailableError: It cannot be locked.
        """
        if self._fd is None:
            self._fd = open_beside(
                self._path, os.O_RDWR | os.O_CREAT, group=self._group
            )
        self._set(fcntl.F_WRLCK, slot)
        self._held.add(slot)

    def drop(self, slot: int) -> None:
        """Give the byte of *slot* back."""
        if slot in self._held:
            self._held.discard(slot)
            self._set(fcntl.F_UNLCK, slot)

    def lent(self) -> tuple[int, ...]:
        """
        Return the descriptors that a child inherits so that the bytes stay held.

        Where the locks belong to the open file: there until both have closed it.
        """
        return (self._fd,) if _OFD and self._fd is not None else ()

    def live_slots(self) -> frozenset[int]:
        """
        Return the slots that are held by living processes, this one included.

        Raises:
            StoreUnavailableError: The ``.live`` file exists and cannot be asked.
        """
        # POSIX locks of this process are invisible to it, and closing a second
        # descriptor would drop them: without OFD locks ask through the first.
        if not _OFD and self._fd is not None:
            return frozenset(_locked_bytes(self._fd)) | self._held
        try:
            fd = open_beside(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise errors.from_os(self._db_path, error) from error
        try:
            return frozenset(_locked_bytes(fd))
        finally:
            os.close(fd)

    def is_alive(self, slot: int) -> bool:
        """Return whether the process with that slot lives. Raises like `live_slots`."""
        return slot in self.live_slots()

    def close(self) -> None:
        """Drop every byte."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._held.clear()

    def _set(self, kind: int, slot: int) -> None:
        assert self._fd is not None
        try:
            fcntl.fcntl(self._fd, _SETLK, _pack(kind, slot, 1))
        except OSError as error:
            raise errors.from_os(self._db_path, error) from error


def _locked_bytes(fd: int) -> Iterator[int]:
    # One question names some lock inside a range, not the first one: halve around it.
    ranges = [(0, _END)]
    while ranges:
        start, end = ranges.pop()
        if start >= end:
            continue
        answer = fcntl.fcntl(fd, _GETLK, _pack(fcntl.F_WRLCK, start, end - start))
        kind, found, length = _unpack(answer)
        if kind == fcntl.F_UNLCK:
            continue
        last = found + length if length else end
        yield from range(max(found, start), min(last, end))
        ranges += [(start, found), (last, end)]


def _pack(kind: int, start: int, length: int) -> bytes:
    if _DARWIN:
        return _FLOCK.pack(start, length, 0, kind, os.SEEK_SET)
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def _unpack(answer: bytes) -> tuple[int, int, int]:
    if _DARWIN:
        start, length, _, kind, _ = _FLOCK.unpack(answer)
        return kind, start, length
    kind, _, start, length, _ = _FLOCK.unpack(answer)
    return kind, start, length
