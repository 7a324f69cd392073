"""Schemas of arguments: the check, the defaults, the signature and the words for them."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt.schema import compile_check, defaults_of, signature, with_defaults
from toolrt_cli.arguments import parse_pairs

from .strategies import CANARY, REPEATABLE, json_values

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c", "long_name", "with.dot", "with-dash"]
names = st.sampled_from(NAMES)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
small = st.integers(0, 4)


def _typed(kind: str, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=keywords)


scalar_schemas = st.one_of(
    _typed("string", minLength=small, maxLength=small, pattern=st.just("^[a-z]*$")),
    _typed("integer", minimum=st.integers(-5, 5), maximum=st.integers(-5, 99)),
    _typed("number", exclusiveMinimum=floats, multipleOf=st.sampled_from([1, 0.5])),
    _typed("boolean"),
    _typed("null"),
    st.fixed_dictionaries({"enum": st.lists(json_values, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": json_values}),
    st.fixed_dictionaries({"type": st.just(["string", "null"])}),
    st.just({}),
    st.booleans(),
)
value_schemas = st.recursive(
    scalar_schemas,
    lambda inner: st.one_of(
        _typed("array", items=inner, minItems=small, uniqueItems=st.booleans()),
        _typed(
            "object",
            properties=st.dictionaries(names, inner, max_size=2),
            required=st.lists(names, max_size=2, unique=True),
            additionalProperties=inner,
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=4,
)


def _with_default(spec: Any, default: Any) -> Any:
    return {**spec, "default": default} if isinstance(spec, dict) else spec


properties = st.dictionaries(
    names,
    st.one_of(value_schemas, st.builds(_with_default, value_schemas, json_values)),
    max_size=4,
)
argument_schemas = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": properties},
    optional={
        "required": st.lists(names, max_size=3, unique=True),
        "additionalProperties": st.booleans(),
    },
)
arguments = st.dictionaries(st.one_of(names, texts), json_values, max_size=4)


class TestCheck:
    """The check is jsonschema-rs's: this project only puts its findings into words."""

    @REPEATABLE
    @given(schema=argument_schemas, args=arguments)
    def test_a_check_agrees_with_the_validator_itself(
        self, schema: dict[str, Any], args: dict[str, Any]
    ) -> None:
        """No fault is found exactly where the validator finds the arguments valid."""
        validator = jsonschema_rs.Draft202012Validator(schema)

        filled = with_defaults(defaults_of(schema), args)
        faults = compile_check(schema)(filled)

        assert (faults == ()) == validator.is_valid(filled)
        assert len(faults) >= len({f.path for f in faults}) > 0 or not faults

    @REPEATABLE
    @given(schema=argument_schemas, args=json_values)
    def test_what_is_no_object_has_a_fault(
        self, schema: dict[str, Any], args: Any
    ) -> None:
        """Any JSON may be checked, and a rule never quotes the value that breaks it."""
        validator = jsonschema_rs.Draft202012Validator(schema)

        faults = compile_check(schema)(args)

        assert (faults == ()) == validator.is_valid(args)
        if CANARY not in repr(schema):
            assert not any(CANARY in fault.rule for fault in faults)

    @REPEATABLE
    @given(schema=argument_schemas, args=arguments)
    def test_defaults_fill_only_what_is_absent(
        self, schema: dict[str, Any], args: dict[str, Any]
    ) -> None:
        """What is given stays; what is added is the default; the given is not changed."""
        before = dict(args)

        filled = with_defaults(defaults_of(schema), args)

        stated = {
            name: spec["default"]
            for name, spec in schema["properties"].items()
            if isinstance(spec, dict) and "default" in spec
        }
        assert args == before
        assert filled == {**stated, **args}
        assert with_defaults(defaults_of(schema), filled) == filled

    @REPEATABLE
    @given(schema=argument_schemas)
    def test_a_signature_names_every_argument_on_one_line(
        self, schema: dict[str, Any]
    ) -> None:
        """Any schema has a signature, with all names in their order."""
        shown = signature("any.verb", schema)

        places = [shown.index(f"{name}: ") for name in schema["properties"]]
        assert shown.startswith("any.verb(")
        assert shown.endswith(")")
        assert "\n" not in shown
        assert len(places) == len(schema["properties"])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


#: For each type the values that words are made of, and how a word says one.
SCALARS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "string": (
        st.one_of(texts, st.sampled_from(["=", ":=1", "@f", "012", "--x"])),
        str,
    ),
    "integer": (integers, _json),
    "number": (st.one_of(floats, integers), _json),
    "boolean": (st.booleans(), _json),
    "null": (st.none(), _json),
}


@st.composite
def _given(draw: st.DrawFn) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """Return a schema, words and the arguments that the words are to give."""
    specs: dict[str, Any] = {}
    words: list[str] = []
    args: dict[str, Any] = {}
    for name in draw(st.lists(names, unique=True, max_size=4)):
        kind = draw(st.sampled_from([*SCALARS, "array", "any"]))
        flag = draw(st.sampled_from(["", "--"]))
        if kind == "any":
            specs[name] = draw(st.sampled_from([{}, {"type": "object"}]))
            args[name] = draw(json_values)
            words.append(f"{flag}{name}:={_json(args[name])}")
        elif kind == "array":
            item = draw(st.sampled_from(list(SCALARS)))
            values, say = SCALARS[item]
            specs[name] = {"type": "array", "items": {"type": item}}
            args[name] = draw(st.lists(values, min_size=1, max_size=3))
            words += [f"{flag}{name}={say(value)}" for value in args[name]]
        else:
            values, say = SCALARS[kind]
            nullable = kind != "string" and draw(st.booleans())
            specs[name] = {"type": [kind, "null"] if nullable else kind}
            args[name] = draw(values)
            words.append(f"{flag}{name}={say(args[name])}")
    return {"type": "object", "properties": specs}, words, args


def no_file(name: str) -> str:
    raise AssertionError(f"{name!r} is no file")


@REPEATABLE
@given(given_=_given())
def test_words_made_of_typed_values_give_the_values_back(
    given_: tuple[dict[str, Any], list[str], dict[str, Any]],
) -> None:
    """``k=v`` is typed by the schema: what goes in as a word comes out as the value."""
    schema, words, args = given_

    parsed = parse_pairs(words, schema=schema, read_file=no_file)

    assert parsed == args
    assert _json(parsed) == _json(args)  # 1 is not 1.0, and true is no 1
