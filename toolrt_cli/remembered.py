"""
The last answer to each kind of TAB, given again while all that decides is as it was.

To find an answer takes the runtime, the config and its packs: several times what Python
itself takes to start, and a person waits for it in the middle of a line. So it is kept,
beside everything that it was made from: what was typed, where, by whom, and each file
that was read or looked for on the way, as it was then. One difference, one doubt, and
the answer is found anew. Nothing breaks without the cache: it may go at any time.

What TAB waits for is imported here, so neither typing nor collections.abc nor pathlib.
"""

from __future__ import annotations

import os
import stat
import sys
import time

_VARIABLES = (
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "TOOLRT_CONFIG",
    "TOOLRT_CALLER",
)
#: Two changes within one tick of a file system's clock look the same: what is as young
#: as this may change again unseen. The coarsest clock, FAT's, ticks every two seconds.
_SETTLED_NS = 2_000_000_000
#: Ends what was written as a whole.
_END = "."
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK the open of a FIFO would wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Seen:
    """Every path that an answer depends on, as it was when it was first looked at."""

    def __init__(self) -> None:
        self._stamps: dict[str, str] = {}
        self._is_sure = True

    def look(self, path: str) -> None:
        """Note *path* as it is now; to be called before it is read or looked for."""
        if path in self._stamps:
            return
        try:
            found = _found(path)
            self._stamps[path] = _stamp(path, found)
        except (OSError, ValueError):  # ValueError: a NUL in the name
            self._is_sure = False
            return
        settled_ns = time.time_ns() - _SETTLED_NS
        if any(_changed_ns(one) > settled_ns for one in found):
            self._is_sure = False

    def remember(self, words: list[str], answer: str) -> None:
        """
        Keep *answer* to the command line *words*, if it can be told when it is old.

        A cache that cannot be written is none.
        """
        stamps = [text for pair in self._stamps.items() for text in pair]
        try:
            fields = [_key(words), answer, *stamps, _END]
            if self._is_sure and not any("\0" in one for one in fields):
                data = "\0".join(fields).encode("utf-8", "surrogateescape")
                _write(_place(words), data)
        except (OSError, ValueError):
            return


def recall(words: list[str]) -> str | None:
    """Return what was remembered for *words*; None if there is any doubt about it."""
    try:
        key, answer, *stamps, end = _read(_place(words)).split("\0")
        pairs = zip(stamps[::2], stamps[1::2], strict=True)
        is_same = (key, end) == (_key(words), _END) and all(
            _stamp(path, _found(path)) == before for path, before in pairs
        )
    except (OSError, ValueError):  # nothing there, nothing of ours, half of it
        return None
    return answer if is_same else None


def _place(words: list[str]) -> str:
    """
    Return the file for the answers to the kind of names that *words* ask for.

    Raises:
        ValueError: They ask for none, or there is no home for it.
    """
    kind = [*words, ""][words.index("__complete") + 1]
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.environ.get("HOME", ""), ".cache")
    if not (kind.isascii() and kind.isalpha() and os.path.isabs(base)):
        raise ValueError(kind)
    return os.path.join(base, "toolrt", f"complete-{kind}")


def _key(words: list[str]) -> str:
    """Return all that decides and is no file: who asks for what, where, and of whom."""
    import pwd

    name, home = "", ""
    try:
        account = pwd.getpwuid(os.getuid())
        name, home = account.pw_name, account.pw_dir
    except KeyError:  # a uid without an entry, as in many containers
        pass
    who = (os.getuid(), os.geteuid(), os.getgroups(), name, home)
    variables = [os.environ.get(name) for name in _VARIABLES]
    return repr((sys.version, __file__, words, os.getcwd(), variables, who))


def _found(path: str) -> list[os.stat_result]:
    """Return what is at *path*, and what it leads to if it is a link; maybe nothing."""
    try:
        found = [os.lstat(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    if stat.S_ISLNK(found[0].st_mode):
        found.append(os.stat(path))
    return found


def _stamp(path: str, found: list[os.stat_result]) -> str:
    """Return a text that is another one as soon as *path* leads to anything else."""
    return repr((os.path.realpath(path), *map(_signs, found)))


def _signs(info: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(info.st_mode):  # only ever looked for: what is in it is not asked
        return ()
    return (
        *(info.st_mode, info.st_uid, info.st_dev, info.st_ino, info.st_size),
        *(info.st_mtime_ns, info.st_ctime_ns),
    )


def _changed_ns(info: os.stat_result) -> int:
    # A change of owner or mode, or a time set back, moves only the second.
    return max(_signs(info)[-2:], default=0)


def _read(path: str) -> str:
    descriptor = os.open(path, _READ)
    try:
        info = os.fstat(descriptor)
        others = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(info.st_mode) or others or info.st_uid != os.geteuid():
            raise ValueError(path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read().decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    part = f"{path}.{os.getpid()}.part"
    descriptor = os.open(part, _NEW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError:
        os.unlink(part)
        raise
