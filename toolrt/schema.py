"""
JSON Schema of arguments: defaults, checks with every fault, the one-line signature.

The dialect is 2020-12 and the checking is jsonschema-rs's; this module puts its findings
into words. jsonschema-rs is imported when the first schema is compiled, not before: it
costs a tenth of a start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NotRequired, TypedDict

import msgspec

from toolrt.errors import ArgFault

Schema = Mapping[str, Any]
Check = Callable[[Any], tuple[ArgFault, ...]]
Reader = Callable[[bytes], dict[str, Any]]

ANYTHING: Final[Schema] = {"type": "object"}
_SHOWN_CHARS: Final = 80
_WHY_CHARS: Final = 200


def compile_check(schema: Schema) -> Check:
    """
    Return the function that lists every fault of a value against *schema*.

    Raises:
        ValueError: *schema* is no valid JSON Schema, or needs another document.
    """
    if schema == ANYTHING:
        return _check_object
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
    except ValueError as exc:
        raise ValueError(_first_fault(exc)) from exc

    def check(value: Any) -> tuple[ArgFault, ...]:
        try:
            if validator.is_valid(value):
                return ()
            found = [fault for e in validator.iter_errors(value) for fault in _put(e)]
        except ValueError as exc:  # a Python value that is no JSON
            return (ArgFault("", f"must be JSON: {exc}"),)
        return tuple(sorted(found, key=lambda fault: fault.path))

    return check


def compile_reader(schema: Schema) -> Reader | None:
    """
    Return what decodes arguments and refuses others; None if *schema* asks more than types.

    It raises `msgspec.ValidationError` where a value may not fit, 1.0 for an integer
    too, and leaves out what *schema* does not name: if it returns all that was encoded,
    that fits. Takes less than half the time of decoding and a check.
    """
    properties = schema.get("properties", {})
    required = frozenset(schema.get("required", ()))
    known = {"type", "properties", "required", "additionalProperties", *_ANNOTATIONS}
    if (
        schema.get("type") != "object"
        or schema.keys() - known
        or required - properties.keys()
    ):
        return None
    fields: dict[str, Any] = {}
    for name, spec in properties.items():
        read_as = _read_as(spec)
        if read_as is None:
            return None
        fields[name] = read_as if name in required else NotRequired[read_as]
    # The name is that of the class only; which keys there are comes from the schema.
    return msgspec.json.Decoder(TypedDict("Arguments", fields)).decode  # type: ignore[operator]


def _read_as(spec: Any) -> Any:
    """Return the type that holds just what fits *spec*, integers as int; else None."""
    if not isinstance(spec, dict) or spec.keys() - {"type", "items", *_ANNOTATIONS}:
        return None
    if spec.get("type") == "array":
        item: Any = _read_as(spec.get("items"))
        return None if item is None else list[item]
    if "items" in spec or not isinstance(spec.get("type"), str):
        return None
    return _SCALARS.get(spec["type"])


#: What a property may say that no value can break.
_ANNOTATIONS: Final = frozenset(("title", "description", "default", "examples"))
_SCALARS: Final = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
}


def _refuse(uri: str) -> Any:
    # Without it a $ref would be fetched from wherever it points to.
    raise ValueError("is not in the schema")


def _first_fault(exc: ValueError) -> str:
    """Return where a schema is wrong, and why; the rest is a dump of the schema."""
    where = _dotted(getattr(exc, "instance_path", []))
    why = next(iter(str(exc).splitlines()), "cannot be read")
    why = why if len(why) <= _WHY_CHARS else why[: _WHY_CHARS - 1] + "…"
    return f"{where}: {why}" if where else why


def _check_object(value: Any) -> tuple[ArgFault, ...]:
    if isinstance(value, dict):
        return ()
    return (ArgFault("", "must be an object", _shown(value)),)


def _put(error: Any) -> list[ArgFault]:
    """Put one finding of jsonschema-rs into words, one fault for each argument."""
    kind = error.kind.as_dict()
    path, name = error.instance_path, error.kind.name
    if name == "required":
        return [ArgFault(_dotted([*path, kind["property"]]), "is required")]
    if name in ("additionalProperties", "unevaluatedProperties"):
        return [
            ArgFault(_dotted([*path, key]), "is not known", _shown(error.instance[key]))
            for key in kind["unexpected"]
        ]
    # A keyword that is not in the table may quote the value, and rules are recorded.
    words = _RULES.get(name, f"does not fit the schema's {name}")
    value = error.kind.value
    if name == "type":
        value = " or ".join(kind["types"])
    elif name == "enum":
        value = ", ".join(_shown(option) for option in kind["options"])
    rule = words.format(value=value if isinstance(value, str) else _shown(value))
    return [ArgFault(_dotted(path), rule, _shown(error.instance))]


_RULES: Final = {
    "type": "must be {value}",
    "enum": "must be one of {value}",
    "const": "must be {value}",
    "minimum": "must be at least {value}",
    "exclusiveMinimum": "must be more than {value}",
    "maximum": "must be at most {value}",
    "exclusiveMaximum": "must be less than {value}",
    "multipleOf": "must be a multiple of {value}",
    "minLength": "must have at least {value} characters",
    "maxLength": "must have at most {value} characters",
    "pattern": "must match {value}",
    "format": "must be a {value}",
    "minItems": "must have at least {value} items",
    "maxItems": "must have at most {value} items",
    "uniqueItems": "must not repeat an item",
}


def _dotted(path: list[str | int]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value, enc_hook=repr).decode()
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def defaults_of(schema: Schema) -> dict[str, Any]:
    """Return the defaults of *schema*'s top-level properties by name."""
    return {
        name: spec["default"]
        for name, spec in schema.get("properties", {}).items()
        if isinstance(spec, dict) and "default" in spec
    }


def with_defaults(
    defaults: Mapping[str, Any], args: Mapping[str, Any]
) -> dict[str, Any]:
    """Return *args*, and after them those of *defaults* that they do not name."""
    missing = {name: value for name, value in defaults.items() if name not in args}
    return {**args, **missing}


def signature(verb: str, schema: Schema) -> str:
    """
    Return the one-line typed signature of a tool.

    >>> signature("fs.read", {"properties": {"path": {"type": "string"}, "limit": {
    ...     "type": "integer", "default": 5}}, "required": ["path"]})
    'fs.read(path: string, [limit: integer = 5])'
    """
    required = schema.get("required", ())
    parts = []
    for name, stated in schema.get("properties", {}).items():
        spec = stated if isinstance(stated, dict) else {}  # JSON Schema allows true
        part = f"{name}: {_type_name(spec)}"
        if "default" in spec:
            part += f" = {_shown(spec['default'])}"
        parts.append(part if name in required else f"[{part}]")
    if schema.get("additionalProperties", True):
        parts.append("...")
    return f"{verb}({', '.join(parts)})"


def _type_name(spec: Schema) -> str:
    if "enum" in spec:
        return "|".join(_shown(option) for option in spec["enum"])
    kind = spec.get("type", "any")
    if isinstance(kind, list):
        return "|".join(kind)
    if kind == "array" and "items" in spec:
        return f"{_type_name(spec['items'])}[]"
    return str(kind)
