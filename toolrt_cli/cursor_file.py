"""
The file in which ``audit tail --cursor-file`` keeps how far a store was read.

It names the store and the last sequence number, so that a cursor is never applied to
another store, or to one that lost what was read already.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

import msgspec

from toolrt.errors import ToolrtError
from toolrt_cli.grammar import UsageError

_MOST_BYTES: Final = 4096
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CursorFileError(ToolrtError):
    """The cursor file at ``path`` is none, or of another store than the one read."""

    code = "integrity"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        super().__init__(f"cursor file {path}: {problem}")


class _Cursor(msgspec.Struct, tag="toolrt.cursor/1", tag_field="schema", frozen=True):
    store: str
    seq: int


def read_cursor(path: str, *, store_id: str, last_seq: int) -> int | None:
    """
    Return the sequence number up to which the store was read; None without a file.

    Args:
        store_id: The store that it has to be of, in hex.

        last_seq: The store's last event.

    Raises:
        CursorFileError: It is none, of another store, or ahead of the store.
        UsageError: It cannot be read.
    """
    try:
        data = _content(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unusable(path, exc) from exc
    try:
        cursor = msgspec.json.decode(data, type=_Cursor)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise CursorFileError(path, "it holds no cursor") from None
    if cursor.store != store_id:
        problem = f"it is of the store {cursor.store}, this one is {store_id}"
        raise CursorFileError(path, problem)
    if not 0 <= cursor.seq <= last_seq:
        problem = f"it is at event {cursor.seq}, the store ends at {last_seq}"
        raise CursorFileError(path, problem)
    return cursor.seq


def _content(path: str) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def write_cursor(path: str, *, store_id: str, seq: int) -> None:
    """
    Keep *seq* in the file, 0600, in one step: what is read is the old or the new one.

    Raises:
        UsageError: It cannot be written.
    """
    draft = f"{path}.{os.getpid()}.part"
    data = msgspec.json.encode(_Cursor(store_id, seq)) + b"\n"
    try:
        try:
            _write(draft, data)
            os.replace(draft, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)
    except OSError as exc:
        raise _unusable(path, exc) from exc


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, _NEW, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: str, exc: OSError) -> UsageError:
    return UsageError(f"--cursor-file {path}: {exc.strerror}")
