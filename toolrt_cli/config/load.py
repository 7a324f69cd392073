"""
From a located file to a `LoadedConfig`, or to every fault of the file at once.

The bytes are read once, and owner and mode are taken from the open file: what was
checked and digested is what is used.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolrt_cli.config import model
from toolrt_cli.config.discover import Located, Origin
from toolrt_cli.config.faults import ConfigError, Fault, Position
from toolrt_cli.config.meaning import meaning_problems
from toolrt_cli.config.places import expand_user
from toolrt_cli.config.problems import Problem
from toolrt_cli.config.quantities import decode
from toolrt_cli.escape import show

if TYPE_CHECKING:  # imported when a position is asked for: 3 ms of a start
    from toolrt_cli.config.positions import Positions


class LoadedConfig:
    """
    A valid config, the file it came from and the digest of that file's bytes.

    Without a file (origin ``default``) path and digest are None. Immutable, but for the
    positions, which are scanned when the first is asked for.
    """

    __slots__ = ("_positions", "config", "origin", "path", "sha256", "source")

    def __init__(
        self,
        *,
        path: str | None,
        origin: Origin,
        sha256: str | None,
        config: model.Config,
        source: str,
    ) -> None:
        self.path = path
        self.origin = origin
        self.sha256 = sha256
        self.config = config
        self.source = source
        self._positions: Positions | None = None

    def position(self, *path: str | int) -> Position | None:
        """
        Return where the last key of *path* stands in the file.

        ``position("gate", "rule", 0)`` is the first ``[[gate.rule]]`` header,
        ``position("callers", "ci", "capabilities", 1)`` the second item of that array.
        None if the file has no such key.
        """
        if self._positions is None:
            from toolrt_cli.config.positions import scan

            self._positions = scan(self.source)
        return self._positions.key(path)

    def fault(self, message: str, *path: str | int) -> Fault:
        """Return the fault *message* at the place of *path*."""
        if self.path is None:
            return Fault(file="the built-in default", message=message)
        at = self.position(*path)
        if at is None:
            return Fault(file=self.path, message=message)
        return Fault(
            file=self.path,
            message=message,
            line=at.line,
            column=at.column,
            length=at.length,
            key_path=path,
            snippet=self.source.splitlines()[at.line - 1],
        )

    def resolve(self, path_text: str) -> str:
        """Return the path that a value of the file means, absolute."""
        folder = os.path.dirname(self.path) if self.path else os.getcwd()
        return os.path.join(folder, expand_user(path_text))


def read(located: Located) -> bytes:
    """
    Return the bytes of the located file, which has a path.

    Raises:
        ConfigError: It cannot be read, is no regular file, everyone can write it, or it
            was found and belongs to someone else.
    """
    path = located.path
    assert path is not None
    try:
        # Without O_NONBLOCK the open of a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            problem = _refusal(os.fstat(descriptor), located.origin)
            if problem is None:
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read()
        finally:
            os.close(descriptor)
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    raise ConfigError([Fault(file=path, message=problem)])


def _refusal(info: os.stat_result, origin: Origin) -> str | None:
    if not stat.S_ISREG(info.st_mode):
        return "not a regular file"
    if info.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(info.st_mode)
        return f"everyone can write it (mode {mode:04o})"
    if origin == "found" and info.st_uid not in (os.geteuid(), 0):
        return f"found, not named, and owned by another user (uid {info.st_uid})"
    return None


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of *data* in hex: what trust and grants remember of a file."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def load(
    located: Located, data: bytes | None = None, *, is_examined: bool = False
) -> LoadedConfig:
    """
    Return the config that *located* names, checked as a whole.

    Args:
        located: What `locate` returned. Trust is not asked for here.

        data: The file's bytes, if they have been read.

        is_examined: Whether to check also what costs more than a command can wait for.

    Raises:
        ConfigError: The file cannot be used; all its faults.
    """
    path = located.path
    if path is None:
        return LoadedConfig(
            path=None,
            origin=located.origin,
            sha256=None,
            config=model.Config(),
            source="",
        )
    data = read(located) if data is None else data
    source = _decoded(path, data)
    return LoadedConfig(
        path=path,
        origin=located.origin,
        sha256=digest_of(data),
        config=parse(path, source, is_examined=is_examined),
        source=source,
    )


def parse(path: str, source: str, *, is_examined: bool = False) -> model.Config:
    """
    Return the config that *source* writes down; *path* is for messages.

    Args:
        is_examined: As for `load`.

    Raises:
        ConfigError: *source* is no valid config; all its faults.
    """
    tree = _parsed(path, source)
    problems = list(meaning_problems(tree))
    if is_examined:
        from toolrt_cli.config.dids import did_problems
        from toolrt_cli.config.patterns import pattern_problems

        problems += [*pattern_problems(tree), *did_problems(tree)]
    try:
        config = msgspec.convert(tree, model.Config, dec_hook=decode)
    except msgspec.ValidationError as exc:
        problems += _shape_problems(tree, str(exc))
    else:
        if not problems:
            return config
    raise ConfigError(_faults(path, source, problems))


def _shape_problems(tree: dict[str, Any], refusal: str) -> list[Problem]:
    from toolrt_cli.config.structure import shape_problems

    found = list(shape_problems(tree))
    # msgspec's word counts, also where this module's walk saw nothing.
    return found or [Problem(path=(), message=show(refusal))]


def _decoded(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        good = data[: exc.start].decode()
        rest = data[exc.start :].partition(b"\n")[0].decode(errors="replace")
        message = f"not UTF-8: byte 0x{data[exc.start]:02x} ({exc.reason})"
        raise _at_offset(path, good + rest, len(good), message) from exc


_PLACE: Final = r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)"


def _parsed(path: str, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as exc:
        # Python before 3.14 tells the place in the text alone.
        found = re.fullmatch(_PLACE, str(exc), re.DOTALL)
        reason = found[1] if found else str(exc)
        message = f"not valid TOML: {show(reason[:1].lower() + reason[1:])}"
        if found is None or found[2] is None:
            raise _at_offset(path, source, len(source), message) from exc
        offset = _offset(source, int(found[2]), int(found[3]))
        raise _at_offset(path, source, offset, message) from exc
    except RecursionError as exc:
        message = "not valid TOML: nested too deeply"
        raise _at_offset(path, source, 0, message) from exc


def _offset(source: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = source.index("\n", start) + 1
    return start + column - 1


def _at_offset(path: str, source: str, offset: int, message: str) -> ConfigError:
    from toolrt_cli.config.positions import Positions

    positions = Positions(source)
    place = positions.at(offset)
    return ConfigError(
        [
            Fault(
                file=path,
                message=message,
                line=place.line,
                column=place.column,
                length=place.length,
                snippet=positions.line(place.line),
            )
        ]
    )


def _faults(path: str, source: str, problems: Iterable[Problem]) -> list[Fault]:
    from toolrt_cli.config.positions import scan

    positions = scan(source)
    # The first word on a place is the plainest; later ones follow from it.
    unique = {(one.path, one.at): one for one in reversed(list(problems))}
    faults = [_fault(path, positions, one) for one in unique.values()]
    return sorted(faults, key=lambda one: (one.line or 0, one.column or 0, one.message))


def _fault(path: str, positions: Positions, problem: Problem) -> Fault:
    place = next(_places(positions, problem), Position(1, 1, 1))
    return Fault(
        file=path,
        message=problem.message,
        line=place.line,
        column=place.column,
        length=place.length,
        key_path=problem.path,
        suggestion=problem.suggestion,
        snippet=positions.line(place.line),
    )


def _places(positions: Positions, problem: Problem) -> Iterator[Position]:
    """Yield the place of *problem*, then that of each table around it."""
    path = problem.path
    if problem.at == "key" and (place := positions.key(path)):
        yield place
    while path:
        if place := positions.value(path):
            yield place
        path = path[:-1]
