"""
What the sinks of a config have done over all commands, for ``toolrt doctor``.

Each command that closes its sinks adds their counters to a file in the user's state
directory. It is no record: where it cannot be written or read, counting begins anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, Literal

import msgspec

from toolrt.audit.sinks import SinkStats

FILE_NAME: Final = "sinks.json"
_MAX_BYTES: Final = 1024 * 1024
_MODE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one sink has done since ``since_us``, Unix microseconds; see `toolrt.SinkStats`.

    ``last_error`` says why the last batch that failed did so.
    """

    since_us: int
    written: int = 0
    dropped: int = 0
    diverted: int = 0
    failed: int = 0
    last_error: str | None = None

    @property
    def sent(self) -> int:
        """How many records were given to the sink."""
        return self.written + self.dropped + self.diverted + self.failed

    @property
    def lost(self) -> int:
        """How many of them are in no file, unless another sink has them too."""
        return self.dropped + self.failed

    def plus(self, stats: SinkStats, last_error: str | None) -> Counters:
        """Return the counters with those of one more command, whose sink is closed."""
        return Counters(
            since_us=self.since_us,
            written=self.written + stats.written,
            dropped=self.dropped + stats.dropped,
            diverted=self.diverted + stats.diverted,
            failed=self.failed + stats.failed,
            last_error=last_error or self.last_error,
        )


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["toolrt.sinks/1"] = "toolrt.sinks/1"
    #: By what the sink writes to: an absolute path, ``stdout`` or ``stderr``.
    sinks: dict[str, Counters] = {}


def add(
    state_dir: str, ended: Mapping[str, tuple[SinkStats, str | None]], now_us: int
) -> None:
    """
    Add what sinks did in one command.

    Args:
        ended: By what they write to: their counters and their last error.
    """
    with suppress(OSError):
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        with _opened(os.path.join(state_dir, FILE_NAME), _MODE) as descriptor:
            kept = dict(_read(descriptor).sinks)
            for target, (stats, error) in ended.items():
                before = kept.get(target) or Counters(since_us=now_us)
                kept[target] = before.plus(stats, error)
            data = msgspec.json.encode(_Kept(sinks=kept))
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))


def read(state_dir: str) -> dict[str, Counters]:
    """Return the counters of every sink that was used, by what it writes to."""
    path = os.path.join(state_dir, FILE_NAME)
    try:
        with _opened(path, _MODE & ~os.O_CREAT) as descriptor:
            return _read(descriptor).sinks
    except OSError:
        return {}


@contextmanager
def _opened(path: str, mode: int) -> Iterator[int]:
    """Give the descriptor of the file, locked against other commands."""
    descriptor = os.open(path, mode, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> _Kept:
    try:
        return msgspec.json.decode(os.pread(descriptor, _MAX_BYTES, 0), type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Kept()
