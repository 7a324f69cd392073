"""Namespaces, actors, tokens."""

import pytest

from toolrt import ActorRef, InvalidInputError, InvalidNamespaceError, Namespace
from toolrt.namespace import NamespaceToken
from toolrt.testing import token_for


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("local", id="word"),
        pytest.param("tenant-x:team_1:a.b", id="segments"),
        pytest.param("x" * 256, id="256 bytes"),
        pytest.param("..:-", id="dots and dashes"),
    ],
)
def test_a_valid_namespace_gives_its_text_back(text: str) -> None:
    """What parses is kept as it is."""
    assert str(Namespace.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("x" * 257, "too_long", id="257 bytes"),
        pytest.param("é" * 129, "too_long", id="258 bytes in 129 characters"),
        pytest.param("x" * 256 + ":", "too_long", id="too long before trailing"),
        pytest.param(":", "trailing_separator", id="separator alone"),
        pytest.param("a::", "trailing_separator", id="trailing before empty segment"),
        pytest.param("a::b", "empty_segment", id="empty segment"),
        pytest.param(":a", "empty_segment", id="leading separator"),
        pytest.param("a b", "invalid_character", id="space"),
        pytest.param("a:b/c", "invalid_character", id="slash"),
        pytest.param("a\n", "invalid_character", id="trailing newline"),
        pytest.param("é", "invalid_character", id="letter outside ASCII"),
    ],
)
def test_the_first_broken_rule_is_the_reason(text: str, reason: str) -> None:
    """Rules are tested in their order and the first broken one is named."""
    with pytest.raises(InvalidNamespaceError, match=reason) as caught:
        Namespace.parse(text)

    assert caught.value.reason == reason
    assert isinstance(caught.value, InvalidInputError)


def test_the_anonymous_actor_is_anonymous_local() -> None:
    """The actor of a call that names nobody has a fixed text."""
    assert str(ActorRef.anonymous()) == "anonymous:local"


@pytest.mark.parametrize(("kind", "id_"), [("", "x"), ("os", "")])
def test_an_actor_needs_kind_and_id(kind: str, id_: str) -> None:
    """Neither part of an actor may be empty."""
    with pytest.raises(InvalidInputError, match="kind and an id"):
        ActorRef(kind, id_)


def test_an_actor_is_parsed_at_its_first_colon() -> None:
    """An id may hold colons."""
    assert ActorRef.parse("did:key:z6Mk") == ActorRef("did", "key:z6Mk")


def test_a_token_cannot_be_made_by_pack_code() -> None:
    """Only the pipeline mints tokens."""
    with pytest.raises(TypeError, match="minted by the pipeline"):
        NamespaceToken(Namespace.local(), ActorRef.anonymous(), _seal=object())


def test_a_token_carries_namespace_and_actor() -> None:
    """A token says what the gate allowed."""
    token = token_for("tenant-x")

    assert (str(token.namespace), token.actor) == ("tenant-x", ActorRef.anonymous())
    assert repr(token) == "NamespaceToken(tenant-x, anonymous:local)"
