"""
What is wrong with the shape of a config: every fault, by walking data beside its types.

`msgspec.convert` is the judge of a config and stops at its first fault. This walk runs
only after it has refused, reads the same types, and says all that it would refuse, with
paths and in an operator's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect

from toolrt_cli.config import model
from toolrt_cli.config.faults import Path, kind_name, quote, shown
from toolrt_cli.config.problems import Problem, did_you_mean, one_of
from toolrt_cli.config.quantities import ByteSize, Duration
from toolrt_cli.escape import show


def shape_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield everything in *data* that the types of `model.Config` refuse."""
    yield from _check(data, inspect.type_info(model.Config), ())


_EXPECTED: Final[dict[type[inspect.Type], tuple[type | tuple[type, ...], str]]] = {
    inspect.StrType: (str, "a string"),
    inspect.IntType: (int, "an integer"),
    inspect.FloatType: ((int, float), "a number"),
    inspect.BoolType: (bool, "a boolean"),
    inspect.VarTupleType: (list, "an array"),
    inspect.DictType: (dict, "a table"),
    inspect.StructType: (dict, "a table"),
}

#: What a pattern of the model asks for, in words.
_PATTERNS: Final = {
    r"^[A-Za-z_][A-Za-z0-9_-]*\Z": "a name of [A-Za-z_][A-Za-z0-9_-]*",
    r"^did:key:z[1-9A-HJ-NP-Za-km-z]+\Z": "a DID such as did:key:z6Mk…",
    r"^[^:]+:[^\n]+\Z": "an actor as kind:id, such as os:deploy",
    r"^(allow-all|rules|python:[\w.]+:[\w.]+)\Z": (
        "allow-all, rules or python:module:attr"
    ),
    r"^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\Z": "an exit status from 1 to 255",
    r"^(ok|[A-Z][A-Z0-9_]*)\Z": "ok or an upper-case code such as NOT_FOUND",
}
_GATE_KINDS: Final = ("allow-all", "rules")


def _check(value: Any, kind: inspect.Type, path: Path) -> Iterator[Problem]:
    kind = _without_metadata(kind)
    if isinstance(kind, inspect.UnionType):
        yield from _check_union(value, kind, path)
    elif isinstance(kind, inspect.LiteralType):
        yield from _check_choice(value, [str(one) for one in kind.values], path)
    elif isinstance(kind, inspect.CustomType):
        yield from _check_quantity(value, kind.cls, path)
    elif type(kind) in _EXPECTED:
        yield from _check_plain(value, kind, path)


def _without_metadata(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _check_union(value: Any, kind: inspect.UnionType, path: Path) -> Iterator[Problem]:
    # TOML has no null: an optional key is absent or of its type.
    some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    tables = [one for one in some if isinstance(one, inspect.StructType)]
    if len(some) == 1:
        yield from _check(value, some[0], path)
    elif tables:
        yield from _check_tagged(value, tables, path)
    else:  # integer or float
        yield from _check(value, inspect.FloatType(), path)


def _check_tagged(
    value: Any, tables: list[inspect.StructType], path: Path
) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield _wrong_kind(value, "a table", path)
        return
    tag_field = str(tables[0].tag_field)
    if tag_field not in value:
        yield _missing(tag_field, path)
        return
    tag = value[tag_field]
    named = {str(table.tag): table for table in tables}
    if not isinstance(tag, str) or tag not in named:
        yield from _check_choice(tag, tuple(named), (*path, tag_field))
        return
    rest = {key: item for key, item in value.items() if key != tag_field}
    found = list(_check_struct(rest, named[tag], path))
    yield from found or _own_rules(value, named[tag].cls, path)


def _own_rules(value: Any, cls: type, path: Path) -> Iterator[Problem]:
    """Yield what the class itself refuses, in its own words."""
    try:
        msgspec.convert(value, cls)
    except msgspec.ValidationError as exc:
        yield Problem(path=path, message=show(str(exc)))


def _check_choice(value: Any, names: Sequence[str], path: Path) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield _wrong_kind(value, one_of(names), path)
    elif value not in names:
        yield Problem(
            path=path,
            message=f"expected {one_of(names)}, got {quote(value)}",
            suggestion=did_you_mean(value, names),
        )


def _check_quantity(value: Any, cls: type, path: Path) -> Iterator[Problem]:
    assert issubclass(cls, Duration | ByteSize)
    try:
        cls.decode(value)
    except ValueError as exc:
        yield Problem(path=path, message=show(str(exc)))


def _check_plain(value: Any, kind: inspect.Type, path: Path) -> Iterator[Problem]:
    expected, name = _EXPECTED[type(kind)]
    if not _is_kind(value, expected):
        yield _wrong_kind(value, name, path)
    elif isinstance(kind, inspect.StructType):
        yield from _check_struct(value, kind, path)
    elif isinstance(kind, inspect.DictType):
        yield from _check_dict(value, kind, path)
    elif isinstance(kind, inspect.VarTupleType):
        yield from _check_array(value, kind, path)
    elif isinstance(kind, inspect.StrType):
        yield from _check_text(value, kind, path)
    elif isinstance(kind, inspect.IntType):
        yield from _check_integer(value, kind, path)


def _is_kind(value: Any, expected: type | tuple[type, ...]) -> bool:
    # True is an int to Python, not to TOML.
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, expected)


def _check_struct(
    value: dict[str, Any], kind: inspect.StructType, path: Path
) -> Iterator[Problem]:
    fields = {one.encode_name: one for one in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from _check(item, fields[key].type, (*path, key))
        else:
            yield _unknown_key(key, fields, (*path, key))
    for name, one in fields.items():
        if one.required and name not in value:
            yield _missing(name, path)


def _unknown_key(key: str, known: Iterable[str], path: Path) -> Problem:
    hint = did_you_mean(key, known) or "known here: " + ", ".join(sorted(known))
    return Problem(
        path=path, message=f"unknown key {quote(key)}", suggestion=hint, at="key"
    )


def _missing(name: str, path: Path) -> Problem:
    return Problem(path=(*path, name), message=f"missing key {quote(name)}")


def _check_dict(
    value: dict[str, Any], kind: inspect.DictType, path: Path
) -> Iterator[Problem]:
    for key, item in value.items():
        for problem in _check(key, kind.key_type, (*path, key)):
            yield msgspec.structs.replace(problem, at="key")
        yield from _check(item, kind.value_type, (*path, key))


def _check_array(
    value: list[Any], kind: inspect.VarTupleType, path: Path
) -> Iterator[Problem]:
    if len(value) < (kind.min_length or 0):
        yield Problem(
            path=path, message="expected an array of at least one item, got none"
        )
    for index, item in enumerate(value):
        yield from _check(item, kind.item_type, (*path, index))


def _check_text(value: str, kind: inspect.StrType, path: Path) -> Iterator[Problem]:
    if len(value) < (kind.min_length or 0):
        yield Problem(path=path, message="expected text, got an empty string")
    if kind.pattern is not None and not re.search(kind.pattern, value):
        is_gate = "allow-all" in kind.pattern
        yield Problem(
            path=path,
            message=f"expected {_PATTERNS[kind.pattern]}, got {quote(value)}",
            suggestion=did_you_mean(value, _GATE_KINDS) if is_gate else None,
        )


def _check_integer(value: int, kind: inspect.IntType, path: Path) -> Iterator[Problem]:
    if kind.ge is not None and value < kind.ge:
        message = f"expected an integer of at least {kind.ge}, got {shown(value)}"
        yield Problem(path=path, message=message)
    if kind.le is not None and value > kind.le:
        message = f"expected an integer of at most {kind.le}, got {shown(value)}"
        yield Problem(path=path, message=message)


def _wrong_kind(value: Any, expected: str, path: Path) -> Problem:
    got = kind_name(value)
    if not isinstance(value, list | dict):
        got += f", {shown(value)}" if got != shown(value) else ""
    return Problem(path=path, message=f"expected {expected}, got {got}")
