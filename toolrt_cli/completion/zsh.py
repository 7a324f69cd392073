"""The completion script of zsh: ``_arguments`` specifications of every command."""

from __future__ import annotations

from typing import Final

from toolrt_cli.completion.description import (
    GENERATED,
    Argument,
    Command,
    CommandLine,
    Option,
    Values,
)
from toolrt_cli.completion.template import fill

#: The kinds of names that toolrt prints, and what one of them is called.
_NAMES: Final = {
    "tools": "tool",
    "packs": "pack",
    "callers": "caller",
    "identities": "identity",
    "capabilities": "capability",
}


def render(line: CommandLine) -> str:
    """Return the script of *line*."""
    names = [f"_toolrt_{k}() {{ _toolrt_names {k} {v} }}" for k, v in _NAMES.items()]
    asking = [
        f"    ({field.name}=*) compset -P '{field.name}='; _toolrt_{field.values.kind} ;;"
        for field in line.fields
        if field.values.kind in _NAMES
    ]
    fields = [
        "    " + _quoted(f"{_escaped(field.name)}=:{field.help}")
        for field in line.fields
    ]
    tables = {
        "GENERATED": GENERATED,
        "COMMANDS": "\n".join(map(_command_case, line.root.walk())),
        "GLOBAL": "\n".join(f"    {_option(option)}" for option in line.options),
        "NAMES": "\n".join(names),
        "ASKING": "\n".join(asking),
        "FIELDS": "\n".join(fields),
    }
    return fill("toolrt.zsh", tables)


def _command_case(command: Command) -> str:
    specs = [
        *map(_option, command.options),
        *(_argument(i, found) for i, found in enumerate(command.arguments, 1)),
    ]
    lines = [
        f"    ({_quoted(' '.join(command.path))})",
        "      specs=(",
        *(f"        {spec}" for spec in specs),
        "      )",
    ]
    if command.commands:
        lines += ["      commands=(", *map(_described, command.commands), "      )"]
    return "\n".join([*lines, "      ;;"])


def _described(command: Command) -> str:
    return "        " + _quoted(f"{_escaped(command.name)}:{command.help}")


def _option(option: Option) -> str:
    """Return one word of zsh, with braces for the spellings where there are some."""
    value = "" if option.values is None else _value(option.metavar, option.values)
    names = [
        f"{name}=" if value and name.startswith("--") else name for name in option.names
    ]
    about = option.help.replace("]", "\\]").replace("[", "\\[")
    spec = f"[{about}]{value}"
    if len(names) == 1:
        return _quoted(names[0] + spec)
    excluded = _quoted(f"({' '.join(option.names)})")
    return f"{excluded}{{{','.join(names)}}}{_quoted(spec)}"


def _argument(place: int, argument: Argument) -> str:
    where = "*" if argument.is_repeated else str(place)
    return _quoted(where + _value(argument.name, argument.values))


def _value(name: str, values: Values) -> str:
    match values.kind:
        case "text":
            action = " "
        case "words":
            action = f"({' '.join(values.words)})"
        case "file":
            action = "_files"
        case kind:
            action = f"_toolrt_{kind}"
    return f":{_escaped(name)}:{action}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
