"""What a build accepts and refuses, and what the registry then tells."""

from typing import Any

import pytest

from toolrt import (
    EdgeEndpointRule,
    EndpointKind,
    InvalidInputError,
    InvalidNamespaceError,
    NoteKindSpec,
    NoteLifecycleSpec,
    Pack,
    PackRedeclaredError,
    SchemaCollisionError,
    SchemaPlan,
    UnknownKindError,
    ValidationRule,
    VerbCollisionError,
)

from .samples import Echo, build, builder, desk, inner, shelf, verb


def test_one_public_verb_in_two_packs_fails_the_build() -> None:
    """The error names the verb and both packs, as attributes and in its text."""
    with pytest.raises(VerbCollisionError, match=r"'lend'.*'shelf'.*'rival'") as caught:
        build(shelf(), Echo("rival", [verb("lend")]))

    error = caught.value
    assert (error.verb, error.first_pack, error.second_pack) == (
        "lend",
        "shelf",
        "rival",
    )


def test_a_sub_handler_named_like_a_public_verb_builds() -> None:
    """Sub-handlers take no part in the collision check."""
    registry = build(shelf(), Echo("rival", [inner("lend")]))

    assert registry.pack_names() == ("shelf", "rival")


def test_public_verbs_are_listed_without_sub_handlers() -> None:
    """Load order, then the order of declaration."""
    names = [handler.name for handler in build(shelf(), desk()).all_verbs()]

    assert names == ["lend", "find", "remind"]


def test_public_verbs_are_paired_with_their_packs() -> None:
    """Each pair is the pack's name and the handler; sub-handlers are left out."""
    pairs = build(shelf(), desk()).all_verbs_with_packs()

    assert [(pack, handler.name) for pack, handler in pairs] == [
        ("shelf", "lend"),
        ("shelf", "find"),
        ("desk", "remind"),
    ]


def test_the_full_listing_has_the_sub_handlers_too() -> None:
    """It pairs every handler of every pack with the pack's name."""
    pairs = build(shelf(), desk()).all_handlers_with_packs()

    assert [(pack, handler.name) for pack, handler in pairs] == [
        ("shelf", "lend"),
        ("shelf", "find"),
        ("desk", "remind"),
        ("desk", "lend"),
    ]


def test_note_kinds_come_in_load_order() -> None:
    """Those of the first pack first, each pack's in the order of declaration."""
    assert build(shelf(), desk()).all_note_kinds() == ("card", "ledger", "notice")


def test_a_note_kind_of_two_packs_fails_the_build() -> None:
    """The message names the kind and both packs."""
    with pytest.raises(InvalidInputError, match=r"'card'.*'shelf'.*'copy'"):
        build(shelf(), Pack("copy", note_kinds=["card"]))


def test_an_entity_kind_of_two_packs_is_listed_once() -> None:
    """Packs may share entity kinds; the first seen comes first."""
    assert build(shelf(), desk()).all_entity_kinds() == ("book", "reader")


def test_a_pack_registered_twice_fails_the_build() -> None:
    """The error holds the name and both positions of registration."""
    with pytest.raises(PackRedeclaredError) as caught:
        build(shelf(), desk(), shelf())

    error = caught.value
    assert (error.name, error.first_index, error.second_index) == ("shelf", 0, 2)


def test_an_unknown_pack_reads_as_none() -> None:
    """None is told apart from a pack that declares nothing."""
    registry = build(Pack("bare"))

    reads: list[Any] = [
        registry.pack_requires,
        registry.pack_note_kinds,
        registry.pack_entity_kinds,
        registry.pack_handlers,
    ]
    assert [read("bare") for read in reads] == [()] * 4
    assert [read("nothing") for read in reads] == [None] * 4


def test_edge_rules_keep_their_duplicates() -> None:
    """Restating a rule is harmless, so every pack's rules are listed as they are."""
    rule = EdgeEndpointRule(
        "about", EndpointKind.note("card"), EndpointKind.entity("book")
    )
    restating = Pack("restating", edge_rules=[rule])

    registry = build(shelf(), restating, Pack("again", edge_rules=[rule]))

    assert registry.all_edge_rules() == (rule, rule)


def test_an_edge_rule_over_an_unknown_kind_fails_the_build() -> None:
    """A rule that nothing can ever match is a mistake of the pack's author."""
    rule = EdgeEndpointRule(
        "about", EndpointKind.note("crad"), EndpointKind.entity("book")
    )

    with pytest.raises(UnknownKindError) as caught:
        build(shelf(), Pack("typo", edge_rules=[rule]))

    error = caught.value
    assert (error.pack, error.relation, error.kind) == ("typo", "about", "crad")


def test_note_kind_specs_are_collected_from_every_pack() -> None:
    """They come in load order."""
    lifecycle = NoteLifecycleSpec("state", "open", ("shut",), (("*", "shut"),))
    specs = (NoteKindSpec("task", ("todo",), lifecycle), NoteKindSpec("memo"))
    one = Pack("one", note_kinds=["task"], note_kind_specs=specs[:1])
    two = Pack("two", note_kinds=["memo"], note_kind_specs=specs[1:])

    assert build(one, two).all_note_kind_specs() == specs


def test_validation_rules_are_collected_from_every_pack() -> None:
    """Each keeps the pack's name at the front of its id."""
    rules = [
        ValidationRule(f"{name}/tidy", "warning", "Is it tidy?", lambda _: ())
        for name in ("one", "two")
    ]
    packs = [Pack(rule.id[:3], validation_rules=[rule]) for rule in rules]

    assert build(*packs).all_validation_rules() == tuple(rules)


def test_every_pack_has_a_schema_plan_in_the_listing() -> None:
    """The plan of a pack without tables is there and empty."""
    plan = SchemaPlan("tabled", ("CREATE TABLE IF NOT EXISTS t (x)",))

    plans = build(Pack("bare"), Pack("tabled", schema_plan=plan)).all_schema_plans()

    assert [made.is_empty for made in plans] == [True, False]
    assert plans[1] == plan


def test_two_schema_plans_over_one_table_fail_the_build() -> None:
    """Packs that would share a table unknowingly are refused by name."""
    packs = [
        Pack(name, schema_plan=SchemaPlan(name, (f"CREATE TABLE {table} (x)",)))
        for name, table in (("one", "Loans"), ("two", "loans"))
    ]

    with pytest.raises(SchemaCollisionError) as caught:
        build(*packs)

    error = caught.value
    assert (error.table, error.first_pack, error.second_pack) == ("loans", "one", "two")


def test_a_kind_hook_is_found_with_the_pack_that_owns_the_kind() -> None:
    """A hook for a kind that its pack does not own is not asked for."""

    class Named:
        def prepare_create(self, registry: Any, args: dict[str, Any]) -> None: ...

        def after_create(self, registry: Any, id: str, args: Any) -> None: ...

    own, foreign = Named(), Named()
    stranger = Pack("stranger", kind_hooks={"card": foreign})
    owner = Pack("owner", note_kinds=["card", "plain"], kind_hooks={"card": own})

    registry = build(stranger, owner)

    assert registry.find_kind_hook("card") is own
    assert registry.find_kind_hook("plain") is None
    assert registry.find_kind_hook("nothing") is None


def test_a_bad_default_namespace_fails_the_build() -> None:
    """It is reported before any call is made, not by the first one."""
    with pytest.raises(InvalidNamespaceError) as caught:
        builder().with_default_namespace("a::b").build()

    assert caught.value.reason == "empty_segment"
