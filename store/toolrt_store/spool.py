"""
The emergency spool: where the record of a call goes that the database did not take.

``<db>.spool`` has its full size from the beginning, so that a full disk still has room
for it (copy-on-write file systems cannot promise that). It is 64 slots of 4 KiB. The
first one tells whether the others need looking at; a record takes consecutive slots,
each with a header of its own and synced before `Spool.put` returns. The next open for
writing replays the records. Processes share the file under a ``flock``, and nothing is
written over.

What a slot holds is free (all zeros), a part of a whole record, or torn: torn slots are
told apart and kept, because somebody may still read them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from toolrt_store import errors, files

SLOT_BYTES: Final = 4096
#: How many slots records can have; one more tells whether they are empty.
SLOTS: Final = 63
_SIZE: Final = SLOT_BYTES * (SLOTS + 1)
_LOCK_TIMEOUT_S: Final = 2.0
_LOCK_POLL_S: Final = 0.005
# Magic, which part of how many, bytes in this slot, CRC-32 of all but this field.
_HEADER: Final = struct.Struct("<4sHHII")
_MAGIC: Final = b"TRS1"
_ROOM: Final = SLOT_BYTES - _HEADER.size
_FREE: Final = bytes(SLOT_BYTES)
# Anything else in the first slot, torn text included, means: look.
_EMPTY: Final = b"toolrt spool 1: empty \n"
_IN_USE: Final = b"toolrt spool 1: in use\n"
_SYNC: Final[int] = getattr(os, "O_DSYNC", 0)


class _Found(NamedTuple):
    """What the slots hold: bytes of each run, and the record where there is a whole."""

    slot: int
    raw: bytes
    data: bytes | None


class Spool:
    """
    The spool of the store at *db_path*; any number of objects and processes may share.

    No descriptor is kept: every method opens the file anew, so nothing of it is shared
    across a fork. Read, store and `clear` under the store's writing lock.
    """

    def __init__(self, db_path: str, *, group: str | None = None) -> None:
        self._db_path = db_path
        self._path = f"{db_path}.spool"
        self._group = group
        self._read: dict[int, bytes] = {}

    def prepare(self) -> None:
        """
        Make the spool if it is missing, in its full size and synced; 0600 or 0660.

        Raises:
            StoreUnavailableError: It cannot be made, or there is no room for it.
            StoreLockedError: Another process keeps it locked.
        """
        flags = os.O_RDWR | os.O_CREAT
        fd = files.open_beside(self._path, flags, group=self._group)
        try:
            if os.fstat(fd).st_size >= _SIZE:
                return
            with self._locked(fd):
                _fill(fd)
            files.sync_directory(os.path.dirname(self._path))
        except OSError as error:
            raise errors.from_os(self._db_path, error) from error
        finally:
            os.close(fd)

    def is_empty(self) -> bool:
        """
        Return whether there is surely nothing to replay; one small read.

        Raises:
            StoreUnavailableError: It cannot be read.
        """
        with self._opened(os.O_RDONLY) as fd:
            return fd is None or os.pread(fd, len(_EMPTY), 0) == _EMPTY

    def free_slots(self) -> int:
        """Return how many of SLOTS are free; 0 without a spool. Raises like `put`."""
        with self._opened(os.O_RDONLY) as fd:
            if fd is None:
                return 0
            if os.pread(fd, len(_EMPTY), 0) == _EMPTY:
                return SLOTS
            return _slots(fd).count(_FREE)

    def put(self, data: bytes) -> None:
        """
        Keep *data* durably until it is cleared.

        Raises:
            StoreUnavailableError: There is no spool, no room in it, or it cannot be
                written. Nothing was kept.
            StoreLockedError: Other processes kept it locked.
        """
        count = max(1, -(-len(data) // _ROOM))
        with self._opened(os.O_RDWR | _SYNC) as fd:
            if fd is None:
                raise self._refusal("there is no emergency spool")
            with self._locked(fd):
                slots = _slots(fd)
                slot = _free_run(slots, count)
                if slot is None:
                    free = slots.count(_FREE)
                    problem = f"its emergency spool has {free} of {SLOTS} slots free"
                    raise self._refusal(f"{problem}, and {count} in a row are needed")
                # First: a record that nobody looks for would be lost.
                _mark(fd, _IN_USE)
                self._write_record(fd, slot, _encoded(data))

    def records(self) -> list[tuple[int, bytes]]:
        """
        Return the first slot and the bytes of every whole record.

        Raises:
            StoreUnavailableError: It cannot be read.
            StoreLockedError: Other processes kept it locked.
        """
        return [(one.slot, one.data) for one in self._scan() if one.data is not None]

    def torn(self) -> list[int]:
        """Return the slots that hold no whole record. Raises like `records`."""
        return [one.slot for one in self._scan() if one.data is None]

    def clear(self, slots: Iterable[int]) -> None:
        """
        Free what begins at *slots*, as `records` or `torn` of this object told them.

        What was put there by somebody else since is left. Raises like `records`.
        """
        with self._opened(os.O_RDWR | _SYNC) as fd:
            if fd is None:
                return
            with self._locked(fd):
                now = _slots(fd)
                for slot in slots:
                    raw = self._read.pop(slot, b"")
                    count = len(raw) // SLOT_BYTES
                    if raw and b"".join(now[slot - 1 :][:count]) == raw:
                        now[slot - 1 : slot - 1 + count] = [_FREE] * count
                        _write(fd, bytes(len(raw)), slot * SLOT_BYTES)
                if now.count(_FREE) == SLOTS:
                    _mark(fd, _EMPTY)

    def _scan(self) -> list[_Found]:
        with self._opened(os.O_RDONLY) as fd:
            if fd is None:
                return []
            with self._locked(fd):
                found = list(_read_slots(_slots(fd)))
        self._read.update({one.slot: one.raw for one in found})
        return found

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int | None]:
        """Give a descriptor, None if there is no spool; OSErrors leave as ours."""
        try:
            fd = files.open_beside(self._path, flags)
        except FileNotFoundError:
            yield None
            return
        except (OSError, ValueError) as error:
            raise errors.from_os(self._db_path, error) from error
        try:
            yield fd
        except OSError as error:
            raise errors.from_os(self._db_path, error) from error
        finally:
            os.close(fd)

    @contextmanager
    def _locked(self, fd: int) -> Iterator[None]:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Held for single writes only. Polled: in an emergency there may be no
                # thread left to wait on.
                waited_s = time.monotonic() - began
                if waited_s > _LOCK_TIMEOUT_S:
                    raise errors.StoreLockedError(
                        self._db_path, round(waited_s, 3)
                    ) from None
                time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _write_record(self, fd: int, slot: int, raw: bytes) -> None:
        try:
            _write(fd, raw, slot * SLOT_BYTES)
        except OSError:
            # It was not kept, so no half of it shall be found.
            with suppress(OSError):
                _write(fd, bytes(len(raw)), slot * SLOT_BYTES)
            raise

    def _refusal(self, problem: str) -> errors.StoreUnavailableError:
        return errors.StoreUnavailableError(self._db_path, problem)


def _fill(fd: int) -> None:
    """Give the file its size. The lock is held."""
    size = os.fstat(fd).st_size
    if size >= _SIZE:
        return  # Another process was faster.
    if hasattr(os, "posix_fallocate"):
        # Where the file system cannot, the zeros below find out whether there is room.
        with suppress(OSError):
            os.posix_fallocate(fd, 0, _SIZE)
    # Written all the same: blocks that never were need room for that when they are.
    _write(fd, bytes(_SIZE - size), size)
    if _slots(fd).count(_FREE) == SLOTS:
        _mark(fd, _EMPTY)
    os.fsync(fd)


def _mark(fd: int, text: bytes) -> None:
    if os.pread(fd, len(text), 0) != text:
        _write(fd, text, 0)


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write all of *data*, durably."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
    if not _SYNC:
        getattr(os, "fdatasync", os.fsync)(fd)


def _slots(fd: int) -> list[bytes]:
    """Return what each slot for records holds; a missing end is torn, not free."""
    data = os.pread(fd, _SIZE, 0)
    return [data[at : at + SLOT_BYTES] for at in range(SLOT_BYTES, _SIZE, SLOT_BYTES)]


def _free_run(slots: list[bytes], count: int) -> int | None:
    """Return the first of *count* free slots in a row."""
    for start in range(SLOTS - count + 1):
        if slots[start : start + count].count(_FREE) == count:
            return start + 1
    return None


def _encoded(data: bytes) -> bytes:
    parts = [data[at : at + _ROOM] for at in range(0, len(data), _ROOM)] or [b""]
    return b"".join(
        _slot(number, len(parts), part) for number, part in enumerate(parts)
    )


def _slot(number: int, count: int, part: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, number, count, len(part), 0)
    body = part.ljust(_ROOM, b"\0")
    crc = zlib.crc32(body, zlib.crc32(head))
    return _HEADER.pack(_MAGIC, number, count, len(part), crc) + body


def _read_slots(slots: list[bytes]) -> Iterator[_Found]:
    at = 0
    while at < SLOTS:
        if slots[at] == _FREE:
            at += 1
            continue
        parts = _parts(slots[at:])
        if parts:
            raw = b"".join(slots[at : at + len(parts)])
            yield _Found(at + 1, raw, b"".join(parts))
        else:
            yield _Found(at + 1, slots[at], None)
        at += len(parts) or 1


def _parts(slots: list[bytes]) -> list[bytes]:
    """Return the parts of the record that the first slot begins; none if it is torn."""
    parts: list[bytes] = []
    count = 1
    for number, slot in enumerate(slots):
        found = _part(slot)
        if found is None or found[0] != number or (number and found[1] != count):
            return []
        count = found[1]
        parts.append(found[2])
        if len(parts) == count:
            return parts
    return []


def _part(slot: bytes) -> tuple[int, int, bytes] | None:
    """Return number, count and bytes of a part; None if the slot is torn."""
    if len(slot) != SLOT_BYTES:
        return None
    magic, number, count, size, _ = _HEADER.unpack_from(slot)
    body = slot[_HEADER.size : _HEADER.size + min(size, _ROOM)]
    if magic != _MAGIC or _slot(number, count, body) != slot:
        return None
    return number, count, body
