"""
JSON on the command line, and what is said of words that are no arguments.

msgspec reads it; what it does not tell, the place in words for people and a key that is
given twice, is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolrt.errors import ArgFault, ToolrtError
from toolrt_cli.escape import display_width, escape

_SHOWN_CHARS: Final = 60


class JsonFault(ArgFault, frozen=True):
    """One argument that is no JSON, with the place where it stops being some."""

    #: From 1. Columns count characters.
    line: int = 1
    column: int = 1
    #: The line, cut and escaped, and a second line with a caret below the place.
    pointer: tuple[str, str] = ("", "^")


class ArgumentSyntaxError(ToolrtError):
    """Words that are no arguments, or no JSON: every fault, in their order."""

    code = "usage"
    #: The command that shows what the arguments may be.
    next_step: str = "toolrt run --help"

    def __init__(self, faults: Sequence[ArgFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "; ".join(f"{f.path or 'arguments'}: {f.rule}" for f in self.faults)
        )

    def lines(self) -> list[str]:
        """Return the faults for people, with carets, escaped; no line breaks."""
        shown = []
        for fault in self.faults:
            # The value is safe already: ASCII JSON, see quoted().
            given = "" if fault.value is None else f", got {fault.value}"
            shown.append(escape(f"{fault.path or 'arguments'}: {fault.rule}") + given)
            if isinstance(fault, JsonFault):
                shown.extend(f"  {line}" for line in fault.pointer)
        return shown


def parse_json(text: str, name: str) -> Any:
    """
    Return the value that *text* is in JSON; *name* is the argument's.

    Raises:
        ArgumentSyntaxError: It is no JSON, or gives one key of an object twice.
    """
    try:
        value = msgspec.json.decode(text.encode())
        repeated = _repeated_key(text)
    except UnicodeEncodeError as exc:
        raise _json_fault(text, name, exc.start, "is no UTF-8 text") from exc
    except RecursionError as exc:
        raise _json_fault(text, name, 0, "is nested too deeply") from exc
    except msgspec.DecodeError as exc:
        at, why = _place(text, str(exc))
        raise _json_fault(text, name, at, f"is no JSON: {why}") from exc
    if repeated is not None:
        raise syntax_error(name, f"gives the key {quoted(repeated)} twice")
    return value


def _repeated_key(text: str) -> str | None:
    """Return the first key that an object in *text*, which is JSON, has twice."""
    if text.count(":") <= 1:  # one pair at most
        return None
    from json import loads  # not at every start

    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    loads(text, object_pairs_hook=note)
    return found[0] if found else None


def _place(text: str, message: str) -> tuple[int, str]:
    """Return the character at which msgspec stopped, and why, from its message."""
    why, found, byte = message.removesuffix(")").partition(" (byte ")
    why = why.removeprefix("JSON is malformed: ")
    if found:
        # For these two msgspec tells the byte after the one that it means.
        is_after = why.startswith(("trailing characters", "invalid escape"))
        prefix = text.encode()[: int(byte) - is_after]
        return len(prefix.decode(errors="ignore")), why
    if "truncated" in why:
        return len(text.rstrip()), "it ends too early"
    return 0, why[:1].lower() + why[1:]


def _json_fault(text: str, name: str, at: int, why: str) -> ArgumentSyntaxError:
    line = text.count("\n", 0, at) + 1
    start = text.rfind("\n", 0, at) + 1
    column = at - start + 1
    pointer = _pointer(text[start:].split("\n", 1)[0], at - start)
    rule = f"{why} (line {line}, column {column})"
    fault = JsonFault(name, rule, line=line, column=column, pointer=pointer)
    return ArgumentSyntaxError([fault])


def _pointer(line: str, at: int) -> tuple[str, str]:
    cut = max(0, at - _SHOWN_CHARS // 2)
    before, after = escape(line[cut:at]), escape(line[at : cut + _SHOWN_CHARS])
    return before + after, " " * display_width(before) + "^"


def syntax_error(path: str, rule: str, value: str | None = None) -> ArgumentSyntaxError:
    """Return the error of one word that cannot be read."""
    shown = None if value is None else quoted(value)
    return ArgumentSyntaxError([ArgFault(path, rule, shown)])


def quoted(text: str) -> str:
    """Return *text* as JSON, cut: a fault says what was given, not all of it."""
    from toolrt_cli.output import to_json

    cut = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
    return to_json(cut)
