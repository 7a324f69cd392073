"""The completion script of bash: ``case`` tables for functions that read the line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

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
        "COMMANDS": "\n".join(_command_case(c, line) for c in line.root.walk()),
        "GLOBAL": shlex.quote(" " + _names(line.options)),
        "VALUES": "\n".join(_value_cases(line)),
        "ASKING": "\n".join(
            _field_case(field) for field in line.fields if field.values.kind != "text"
        ),
        "FIELDS": shlex.join(f"{field.name}=" for field in line.fields),
    }
    return fill("toolrt.bash", tables)


def _command_case(command: Command, line: CommandLine) -> str:
    every = {option.names for option in line.options}  # which the script adds
    own = tuple(one for one in command.options if one.names not in every)
    words = {
        "commands": " ".join(found.name for found in command.commands),
        "options": _names(own),
        "arguments": " ".join(map(_argument, command.arguments)),
    }
    lines = [f"        {shlex.quote(' '.join(command.path))})"]
    lines += [f"            {k}={shlex.quote(v)}" for k, v in words.items() if v]
    return "\n".join([*lines, "            ;;"])


def _value_cases(line: CommandLine) -> Iterator[str]:
    for command in line.root.walk():
        path = " ".join(command.path)
        for option in command.options:
            if option.values is not None:
                patterns = [shlex.quote(f"{path} {name}") for name in option.names]
                yield _value_case(patterns, option.values)
    for option in line.options:
        if option.values is not None:
            yield _value_case([f"*' {name}'" for name in option.names], option.values)


def _value_case(patterns: list[str], values: Values) -> str:
    return f"        {'|'.join(patterns)}) kind={shlex.quote(_kind(values))} ;;"


def _field_case(field: Field) -> str:
    ask = f'_toolrt_ask "${{value%%=*}}=" {field.values.kind}'
    return f"                {field.name}=*) {ask} ;;"


def _names(options: tuple[Option, ...]) -> str:
    return " ".join(name for option in options for name in option.names)


def _argument(argument: Argument) -> str:
    return _kind(argument.values) + ("..." if argument.is_repeated else "")


def _kind(values: Values) -> str:
    return f"{values.kind}:{','.join(values.words)}" if values.words else values.kind
