"""The scanner against tomllib: the same tree, with the places of keys and values."""

from __future__ import annotations

import datetime as dt
import time
import tomllib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.config.faults import Path, Position
from toolrt_cli.config.positions import Positions, scan

from .toml_source import toml_source

_TEXT = st.text("ab \"'\\#[]{}=,.\n\té→\x7f\x01", max_size=6)
_SCALARS = (
    _TEXT
    | st.integers(-(10**6), 10**6)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda f: round(f % 10, 3))
    | st.just(dt.datetime(1979, 5, 27, 7, 32, tzinfo=dt.UTC))
    | st.just(dt.date(1979, 5, 27)).map(
        lambda day: dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - TOML's local time
    )
)
_KEYS = st.text("ab-_1 .\"'#é\n", max_size=4)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS, inner, max_size=3)
        | st.lists(st.dictionaries(_KEYS, inner, max_size=2), min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield (*path, key), item
        yield from _walk(item, (*path, key))


def _cut(positions: Positions, place: Position | None) -> str:
    assert place is not None
    text = positions.line(place.line)[place.column - 1 :]
    assert place.length <= len(text)
    return text[: place.length]


class TestAgainstTomllib:
    """The scanner's tree is tomllib's tree, and what stands at a place is what it is."""

    @settings(max_examples=60, deadline=None)
    @given(
        data=st.dictionaries(_KEYS, _VALUES, max_size=4),
        seed=st.integers(0, 2**32),
    )
    def test_same_paths_and_same_text(self, data: dict[str, Any], seed: int) -> None:
        """Every path of the tree is placed, no other is, on the text that means it."""
        source = toml_source(data, Random(seed))
        assert tomllib.loads(source) == data, source

        positions = scan(source)

        leaves = dict(_walk(data))
        found = list(positions.paths())
        assert len(found) == len(set(found))
        assert set(found) == set(leaves), source
        for path, value in leaves.items():
            _assert_place(positions, path, value)


def _assert_place(positions: Positions, path: Path, value: Any) -> None:
    key = path[-1]
    if isinstance(key, str):
        text = _cut(positions, positions.key(path))
        assert tomllib.loads(f"{text} = 1") == {key: 1}
    if not isinstance(value, list | dict):
        place = positions.value(path)
        text = _cut(positions, place)
        if not text.startswith(('"""', "'''")):
            assert tomllib.loads(f"x = {text}") == {"x": value}


_NASTY = {
    "quotes at the end of long strings": (
        "a = \"\"\"x\"\"\"\"\"\nb = '''y'''''\nc = \"\"\"\"\"\"\nd = ''''''\ne = 1\n",
        {
            ("a",): (1, 1),
            ("b",): (2, 1),
            ("c",): (3, 1),
            ("d",): (4, 1),
            ("e",): (5, 1),
        },
    ),
    "strings that look like TOML": (
        'a = """\n[b]\nc = 1\n"""\nd = \'\'\'\n[[e]]\n\\\'\'\'\nf = "[g]\\"\\\\"\n',
        {("a",): (1, 1), ("d",): (5, 1), ("f",): (8, 1)},
    ),
    "an escaped quote and an escaped line end": (
        'a = """x\\""" \\\n   y"""\nb = 2\n',
        {("a",): (1, 1), ("b",): (3, 1)},
    ),
    "a table named after its child": (
        "[a.b]\nx = 1\n[a]\ny = 2\n",
        {
            ("a",): (3, 2),
            ("a", "b"): (1, 4),
            ("a", "b", "x"): (2, 1),
            ("a", "y"): (4, 1),
        },
    ),
    "tables below arrays of tables": (
        "[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\n[a.b.c]\ny = 2\n[[a]]\n[a.d]\n",
        {
            ("a",): (1, 3),
            ("a", 0): (1, 1),
            ("a", 0, "b"): (2, 5),
            ("a", 0, "b", 0): (2, 1),
            ("a", 0, "b", 0, "x"): (3, 1),
            ("a", 0, "b", 1): (4, 1),
            ("a", 0, "b", 1, "c"): (5, 6),
            ("a", 0, "b", 1, "c", "y"): (6, 1),
            ("a", 1): (7, 1),
            ("a", 1, "d"): (8, 4),
        },
    ),
    "keys of every kind": (
        '3.1 = 0\n"" = 1\n\' a.b \'."\\u00e9\\"" = 2\ntrue = false\n',
        {
            ("3",): (1, 1),
            ("3", "1"): (1, 3),
            ("",): (2, 1),
            (" a.b ",): (3, 1),
            (" a.b ", 'é"'): (3, 9),
            ("true",): (4, 1),
        },
    ),
    "arrays over lines with comments": (
        "a = [ # ]\n  1, # ,\n\n  [2,\n   ],{b = [{c=3}]} ,]\nd=4",
        {
            ("a",): (1, 1),
            ("a", 0): (2, 3),
            ("a", 1): (4, 3),
            ("a", 1, 0): (4, 4),
            ("a", 2): (5, 6),
            ("a", 2, "b"): (5, 7),
            ("a", 2, "b", 0): (5, 12),
            ("a", 2, "b", 0, "c"): (5, 13),
            ("d",): (6, 1),
        },
    ),
    "CRLF, tabs and no last line end": (
        "\r\n\ta\t=\t1\t#\r\n[ b . c ]\r\n  d = 1979-05-27 07:32:00",
        {
            ("a",): (2, 2),
            ("b",): (3, 3),
            ("b", "c"): (3, 7),
            ("b", "c", "d"): (4, 3),
        },
    ),
    "nothing but a comment": ("# a = 1", {}),
    "nothing": ("", {}),
}


@pytest.mark.parametrize(("source", "places"), _NASTY.values(), ids=_NASTY)
def test_nasty_files(source: str, places: dict[Path, tuple[int, int]]) -> None:
    """Hand-written corners of the grammar are placed exactly."""
    positions = scan(source)

    assert set(positions.paths()) == {path for path, _ in _walk(tomllib.loads(source))}
    found = {path: positions.key(path) for path in positions.paths()}
    assert {p: (at.line, at.column) for p, at in found.items() if at} == places


def test_key_value_and_header_differ() -> None:
    """A key, its value and a header are told apart, each with its length."""
    positions = scan('[[gate.rule]]\nverbs = ["shell.*", "fs.*"]\n')

    assert positions.key(("gate", "rule", 0)) == Position(1, 1, 13)
    assert positions.value(("gate", "rule", 0)) == Position(1, 1, 13)
    assert positions.key(("gate", "rule", 0, "verbs")) == Position(2, 1, 5)
    assert positions.value(("gate", "rule", 0, "verbs")) == Position(2, 9, 19)
    assert positions.key(("gate", "rule", 0, "verbs", 1)) == Position(2, 21, 6)


def test_unknown_paths_have_no_place() -> None:
    """A path that the document lacks, or no path at all, has no place."""
    positions = scan("a = [1]\n")

    assert positions.key(("b",)) is None
    assert positions.key(("a", 1)) is None
    assert positions.value(("a", 0, "c")) is None
    assert positions.key(()) is None


def test_length_ends_with_the_line() -> None:
    """A value over several lines is marked up to the end of its first, without CR."""
    positions = scan('a = """x\r\ny"""\r\nb = [\n1]\n')

    assert positions.value(("a",)) == Position(1, 5, 4)
    assert positions.line(1) == 'a = """x'
    assert positions.value(("b",)) == Position(3, 5, 1)


def test_deep_nesting_does_not_raise() -> None:
    """Nesting past the interpreter's stack leaves the places before it."""
    positions = scan("a = 1\nb = " + "[" * 100_000 + "]" * 100_000)

    assert positions.key(("a",)) == Position(1, 1, 1)


@pytest.mark.parametrize(
    "unit",
    ["k{} = 1\n", "[[t]]\n", "[t{}]\nx = {{ a = [1, 2] }}\n", 'k{} = """"a""" # x\n'],
    ids=["pairs", "arrays of tables", "tables", "strings"],
)
def test_time_grows_with_the_source(unit: str) -> None:
    """A source eight times as long takes less than 32 times the work."""

    def seconds(count: int) -> float:
        source = "".join(unit.format(number) for number in range(count))
        runs = []
        for _ in range(5):
            start = time.thread_time()  # of the processor: others may be busy, too
            positions = scan(source)
            positions.key(("k1",))
            runs.append(time.thread_time() - start)
        return min(runs)

    assert seconds(2000) < 32 * seconds(250)
