"""
The anchor: a file elsewhere that is told every checkpoint, one JSON line each.

A store whose newest events were cut off, that was put back to an older copy, or written
anew with its own key, is sound by itself. It no longer agrees with what the anchor was
told, if whoever did it could not write there as well. An anchor serves one store, and is
told a checkpoint only after it was committed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from toolrt_store.checkpoint import Problem, SignedCheckpoint, parse_note
from toolrt_store.errors import StoreError
from toolrt_store.files import sync_directory

SCHEMA: Final = "toolrt.anchor/1"

# Not blocking: a FIFO that nobody reads, or reads slowly, must not hold up a commit.
_SAFE: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW


class AnchorError(StoreError):
    """The anchor at ``path`` cannot be written or read."""

    code = "anchor"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, f"the anchor {problem}")


class BadLine(msgspec.Struct, frozen=True):
    """A line of an anchor that holds no checkpoint, such as one cut off by a crash."""

    #: From 1.
    number: int
    what: str

    def __str__(self) -> str:
        return f"line {self.number} of the anchor: {self.what}"


class Anchored(msgspec.Struct, frozen=True):
    """What an anchor holds. Nothing is verified; every note can be parsed."""

    checkpoints: tuple[SignedCheckpoint, ...]
    bad_lines: tuple[BadLine, ...]


class _Line(
    msgspec.Struct, frozen=True, omit_defaults=True, tag=SCHEMA, tag_field="schema"
):
    note: str
    signature: bytes
    successor_signature: bytes | None = None


def append(path: str, signed: SignedCheckpoint) -> None:
    """
    Tell the anchor at *path* of *signed*: one write of a whole line, synced.

    The file is made, 0600, if there is none. FIFOs and devices do as well.

    Raises:
        AnchorError: It cannot be written, is a link, or nobody reads the FIFO.
    """
    line = _Line(
        signed.note.decode("ascii"), signed.signature, signed.successor_signature
    )
    try:
        _append(path, msgspec.json.encode(line) + b"\n")
    except (OSError, ValueError) as error:
        raise _from_os(path, error) from error


def _append(path: str, line: bytes) -> None:
    descriptor = os.open(path, _APPEND | _SAFE, 0o600)
    try:
        found = os.fstat(descriptor)
        is_file = stat.S_ISREG(found.st_mode)
        if is_file and found.st_size and not _ends_whole(path, found.st_size):
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, "written only in part")
        if is_file:  # there is nothing to sync in a FIFO or a device
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_file and not found.st_size:
        sync_directory(os.path.dirname(path) or ".")


def _ends_whole(path: str, size: int) -> bool:
    """Return whether the line before *size* is known to be ended."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | _SAFE)
    except OSError:
        return False  # may be written but not read: an empty line does no harm
    try:
        return os.pread(descriptor, 1, size - 1) == b"\n"
    finally:
        os.close(descriptor)


def read(path: str) -> Anchored:
    """
    Return what the anchor at *path* holds.

    Raises:
        AnchorError: It cannot be read, or is no regular file.
    """
    try:
        return parse(_content(path))
    except (OSError, ValueError) as error:
        raise _from_os(path, error) from error


def _content(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | _SAFE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def parse(data: bytes) -> Anchored:
    """Return what an anchor with the content *data* holds; empty lines do not count."""
    checkpoints: list[SignedCheckpoint] = []
    bad_lines: list[BadLine] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            continue
        try:
            checkpoints.append(_parse_line(line))
        except ValueError as error:
            bad_lines.append(BadLine(number, str(error)))
    return Anchored(tuple(checkpoints), tuple(bad_lines))


def _parse_line(line: bytes) -> SignedCheckpoint:
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError(f"is no JSON object of {SCHEMA}") from None
    signed = SignedCheckpoint(
        read.note.encode(), read.signature, read.successor_signature
    )
    parse_note(signed.note)
    return signed


def _from_os(path: str, error: OSError | ValueError) -> AnchorError:
    code = getattr(error, "errno", None)
    if code == errno.ELOOP:
        return AnchorError(path, "is a symbolic link")
    if code == errno.ENXIO:
        return AnchorError(path, "is read by nobody")
    reason = getattr(error, "strerror", None) or str(error)
    return AnchorError(path, f"cannot be used: {reason.lower()}")


def compare(
    anchored: Sequence[SignedCheckpoint],
    stored_checkpoints: Sequence[SignedCheckpoint],
    newest_size: int,
) -> tuple[Problem, ...]:
    """
    Return where a store contradicts what its anchor was told, smallest size first.

    Each checkpoint that the anchor holds has to be in the store with exactly its note.

    Args:
        anchored: As `read` gives them, in any order. Their signatures do not count here:
            whoever can write to the anchor can raise an alarm, but not silence one.

        stored_checkpoints: As the store has them. Untrusted.

        newest_size: The sequence number of the store's newest event.
    """
    return tuple(_contradictions(anchored, stored_checkpoints, newest_size))


def _contradictions(
    anchored: Sequence[SignedCheckpoint],
    stored_checkpoints: Sequence[SignedCheckpoint],
    newest_size: int,
) -> Iterator[Problem]:
    held = {signed.note for signed in stored_checkpoints}
    told = {signed.note: parse_note(signed.note).size for signed in anchored}
    agreed = 0
    for note, size in sorted(told.items(), key=lambda item: item[1]):
        if size > newest_size:
            what = f"the store ends at event {newest_size}: cut off, or an older copy"
            yield Problem(size, what, newest_size + 1)
        elif note in held:
            agreed = size
        else:
            what = "the store does not hold it: written anew, or an older copy"
            yield Problem(size, what, agreed + 1)
