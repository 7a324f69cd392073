"""The completion script of fish: one ``complete`` line for whatever can be offered."""

from __future__ import annotations

from collections.abc import Iterator

from toolrt_cli.completion.description import (
    GENERATED,
    Argument,
    Command,
    CommandLine,
    Option,
    Values,
)
from toolrt_cli.completion.template import fill


def render(line: CommandLine) -> str:
    """Return the script of *line*."""
    commands = list(line.root.walk())
    fields = [f"{_quoted(f'{f.name}=')} {_quoted(f.help)}" for f in line.fields]
    tables = {
        "GENERATED": GENERATED,
        "VALUES": " ".join(_value_patterns(line)),
        "COMMANDS": " ".join(_quoted(_last_step(found)) for found in commands[1:]),
        "ASKING": "\n".join(
            f"        case {_quoted(f'{field.name}=*')}\n"
            f"            set kind {field.values.kind}"
            for field in line.fields
            if field.values.kind != "text"
        ),
        "FIELDS": " \\\n".join(f"                {field}" for field in fields),
        "GLOBAL": "\n".join(_option(option, "") for option in line.options),
        "LINES": "\n".join(text for found in commands for text in _lines(found)),
    }
    return fill("toolrt.fish", tables)


def _last_step(command: Command) -> str:
    return f"{' '.join(command.path[:-1])} {command.name}"


def _value_patterns(line: CommandLine) -> Iterator[str]:
    for command in line.root.walk():
        for option in command.options:
            if option.values is not None:
                path = " ".join(command.path)
                yield from (_quoted(f"{path} {name}") for name in option.names)
    for option in line.options:
        if option.values is not None:
            yield from (_quoted(f"* {name}") for name in option.names)


def _lines(command: Command) -> Iterator[str]:
    path = " ".join(command.path) or "''"
    for found in command.commands:
        yield _line(f"__toolrt_at 0 {path}", f"-a {found.name}", found.help)
    for option in command.options:
        yield _option(option, f"__toolrt_in {path}")
    for place, argument in enumerate(command.arguments):
        at = f"{place}+" if argument.is_repeated else place
        yield _line(f"__toolrt_at {at} {path}", *_argument(argument))


def _option(option: Option, condition: str) -> str:
    names = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
        for name in option.names
    ]
    taken = [] if option.values is None else ["-r", *_offered(option.values)]
    return _line(condition, " ".join([*names, *taken]), option.help)


def _argument(argument: Argument) -> tuple[str, str]:
    return " ".join(_offered(argument.values)), argument.name


def _line(condition: str, what: str, about: str) -> str:
    when = f" -n {_quoted(condition)}" if condition else ""
    return f"complete -c toolrt{when} {what} -d {_quoted(about)}".replace("  ", " ")


def _offered(values: Values) -> list[str]:
    """Return the switches of ``complete`` that offer *values*."""
    match values.kind:
        case "text":
            return ["-f"]
        case "words":
            return ["-f", "-a", _quoted(" ".join(values.words))]
        case "file":
            return ["-F"]
        case "json" | "arguments" | "filters":
            return ["-f", "-a", _quoted(f"(__toolrt_{values.kind})")]
        case kind:
            return ["-f", "-a", _quoted(f"(__toolrt_ask {kind})")]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
