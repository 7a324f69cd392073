"""``fs.read``, ``fs.grep`` and ``fs.glob``."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any, Final

import msgspec

from toolrt.context import CallContext
from toolrt.errors import ToolError
from toolrt.std import paths
from toolrt.std.deadline import require_time
from toolrt.std.pattern import PathPattern, States
from toolrt.std.settings import StdSettings

#: Levels of directories below the one that a walk starts in: each holds a descriptor.
MAX_DEPTH: Final = 100
MAX_LINE_CHARS: Final = 500
_BINARY_PROBE_BYTES: Final = 8192
_READ_BYTES: Final = 1 << 16
_LINES_BETWEEN_CHECKS: Final = 512


def read(
    settings: StdSettings,
    ctx: CallContext,
    path: str,
    offset: int = 0,
    limit: int | None = None,
) -> str:
    """
    Return the text of the file *path* from byte *offset* on.

    A character that *limit* cuts in two is left out, so the bytes of the answer added to
    *offset* are where the next read starts.

    Raises:
        ToolError: The codes of `paths.open_inside`, ``IS_DIR``, ``TOO_LARGE`` or
            ``ENCODING``.

        ToolTimeoutError: The call's time was used up.
    """
    opened = paths.open_inside(settings.roots, path)
    most = settings.max_bytes + 1
    try:
        if opened.is_dir:
            raise ToolError("IS_DIR", f"{path} is a directory")
        os.lseek(opened.fd, offset, os.SEEK_SET)
        data = read_at_most(opened.fd, most if limit is None else min(limit, most), ctx)
    except OSError as exc:
        raise paths.tool_error(exc, path) from exc
    finally:
        os.close(opened.fd)
    if len(data) > settings.max_bytes:
        raise ToolError(
            "TOO_LARGE",
            f"{path}: more than {settings.max_bytes} bytes; read it in parts with"
            " offset and limit",
        )
    return _text(data, path, offset, was_cut=len(data) == limit)


def read_at_most(fd: int, max_bytes: int, ctx: CallContext) -> bytes:
    """
    Return the first *max_bytes* bytes from where *fd* stands, fewer at the end.

    Raises:
        OSError: They cannot be read.

        ToolTimeoutError: The call's time was used up.
    """
    data = bytearray()
    while len(data) < max_bytes:
        require_time(ctx)
        chunk = os.read(fd, min(_READ_BYTES, max_bytes - len(data)))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _text(data: bytes, path: str, offset: int, *, was_cut: bool) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if was_cut and exc.start and exc.reason == "unexpected end of data":
            return data[: exc.start].decode()
        at = offset + exc.start
        raise ToolError("ENCODING", f"{path} is not UTF-8 at byte {at}") from exc


def grep(  # noqa: PLR0917 - bound by name, from the tool's arguments
    settings: StdSettings,
    ctx: CallContext,
    pattern: str,
    path: str = ".",
    glob: str = "**/*",
    ignore_case: bool = False,  # noqa: FBT001, FBT002 - an argument of the tool
    max_matches: int = 100,
) -> list[dict[str, Any]]:
    """
    Return the first *max_matches* lines that match *pattern*, by path and line.

    Below a directory, links and hidden directories are passed over; so is every file
    that is binary, not UTF-8, not readable or has a line of more than ``max_bytes``.

    Raises:
        ToolError: The codes of `paths.open_inside` or ``BAD_PATTERN``.

        ToolTimeoutError: The call's time was used up.
    """
    regex = _compiled(pattern, re.IGNORECASE if ignore_case else 0)
    wanted = PathPattern(glob if "/" in glob else f"**/{glob}")
    opened = paths.open_inside(settings.roots, path)
    search = _Search(regex, settings.max_bytes, max_matches, ctx)
    try:
        if not opened.is_dir:
            return search.matches(os.dup(opened.fd), path)
        with closing(_Tree(wanted, ctx).files(opened.fd, path)) as files:
            found = (match for file in files for match in search.matches_in(file))
            return list(islice(found, max_matches))
    except OSError as exc:
        raise paths.tool_error(exc, path) from exc
    finally:
        os.close(opened.fd)


def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as exc:
        raise ToolError("BAD_PATTERN", f"{exc.msg} at position {exc.pos or 0}") from exc
    except (OverflowError, RecursionError) as exc:
        raise ToolError("BAD_PATTERN", "the pattern is too large") from exc


def glob(
    settings: StdSettings,
    ctx: CallContext,
    pattern: str,
    path: str = ".",
    max_results: int = 1000,
) -> list[str]:
    """
    Return the first *max_results* files below *path* that match *pattern*, sorted.

    Links are listed and not followed; hidden directories are passed over.

    Raises:
        ToolError: The codes of `paths.open_inside`, ``NOT_A_DIR`` or ``BAD_PATTERN``.

        ToolTimeoutError: The call's time was used up.
    """
    wanted = PathPattern(pattern)
    opened = paths.open_inside(settings.roots, path)
    try:
        if not opened.is_dir:
            raise ToolError("NOT_A_DIR", f"{path} is no directory")
        with closing(_Tree(wanted, ctx).files(opened.fd, path)) as files:
            return [file.path for file in islice(files, max_results)]
    except OSError as exc:
        raise paths.tool_error(exc, path) from exc
    finally:
        os.close(opened.fd)


class _File(msgspec.Struct, frozen=True):
    """A file that a walk came to; its directory is open until the walk goes on."""

    entry: paths.Entry
    directory: int
    path: str


class _Tree(msgspec.Struct, frozen=True):
    """A walk over the files that are wanted, sorted by path, under a deadline."""

    wanted: PathPattern
    ctx: CallContext

    def files(self, directory: int, shown: str) -> Generator[_File, None, None]:
        """Yield the files below the open *directory*, which the caller knows as *shown*."""
        prefix = "" if shown in ("", ".") else shown.rstrip("/") + "/"
        return self._below(directory, prefix, self.wanted.start, 0)

    def _below(
        self, directory: int, prefix: str, states: States, depth: int
    ) -> Generator[_File, None, None]:
        if depth > MAX_DEPTH:
            raise ToolError("IO", f"directories are nested more than {MAX_DEPTH} deep")
        for entry in paths.entries(directory):
            require_time(self.ctx)
            after = self.wanted.advance(states, entry.name)
            path = prefix + entry.shown
            if not entry.is_dir:
                if self.wanted.is_match(after):
                    yield _File(entry, directory, path)
            elif after and not entry.name.startswith("."):
                yield from self._inside(directory, entry, path, after, depth)

    def _inside(
        self,
        directory: int,
        entry: paths.Entry,
        path: str,
        states: States,
        depth: int,
    ) -> Generator[_File, None, None]:
        try:
            inner = paths.open_directory(entry.name, directory)
        except OSError:  # not ours to list, or gone since its name was read
            return
        try:
            yield from self._below(inner, path + "/", states, depth + 1)
        finally:
            os.close(inner)


class _Search(msgspec.Struct, frozen=True):
    """What is looked for in each file, and how much of it is held at a time."""

    regex: re.Pattern[str]
    max_line_bytes: int
    max_matches: int
    ctx: CallContext

    def matches_in(self, file: _File) -> list[dict[str, Any]]:
        """Return the matches in *file*, none if it is a link or cannot be read."""
        if file.entry.is_link:
            return []
        try:
            fd = paths.open_regular(file.entry.name, file.directory)
            return self.matches(fd, file.path)
        except OSError:
            return []

    def matches(self, fd: int, path: str) -> list[dict[str, Any]]:
        """Return the first matches in the file open at *fd*, and close it."""
        found: list[dict[str, Any]] = []
        number = 0
        with open(fd, "rb") as lines:
            if b"\0" in lines.peek(_BINARY_PROBE_BYTES)[:_BINARY_PROBE_BYTES]:
                return []
            while len(found) < self.max_matches:
                raw = lines.readline(self.max_line_bytes + 1)
                if not raw:
                    break
                if number % _LINES_BETWEEN_CHECKS == 0:
                    require_time(self.ctx)
                number += 1
                try:
                    text = raw.decode().rstrip("\r\n")
                except UnicodeDecodeError:
                    return []
                if len(raw) > self.max_line_bytes:
                    return []
                if self.regex.search(text):
                    text = text[:MAX_LINE_CHARS]
                    found.append({"path": path, "line": number, "text": text})
        return found
