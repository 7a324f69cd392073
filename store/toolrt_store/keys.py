"""
The key that seals a store: a private file beside it, its making and its rotation.

A key file holds the 32 bytes of an Ed25519 private key as one line of hex. Nothing here
looks into a store; whoever calls holds the store's writing lock, but for `read_key`.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from toolrt.secrets import read_private_file
from toolrt_store.checkpoint import KEY_BYTES, public_key
from toolrt_store.errors import StoreError
from toolrt_store.files import sync_directory

_LINE: Final = re.compile(rb"[0-9a-f]{64}\n")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SealKeyError(StoreError):
    """A key file cannot be used or made; ``path`` names it, not the store."""

    code = "seal_key"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, f"the key file {problem}")


class SealKeyMissingError(SealKeyError):
    """There is no key file at ``path``."""

    code = "seal_key_missing"

    def __init__(self, path: str) -> None:
        super().__init__(path, "is missing")


def key_path(db_path: str) -> str:
    """Return where the key of the store at *db_path* is kept."""
    return f"{db_path}.key"


def make_key(path: str) -> bytes:
    """
    Make the key file *path*, 0600 and durable, and return the private key in it.

    The caller sees to it that no other process makes that file at the same time.

    Raises:
        SealKeyError: There is one already, or it cannot be made.
    """
    seed = os.urandom(KEY_BYTES)
    try:
        _place(path, seed)
    except (OSError, ValueError) as error:
        raise _from_os(path, error) from error
    return seed


def _place(path: str, seed: bytes) -> None:
    """Put the key file of *seed* at *path*, whole or not at all, over no other file."""
    line = seed.hex().encode("ascii") + b"\n"
    unfinished = f"{path}.tmp"
    _discard(unfinished)  # a process was killed here
    descriptor = os.open(unfinished, _NEW, 0o600)
    try:
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, "written only in part")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(unfinished, path)  # unlike a rename, never over a key that is in use
    finally:
        os.unlink(unfinished)
    sync_directory(os.path.dirname(path) or ".")


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def read_key(path: str) -> bytes:
    """
    Return the private key in the key file *path*.

    Raises:
        SealKeyMissingError: There is no such file.
        SealKeyError: It is a link or no regular file, others own it or could have read
            or written it, or it does not hold a key.
    """
    try:
        data = read_private_file(path, 2 * KEY_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _from_os(path, error) from error
    if not _LINE.fullmatch(data):
        raise SealKeyError(path, "holds no key")
    return bytes.fromhex(data.decode("ascii"))


def begin_rotation(path: str) -> bytes:
    """
    Make the successor of the key in *path* and return it; the key stays as it is.

    Then a checkpoint that names the successor, signed by both, has to be committed, and
    after that `finish_rotation` called. A crash in between leaves two files, of which
    `settle_rotation` keeps the right one: the commit is what decides.

    Raises:
        SealKeyError: A rotation was begun already, or the file cannot be made.
    """
    return make_key(_successor_path(path))


def finish_rotation(path: str) -> None:
    """
    Put the successor in the place of the key in *path*, durably.

    Raises:
        SealKeyMissingError: No rotation was begun.
        SealKeyError: The file cannot be renamed.
    """
    successor = _successor_path(path)
    try:
        os.rename(successor, path)
        sync_directory(os.path.dirname(path) or ".")
    except (OSError, ValueError) as error:
        raise _from_os(successor, error) from error


def settle_rotation(path: str, public: bytes) -> bytes:
    """
    Return the private key of *public*, which the checkpoints say is in force.

    What a crash left of a rotation is ended: with its checkpoint committed the successor
    is in force and takes the key's place; without, no checkpoint names it, it signed
    nothing, and it is removed.

    Raises:
        SealKeyMissingError: There is no key file at *path*.
        SealKeyError: It cannot be used, or neither file holds the key in force.
    """
    seed = read_key(path)
    successor_path = _successor_path(path)
    if public_key(seed) == public:
        # The last two are copies of a key, if a process died while it made one.
        for leftover in (successor_path, f"{successor_path}.tmp", f"{path}.tmp"):
            _remove(leftover)
        return seed
    try:
        successor = read_key(successor_path)
    except SealKeyMissingError:
        successor = seed
    if public_key(successor) != public:
        raise SealKeyError(path, "does not hold the key in force")
    finish_rotation(path)
    return successor


def is_held(path: str, public: bytes) -> bool | None:
    """Return whether the private key of *public* is in *path*, or is its successor.

    None where no key can be read, as by an auditor.
    """
    try:
        if public_key(read_key(path)) == public:
            return True
    except SealKeyError:
        return None
    try:
        return public_key(read_key(_successor_path(path))) == public
    except SealKeyMissingError:
        return False
    except SealKeyError:
        return None


def _remove(path: str) -> None:
    try:
        _discard(path)
    except OSError as error:
        raise _from_os(path, error) from error


def _successor_path(path: str) -> str:
    return f"{path}.new"


def _from_os(path: str, error: OSError | ValueError) -> SealKeyError:
    if isinstance(error, FileNotFoundError):
        return SealKeyMissingError(path)
    if isinstance(error, FileExistsError):
        return SealKeyError(path, "is there already")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return SealKeyError(path, "is a symbolic link")
    reason = getattr(error, "strerror", None) or str(error)
    return SealKeyError(path, f"cannot be used: {reason.lower()}")
