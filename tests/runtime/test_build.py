"""The checks of a registry's build, and their order."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt import (
    AllowAllGate,
    CircularPackDependencyError,
    EdgeEndpointRule,
    EndpointKind,
    HandlerDef,
    InvalidInputError,
    InvalidNamespaceError,
    MissingPackDependenciesError,
    MissingPackDependencyError,
    NoteKindSpec,
    NoteLifecycleSpec,
    Pack,
    PackDefinitionError,
    PackRedeclaredError,
    Registry,
    RegistryBuilder,
    SchemaCollisionError,
    SchemaPlan,
    SchemaPlanError,
    UnknownKindError,
    ValidationRule,
    VerbCollisionError,
    Visibility,
)


def build(*packs: Pack, namespace: str = "local") -> Registry:
    builder = RegistryBuilder().with_default_namespace(namespace)
    for pack in packs:
        builder.register(pack)
    return builder.build()


def pack(name: str, *requires: str, **declared: Any) -> Pack:
    return Pack(name, requires=requires, **declared)


def offering(name: str, *verbs: str, visibility: str = "verb") -> Pack:
    made = Pack(name)
    for verb in verbs:
        definition = HandlerDef(name=verb, visibility=Visibility(visibility))
        made.bind(definition, lambda _params, _ctx: None)
    return made


def test_the_second_pack_of_a_name_is_refused_with_both_indices() -> None:
    """The first clash is named by its registration indices."""
    with pytest.raises(PackRedeclaredError, match="twice, at 0 and 2") as caught:
        build(pack("a"), pack("b"), pack("a"))

    error = caught.value
    assert (error.name, error.first_index, error.second_index) == ("a", 0, 2)


def test_one_missing_dependency_has_its_own_error() -> None:
    """One missing pack is one error with both names."""
    with pytest.raises(MissingPackDependencyError, match="'a' requires 'x'") as caught:
        build(pack("a", "x"))

    assert (caught.value.from_pack, caught.value.requires) == ("a", "x")


def test_all_missing_dependencies_are_reported_at_once() -> None:
    """Several missing packs come in walk order."""
    with pytest.raises(MissingPackDependenciesError, match="; ") as caught:
        build(pack("a", "x", "y"), pack("b", "x"))

    missing = [(one.from_pack, one.requires) for one in caught.value.missing]
    assert missing == [("a", "x"), ("a", "y"), ("b", "x")]


def test_what_a_pack_requires_is_loaded_before_it() -> None:
    """[X requires A, A, B] loads A, B, X."""
    assert build(pack("x", "a"), pack("a"), pack("b")).pack_names() == ("a", "b", "x")


def test_independent_packs_keep_their_order() -> None:
    """Registration order is load order where nothing else decides."""
    assert build(pack("c"), pack("a"), pack("b")).pack_names() == ("c", "a", "b")


def test_a_dependency_named_twice_is_harmless() -> None:
    """Repeating a requirement changes nothing: the others are still waited for."""
    packs = [pack("x", "a", "a", "b"), pack("a"), pack("c"), pack("b", "c")]

    assert build(*packs).pack_names() == ("a", "c", "b", "x")


def test_a_registry_keeps_what_it_was_built_from() -> None:
    """A handler that a pack is given later is in no listing and no tool table."""
    made = offering("a", "x")
    registry = build(made)

    made.bind(HandlerDef(name="y"), lambda _params, _ctx: None)

    assert [handler.name for handler in registry.all_verbs()] == ["x"]
    assert registry.pack_handlers("a") == registry.all_verbs()


def test_on_error_is_deny_or_allow() -> None:
    """A misspelt option is a usage error of the library."""
    with pytest.raises(ValueError, match="deny or allow"):
        RegistryBuilder().with_gate(AllowAllGate(), on_error="permit")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("packs", "cycle"),
    [
        pytest.param([("a", "b"), ("b", "a")], ("a", "b", "a"), id="two"),
        pytest.param([("a", "a")], ("a", "a"), id="itself"),
        pytest.param(
            [("x", "b"), ("b", "c"), ("c", "b")],
            ("b", "c", "b"),
            id="a dependent before the cycle is not its start",
        ),
        pytest.param(
            [("a", "d", "b"), ("b", "a"), ("d",)],
            ("a", "b", "a"),
            id="a placed dependency is not on it",
        ),
        pytest.param(
            [("a", "b"), ("b", "c"), ("c", "b", "a")],
            ("a", "b", "c", "a"),
            id="starts at the lowest index on a cycle",
        ),
    ],
)
def test_a_cycle_is_named_from_its_lowest_pack(
    packs: list[tuple[str, ...]], cycle: tuple[str, ...]
) -> None:
    """The cycle is closed with its first name."""
    with pytest.raises(CircularPackDependencyError, match=" -> ") as caught:
        build(*(pack(*names) for names in packs))

    assert caught.value.cycle == cycle


def test_a_note_kind_has_one_owner() -> None:
    """The message names the kind and both packs."""
    with pytest.raises(InvalidInputError, match=r"'memo'.*'a'.*'b'"):
        build(pack("a", note_kinds=["memo"]), pack("b", note_kinds=["memo"]))


def test_entity_kinds_may_repeat() -> None:
    """Two packs may share an entity kind; reads show it once."""
    registry = build(
        pack("a", entity_kinds=["person"]), pack("b", entity_kinds=["person", "team"])
    )

    assert registry.all_entity_kinds() == ("person", "team")


def test_a_public_verb_has_one_owner() -> None:
    """A collision names the verb and both packs, and what to do."""
    with pytest.raises(VerbCollisionError, match="rename one") as caught:
        build(offering("a", "x"), offering("b", "x"))

    error = caught.value
    assert (error.verb, error.first_pack, error.second_pack) == ("x", "a", "b")


def test_a_verb_declared_twice_in_one_pack_collides() -> None:
    """Both fields name the same pack then."""
    with pytest.raises(VerbCollisionError) as caught:
        build(offering("a", "x", "x"))

    assert (caught.value.first_pack, caught.value.second_pack) == ("a", "a")


def test_sub_handlers_never_collide() -> None:
    """A sub-handler may carry another pack's public verb, also if loaded first."""
    hidden = offering("a", "x", visibility="subhandler")

    registry = build(hidden, offering("b", "x"))

    assert registry.tool("x").tool_id == "b:x"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("CREATE TABLE memo (x)", "create table if not exists MEMO (y)"),
        ('CREATE TABLE "memo" (x)', "CREATE TABLE [memo](y)"),
        ("CREATE VIRTUAL TABLE memo USING fts5(x)", "CREATE TABLE main.`memo` (y)"),
        ("-- mine\nCREATE TABLE memo (x)", "/* too */ CREATE TABLE 'memo' (x)"),
        ("DROP TABLE x; CREATE TABLE memo (x)", "CREATE TEMP TABLE memo (x)"),
    ],
)
def test_a_table_has_one_owner(first: str, second: str) -> None:
    """Names are compared as SQLite does, without case or quotes."""
    one = pack("a", schema_plan=SchemaPlan("a", (first,)))
    two = pack("b", schema_plan=SchemaPlan("b", ("CREATE INDEX i ON z(y)", second)))

    with pytest.raises(SchemaCollisionError, match="'memo'") as caught:
        build(one, two)

    assert (caught.value.first_pack, caught.value.second_pack) == ("a", "b")


def test_one_pack_may_name_its_table_twice() -> None:
    """Idempotent statements of one pack are no collision."""
    plan = SchemaPlan("a", ("CREATE TABLE IF NOT EXISTS t (x)",) * 2)

    assert build(pack("a", schema_plan=plan)).all_schema_plans() == (plan,)


def test_schema_plans_are_applied_in_load_order() -> None:
    """On a real database; a plan without statements is passed over."""
    one = SchemaPlan("", ("CREATE TABLE IF NOT EXISTS one (x)",))
    two = SchemaPlan(
        "", ("CREATE TABLE two (y REFERENCES one)", "INSERT INTO two VALUES (1)")
    )
    registry = build(
        pack("b", "a", schema_plan=two), pack("a", schema_plan=one), pack("c")
    )

    with closing(sqlite3.connect(":memory:")) as backend:
        registry.apply_schema_plans(backend)
        assert backend.execute("SELECT y FROM two").fetchall() == [(1,)]

    assert [plan.pack for plan in registry.all_schema_plans()] == ["a", "", "b"]


def test_a_schema_plan_that_fails_is_named() -> None:
    """The pack, the statement and the reason; nothing is swallowed."""
    plan = SchemaPlan("a", ("CREATE TABLE (",))

    registry = build(pack("a", schema_plan=plan))
    broken = pytest.raises(SchemaPlanError, match="pack 'a'")
    with closing(sqlite3.connect(":memory:")) as backend, broken as caught:
        registry.apply_schema_plans(backend)

    assert caught.value.statement == "CREATE TABLE ("
    assert "syntax error" in caught.value.reason


def test_kind_hooks_are_found_by_their_owner() -> None:
    """The first pack in load order that owns the kind and has a hook."""

    class Hook:
        def prepare_create(self, registry: Any, args: dict[str, Any]) -> None: ...

        def after_create(self, registry: Any, id: str, args: Any) -> None: ...

    hook, stray = Hook(), Hook()
    registry = build(
        pack("z", kind_hooks={"memo": stray}),
        pack("a", entity_kinds=["person"]),
        pack("b", entity_kinds=["person"], kind_hooks={"person": hook}),
    )

    assert registry.find_kind_hook("person") is hook
    assert registry.find_kind_hook("memo") is None
    assert registry.find_kind_hook("nothing") is None


def test_declarations_can_be_read() -> None:
    """Every declaration of every pack, in load order; None for an unknown pack."""
    spec = NoteKindSpec("memo", ("note",), NoteLifecycleSpec("status", "open"))
    rule = ValidationRule("a/rule", "error", "…", lambda _context: [])
    registry = build(
        pack(
            "a",
            note_kinds=["memo"],
            entity_kinds=["person"],
            note_kind_specs=[spec],
            validation_rules=[rule],
        ),
        pack("b", "a"),
    )

    assert registry.all_note_kinds() == ("memo",)
    assert registry.all_note_kind_specs() == (spec,)
    assert registry.all_validation_rules() == (rule,)
    assert registry.pack_requires("b") == ("a",)
    assert registry.pack_note_kinds("a") == ("memo",)
    assert registry.pack_entity_kinds("a") == ("person",)
    assert registry.pack_handlers("b") == ()
    for read in ("requires", "note_kinds", "entity_kinds", "handlers"):
        assert getattr(registry, f"pack_{read}")("nothing") is None


def test_an_edge_rule_with_an_unknown_kind_is_refused() -> None:
    """A note kind is no entity kind."""
    rule = EdgeEndpointRule(
        "annotates", EndpointKind.note("memo"), EndpointKind.entity("memo")
    )

    with pytest.raises(UnknownKindError, match="'annotates'") as caught:
        build(pack("a", note_kinds=["memo"], edge_rules=[rule]))

    assert (caught.value.pack, caught.value.kind) == ("a", "memo")


def test_an_edge_rule_may_name_another_packs_kind() -> None:
    """Kinds are known over all packs."""
    rule = EdgeEndpointRule(
        "annotates", EndpointKind.note("memo"), EndpointKind.entity("person")
    )
    registry = build(
        pack("a", note_kinds=["memo"], edge_rules=[rule, rule]),
        pack("b", entity_kinds=["person"]),
    )

    assert registry.all_edge_rules() == (rule, rule)


def test_a_bad_default_namespace_fails_the_build() -> None:
    """The default namespace is checked when the registry is built, not at a call."""
    with pytest.raises(InvalidNamespaceError):
        build(namespace="a::b")


def test_checks_come_in_their_order() -> None:
    """A duplicate pack is reported before a missing dependency, and that before more."""
    with pytest.raises(PackRedeclaredError):
        build(pack("a", "x"), pack("a", "x"))
    with pytest.raises(MissingPackDependencyError):
        build(pack("a", "a", "x"))
    with pytest.raises(CircularPackDependencyError):
        build(pack("a", "a", note_kinds=["m", "m"]))
    with pytest.raises(InvalidInputError, match="note kind"):
        build(pack("a", note_kinds=["m", "m"]), offering("b", "x", "x"))


class TestLoadOrder:
    """Load order is a function of registration order and requirements alone."""

    @given(edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7))))
    def test_every_pack_follows_what_it_requires(
        self, edges: list[tuple[int, int]]
    ) -> None:
        """An acyclic graph builds, each pack after all that it requires."""
        requires: dict[int, set[int]] = {index: set() for index in range(8)}
        for one, other in edges:
            if one != other:
                requires[max(one, other)].add(min(one, other))
        packs = [
            pack(f"p{index}", *(f"p{n}" for n in needed))
            for index, needed in requires.items()
        ]

        order = build(*reversed(packs)).pack_names()

        assert sorted(order) == sorted(made.name for made in packs)
        for made in packs:
            at = order.index(made.name)
            assert all(order.index(name) < at for name in made.requires)


def test_a_requirement_that_is_repeated_is_missing_once() -> None:
    """One name that is not there is one fault, however often it is written down."""
    with pytest.raises(MissingPackDependencyError) as caught:
        build(pack("a", "z", "z"))

    assert str(caught.value).count("'z'") == 1


class TestSchemas:
    """A schema that a person wrote is checked when the registry is built."""

    @pytest.mark.parametrize(
        ("schemas", "match"),
        [
            pytest.param(
                {"input_schema": {"properties": {"a": {"minLength": -1}}}},
                "handler p:x: input_schema: properties.a.minLength: -1 is less than",
                id="input",
            ),
            pytest.param(
                {"output_schema": {"pattern": "("}},
                r'output_schema: pattern: "\(" is not a "regex"',
                id="output",
            ),
            pytest.param(
                {"input_schema": {"$ref": "#/$defs/gone"}},
                "input_schema: Pointer",
                id="reference to nothing",
            ),
            pytest.param(
                {"input_schema": {"$ref": "http://127.0.0.1:9/schema"}},
                "is not in the schema",
                id="reference to elsewhere",
            ),
            pytest.param(
                {"input_schema": {"type": "x" * 1000}}, "x…$", id="cut to a line"
            ),
        ],
    )
    @pytest.mark.parametrize("visibility", ["verb", "subhandler"])
    def test_one_that_is_none_fails_the_build(
        self, schemas: dict[str, Any], match: str, visibility: str
    ) -> None:
        """The error names handler, schema, place in it and what is wrong."""
        written = pack("p")
        written.handler("x", visibility=visibility, **schemas)(lambda: 1)

        with pytest.raises(PackDefinitionError, match=match):
            build(written)

    def test_keywords_of_an_annotation_are_a_persons_too(self) -> None:
        """The rest of such a schema is generated; they are not."""
        written = pack("p")

        @written.handler("x")
        def x(names: list[Annotated[str, {"pattern": "["}]]) -> int:
            return len(names)

        with pytest.raises(PackDefinitionError, match=r"names.items.pattern"):
            build(written)

    def test_a_declaration_in_class_form_is_checked(self) -> None:
        """It has no function that a schema could come from."""
        bad = HandlerDef(name="x", input_schema={"required": "a"})

        with pytest.raises(PackDefinitionError, match="input_schema: required"):
            build(pack("p", handlers=[bad]))

    def test_ordinary_packs_start_without_the_checker(self) -> None:
        """Generated schemas and those of std are right: its import is saved."""
        code = """if True:
            import sys
            from toolrt import Pack, RegistryBuilder
            from toolrt.std import std_pack
            pack = Pack("p")
            @pack.handler("x")
            def x(a: int, b: list[str] | None = None) -> int: return a
            RegistryBuilder().register(pack).register(std_pack()).build()
            sys.exit("jsonschema_rs" in sys.modules)
        """

        done = subprocess.run([sys.executable, "-c", code], check=False)

        assert done.returncode == 0
