"""
What is wrong with a config file, in records, in exceptions and in print.

::

    ToolrtError
    └── ConfigError
        └── UntrustedConfigError
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

import msgspec

from toolrt.errors import ToolrtError
from toolrt_cli.escape import display_width, show

Key = str | int
#: From the root of the document: keys of tables, indices of arrays.
Path = tuple[Key, ...]

_SHOWN_CHARS: Final = 40
_LINE_CHARS: Final = 100
_CHARS_BEFORE: Final = 20
# int() to text takes long for long numbers, and past 4300 digits Python refuses.
_LONG_INT: Final = 10**20


@final
class Position(msgspec.Struct, frozen=True):
    """A place in a source, in characters from 1; `length` ends with the line."""

    line: int
    column: int
    length: int


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that is wrong.

    ``line`` and ``column`` count from 1, ``column`` and ``length`` in characters; they
    are None where the whole file is meant. ``message`` and ``suggestion`` are printable;
    ``snippet`` is the line of the file as it stands, not made harmless.
    """

    file: str
    message: str
    line: int | None = None
    column: int | None = None
    length: int | None = None
    key_path: Path = ()
    suggestion: str | None = None
    snippet: str = ""

    @property
    def place(self) -> str:
        """``file:line:column``, or the file alone."""
        if self.line is None:
            return show(self.file)
        return f"{show(self.file)}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigError(ToolrtError):
    """The config file cannot be used; every fault of it, in the order of its lines."""

    code = "config"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


_STATE: Final = {
    "never trusted": "not trusted yet",
    "edited since": "not trusted any more: it was edited",
}


class UntrustedConfigError(ConfigError):
    """A config file that was found, not named, is not trusted as it is now."""

    code = "config_untrusted"

    def __init__(
        self, path: str, digest: str, reason: Literal["never trusted", "edited since"]
    ) -> None:
        self.path = path
        self.digest = digest
        self.reason = reason
        super().__init__(
            [
                Fault(
                    file=path,
                    message=f"this config was found, not named, and is {_STATE[reason]}",
                    suggestion=f"read it, then: toolrt config trust {show(path)}",
                )
            ]
        )


def render(faults: Sequence[Fault]) -> str:
    """Return *faults* as plain text for people: snippets, carets, suggestions."""
    return "\n\n".join(_render_one(fault) for fault in faults)


def quote(value: object) -> str:
    """Return *value* in double quotes, printable and cut at 40 characters."""
    text = str(value)
    if len(text) > _SHOWN_CHARS:
        text = text[: _SHOWN_CHARS - 1] + "…"
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{show(text)}"'


def shown(value: object) -> str:
    """Return *value* as a message shows it: scalars as TOML, the rest by kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        return "a long integer" if abs(value) >= _LONG_INT else str(value)
    return str(value) if isinstance(value, float) else kind_name(value)


def kind_name(value: object) -> str:
    """Return what TOML calls *value*, with its article."""
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return "a date or time"


# bool before int: it is a subclass of it.
_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (list, "an array"),
    (dict, "a table"),
)


def key_text(path: Path) -> str:
    """Return *path* as TOML writes it: ``callers."ci-bot".capabilities[1]``."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        else:
            bare = key.replace("-", "_").isidentifier() and key.isascii()
            parts.append(("." if parts else "") + (key if bare else quote(key)))
    return "".join(parts)


def _render_one(fault: Fault) -> str:
    margin = " " * len(str(fault.line or 0))
    lines = [f"error: {fault.message}", f"{margin}--> {fault.place}"]
    if fault.line is None or fault.column is None:
        if fault.suggestion:
            lines.append(f"{margin} = {fault.suggestion}")
        return "\n".join(lines)
    lines += [
        f"{margin} |",
        *_snippet_lines(fault, fault.line, fault.column, margin),
    ]
    if len(fault.key_path) > 1:
        lines.append(f"{margin} = in {key_text(fault.key_path[:-1])}")
    return "\n".join(lines)


def _snippet_lines(fault: Fault, line: int, column: int, margin: str) -> list[str]:
    start = column - 1
    # A line may be long; what is shown begins a little before the fault.
    is_short = len(fault.snippet) <= _LINE_CHARS or start <= _LINE_CHARS // 2
    first = 0 if is_short else start - _CHARS_BEFORE
    shown = fault.snippet[first : first + _LINE_CHARS]
    before = ("…" if first else "") + show(shown[: start - first])
    meant = show(shown[start - first :][: fault.length or 1])
    after = show(shown[start - first + (fault.length or 1) :])
    if len(fault.snippet) > first + _LINE_CHARS:
        after += "…"
    carets = "^" * max(display_width(meant), 1)
    hint = f" {fault.suggestion}" if fault.suggestion else ""
    return [
        f"{line} | {before}{meant}{after}".rstrip(),
        f"{margin} | {' ' * display_width(before)}{carets}{hint}",
    ]
