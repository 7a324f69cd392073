"""
The native binding: a Python function becomes a handler.

Its signature becomes the input schema (JSON Schema 2020-12), its docstring the
description. Only annotations that say what JSON holds are understood; anything else
needs ``input_schema=``.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

_JSON_TYPES: Final = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}


def input_schema(
    function: Callable[..., Any], given: Collection[str] = ("ctx",)
) -> dict[str, Any]:
    """
    Return the JSON Schema of *function*'s parameters, but for those that are *given*.

    ``Annotated[int, {"minimum": 1}]`` adds keywords to a parameter.

    Raises:
        TypeError: A parameter has no annotation, or one that JSON does not have.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    closed = True
    for name, parameter in inspect.signature(function).parameters.items():
        if name in given:
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            closed = False
            continue
        if parameter.kind in _POSITIONAL_ONLY or name not in hints:
            msg = f"parameter {name!r} needs a name and an annotation"
            raise TypeError(msg)
        properties[name] = _schema_of(hints[name], name)
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = parameter.default
    schema: dict[str, Any] = {"type": "object"}
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


_POSITIONAL_ONLY: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
)


def _schema_of(hint: Any, name: str) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin is None and hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    if origin is typing.Annotated:
        extra = [part for part in args[1:] if isinstance(part, dict)]
        return {
            k: v
            for part in (_schema_of(args[0], name), *extra)
            for k, v in part.items()
        }
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return _schema_of_union([_schema_of(arg, name) for arg in args])
    if origin is list:
        return {"type": "array", "items": _schema_of(args[0], name)}
    if origin in (dict, Mapping) and args[0] is str:
        return {"type": "object", "additionalProperties": _schema_of(args[1], name)}
    msg = f"parameter {name!r}: {hint!r} is no JSON type; give input_schema="
    raise TypeError(msg)


def has_keywords(function: Callable[..., Any]) -> bool:
    """Return whether a person wrote JSON Schema into *function*'s annotations."""
    hints = typing.get_type_hints(function, include_extras=True)
    return any(map(_has_keywords, hints.values()))


def _has_keywords(hint: Any) -> bool:
    args = get_args(hint)
    if get_origin(hint) is typing.Annotated and any(
        isinstance(part, dict) for part in args[1:]
    ):
        return True
    return any(map(_has_keywords, args))


def _schema_of_union(options: list[dict[str, Any]]) -> dict[str, Any]:
    if all(set(option) == {"type"} for option in options):
        return {"type": [option["type"] for option in options]}
    return {"anyOf": options}


def description(function: Callable[..., Any]) -> str:
    """Return the first paragraph of *function*'s docstring on one line."""
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split())


def takes(function: Callable[..., Any], name: str) -> bool:
    """Return whether *function* has a parameter *name*."""
    return name in inspect.signature(function).parameters
