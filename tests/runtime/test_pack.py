"""Packs: declarations, the decorator, the class form."""

from typing import Annotated, Any, Literal

import pytest

from toolrt import (
    CallContext,
    HandlerDef,
    NamespaceToken,
    Pack,
    PackDefinitionError,
    RegistryBuilder,
    SchemaPlan,
    ValidationRule,
    VerbCategory,
    Visibility,
)
from toolrt.schema import ANYTHING


def test_a_function_declares_its_handler() -> None:
    """Name, schema and description come from the function, the rest from keywords."""
    pack = Pack("notes")

    @pack.handler(
        "note.add",
        capabilities=["notes:write"],
        effect="write",
        category="Commissive",
        visibility="subhandler",
    )
    def add(title: str, size: int = 3, *, ctx: CallContext) -> None:
        """
        Create a note
        on disk.

        More.
        """

    (definition,) = pack.handlers
    assert definition.name == "note.add"
    assert definition.description == "Create a note on disk."
    assert definition.capabilities == ("notes:write",)
    assert definition.category is VerbCategory.COMMISSIVE
    assert definition.visibility is Visibility.SUBHANDLER
    assert definition.input_schema == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "size": {"type": "integer", "default": 3},
        },
        "required": ["title"],
        "additionalProperties": False,
    }


def test_defaults_are_the_documented_ones() -> None:
    """verb, Assertive, read, warm, no limits."""
    definition = HandlerDef(name="x")

    assert definition.visibility == "verb"
    assert definition.category == "Assertive"
    assert (definition.effect, definition.tier) == ("read", "warm")
    assert (definition.max_concurrent, definition.rate_limit_per_min) == (0, None)
    assert definition.timeout is None
    assert definition.input_schema == ANYTHING


def test_the_source_of_a_function_is_its_file_and_line() -> None:
    """A handler knows where it is written down."""
    pack = Pack("notes")

    @pack.handler("x")
    def function() -> None: ...

    (bound,) = pack.bound_handlers
    file, _, line = bound.source.rpartition(":")
    assert file == __file__
    assert int(line) > 1


def test_annotations_become_json_types() -> None:
    """Every annotation that JSON has a type for is understood."""
    pack = Pack("notes")

    @pack.handler("x")
    def function(
        a: float,
        b: bool | None,
        c: list[str],
        d: dict[str, int],
        e: Literal["x", "y"],
        f: Any,
        g: list[str] | int,
        h: dict[str, Any],
        i: Annotated[int, {"minimum": 1, "maximum": 9}],
        j: Annotated[list[str], {"minItems": 1}, "a remark"],
        **rest: Any,
    ) -> None: ...

    schema = pack.handlers[0].input_schema
    assert schema["properties"] == {
        "a": {"type": "number"},
        "b": {"type": ["boolean", "null"]},
        "c": {"type": "array", "items": {"type": "string"}},
        "d": {"type": "object", "additionalProperties": {"type": "integer"}},
        "e": {"enum": ["x", "y"]},
        "f": {},
        "g": {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "integer"},
            ]
        },
        "h": {"type": "object", "additionalProperties": {}},
        "i": {"type": "integer", "minimum": 1, "maximum": 9},
        "j": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    }
    assert "additionalProperties" not in schema


def test_an_annotation_that_json_lacks_is_refused() -> None:
    """The fault names the handler and the parameter."""
    pack = Pack("notes")

    def function(path: bytes) -> None: ...

    with pytest.raises(PackDefinitionError, match=r"notes:x: parameter 'path'"):
        pack.handler("x")(function)


def test_a_parameter_without_annotation_is_refused() -> None:
    """A schema cannot be guessed."""
    pack = Pack("notes")

    with pytest.raises(PackDefinitionError, match="needs a name and an annotation"):
        pack.handler("x")(lambda value: value)


def test_a_given_schema_overrides_the_signature() -> None:
    """With input_schema= the annotations are not looked at."""
    pack = Pack("notes")

    pack.handler("x", input_schema={"type": "object"})(lambda **_rest: None)

    assert pack.handlers[0].input_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"name": "Fs.Read"}, "a verb is", id="upper case"),
        pytest.param({"name": "x" * 65}, "at most 64", id="65 characters"),
        pytest.param({"name": "a:b"}, "a verb is", id="colon"),
        pytest.param({"name": "x\n"}, "a verb is", id="trailing newline"),
        pytest.param({"effect": "none"}, "effect", id="effect"),
        pytest.param({"tier": "tepid"}, "tier", id="tier"),
        pytest.param({"visibility": "secret"}, "'secret'", id="visibility"),
        pytest.param({"category": "Expressive"}, "'Expressive'", id="category"),
        pytest.param({"capabilities": "fs:read"}, "capabilities", id="bare string"),
        pytest.param({"max_concurrent": "x"}, "max_concurrent", id="wrong type"),
        pytest.param({"max_concurrent": -1}, "max_concurrent", id="max_concurrent"),
        pytest.param({"timeout": 0}, "timeout", id="timeout"),
        pytest.param({"timeout": float("inf")}, "finite", id="timeout without end"),
        pytest.param({"rate_limit_per_min": 0}, "rate_limit", id="rate"),
    ],
)
def test_a_bad_declaration_is_refused(fields: dict[str, Any], problem: str) -> None:
    """Each field is checked when it is declared."""
    definition = HandlerDef(**{"name": "x", **fields})

    with pytest.raises(PackDefinitionError, match=problem):
        Pack("notes").bind(definition, lambda _params, _ctx: None)


def test_an_unknown_field_is_refused() -> None:
    """A misspelt keyword is a definition error, not silence."""
    with pytest.raises(PackDefinitionError, match="capabilites"):
        Pack("notes").handler("x", capabilites=["a"])(lambda: None)


@pytest.mark.parametrize("name", ["", "Notes", "1x", "a.b", "x" * 65])
def test_a_bad_pack_name_is_refused(name: str) -> None:
    """Pack names have their own, narrower form."""
    with pytest.raises(PackDefinitionError, match="a name is"):
        Pack(name)


def test_a_validation_rule_belongs_to_its_pack() -> None:
    """The id of a rule begins with the pack's name."""
    rule = ValidationRule("other/rule", "error", "…", lambda _context: [])

    with pytest.raises(PackDefinitionError, match="must begin with 'notes/'"):
        Pack("notes", validation_rules=[rule])


def test_an_empty_schema_plan_says_so() -> None:
    """is_empty looks at the statements alone."""
    assert SchemaPlan().is_empty
    assert not SchemaPlan("", ("CREATE TABLE t (x)",)).is_empty


def test_a_subclass_answers_through_dispatch() -> None:
    """The class form gets verb, params, registry and token."""

    class Notes(Pack):
        def dispatch(
            self,
            verb: str,
            params: dict[str, Any],
            registry: Any,
            token: NamespaceToken,
        ) -> Any:
            return [verb, params, registry.pack_names(), str(token.namespace)]

    pack = Notes("notes", handlers=[HandlerDef(name="note.add")])
    registry = RegistryBuilder().register(pack).build()

    assert registry.dispatch("note.add", {"a": 1, "namespace": "t"}) == [
        "note.add",
        {"a": 1},
        ("notes",),
        "t",
    ]


def test_a_pack_without_dispatch_says_so() -> None:
    """Handlers declared without code are INTERNAL failures, not silence."""
    with pytest.raises(NotImplementedError):
        Pack("notes").dispatch("x", {}, None, None)  # type: ignore[arg-type]
