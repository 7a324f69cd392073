"""Writing a file that was not there: private, whole or not at all, never over another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from toolrt_cli.grammar import UsageError

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def new_file(path: str) -> Iterator[str]:
    """
    Give the name of an empty file, 0600, that becomes *path* once the body is done.

    Raises:
        UsageError: *path* is there already, or it cannot be made.
    """
    part = f"{path}.{os.getpid()}.part"
    if os.path.lexists(path):
        raise _refusal(path, "is there already, and is not written over")
    try:
        os.close(os.open(part, _NEW, 0o600))
    except OSError as exc:
        raise _refusal(path, f"cannot be made: {exc.strerror}") from exc
    try:
        yield part
        _sync(part)
        os.link(part, path)  # unlike a rename, never over a file that came meanwhile
    except FileExistsError as exc:
        raise _refusal(path, "is there already, and is not written over") from exc
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(path: str, problem: str) -> UsageError:
    return UsageError(f"{path} {problem}", next_step="name another file")
