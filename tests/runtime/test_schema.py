"""Argument checks, defaults and signatures."""

from typing import Any

import pytest

from toolrt import ArgFault
from toolrt.schema import ANYTHING, compile_check, defaults_of, signature, with_defaults

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        "deep": {
            "type": "object",
            "properties": {"x": {}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


def test_good_arguments_have_no_fault() -> None:
    """What fits the schema passes."""
    assert compile_check(SCHEMA)({"path": "x", "limit": 1, "deep": {"x": 1}}) == ()


def test_every_fault_is_found_at_once_in_path_order() -> None:
    """Each fault has its path, its rule and the value that was given."""
    found = compile_check(SCHEMA)(
        {
            "limit": 0,
            "kind": "c",
            "tags": ["x", 1],
            "deep": {"y": 1},
            "lmit": 2,
        }
    )

    assert found == (
        ArgFault("deep.x", "is required"),
        ArgFault("deep.y", "is not known", "1"),
        ArgFault("kind", 'must be one of "a", "b"', '"c"'),
        ArgFault("limit", "must be at least 1", "0"),
        ArgFault("lmit", "is not known", "2"),
        ArgFault("path", "is required"),
        ArgFault("tags", "must have at most 1 items", '["x",1]'),
        ArgFault("tags[1]", "must be string", "1"),
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "string"}},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"oneOf": [{"type": "integer"}, {"maxLength": 1}]},
        {"const": "x"},
        {"enum": ["x", "y"]},
        {"type": "integer"},
        {"pattern": "^x"},
        {"maxLength": 3},
        {"type": "object"},
        {"if": True, "then": {"type": "integer"}},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}},
    ],
)
def test_no_rule_ever_holds_the_value(schema: Any) -> None:
    """Rules are recorded, values are not: whatever the keyword."""
    faults = compile_check(schema)("hunter2-CANARY")

    assert faults
    assert all("CANARY" not in fault.path + fault.rule for fault in faults)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"propertyNames": {"maxLength": 1}}, {"hunter2-CANARY": 1}),
        ({"items": {"type": "integer"}}, ["hunter2-CANARY"]),
        (
            {"prefixItems": [{}], "unevaluatedItems": False},
            [1, "hunter2-CANARY"],
        ),
        ({"contains": {"type": "integer"}}, ["hunter2-CANARY"]),
        ({"uniqueItems": True}, ["hunter2-CANARY"] * 2),
        ({"dependentRequired": {"a": ["b"]}}, {"a": "hunter2-CANARY"}),
        ({"minProperties": 2}, {"a": "hunter2-CANARY"}),
    ],
)
def test_no_rule_ever_holds_a_nested_value(schema: Any, value: Any) -> None:
    """The same for what lies inside objects and arrays."""
    faults = compile_check(schema)(value)

    assert faults
    assert all("CANARY" not in fault.rule for fault in faults)


def test_a_long_value_is_cut() -> None:
    """A fault shows at most 80 characters of a value."""
    (fault,) = compile_check({"type": "integer"})("x" * 200)

    assert fault.value is not None
    assert len(fault.value) == 80


@pytest.mark.parametrize("schema", [ANYTHING, SCHEMA])
def test_what_is_no_object_is_refused(schema: dict[str, Any]) -> None:
    """Arguments are an object, whatever else they are."""
    (fault,) = compile_check(schema)([1])

    assert fault == ArgFault("", "must be object", "[1]") or fault == ArgFault(
        "", "must be an object", "[1]"
    )


def test_a_python_value_that_is_no_json_is_a_fault() -> None:
    """The check never raises for a value."""
    (fault,) = compile_check(SCHEMA)({"path": object()})

    assert fault.rule.startswith("must be JSON")


def test_a_schema_that_is_none_is_refused() -> None:
    """A broken schema is found when it is compiled."""
    with pytest.raises(ValueError, match="nope"):
        compile_check({"type": "nope"})


def test_defaults_are_filled_in_and_the_original_is_left() -> None:
    """Only absent properties with a default are filled."""
    given = {"path": "x"}

    assert with_defaults(defaults_of(SCHEMA), given) == {"path": "x", "limit": 5}
    assert given == {"path": "x"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(
            SCHEMA,
            'x(path: string, [limit: integer = 5], [kind: "a"|"b"],'
            " [tags: string[]], [deep: object])",
            id="all kinds",
        ),
        pytest.param(ANYTHING, "x(...)", id="anything"),
        pytest.param({"additionalProperties": False}, "x()", id="nothing"),
        pytest.param(
            {
                "properties": {"a": {"type": ["integer", "null"]}, "b": True},
                "additionalProperties": False,
            },
            "x([a: integer|null], [b: any])",
            id="union and true",
        ),
    ],
)
def test_the_signature_is_one_line(schema: dict[str, Any], expected: str) -> None:
    """Required first as declared, optional in brackets, defaults shown."""
    assert signature("x", schema) == expected
