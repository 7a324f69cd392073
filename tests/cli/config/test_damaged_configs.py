"""Good configs with one value replaced: never a crash, never a fault without a place."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.config import ConfigError, Fault, Located, load, render
from toolrt_cli.config.faults import Path

from .test_load import EVERY_OTHER_KEY, EXAMPLE
from .toml_source import toml_source

_VALUES: tuple[Any, ...] = (
    "",
    "x",
    "{x}",
    "\x1b[31m",
    0,
    -1,
    2**63,
    1.5,
    True,
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    [],
    [[]],
    [1, "a"],
    {},
    {"": 1},
    [{"kind": []}],
)


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield (*path, key)
            yield from _paths(item, (*path, key))


def _replaced(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    changed: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    changed[path[0]] = _replaced(tree[path[0]], path[1:], value)
    return changed


_TREES = tuple(tomllib.loads(source) for source in (EXAMPLE, EVERY_OTHER_KEY))
_SPOTS = [(tree, path) for tree in _TREES for path in _paths(tree)]


class TestOneValueReplaced:
    """All faults are reported, each with file, line, column and snippet."""

    @settings(max_examples=100, deadline=None)
    @given(
        spot=st.sampled_from(_SPOTS),
        value=st.sampled_from(_VALUES),
        seed=st.integers(0, 2**16),
    )
    def test_loads_or_tells_where(
        self, spot: tuple[Any, Path], value: Any, seed: int
    ) -> None:
        """Whatever stands anywhere, the file loads or its faults have places."""
        tree, path = spot
        source = toml_source(_replaced(tree, path, value), Random(seed))

        for fault in _faults(source):
            # A fault at no path would be msgspec's, one that the walk overlooked.
            assert fault.key_path
            assert fault.line is not None
            assert fault.snippet == source.split("\n")[fault.line - 1].rstrip("\r")
            assert render([fault]).replace("\n", "").isprintable()


def _faults(source: str) -> tuple[Fault, ...]:
    try:
        load(Located("/x/toolrt.toml", "flag"), source.encode())
    except ConfigError as error:
        return error.faults or pytest.fail("an error without a fault")
    return ()
