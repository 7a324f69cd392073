"""
The grammar of the command line that every part shares, without Typer.

`GLOBAL` options work before and after the command; `RUN` options belong to
``toolrt run``. These two tables are the one place that names them: the parser here, the
help, and the completion scripts all read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from toolrt.errors import ToolrtError

FORMATS: Final = ("table", "json", "jsonl", "csv", "md", "name")
#: What one command takes beside them, by its words.
MORE_FORMATS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("provenance", "explain"): ("tree", "dot", "mermaid"),
}


class UsageError(ToolrtError):
    """The command line itself is wrong; `next` is the command that helps."""

    code = "usage"

    def __init__(self, problem: str, *, next_step: str = "toolrt --help") -> None:
        self.problem = problem
        self.next_step = next_step
        super().__init__(problem)


class Flag(msgspec.Struct, frozen=True):
    """One option: its field in the parsed record, its spellings, what it takes."""

    field: str
    names: tuple[str, ...]
    help: str
    #: What stands for the value in help; None for a switch.
    metavar: str | None = None
    #: The values that are allowed, where they are few.
    choices: tuple[str, ...] = ()
    #: What completes the value: a kind that ``toolrt __complete`` knows, or ``file``.
    completes: str = ""


GLOBAL: Final = (
    Flag(
        "config",
        ("--config",),
        "Use this configuration file",
        "FILE",
        completes="file",
    ),
    Flag("store", ("--store",), "Use this audit store", "FILE", completes="file"),
    Flag("output", ("-o", "--output"), "Print in this format", "FORMAT", FORMATS),
    Flag("json", ("--json",), "The same as -o json"),
    Flag(
        "color",
        ("--color",),
        "When to use colour",
        "WHEN",
        ("auto", "always", "never"),
    ),
    Flag("quiet", ("-q", "--quiet"), "Print no remarks, only data and errors"),
)

#: The same, with the formats of every command.
_GLOBAL_OF_ANY: Final = tuple(
    msgspec.structs.replace(
        flag,
        choices=(*FORMATS, *(one for more in MORE_FORMATS.values() for one in more)),
    )
    if flag.field == "output"
    else flag
    for flag in GLOBAL
)

RUN: Final = (
    Flag("caller", ("--as",), "Call as this caller", "CALLER", completes="callers"),
    Flag(
        "json_args",
        ("--json-args",),
        "Take the arguments from JSON text, @FILE or - for standard input",
        "JSON",
    ),
    Flag("dry_run", ("-n", "--dry-run"), "Decide and record, but run nothing"),
    Flag("yes", ("-y", "--yes"), "Do not ask before an effect that asks"),
    Flag("timeout", ("--timeout",), "Shorten the tool's deadline, such as 2s", "TIME"),
    Flag("cursor", ("--cursor",), "Go on with the page of this cursor", "CURSOR"),
    Flag("why", ("--why",), "Explain the decision"),
    Flag("reason", ("--reason",), "Keep this reason with the record", "TEXT"),
    Flag("help", ("-h", "--help"), "Show the help of this command or of the tool"),
)


class Globals(msgspec.Struct, frozen=True, kw_only=True):
    """The global options as they were typed."""

    config: str | None = None
    store: str | None = None
    output: str | None = None
    color: str = "auto"
    quiet: bool = False

    @property
    def is_json(self) -> bool:
        """Whether data and errors are to be JSON."""
        return self.output in ("json", "jsonl")


class RunWords(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one ``toolrt run``: its options, the tool, what is left for it."""

    tool: str | None = None
    #: What follows the tool and is none of run's own options.
    words: tuple[str, ...] = ()
    caller: str | None = None
    json_args: str | None = None
    dry_run: bool = False
    yes: bool = False
    timeout: str | None = None
    cursor: str | None = None
    why: bool = False
    reason: str | None = None
    help: bool = False


def split_command(words: Sequence[str]) -> tuple[Globals, list[str]]:
    """
    Take the global options that stand before the command.

    Raises:
        UsageError: An option lacks its value or has one that is not allowed.
    """
    # Which command it is stands behind them, so what it takes is known only then.
    found, rest = _take(words, _GLOBAL_OF_ANY, stop_at_word=True)
    return _globals(found), rest


def split_globals(words: Sequence[str], before: Globals) -> tuple[Globals, list[str]]:
    """
    Take the global options out of *words*, wherever they stand before ``--``.

    Args:
        before: What stood before the command; what *words* say wins.

    Raises:
        UsageError: An option lacks its value or has one that is not allowed.
    """
    found, rest = _take(words, _GLOBAL_OF_ANY, stop_at_word=False)
    settings = _globals(found, before)
    require_format(settings, rest)
    return settings, rest


def require_format(settings: Globals, words: Sequence[str]) -> None:
    """
    Check that the command of *words* has the format that was asked for.

    Raises:
        UsageError: It has not.
    """
    known = (*FORMATS, *MORE_FORMATS.get(tuple(words[:2]), ()))
    if settings.output is not None and settings.output not in known:
        raise UsageError(
            f"--output {settings.output!r}: must be one of {', '.join(known)}"
        )


def parse_run(
    words: Sequence[str], before: Globals, arguments: Collection[str] = ()
) -> tuple[Globals, RunWords]:
    """
    Parse what follows ``toolrt run``.

    Options of run, and global ones, are taken before the tool, and after it unless the
    tool has an argument of that name (*arguments*); ``--`` ends them.

    Raises:
        UsageError: An option is unknown, lacks its value or has a wrong one.
    """
    found, rest = _take(words, RUN + GLOBAL, stop_at_word=True)
    if rest[:1] == ["--"]:
        rest = rest[1:]
    elif rest and rest[0].startswith("-"):
        _unknown(rest[0], RUN + GLOBAL)
    if rest:
        ours = [flag for flag in RUN + GLOBAL if not _named(flag, arguments)]
        after, words_left = _take(rest[1:], ours, stop_at_word=False)
        found = {**found, **after, "tool": rest[0], "words": tuple(words_left)}
    settings = _globals(found, before)
    require_format(settings, ("run",))
    return settings, msgspec.convert(found, RunWords)


def _globals(found: Mapping[str, object], before: Globals | None = None) -> Globals:
    chosen = {flag.field: found[flag.field] for flag in GLOBAL if flag.field in found}
    if chosen.pop("json", False):
        chosen["output"] = "json"
    return msgspec.structs.replace(before or Globals(), **chosen)


def _named(flag: Flag, arguments: Collection[str]) -> bool:
    return any(name.removeprefix("--") in arguments for name in flag.names)


def _take(
    words: Sequence[str], flags: Sequence[Flag], *, stop_at_word: bool
) -> tuple[dict[str, object], list[str]]:
    """Return what *flags* took of *words*, and the words that are left, in order."""
    by_name = {name: flag for flag in flags for name in flag.names}
    found: dict[str, object] = {}
    rest: list[str] = []
    left = deque(words)
    while left:
        word = left.popleft()
        name, equals, value = word, "", ""
        if word.startswith("--"):
            name, equals, value = word.partition("=")
        flag = by_name.get(name)
        if word == "--" or (flag is None and stop_at_word):
            return found, [*rest, word, *left]
        if flag is None:
            rest.append(word)
        elif flag.metavar is None:
            if equals:
                raise UsageError(f"{name} takes no value")
            found[flag.field] = True
        else:
            if not equals and not left:
                raise UsageError(f"{name} needs a value: {flag.metavar}")
            found[flag.field] = _allowed(flag, value if equals else left.popleft())
    return found, rest


def _allowed(flag: Flag, value: str) -> str:
    if not value:  # as an unset variable in quotes gives: never the same as not given
        raise UsageError(f"{flag.names[-1]} is given an empty value")
    if flag.choices and value not in flag.choices:
        raise UsageError(
            f"{flag.names[-1]} {value!r}: must be one of {', '.join(flag.choices)}"
        )
    return value


def _unknown(word: str, flags: Sequence[Flag]) -> NoReturn:
    import difflib

    names = [name for flag in flags for name in flag.names]
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown option {word}{hint}", next_step="toolrt run --help")


def help_lines(flags: Sequence[Flag]) -> list[str]:
    """Return one aligned line of help for each of *flags*."""
    heads = [_head(flag) for flag in flags]
    width = max(map(len, heads)) + 2
    return [
        f"  {head:<{width}}{_help(flag)}"
        for head, flag in zip(heads, flags, strict=True)
    ]


def _head(flag: Flag) -> str:
    names = ", ".join(flag.names)
    return f"{names} {flag.metavar}" if flag.metavar else names


def _help(flag: Flag) -> str:
    return f"{flag.help}: {', '.join(flag.choices)}" if flag.choices else flag.help
