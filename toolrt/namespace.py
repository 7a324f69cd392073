"""Namespaces, actors and the token that binds the two for pack code."""

from __future__ import annotations

import string
from typing import Final

import msgspec

from toolrt.errors import InvalidInputError, InvalidNamespaceError

MAX_NAMESPACE_BYTES: Final = 256
DEFAULT_NAMESPACE: Final = "local"
_SEGMENT_CHARS: Final = frozenset(string.ascii_letters + string.digits + "_.-")


class Namespace(msgspec.Struct, frozen=True):
    """
    A validated namespace: segments of ``[A-Za-z0-9_.-]`` joined by ``:``.

    Made by `parse`; ``str()`` gives the text back.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Namespace:
        """
        Return the namespace that *text* names.

        Raises:
            InvalidNamespaceError: With ``reason`` ``empty``, ``too_long`` (over 256
                bytes), ``trailing_separator``, ``empty_segment`` or
                ``invalid_character``, tested in that order.
        """
        reason = _first_broken_rule(text)
        if reason is not None:
            raise InvalidNamespaceError(text, reason)
        return cls(text)

    @classmethod
    def local(cls) -> Namespace:
        """Return the default namespace, ``local``."""
        return cls(DEFAULT_NAMESPACE)

    def __str__(self) -> str:
        return self.text


def _first_broken_rule(text: str) -> str | None:
    if not text:
        return "empty"
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAMESPACE_BYTES:
        return "too_long"
    if text.endswith(":"):
        return "trailing_separator"
    for segment in text.split(":"):
        if not segment:
            return "empty_segment"
        if not _SEGMENT_CHARS.issuperset(segment):
            return "invalid_character"
    return None


class ActorRef(msgspec.Struct, frozen=True):
    """The authenticated principal behind a call; ``str()`` gives ``kind:id``."""

    kind: str
    id: str

    def __post_init__(self) -> None:
        if not self.kind or not self.id:
            msg = "an actor needs a kind and an id, neither empty"
            raise InvalidInputError(msg)

    @classmethod
    def anonymous(cls) -> ActorRef:
        """Return ``anonymous:local``, the actor of a call that names nobody."""
        return cls("anonymous", "local")

    @classmethod
    def parse(cls, text: str) -> ActorRef:
        """
        Return the actor that *text* (``kind:id``) names.

        Raises:
            InvalidInputError: The kind or the id is missing.
        """
        kind, _, id_ = text.partition(":")
        return cls(kind, id_)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class NamespaceToken:
    """
    Proof that the gate allowed a call in one namespace for one actor.

    Minted by the pipeline after the gate allowed and handed to pack code, which uses it
    instead of reading the arguments again. Immutable.
    """

    __slots__ = ("_actor", "_namespace")

    def __init__(self, namespace: Namespace, actor: ActorRef, *, _seal: object) -> None:
        if _seal is not _MINT:
            msg = "a NamespaceToken is minted by the pipeline; tests use token_for()"
            raise TypeError(msg)
        self._namespace = namespace
        self._actor = actor

    @property
    def namespace(self) -> Namespace:
        """The namespace that the gate allowed."""
        return self._namespace

    @property
    def actor(self) -> ActorRef:
        """The actor that the gate allowed."""
        return self._actor

    def __repr__(self) -> str:
        return f"NamespaceToken({self._namespace}, {self._actor})"


_MINT: Final = object()


def mint_token(namespace: Namespace, actor: ActorRef) -> NamespaceToken:
    """Mint a token. For the pipeline, after the gate allowed, and for tests."""
    return NamespaceToken(namespace, actor, _seal=_MINT)
