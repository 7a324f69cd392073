"""
The arguments of a tool as words of a command line.

``k=v`` is typed by the tool's schema, ``k:=JSON`` by itself, ``k@FILE`` is a file's
content; ``--k v`` and ``--k=v`` are ``k=v``. Only what cannot be read at all is a fault
here. A value that is not of the schema's type is passed on as the text it is, so that
the runtime's check reports it together with every other argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt.errors import ArgFault
from toolrt.schema import Schema
from toolrt_cli.json_text import ArgumentSyntaxError, parse_json, quoted, syntax_error

#: Returns the text of a file; of stdin for ``-``. May raise OSError or ValueError.
ReadFile = Callable[[str], str]

_LAST_WHOLE: Final = 2**53
_OPERATORS: Final = (":=", "=", "@")
_EXPECTED: Final = "must be NAME=VALUE, NAME:=JSON, NAME@FILE or --NAME VALUE"
_BOTH: Final = "is given both whole and in parts"
#: What text may stand for where the schema allows it; objects and lists need ``:=``.
_SCALARS: Final = ("null", "boolean", "integer", "number")
_TYPE_NAMES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}

_Resolve = Callable[[str], tuple[tuple[str, ...], Schema]]


def parse_pairs(
    words: Sequence[str],
    *,
    schema: Schema,
    read_file: ReadFile,
    base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return the arguments that *words* give.

    Args:
        words: What stands after the tool's name, without toolrt's own flags. One
            ``--``, where those end, is skipped.

        schema: The tool's input schema. It types values; it is not checked here.

        read_file: Gives the text of a file; ``-`` is stdin.

        base: The object of ``--json-args``. Words override its keys.

    Raises:
        ArgumentSyntaxError: With every word that cannot be read.
    """
    try:
        values = _taken(words, _Pairs(schema, read_file, base or {}))
        typed: dict[str, Any] = _with_integers(values, schema, schema)
    except RecursionError as exc:
        raise syntax_error("", "are nested too deeply") from exc
    return typed


def _taken(words: Sequence[str], pairs: _Pairs) -> dict[str, Any]:
    faults = [
        ArgFault("", "is no UTF-8 text", quoted(word))
        for word in words
        if any("\ud800" <= char <= "\udfff" for char in word)
    ]
    rest = list(words)
    ended = False
    while rest:
        word = rest.pop(0)
        if word == "--" and not ended:
            ended = True
            continue
        try:
            pairs.take(word, rest)
        except ArgumentSyntaxError as exc:
            faults.extend(exc.faults)
    if faults:
        raise ArgumentSyntaxError(faults)
    return pairs.values


def parse_json_args(value: str, *, read_file: ReadFile) -> dict[str, Any]:
    """
    Return the object that ``--json-args`` gives: as JSON, ``@FILE`` or ``-``.

    Raises:
        ArgumentSyntaxError: It cannot be read, or is no JSON object.
    """
    if value != "-" and not value.startswith("@"):
        return parse_json_object(value, where="--json-args")
    text = _read(value.removeprefix("@"), "--json-args", read_file)
    return parse_json_object(text, where=f"--json-args {value}")


def parse_json_object(text: str, *, where: str) -> dict[str, Any]:
    """
    Return the JSON object in *text*; *where* names it in a fault.

    Raises:
        ArgumentSyntaxError: *text* is no JSON, or no object.
    """
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise syntax_error(where, "must be a JSON object", text)
    return value


class _Pairs:
    """The arguments read so far; `take` reads one word more."""

    def __init__(
        self, schema: Schema, read_file: ReadFile, base: Mapping[str, Any]
    ) -> None:
        self.values: dict[str, Any] = _copy(base)
        self._schema = schema
        self._read_file = read_file
        # How often each place was given as text; 0 for one given whole, by := or @.
        self._given: dict[tuple[str, ...], int] = {}

    def take(self, word: str, rest: list[str]) -> None:
        """Read *word*, and from *rest* the value of a flag."""
        if not word.startswith("-"):
            self._take_pair(word, word, self._resolve)
        elif not word.startswith("--"):
            raise syntax_error("", _EXPECTED, word)
        elif "=" in word:
            self._take_pair(word[2:], word, self._resolve_flag)
        else:
            self._take_flag(word[2:], rest)

    def _take_pair(self, pair: str, word: str, resolve: _Resolve) -> None:
        name, operator, text = _split(pair)
        if not name or not operator:
            raise syntax_error("", _EXPECTED, word)
        path, spec = resolve(name)
        if operator == "=":
            self._add(path, spec, text)
        elif operator == ":=":
            self._set(path, parse_json(text, name))
        else:
            self._set(path, self._from_file(name, spec, text))

    def _from_file(self, name: str, spec: Schema, file: str) -> object:
        text = _read(file, name, self._read_file)
        types = _types(spec, self._schema)
        return text if not types or "string" in types else parse_json(text, name)

    def _take_flag(self, flag: str, rest: list[str]) -> None:
        path, spec = self._resolve_flag(flag)
        is_switch = "boolean" in _types(spec, self._schema)
        if is_switch and not (rest and rest[0] in ("true", "false")):
            self._set(path, value=True)
        elif not spec and (off := self._switched_off(flag)) is not None:
            self._set(off, value=False)
        elif rest and not rest[0].startswith("--"):
            self._add(path, spec, rest.pop(0))
        else:
            raise syntax_error(flag, f"needs a value: --{flag}=VALUE")

    def _switched_off(self, flag: str) -> tuple[str, ...] | None:
        if not flag.startswith("no-") or flag == "no-":
            return None
        path, spec = self._resolve_flag(flag[3:])
        return path if "boolean" in _types(spec, self._schema) else None

    def _resolve_flag(self, flag: str) -> tuple[tuple[str, ...], Schema]:
        """Resolve ``max-bytes`` as ``max_bytes`` where only that is in the schema."""
        path, spec = self._resolve(flag)
        if spec or "-" not in flag:
            return path, spec
        respelt = self._resolve(flag.replace("-", "_"))
        return respelt if respelt[1] else (path, spec)

    def _resolve(self, name: str) -> tuple[tuple[str, ...], Schema]:
        """Return where the argument *name* stands, and the schema of that place."""
        known = _part(self._schema, self._schema, "properties")
        if name in known:
            return (name,), known[name]
        path, spec = tuple(name.split(".")), self._schema
        if not all(path):
            raise syntax_error(name, "has an empty part in its name")
        for step in path:
            spec = _part(spec, self._schema, "properties").get(step, {})
        return path, spec

    def _add(self, path: tuple[str, ...], spec: Schema, text: str) -> None:
        """Give the place *path* the value *text*, or one item more."""
        types = _types(spec, self._schema)
        if "array" in types:
            types = _types(_part(spec, self._schema, "items"), self._schema)
            self._append(path, [_typed(text, types)])
        elif types:
            self._set(path, _typed(text, types), count=1)
        elif path in self._given:
            # Without a type in the schema, what is repeated is a list as well.
            self._append(path, [text])
        else:
            self._set(path, text, count=1)

    def _append(self, path: tuple[str, ...], item: list[Any]) -> None:
        count = self._given.pop(path, None)
        if count is None:
            self._set(path, item, count=1)
            return
        held = self._parent(path)[path[-1]]
        if count == 0:
            raise syntax_error(".".join(path), "is given twice")
        held = held if isinstance(held, list) else [held]
        self._set(path, held + item, count=count + 1)

    def _set(self, path: tuple[str, ...], value: object, *, count: int = 0) -> None:
        if path in self._given:
            raise syntax_error(".".join(path), "is given twice")
        if any(given[: len(path)] == path for given in self._given):
            raise syntax_error(".".join(path), _BOTH)
        self._parent(path)[path[-1]] = value
        self._given[path] = count

    def _parent(self, path: tuple[str, ...]) -> dict[str, Any]:
        place = self.values
        for depth, step in enumerate(path[:-1], start=1):
            if path[:depth] in self._given:
                raise syntax_error(".".join(path[:depth]), _BOTH)
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        return place


def _with_integers(value: Any, spec: Any, root: Schema) -> Any:
    """Return *value* with 1 for each 1.0 that the schema takes for an integer."""
    if isinstance(value, float):
        types = _types(spec, root)
        is_wanted = "integer" in types and "number" not in types
        # Beyond this a float is not the number that was written.
        is_whole = value.is_integer() and abs(value) <= _LAST_WHOLE
        return int(value) if is_wanted and is_whole else value
    if spec and isinstance(value, list):
        items = _part(spec, root, "items")
        return [_with_integers(item, items, root) for item in value]
    if spec and isinstance(value, dict):
        known = _part(spec, root, "properties")
        rest = _part(spec, root, "additionalProperties")
        return {
            key: _with_integers(item, known.get(key, rest), root)
            for key, item in value.items()
        }
    return value


def _split(pair: str) -> tuple[str, str, str]:
    """Split at the first operator; an empty one if there is none."""
    found = [(at, op) for op in _OPERATORS if (at := pair.find(op)) >= 0]
    if not found:
        return pair, "", ""
    at, operator = min(found)
    return pair[:at], operator, pair[at + len(operator) :]


def _branches(spec: Any, root: Schema, depth: int = 8) -> Iterator[Schema]:
    """Yield *spec*, or what its references and unions come down to."""
    if not isinstance(spec, Mapping) or not depth:
        return
    options = spec.get("anyOf") or spec.get("oneOf") or ()
    if isinstance(target := spec.get("$ref"), str):
        options = (_target(target, root),)
    if not options:
        yield spec
    for option in options:
        yield from _branches(option, root, depth - 1)


def _target(reference: str, root: Schema) -> Any:
    place: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place


def _part(spec: Any, root: Schema, keyword: str) -> Mapping[str, Any]:
    """Return what *spec* says under *keyword*, if that is an object."""
    parts = (branch.get(keyword) for branch in _branches(spec, root))
    return next((part for part in parts if isinstance(part, Mapping)), {})


def _types(spec: Any, root: Schema) -> frozenset[str]:
    """Return the JSON types that *spec* allows; none if it allows any."""
    kinds = [_own_types(branch) for branch in _branches(spec, root)]
    return frozenset().union(*kinds) if all(kinds) else frozenset()


def _own_types(spec: Schema) -> frozenset[str]:
    named = spec.get("type", ())
    if named:
        return frozenset((named,) if isinstance(named, str) else named)
    values = spec.get("enum", [spec["const"]] if "const" in spec else ())
    return frozenset(_TYPE_NAMES.get(type(value), "object") for value in values)


def _typed(text: str, types: frozenset[str]) -> Any:
    """Return the null, boolean or number that *text* is in JSON and *types* allows."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # 012, +5 and 1e999 are no JSON either
        return text
    kind = _TYPE_NAMES.get(type(value))
    is_allowed = kind in types or (kind == "integer" and "number" in types)
    # JSON allows blanks around a value; an argument with blanks is text.
    is_plain = kind in _SCALARS and text == text.strip()
    return value if is_allowed and is_plain else text


def _read(file: str, name: str, read_file: ReadFile) -> str:
    try:
        return read_file(file)
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise syntax_error(name, f"its file cannot be read: {why}", file) from exc
    except ValueError as exc:  # UnicodeDecodeError, or NUL in the name
        raise syntax_error(name, "its file is no UTF-8 text", file) from exc


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value
