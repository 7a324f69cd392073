"""The arguments of a tool: how words are read, typed and refused."""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.arguments import parse_json_args, parse_json_object, parse_pairs
from toolrt_cli.json_text import ArgumentSyntaxError, JsonFault

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "limit": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "no-cache": {"type": "string"},
        "max_bytes": {"type": "integer"},
        "nothing": {"type": "null"},
        "either": {"type": ["string", "integer", "boolean", "null"]},
        "tags": {"type": "array", "items": {"type": "integer"}},
        "words": {"type": "array", "items": {"type": "string"}},
        "some": {
            "anyOf": [
                {"type": "array", "items": {"type": "integer"}},
                {"type": "null"},
            ]
        },
        "level": {"enum": [1, 2, "all"]},
        "filter": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "linked": {"$ref": "#/$defs/Linked"},
        "circle": {"$ref": "#/properties/circle"},
        "x.y": {"type": "integer"},
        "anything": {},
    },
    "$defs": {"Linked": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
}
FILES = {
    "note.md": "line 1\n012\n",
    "list.json": "[1, 2]",
    "object.json": '{"a": 1}',
    "bad.json": '{"a": 1,\n "b": }',
    "-": '{"from": "stdin"}',
}


def read_file(name: str) -> str:
    """Return a file of FILES; others are missing, and one is no text."""
    if name == "binary":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    if name not in FILES:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return FILES[name]


def parsed(
    *words: str, schema: dict[str, Any] = SCHEMA, base: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what `parse_pairs` makes of *words*."""
    return parse_pairs(words, schema=schema, read_file=read_file, base=base)


def faults(*words: str, schema: dict[str, Any] = SCHEMA) -> list[tuple[str, str]]:
    """Return path and rule of each fault in *words*."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parsed(*words, schema=schema)
    return [(fault.path, fault.rule) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        pytest.param("path=012", "012", id="a string stays as it is"),
        pytest.param("path=true", "true", id="a string is never a boolean"),
        pytest.param("path=", "", id="empty"),
        pytest.param("path=a=b:=c@d", "a=b:=c@d", id="operators in the value"),
        pytest.param("limit=5", 5, id="integer"),
        pytest.param("limit=-5", -5, id="negative integer"),
        pytest.param("limit=012", "012", id="no JSON integer"),
        pytest.param("limit=5.0", "5.0", id="no integer"),
        pytest.param("limit= 5", " 5", id="blank before a number"),
        pytest.param("limit=five", "five", id="word for an integer"),
        pytest.param("ratio=0.5", 0.5, id="number"),
        pytest.param("ratio=1e3", 1000.0, id="exponent"),
        pytest.param("ratio=2", 2, id="whole number"),
        pytest.param("ratio=NaN", "NaN", id="NaN is no JSON"),
        pytest.param("ratio=1e999", "1e999", id="beyond floats"),
        pytest.param("deep=false", False, id="boolean"),
        pytest.param("deep=yes", "yes", id="no JSON boolean"),
        pytest.param("deep=1", "1", id="a number is no boolean"),
        pytest.param("limit=true", "true", id="a boolean is no integer"),
        pytest.param("nothing=null", None, id="null"),
        pytest.param("either=null", None, id="union: null"),
        pytest.param("either=7", 7, id="union: integer"),
        pytest.param("either=007", "007", id="union: text at last"),
        pytest.param("level=2", 2, id="enum: integer"),
        pytest.param("level=all", "all", id="enum: text"),
        pytest.param('filter={"n": 1}', '{"n": 1}', id="objects need :="),
        pytest.param("anything=5", "5", id="no type: text"),
        pytest.param("unknown=5", "5", id="not in the schema: text"),
        pytest.param("circle=5", "5", id="reference to itself: text"),
        pytest.param("limit:=5", 5, id="JSON number"),
        pytest.param('path:="a"', "a", id="JSON text"),
        pytest.param('filter:={"n": [null]}', {"n": [None]}, id="JSON object"),
        pytest.param("path@note.md", "line 1\n012\n", id="file as text"),
        pytest.param("anything@list.json", "[1, 2]", id="file without a type"),
        pytest.param("tags@list.json", [1, 2], id="file as JSON"),
        pytest.param("path@-", '{"from": "stdin"}', id="stdin as text"),
        pytest.param("filter@-", {"from": "stdin"}, id="stdin as JSON"),
        pytest.param("tags=1", [1], id="one item"),
        pytest.param("some=1", [1], id="one item of an optional list"),
        pytest.param("x.y=1", 1, id="name with a dot"),
    ],
)
def test_one_word(word: str, value: object) -> None:
    """A word is read by its operator and typed by the schema, or left as text."""
    (found,) = parsed(word).values()

    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("words", "args"),
    [
        pytest.param(["--path", "a"], {"path": "a"}, id="next word"),
        pytest.param(["--path=a"], {"path": "a"}, id="same word"),
        pytest.param(["--limit", "-5"], {"limit": -5}, id="negative number"),
        pytest.param(["--path=--x"], {"path": "--x"}, id="value like a flag"),
        pytest.param(["--max-bytes", "5"], {"max_bytes": 5}, id="hyphens"),
        pytest.param(["--max_bytes=5"], {"max_bytes": 5}, id="underscores"),
        pytest.param(["--filter.n", "5"], {"filter": {"n": 5}}, id="nested"),
        pytest.param(["--filter:={}"], {"filter": {}}, id="JSON"),
        pytest.param(["--deep"], {"deep": True}, id="switch"),
        pytest.param(["--deep", "path=a"], {"deep": True, "path": "a"}, id="then pair"),
        pytest.param(["--deep", "false"], {"deep": False}, id="switch with a value"),
        pytest.param(["--deep=false"], {"deep": False}, id="switch with equals"),
        pytest.param(["--no-deep"], {"deep": False}, id="switched off"),
        pytest.param(
            ["--no-deep", "path=a"], {"deep": False, "path": "a"}, id="off, then pair"
        ),
        pytest.param(["--no-cache", "x"], {"no-cache": "x"}, id="a name with no-"),
        pytest.param(["--no-path", "x"], {"no-path": "x"}, id="no- of no switch"),
        pytest.param(["--tags", "1", "--tags=2"], {"tags": [1, 2]}, id="repeated"),
        pytest.param(["--new", "5"], {"new": "5"}, id="not in the schema"),
        pytest.param(["--", "--path", "a"], {"path": "a"}, id="end of own flags"),
    ],
)
def test_flags(words: list[str], args: dict[str, Any]) -> None:
    """Flags are another spelling of pairs; booleans need no value."""
    assert parsed(*words) == args


def test_repeated_items_make_a_list() -> None:
    """Each further word of a list adds an item, typed by itself."""
    assert parsed("tags=1", "path=a", "tags=x", "tags=3", "words=1", "words=2") == {
        "tags": [1, "x", 3],
        "path": "a",
        "words": ["1", "2"],
    }


def test_repeated_words_without_a_type_make_a_list() -> None:
    """Where the schema says nothing, once is a text and more often is a list."""
    assert parsed("a=1", "b=2", "a=3", "a=4", schema={}) == {
        "a": ["1", "3", "4"],
        "b": "2",
    }


def test_dots_make_objects() -> None:
    """A dotted name that is none of the schema's goes into nested objects."""
    words = ["filter.n=5", "filter.m.k=5", "linked.on=true", "x.y=5", "x.z=5"]

    assert parsed(*words) == {
        "filter": {"n": 5, "m": {"k": "5"}},
        "linked": {"on": True},
        "x.y": 5,
        "x": {"z": "5"},
    }


def test_words_override_the_base() -> None:
    """Words replace keys of the base object, lists too, and leave the base alone."""
    base = {"path": "a", "tags": [9], "filter": {"n": 1, "m": 2}, "deep": True}

    args = parsed("tags=1", "filter.n=5", "path=b", base=base)

    assert args == {
        "path": "b",
        "tags": [1],
        "filter": {"n": 5, "m": 2},
        "deep": True,
    }
    assert base == {
        "path": "a",
        "tags": [9],
        "filter": {"n": 1, "m": 2},
        "deep": True,
    }


def test_a_scalar_of_the_base_gives_way_to_an_object() -> None:
    """A nested word overrides a key of the base that is no object."""
    assert parsed("a.b=1", base={"a": 5}) == {"a": {"b": "1"}}


@pytest.mark.parametrize(
    ("words", "path", "rule"),
    [
        pytest.param(["README.md"], "", "must be NAME=VALUE", id="no operator"),
        pytest.param(["=5"], "", "must be NAME=VALUE", id="no name"),
        pytest.param(["--=5"], "", "must be NAME=VALUE", id="flag without a name"),
        pytest.param(["-p=5"], "", "must be NAME=VALUE", id="one hyphen"),
        pytest.param(["path=\udcff"], "", "is no UTF-8 text", id="bytes"),
        pytest.param(["a..b=1"], "a..b", "has an empty part", id="empty part"),
        pytest.param(["--", "--"], "", "has an empty part", id="second --"),
        pytest.param(["--limit"], "limit", "needs a value", id="flag at the end"),
        pytest.param(["--path", "--deep"], "path", "needs a value", id="flag and flag"),
        pytest.param(["--no-"], "no-", "needs a value", id="no- of nothing"),
        pytest.param(["limit=1", "limit=2"], "limit", "is given twice", id="twice"),
        pytest.param(
            ["--deep", "--no-deep"], "deep", "is given twice", id="on and off"
        ),
        pytest.param(
            ["tags:=[1]", "tags=2"], "tags", "is given twice", id="list, item"
        ),
        pytest.param(
            ["tags=2", "tags:=[1]"], "tags", "is given twice", id="item, list"
        ),
        pytest.param(["a:=1", "a=2"], "a", "is given twice", id="JSON and text"),
        pytest.param(["a=1", "a.b=2"], "a", "whole and in parts", id="then a part"),
        pytest.param(["a.b=1", "a=2"], "a", "whole and in parts", id="then whole"),
        pytest.param(["path@gone"], "path", "cannot be read: No such", id="no file"),
        pytest.param(["path@binary"], "path", "file is no UTF-8", id="binary file"),
        pytest.param(
            ["a:="], "a", "it ends too early (line 1, column 1)", id="no JSON"
        ),
    ],
)
def test_refused_words(words: list[str], path: str, rule: str) -> None:
    """A word that cannot be read is a fault that names the argument."""
    found = faults(*words)

    assert [(fault[0], rule in fault[1]) for fault in found] == [(path, True)]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param('{"a": 1, "b": 2, "a": 3}', "a", id="at the top"),
        pytest.param('{"x": [{"b": 1, "\\u0062": 1}]}', "b", id="inside, escaped"),
    ],
)
def test_a_repeated_key_is_refused(text: str, key: str) -> None:
    """Whichever of the two was meant, the other would be lost without a word."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parse_json_args(text, read_file=read_file)

    (fault,) = caught.value.faults
    assert (fault.path, fault.rule) == ("--json-args", f'gives the key "{key}" twice')
    assert faults(f"any:={text}") == [("any", f'gives the key "{key}" twice')]


def test_keys_that_differ_are_no_repetition() -> None:
    """Of several objects each has keys of its own."""
    text = '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}], "c": ":a:a"}'

    assert parse_json_args(text, read_file=read_file) == json.loads(text)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        pytest.param(["limit:=1.0"], {"limit": 1}, id="integer"),
        pytest.param(["limit:=1e2"], {"limit": 100}, id="exponent"),
        pytest.param(["limit:=1.5"], {"limit": 1.5}, id="no whole number"),
        pytest.param(["limit:=1e30"], {"limit": 1e30}, id="beyond what is exact"),
        pytest.param(["ratio:=1.0"], {"ratio": 1.0}, id="number"),
        pytest.param(["tags:=[1.0, 2]"], {"tags": [1, 2]}, id="items"),
        pytest.param(["some:=[1.0]"], {"some": [1]}, id="items of a union"),
        pytest.param(['filter:={"n": 2.0}'], {"filter": {"n": 2}}, id="property"),
        pytest.param(["free:=[1.0]"], {"free": [1.0]}, id="no schema"),
    ],
)
def test_a_whole_number_is_an_integer(words: list[str], value: dict[str, Any]) -> None:
    """JSON Schema takes 1.0 for an integer; the tool that asks for one is given one."""
    found = parsed(*words)

    assert found == value
    assert repr(found) == repr(value)


def test_whole_numbers_are_integers_in_a_base_and_in_maps() -> None:
    """--json-args is no other way in; a map has one schema for all its values."""
    schema = {"properties": {"m": {"additionalProperties": {"type": "integer"}}}}

    found = parsed(schema=schema, base={"m": {"a": 3.0}, "x": 3.0})

    assert repr(found) == repr({"m": {"a": 3}, "x": 3.0})


def test_what_is_nested_too_deeply_is_refused() -> None:
    """However it was read: by JSON's rules alone there is no bound."""
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]

    with pytest.raises(ArgumentSyntaxError, match="arguments: are nested too deeply"):
        parsed(base={"a": deep})


def test_all_faults_at_once() -> None:
    """Every word that cannot be read is reported, in the order of the words."""
    found = faults("a:={", "path=ok", "README.md", "path@gone", "--limit")

    assert [path for path, _ in found] == ["a", "", "path", "limit"]


@pytest.mark.parametrize(
    ("text", "line", "column", "rule"),
    [
        pytest.param('{"a": 1,}', 1, 9, "trailing comma", id="trailing comma"),
        pytest.param("[1,\n 2,\n x]", 3, 2, "invalid character", id="third line"),
        pytest.param('["é日🎉", x]', 1, 9, "invalid character", id="letters count one"),
        pytest.param("[1, 2", 1, 6, "it ends too early", id="cut"),
        pytest.param("[1] 2", 1, 5, "trailing characters", id="two values"),
        pytest.param(r'["\q"]', 1, 4, "invalid escape", id="escape"),
        pytest.param("[NaN]", 1, 2, "invalid character", id="NaN"),
        pytest.param("1e999", 1, 1, "number out of range", id="too large"),
        pytest.param("[" * 100_000, 1, 1, "nested too deeply", id="too deep"),
        pytest.param('["\udcff"]', 1, 3, "is no UTF-8 text", id="bytes"),
    ],
)
def test_malformed_json(text: str, line: int, column: int, rule: str) -> None:
    """A fault in JSON has line and column, in characters, and a caret there."""
    with pytest.raises(ArgumentSyntaxError, match=rule) as caught:
        parse_json_object(text, where="--json-args")

    (fault,) = caught.value.faults
    assert isinstance(fault, JsonFault)
    assert (fault.path, fault.line, fault.column) == ("--json-args", line, column)
    assert f"(line {line}, column {column})" in fault.rule


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        pytest.param('{"a": 1,}', ('{"a": 1,}', "        ^"), id="plain"),
        pytest.param("[1,\n x]", (" x]", " ^"), id="only the line"),
        pytest.param('"日\x1b', (r'"日\x1b', "   ^"), id="escaped and wide"),
        pytest.param(
            "[" + "1," * 50 + "]", ("1," * 15 + "]", " " * 30 + "^"), id="cut"
        ),
    ],
)
def test_caret(text: str, pointer: tuple[str, str]) -> None:
    """The line is shown escaped and cut, and the caret stands below the place."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parse_json_object(text, where="a")

    (fault,) = caught.value.faults
    assert isinstance(fault, JsonFault)
    assert fault.pointer == pointer


def test_faults_as_lines() -> None:
    """The faults for people are safe lines with the value and the caret."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parsed("a:=[,]", "x\x1b[2J")

    expected = "must be NAME=VALUE, NAME:=JSON, NAME@FILE or --NAME VALUE"
    assert caught.value.lines() == [
        "a: is no JSON: invalid character (line 1, column 2)",
        "  [,]",
        "   ^",
        rf'arguments: {expected}, got "x\u001b[2J"',
    ]


def test_message_holds_no_values() -> None:
    """The error's own text says what is wrong and not what was given."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parsed("secret:=hunter2", "hunter3", "path@hunter4")

    assert "hunter" not in str(caught.value)
    assert caught.value.code == "usage"


@pytest.mark.parametrize(
    ("value", "args"),
    [
        pytest.param('{"a": 1}', {"a": 1}, id="JSON"),
        pytest.param("@object.json", {"a": 1}, id="file"),
        pytest.param("-", {"from": "stdin"}, id="stdin"),
        pytest.param("@-", {"from": "stdin"}, id="stdin as a file"),
    ],
)
def test_json_args(value: str, args: dict[str, Any]) -> None:
    """The whole object comes as JSON, from a file or from stdin."""
    assert parse_json_args(value, read_file=read_file) == args


@pytest.mark.parametrize(
    ("value", "path", "rule"),
    [
        pytest.param("[1]", "--json-args", "must be a JSON object", id="no object"),
        pytest.param("null", "--json-args", "must be a JSON object", id="null"),
        pytest.param("", "--json-args", "it ends too early", id="empty"),
        pytest.param(
            "@list.json", "--json-args @list.json", "must be a JSON object", id="list"
        ),
        pytest.param("@bad.json", "--json-args @bad.json", "line 2", id="malformed"),
        pytest.param("@gone", "--json-args", "cannot be read: No such", id="no file"),
    ],
)
def test_refused_json_args(value: str, path: str, rule: str) -> None:
    """What is no JSON object is one fault that says where it came from."""
    with pytest.raises(ArgumentSyntaxError) as caught:
        parse_json_args(value, read_file=read_file)

    (fault,) = caught.value.faults
    assert fault.path == path
    assert rule in fault.rule


@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), st.text()))
@settings(max_examples=100)
def test_strings_arrive_as_they_are(args: dict[str, str]) -> None:
    """Whatever text a string argument has, the tool gets exactly that."""
    schema = {"properties": {name: {"type": "string"} for name in args}}

    words = [f"{name}={text}" for name, text in args.items()]
    flags = [f"--{name}={text}" for name, text in args.items()]

    assert parsed(*words, schema=schema) == args
    assert parsed(*flags, schema=schema) == args


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=100)
def test_numbers_arrive_as_they_are(number: float) -> None:
    """A JSON number is the same number, by the schema and by :=."""
    text = msgspec.json.encode(number).decode()

    assert parsed(f"ratio={text}") == {"ratio": number}
    assert parsed(f"x:={text}") == {"x": number}


@given(st.lists(st.text("-=:@.[]{}\"'\\ab1 \n\udcff", max_size=8), max_size=5))
@settings(max_examples=150)
def test_any_words_are_arguments_or_a_fault(words: list[str]) -> None:
    """No words make the parser fail in another way."""
    try:
        shown = list(parsed(*words))
    except ArgumentSyntaxError as exc:
        shown = exc.lines()

    assert bool(shown) == bool(set(words) - {"--"} or len(words) > 1)
    assert all(isinstance(line, str) for line in shown)
