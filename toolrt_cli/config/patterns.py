"""
Regular expressions of arguments, which only the checker of arguments can judge.

It is imported here, and so this runs only for who asks whether a config is right: for
every other command it would cost more than all the rest of loading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolrt.schema import compile_check
from toolrt_cli.config.faults import Path, quote
from toolrt_cli.config.problems import Problem


def pattern_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each ``pattern`` that is none, and each default that breaks its own."""
    for name, pack in _tables(data.get("pack")):
        for verb, handler in _tables(pack.get("handler")):
            for arg, spec in _tables(handler.get("args")):
                path = ("pack", name, "handler", verb, "args", arg)
                yield from _arg_problems(spec, path)


def _arg_problems(spec: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    pattern = spec.get("pattern")
    if isinstance(pattern, str) and pattern:
        yield from _pattern_problems(pattern, spec, path)
    items = spec.get("items")
    if isinstance(items, dict):
        yield from _arg_problems(items, (*path, "items"))


def _pattern_problems(
    pattern: str, spec: Mapping[str, Any], path: Path
) -> Iterator[Problem]:
    try:
        check = compile_check({"pattern": pattern})
    except ValueError:
        message = f"expected a regular expression as in ECMA-262, got {quote(pattern)}"
        yield Problem(path=(*path, "pattern"), message=message)
        return
    default = spec.get("default")
    if isinstance(default, str) and check(default):
        message = f"expected a match of {quote(pattern)}, got {quote(default)}"
        yield Problem(path=(*path, "default"), message=message)


def _tables(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables in *value*, if it is one itself; the rest is told elsewhere."""
    if isinstance(value, dict):
        yield from ((key, one) for key, one in value.items() if isinstance(one, dict))
