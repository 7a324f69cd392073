"""
Opening files inside root directories, and nowhere else.

A path is walked component by component, each opened relative to the descriptor of the
one before it, and the kernel is never asked to follow a link or to go up: ``..`` steps
back to a descriptor that the walk came through, and a link's target is read and walked
like any other path. What is renamed or replaced meanwhile can therefore make a walk fail
but never leave the roots.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from toolrt.errors import ToolError

MAX_LINKS: Final = 40
# A directory that may be passed but not listed can still be walked through, where the
# system has O_PATH.
_PASS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, a FIFO put in the file's place would hang the open.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Opened(msgspec.Struct, frozen=True):
    """A descriptor, the holder's to close, of a regular file or a directory."""

    fd: int
    is_dir: bool


class Place(msgspec.Struct, frozen=True):
    """Where a file is or may come to be: ``directory`` is the holder's to close."""

    directory: int
    name: str


class Entry(msgspec.Struct, frozen=True):
    """One name in a directory; ``name`` is as the system has it, for opening."""

    name: str
    is_dir: bool
    is_link: bool

    @property
    def shown(self) -> str:
        """The name as text that JSON can hold."""
        return os.fsencode(self.name).decode("utf-8", "replace")


def open_inside(roots: Sequence[str], path: str) -> Opened:
    """
    Open the regular file or directory *path*, for reading, if it is inside *roots*.

    Args:
        roots: Absolute directories; none means the working directory.

        path: Relative to the working directory, or absolute. Untrusted.

    Raises:
        ToolError: ``OUTSIDE_ROOTS``, ``NOT_FOUND``, ``NOT_A_FILE`` (neither a regular
            file nor a directory), ``PERMISSION`` or ``IO``.
    """
    walk = _Walk(path)
    try:
        return walk.run(roots)
    except OSError as exc:
        raise tool_error(exc, path) from exc
    except ValueError as exc:  # NUL or a lone surrogate: no file has such a name
        raise ToolError("NOT_FOUND", f"{path!r} is no file name") from exc
    finally:
        walk.close()


def open_parent(
    roots: Sequence[str], path: str, *, with_parents: bool = False
) -> Place:
    """
    Open the directory that *path* names a file in, if it is inside *roots*.

    What has the file's name, a link perhaps, is not looked at.

    Args:
        roots: As for `open_inside`.

        path: As for `open_inside`.

        with_parents: Whether directories that are missing are made.

    Raises:
        ToolError: ``OUTSIDE_ROOTS``, ``NOT_FOUND`` (of the directory), ``IS_DIR`` (the
            path cannot be a file's), ``PERMISSION`` or ``IO``.
    """
    walk = _Walk(path)
    try:
        return walk.run_to_parent(roots, with_parents=with_parents)
    except OSError as exc:
        if isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            problem = f"the directory of {path} does not exist"
            raise ToolError("NOT_FOUND", problem) from exc
        raise tool_error(exc, path) from exc
    except ValueError as exc:
        raise ToolError("NOT_FOUND", f"{path!r} is no file name") from exc
    finally:
        walk.close()


def open_regular(name: str, directory: int) -> int:
    """
    Open the regular file *name* in *directory*, no link followed.

    Raises:
        OSError: It cannot be opened; `FileExistsError` if it is something else.
    """
    fd = os.open(name, _READ, dir_fd=directory)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise FileExistsError(errno.EEXIST, "not a regular file")


def open_directory(name: str, directory: int) -> int:
    """
    Open the directory *name* in *directory* for listing, no link followed.

    Raises:
        OSError: It cannot be opened.
    """
    return os.open(name, _LIST, dir_fd=directory)


def entries(directory: int) -> Iterator[Entry]:
    """
    Yield what *directory* holds, such that a walk in this order gives sorted paths.

    Raises:
        OSError: It cannot be listed.
    """
    with os.scandir(directory) as listing:
        found = [
            Entry(item.name, item.is_dir(follow_symlinks=False), item.is_symlink())
            for item in listing
            if item.is_dir(follow_symlinks=False)
            or item.is_file(follow_symlinks=False)
            or item.is_symlink()
        ]
    # A directory sorts as its paths do: "a-b" comes before "a/b".
    found.sort(key=lambda one: one.name + "/" if one.is_dir else one.name)
    yield from found


def tool_error(exc: OSError, path: str) -> ToolError:
    """Return *exc*, met at *path*, as what the tool tells its caller."""
    if isinstance(exc, (FileNotFoundError, NotADirectoryError)):
        return ToolError("NOT_FOUND", f"{path} does not exist")
    if isinstance(exc, FileExistsError):
        return ToolError("NOT_A_FILE", f"{path} is no regular file")
    if isinstance(exc, PermissionError):
        return ToolError("PERMISSION", f"{path}: permission denied")
    return ToolError("IO", f"{path}: {os.strerror(exc.errno or errno.EIO)}")


class _Walk:
    """The open directories from a root down to where one walk stands."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._bases: list[list[str]] = []
        self._stack: list[int] = []
        self._links = 0

    def run(self, roots: Sequence[str]) -> Opened:
        pending = self._start(roots)
        while pending:
            mode = self._mode(pending[-1])
            if len(pending) > 1 or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                pending = self._step(mode, pending)
            elif stat.S_ISREG(mode):
                return Opened(open_regular(pending[0], self._stack[-1]), is_dir=False)
            else:  # never opened: that can act on a device
                raise FileExistsError(errno.EEXIST, "not a regular file")
        return Opened(open_directory(".", self._stack[-1]), is_dir=True)

    def run_to_parent(self, roots: Sequence[str], *, with_parents: bool) -> Place:
        pending = self._start(roots)
        while len(pending) > 1:
            try:
                mode = self._mode(pending[-1])
            except FileNotFoundError:
                if not with_parents:
                    raise
                self._make_directory(pending[-1])
                continue
            pending = self._step(mode, pending)
        if b"\0" in os.fsencode(self._path):
            raise ValueError("embedded null byte")
        if pending == [".."]:
            self._step_back()
        if pending in ([], [".."]) or self._path.endswith(("/", "/.")):
            raise ToolError("IS_DIR", f"{self._path} is a directory")
        return Place(self._stack.pop(), pending[0])

    def close(self) -> None:
        while self._stack:
            os.close(self._stack.pop())

    def _start(self, roots: Sequence[str]) -> list[str]:
        is_absolute = self._path.startswith("/")
        cwd = "" if roots and is_absolute else os.getcwd()
        self._bases = _base_parts(roots or (cwd,))
        absolute = self._path if is_absolute else f"{cwd}/{self._path}"
        return self._enter_root(_parts(absolute))

    def _mode(self, name: str) -> int:
        """Return what *name* is; ``..`` is a directory, which nobody needs to ask."""
        if name == "..":
            return stat.S_IFDIR
        here = self._stack[-1]
        return os.stat(name, dir_fd=here, follow_symlinks=False).st_mode

    def _step(self, mode: int, pending: list[str]) -> list[str]:
        """Go on to the next of *pending*, a directory or link; return what is left."""
        *rest, name = pending
        if name == "..":
            self._step_back()
        elif stat.S_ISLNK(mode):
            self._links += 1
            if self._links > MAX_LINKS:
                raise OSError(errno.ELOOP, "too many links")
            return self._follow(name, rest)
        elif stat.S_ISDIR(mode):
            self._stack.append(os.open(name, _PASS, dir_fd=self._stack[-1]))
        else:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        return rest

    def _make_directory(self, name: str) -> None:
        with contextlib.suppress(FileExistsError):  # another was quicker
            os.mkdir(name, dir_fd=self._stack[-1])

    def _follow(self, name: str, pending: list[str]) -> list[str]:
        target = os.readlink(name, dir_fd=self._stack[-1])
        if target.startswith("/"):
            return pending + self._enter_root(_parts(target))
        return pending + _parts(target)[::-1]

    def _enter_root(self, parts: list[str]) -> list[str]:
        """Stand in the root that holds *parts*; return those below it, next one last."""
        for base in self._bases:
            if parts[: len(base)] == base:
                self.close()
                self._stack.append(
                    os.open("/" + "/".join(base), _PASS & ~os.O_NOFOLLOW)
                )
                return parts[len(base) :][::-1]
        raise self._outside()

    def _step_back(self) -> None:
        if len(self._stack) == 1:
            raise self._outside()
        os.close(self._stack.pop())

    def _outside(self) -> ToolError:
        return ToolError(
            "OUTSIDE_ROOTS", f"{self._path} is outside the directories open to fs.*"
        )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _base_parts(roots: Sequence[str]) -> list[list[str]]:
    """Return *roots*, as written and as resolved, outermost first."""
    spelt = {
        p for root in roots for p in (os.path.normpath(root), os.path.realpath(root))
    }
    return sorted((_parts(root) for root in spelt), key=lambda base: (len(base), base))
