"""The completion script of PowerShell: hash tables for a native argument completer."""

from __future__ import annotations

from collections.abc import Iterable

from toolrt_cli.completion.description import (
    GENERATED,
    Argument,
    Command,
    CommandLine,
    Field,
    Option,
    Values,
)
from toolrt_cli.completion.template import fill


def render(line: CommandLine) -> str:
    """Return the script of *line*."""
    tables = {
        "GENERATED": GENERATED,
        "GLOBAL": "\n".join(f"        {_option(option)}" for option in line.options),
        "FIELDS": "\n".join(map(_field, line.fields)),
        "COMMANDS": "\n".join(map(_command, line.root.walk())),
    }
    return fill("toolrt.ps1", tables)


def _command(command: Command) -> str:
    commands = [f"{_quoted(c.name)} = {_quoted(c.help)}" for c in command.commands]
    lines = [
        f"        {_quoted(' '.join(command.path))} = @{{",
        *_block("Commands = [ordered]@{", commands, "}"),
        *_block("Options = @(", map(_option, command.options), ")"),
        *_block("Arguments = @(", map(_argument, command.arguments), ")"),
        "        }",
    ]
    return "\n".join(lines)


def _block(start: str, entries: Iterable[str], end: str) -> list[str]:
    lines = [f"                {entry}" for entry in entries]
    if not lines:
        return [f"            {start}{end}"]
    return [f"            {start}", *lines, f"            {end}"]


def _option(option: Option) -> str:
    names = f"Names = {_array(option.names)}; Help = {_quoted(option.help)}"
    if option.values is None:
        return f"@{{ {names} }}"
    return f"@{{ {names}; {_values(option.metavar, option.values)} }}"


def _argument(argument: Argument) -> str:
    repeated = "; IsRepeated = $true" if argument.is_repeated else ""
    return f"@{{ {_values(argument.name, argument.values)}{repeated} }}"


def _values(name: str, values: Values) -> str:
    words = f"; Words = {_array(values.words)}" if values.words else ""
    return f"Name = {_quoted(name)}; Kind = {_quoted(values.kind)}{words}"


def _field(field: Field) -> str:
    entry = f"@{{ Help = {_quoted(field.help)}; Kind = {_quoted(field.values.kind)} }}"
    return f"        {_quoted(field.name)} = {entry}"


def _array(words: tuple[str, ...]) -> str:
    return f"@({', '.join(map(_quoted, words))})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
