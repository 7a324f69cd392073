"""Reading arguments by their types alone: what it lets pass, the schema allows."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from toolrt.schema import compile_check, compile_reader

from .strategies import REPEATABLE, any_text

_SCALARS = ("string", "integer", "number", "boolean")
names = st.sampled_from(["a", "b", "namespace", "é", "with space", ""])
remarks = st.sampled_from([{}, {"title": "t"}, {"default": 1}, {"description": ""}])
#: What a reader knows, and beside it what it must leave to the check.
specs: st.SearchStrategy[Any] = st.recursive(
    st.builds(
        lambda kind, more: {"type": kind, **more},
        st.sampled_from(_SCALARS),
        remarks,
    ),
    lambda items: items.map(lambda spec: {"type": "array", "items": spec}),
    max_leaves=3,
)
richer: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        True,
        {"type": "null"},
        {"type": "array"},
        {"type": "object"},
        {"type": ["string", "null"]},
        {"type": "integer", "minimum": 3},
        {"type": "string", "enum": ["a"]},
        {"type": "string", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 1},
        {"type": "array", "items": {"const": 1}},
        {"$ref": "#"},
    ]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        any_text,
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(names, children, max_size=2),
    ),
    max_leaves=6,
)


@st.composite
def schemas(draw: st.DrawFn, each: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Draw a schema of an object, with properties of *each*."""
    properties = draw(st.dictionaries(names, each, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = draw(st.lists(st.sampled_from([*properties, "a"]), unique=True))
    if required:
        schema["required"] = required
    closed = draw(st.sampled_from([None, False, True, {"type": "string"}]))
    if closed is not None:
        schema["additionalProperties"] = closed
    return schema


def fitting(spec: Any) -> st.SearchStrategy[Any]:
    """Return values that fit *spec*, of the kinds that a reader knows."""
    match spec:
        case {"type": "array", "items": items}:
            return st.lists(fitting(items), max_size=3)
        case {"type": "string"}:
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        case {"type": "integer"}:
            return st.integers()
        case {"type": "number"}:
            return st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        case _:
            return st.booleans()


def passes(schema: dict[str, Any], value: Any) -> bool:
    """Return whether a reader of *schema* returns all of *value*."""
    read = compile_reader(schema)
    assert read is not None
    try:
        return bool(read(msgspec.json.encode(value)) == value)
    except (ValueError, TypeError):
        return False


@REPEATABLE
@given(schemas(specs), st.dictionaries(names, values, max_size=4))
def test_what_passes_has_no_fault(
    schema: dict[str, Any], value: dict[str, Any]
) -> None:
    """Whatever it is: the check is never needed after it."""
    if compile_reader(schema) is not None and passes(schema, value):
        assert compile_check(schema)(value) == ()


@REPEATABLE
@given(schemas(specs), st.data())
def test_what_fits_passes(schema: dict[str, Any], data: st.DataObject) -> None:
    """Else reading would be of no use."""
    properties = schema["properties"]
    if set(schema.get("required", ())) - set(properties):
        assert compile_reader(schema) is None
        return
    value = {name: data.draw(fitting(spec)) for name, spec in properties.items()}

    assert passes(schema, value)


@REPEATABLE
@given(schemas(specs), richer, names)
def test_a_schema_that_asks_more_has_no_reader(
    schema: dict[str, Any], spec: Any, name: str
) -> None:
    """Its check has to be asked."""
    asking = {**schema, "properties": {**schema["properties"], name: spec}}

    assert compile_reader(asking) is None
    assert compile_reader({**schema, "minProperties": 1}) is None
    assert compile_reader({**schema, "type": ["object", "null"]}) is None
