"""
The file of revoked delegations: one digest a line, and what people write behind it.

It is only ever added to. Whoever asks is told what it says at that moment: it is looked
at for every question and read again when it has changed. What cannot be told is no
answer: the error refuses the token.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shlex
import stat
from collections.abc import Mapping
from threading import Lock
from typing import Final

from toolrt.errors import ToolrtError
from toolrt_cli.config import LoadedConfig
from toolrt_cli.config.places import user_state_dir

_MAX_BYTES: Final = 16 * 1024**2
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS_WRITE: Final = 0o022
_MISSING: Final = "is missing"
_OPEN: Final = "others may write to it"


class RevocationsError(ToolrtError):
    """The file of revocations cannot be read or added to; ``path`` names it."""

    code = "revocations"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        self.next_step = _cure(path, problem)
        super().__init__(f"{path}: {problem}")


class Revocations:
    """
    The digests that a file revokes, as it is whenever it is asked.

    What it was seen to revoke stays revoked, whatever becomes of the file. Safe to share
    between threads.

    Args:
        path: The file.

        may_be_missing: Whether nothing is revoked where there is no file.
    """

    def __init__(self, path: str, *, may_be_missing: bool) -> None:
        self.path = path
        self._may_be_missing = may_be_missing
        self._seen: tuple[int, ...] | None = None
        self._digests: frozenset[str] = frozenset()
        self._lock = Lock()

    def __contains__(self, digest: object) -> bool:
        """
        Return whether *digest* is revoked.

        Raises:
            RevocationsError: It cannot be told: the file is missing or gone, a link, larger
                than 16 MiB, another's or open to the writing of others, or has a line
                that is no digest.
        """
        with self._lock:
            return digest in self._read()

    def count(self) -> int:
        """Return how many digests are revoked. Raises as being asked for one does."""
        with self._lock:
            return len(self._read())

    def _read(self) -> frozenset[str]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _SAFE)
        except FileNotFoundError as exc:
            if self._may_be_missing and self._seen is None:
                return self._digests
            raise RevocationsError(self.path, _MISSING) from exc
        except OSError as exc:
            raise RevocationsError(self.path, _reason(exc, "read")) from exc
        try:
            info = os.fstat(descriptor)
            _require_safe(self.path, info)
            # Anybody who may write to it can set its mtime, nobody its ctime.
            times = (info.st_mtime_ns, info.st_ctime_ns)
            seen = (info.st_dev, info.st_ino, info.st_size, *times)
            if seen != self._seen:
                with open(descriptor, "rb", closefd=False) as file:
                    self._digests |= _parsed(self.path, file.read(_MAX_BYTES + 1))
                self._seen = seen
        finally:
            os.close(descriptor)
        return self._digests


def revocations_of(
    config: LoadedConfig, environ: Mapping[str, str] | None = None
) -> Revocations:
    """Return what *config* says is revoked: by the file that it names, or the default."""
    named = config.config.ucan.revocations
    path = revocations_path(config, environ)
    return Revocations(path, may_be_missing=named is None)


def revocations_path(
    config: LoadedConfig, environ: Mapping[str, str] | None = None
) -> str:
    """Return the file of revocations; ``revocations`` in the state directory if unnamed."""
    named = config.config.ucan.revocations
    if named is not None:
        return config.resolve(named)
    return os.path.join(user_state_dir(environ), "revocations")


def revoke(path: str, digest: str, note: str) -> bool:
    """
    Add *digest* to the file *path*, durably; return False if it stood there already.

    Args:
        path: Made, 0600, if it is missing.

        note: One line for people.

    Raises:
        RevocationsError: It cannot be added, or the file is none to be trusted.
    """
    from toolrt_store import StoreError
    from toolrt_store.files import prepare_directory, sync_directory

    try:
        prepare_directory(path)
        is_new = not os.path.lexists(path)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _SAFE, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _require_safe(path, os.fstat(descriptor))
            data = file.read(_MAX_BYTES + 1)
            if digest in _lenient(data):
                return False
            start = b"" if data.endswith(b"\n") or not data else b"\n"
            _write(descriptor, start + f"{digest}  {note}\n".encode(), len(data))
        if is_new:
            sync_directory(os.path.dirname(path))
    except StoreError as exc:
        raise RevocationsError(path, exc.problem) from exc
    except OSError as exc:
        raise RevocationsError(path, _reason(exc, "added to")) from exc
    return True


def _cure(path: str, problem: str) -> str:
    name = shlex.quote(path)
    if problem == _MISSING:
        return f"put it back; if nothing was revoked: install -m 600 /dev/null {name}"
    if problem == _OPEN:
        return f"see that it says what it should, then: chmod 600 {name}"
    return "mend the file: until then every token is refused"


def _reason(exc: OSError, done: str) -> str:
    if exc.errno == errno.ELOOP:
        return "is a symbolic link"
    return f"cannot be {done}: {exc.strerror}"


def _write(descriptor: int, line: bytes, size: int) -> None:
    """Append *line*, all of it or nothing, to the file that has *size* bytes."""
    if os.write(descriptor, line) != len(line):
        # A line cut short would be no digest, and refuse every token.
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _require_safe(path: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise RevocationsError(path, "is not a regular file")
    if info.st_uid not in (os.geteuid(), 0):
        raise RevocationsError(path, "belongs to another user")
    if info.st_mode & _OTHERS_WRITE:
        raise RevocationsError(path, _OPEN)
    if info.st_size > _MAX_BYTES:
        raise RevocationsError(path, "is larger than 16 MiB")


def _parsed(path: str, data: bytes) -> frozenset[str]:
    found = set()
    # A lone CR ends a line, too: what stands behind it is no note.
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, line in enumerate(lines.decode("utf-8", "replace").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        digest = text.split()[0].lower()
        if not _DIGEST.fullmatch(digest):
            raise RevocationsError(path, f"line {number} is no digest")
        found.add(digest)
    return frozenset(found)


def _lenient(data: bytes) -> set[str]:
    """Return the first word of each line: what may be there already."""
    lines = data.decode("utf-8", "replace").split("\n")
    return {line.split()[0].lower() for line in lines if line.strip()}
