"""
What is wrong with a config although each key for itself is well formed.

The checks read plain data, not records: they run in one pass with those of
`toolrt_cli.config.structure`, on files that could not be loaded as well. So each of
them first takes what has the expected shape and leaves the rest to that module.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolrt.errors import InvalidNamespaceError
from toolrt.namespace import Namespace
from toolrt.pack import MAX_NAME_CHARS
from toolrt_cli.config.faults import Path, kind_name, quote, shown
from toolrt_cli.config.problems import Problem, did_you_mean
from toolrt_cli.config.roots import root_problems
from toolrt_cli.config.sinks import sink_problems
from toolrt_cli.escape import show

BUILT_IN_PACK: Final = "std"
_UNBOUNDED: Final = float("inf")
_LOWER: Final = frozenset(string.ascii_lowercase)
_PACK_CHARS: Final = _LOWER | frozenset(string.digits + "_-")
_VERB_CHARS: Final = _PACK_CHARS | {"."}


def meaning_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what several keys of *data* together, or a grammar of toolrt, refuse."""
    yield from _runtime_problems(_table(data.get("runtime")))
    yield from _gate_problems(_table(data.get("gate")))
    yield from _secrets_problems(_table(data.get("secrets")))
    yield from _middleware_problems(_table(data.get("middleware")))
    roots = _array(_table(data.get("ucan")).get("root"))
    yield from root_problems([_table(root) for root in roots])
    yield from sink_problems([_table(sink) for sink in _array(data.get("sink"))])
    for name, pack in _table(data.get("pack")).items():
        yield from _pack_problems(name, _table(pack), ("pack", name))


def _runtime_problems(runtime: Mapping[str, Any]) -> Iterator[Problem]:
    namespace = runtime.get("namespace")
    if isinstance(namespace, str) and namespace:
        try:
            Namespace.parse(namespace)
        except InvalidNamespaceError as exc:
            why = exc.reason.replace("_", " ")
            yield Problem(
                path=("runtime", "namespace"),
                message=f"expected segments of [A-Za-z0-9_.-] joined by colons,"
                f" got {quote(namespace)}: {why}",
            )
    seen: set[str] = set()
    for index, name in enumerate(_array(runtime.get("packs"))):
        if isinstance(name, str) and name:
            yield from _listed_pack_problems(name, seen, ("runtime", "packs", index))
            seen.add(name)


def _listed_pack_problems(name: str, seen: set[str], path: Path) -> Iterator[Problem]:
    # A plain name may be an entry point: whether it exists is told when it is loaded.
    if name in seen:
        yield Problem(path=path, message=f"pack {quote(name)} is listed twice")
    elif ":" in name:
        if not _is_python_object(name):
            yield Problem(path=path, message=f"expected module:attr, got {quote(name)}")
    elif not _is_name(name, _PACK_CHARS):
        message = (
            "expected std, a [pack.NAME] table, an entry point's name"
            f" ([a-z][a-z0-9_-]*) or module:attr, got {quote(name)}"
        )
        yield Problem(path=path, message=message)


def _gate_problems(gate: Mapping[str, Any]) -> Iterator[Problem]:
    kind = gate.get("kind", "allow-all")
    if isinstance(kind, str) and kind != "rules":
        for key in ("default", "rule"):
            if key in gate:
                yield _only_with_rules(key, kind, given="kind" in gate)
    for index, rule in enumerate(_array(gate.get("rule"))):
        for pointer in _table(_table(rule).get("args")):
            if not pointer.startswith("/"):
                yield Problem(
                    path=("gate", "rule", index, "args", pointer),
                    message=f"expected a JSON Pointer, got {quote(pointer)}",
                    suggestion=f"did you mean {quote('/' + pointer)}?",
                    at="key",
                )


def _only_with_rules(key: str, kind: str, *, given: bool) -> Problem:
    stands = f"the gate's kind is {quote(kind)}" if given else "no kind is given"
    return Problem(
        path=("gate", key),
        message=f"key {quote(key)} needs a gate of kind {quote('rules')}, {stands}",
        suggestion='write kind = "rules" under [gate]',
        at="key",
    )


#: The key of ``[secrets]`` that goes with each broker.
_BROKER_KEYS: Final = {"file": "path", "env": "prefix"}


def _secrets_problems(secrets: Mapping[str, Any]) -> Iterator[Problem]:
    broker = secrets.get("broker")
    if broker == "file" and "path" not in secrets:
        yield Problem(
            path=("secrets", "path"), message='broker "file" needs the key "path"'
        )
    if broker is not None and broker not in ("env", "file"):
        return  # a broker that is none is a fault of its own
    for one, key in _BROKER_KEYS.items():
        if key in secrets and broker != one:
            stands = "none is given" if broker is None else f"it is {quote(broker)}"
            yield Problem(
                path=("secrets", key),
                message=f"key {quote(key)} needs the broker {quote(one)}, {stands}",
                at="key",
            )


def _middleware_problems(middleware: Mapping[str, Any]) -> Iterator[Problem]:
    for index, pattern in enumerate(_array(middleware.get("redact_paths"))):
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except re.error as exc:
                message = f"expected a regular expression, got {quote(pattern)}: {exc}"
                path = ("middleware", "redact_paths", index)
                yield Problem(path=path, message=show(message))


def _pack_problems(name: str, pack: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if name == BUILT_IN_PACK:
        message = f"{quote(name)} is the built-in pack; a table needs another name"
        yield Problem(path=path, message=message, at="key")
    elif not _is_name(name, _PACK_CHARS):
        yield _bad_name("a pack's name", "[a-z][a-z0-9_-]*", name, path)
    for verb, handler in _table(pack.get("handler")).items():
        at = (*path, "handler", verb)
        if not _is_name(verb, _VERB_CHARS):
            yield _bad_name("a verb", "[a-z][a-z0-9_.-]*", verb, at)
        yield from _handler_problems(_table(handler), at)


def _bad_name(what: str, grammar: str, name: str, path: Path) -> Problem:
    message = f"expected {what} of {grammar}, at most 64 characters, got {quote(name)}"
    return Problem(path=path, message=message, at="key")


def _is_name(name: str, chars: frozenset[str]) -> bool:
    """Return whether *name* is a lower-case letter, then *chars*."""
    return name[:1] in _LOWER and len(name) <= MAX_NAME_CHARS and chars >= set(name)


def _is_python_object(name: str) -> bool:
    module, _, attribute = name.partition(":")
    dotted = [*module.split("."), *attribute.split(".")]
    return all(one.isidentifier() for one in dotted)


def _handler_problems(handler: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    args = handler.get("args", {})
    if not isinstance(args, dict):
        return
    yield from _command_problems(handler, args, path)
    yield from _variable_problems(handler, path)
    for place, name in _named_arguments(handler):
        if name not in args:
            yield _undeclared(name, args, (*path, *place))
    for name, arg in args.items():
        yield from _arg_problems(_table(arg), (*path, "args", name))


def _command_problems(
    handler: Mapping[str, Any], args: Mapping[str, Any], path: Path
) -> Iterator[Problem]:
    # The binding's own parser: what passes here is what it takes.
    from toolrt.bindings.command import template_arguments

    for index, part in enumerate(_array(handler.get("command"))):
        if not isinstance(part, str):
            continue
        at = (*path, "command", index)
        try:
            names = template_arguments((part,))
        except ValueError as exc:
            yield Problem(path=at, message=show(str(exc)))
            continue
        if index == 0 and (names or not part):
            message = "the program to run must be named: no argument can stand for it"
            yield Problem(path=at, message=message)
        for name in names:
            if name not in args:
                yield _undeclared(name, args, at)


def _variable_problems(handler: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    from toolrt.bindings.command import secret_faults

    secrets = _array(handler.get("secrets"))
    if not all(isinstance(name, str) for name in secrets):
        return  # a fault of its own
    env = [name for name in _array(handler.get("env")) if isinstance(name, str)]
    for index, problem in secret_faults(secrets, env):
        yield Problem(path=(*path, "secrets", index), message=show(problem))


def _undeclared(name: str, args: Mapping[str, Any], path: Path) -> Problem:
    return Problem(
        path=path,
        message=f"no argument {quote(name)} is declared",
        suggestion=did_you_mean(name, args)
        or f'declare it: args.{show(name)} = {{ type = "string" }}',
    )


def _named_arguments(handler: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield each key's mention of an argument: the path in the handler, the name."""
    if isinstance(stdin := handler.get("stdin"), str):
        yield ("stdin",), stdin
    for index, name in enumerate(_array(handler.get("allow_dash"))):
        if isinstance(name, str):
            yield ("allow_dash", index), name


def _arg_problems(arg: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if "default" in arg:
        yield from _misfits(arg["default"], arg, (*path, "default"))
    for index, choice in enumerate(_array(arg.get("enum"))):
        plain = {"type": arg.get("type", "string")}
        yield from _misfits(choice, plain, (*path, "enum", index))
    for bound in ("minimum", "maximum"):
        if not _is_finite(_number(arg.get(bound), 0)):
            yield _not_finite(arg[bound], (*path, bound))
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength")):
        if _number(arg.get(low), 0) > _number(arg.get(high), _UNBOUNDED):
            message = f"{low} {shown(arg[low])} is above {high} {shown(arg[high])}"
            yield Problem(path=(*path, low), message=message)
    if "items" in arg:
        yield from _arg_problems(_table(arg["items"]), (*path, "items"))


def _misfits(value: Any, arg: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Yield why *value* is none that the argument itself would take."""
    wanted = arg.get("type", "string")
    if not isinstance(wanted, str) or wanted not in _JSON_KINDS:
        return  # a type that is none is a fault of its own
    if not _fits_type(value, wanted):
        got = kind_name(value)
        got = got if isinstance(value, list | dict) else f"{got}, {shown(value)}"
        yield Problem(path=path, message=f"expected {_JSON_KINDS[wanted]}, got {got}")
        return
    if isinstance(value, float) and not _is_finite(value):
        yield _not_finite(value, path)
        return
    for rule in _broken_rules(value, arg):
        yield Problem(path=path, message=f"expected {rule}, got {shown(value)}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(arg.get("items"), dict):
                yield from _misfits(item, arg["items"], (*path, index))


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # an int may be too long


def _not_finite(value: float, path: Path) -> Problem:
    message = f"expected a number that JSON has, got {shown(value)}"
    return Problem(path=path, message=message)


_JSON_KINDS: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "a table",
}
_PYTHON_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def _fits_type(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _PYTHON_KINDS[wanted])


def _broken_rules(value: Any, arg: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words each rule of *arg* that *value*, of its type, breaks."""
    choices = _array(arg.get("enum"))
    if choices and value not in choices:
        yield "one of " + ", ".join(shown(one) for one in choices)
    if isinstance(value, str):
        if len(value) < _number(arg.get("minLength"), 0):
            yield f"at least {shown(arg['minLength'])} characters"
        if len(value) > _number(arg.get("maxLength"), _UNBOUNDED):
            yield f"at most {shown(arg['maxLength'])} characters"
    elif isinstance(value, int | float):
        if value < _number(arg.get("minimum"), -_UNBOUNDED):
            yield f"at least {shown(arg['minimum'])}"
        if value > _number(arg.get("maximum"), _UNBOUNDED):
            yield f"at most {shown(arg['maximum'])}"


def _number(value: Any, otherwise: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else otherwise


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
