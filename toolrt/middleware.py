"""
Middleware: the last look at what a call returns, or at what its error says.

Each one in order gets what the one before it gave. It fails closed: where one raises,
the caller gets a `MiddlewareError` and nothing of what was to be changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from toolrt.errors import ToolrtError
from toolrt.pack import HandlerDef

HOME_PLACEHOLDER: Final = "<redacted:home>"


class MiddlewareError(ToolrtError):
    """A middleware failed on the result or the error of a call, which is withheld."""

    code = "middleware"

    def __init__(self, middleware: str, tool_id: str) -> None:
        self.middleware = middleware
        self.tool_id = tool_id
        super().__init__(f"middleware {middleware} failed on {tool_id}")


class MiddlewareCall(msgspec.Struct, frozen=True):
    """The call that a middleware looks at."""

    tool_id: str
    caller: str | None
    call_id: str
    definition: HandlerDef


class ErrorView(msgspec.Struct, frozen=True):
    """What the caller is to see of an error."""

    message: str
    details: Any = None


class Middleware(Protocol):
    """Changes what goes out. Subclass it to write only one of the two methods."""

    def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
        """Return what *call* is to return instead of *value*; must not change it."""
        return value

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        """Return what the caller is to see instead of *error*."""
        return error


def run_results(
    middlewares: Sequence[Middleware], call: MiddlewareCall, value: Any
) -> Any:
    """
    Return *value* as all *middlewares* leave it.

    Raises:
        MiddlewareError: One of them raised; ``__cause__`` is what.
    """
    for middleware in middlewares:
        try:
            value = middleware.on_result(call, value)
        except Exception as exc:  # plugin boundary: its text may hold the value
            raise MiddlewareError(type(middleware).__name__, call.tool_id) from exc
    return value


def run_errors(
    middlewares: Sequence[Middleware], call: MiddlewareCall, view: ErrorView
) -> ErrorView:
    """
    Return *view* as all *middlewares* leave it.

    Raises:
        MiddlewareError: One of them raised, or returned something else; ``__cause__``
            is what.
    """
    for middleware in middlewares:
        try:
            view = _require_view(middleware.on_error(call, view))
        except Exception as exc:  # plugin boundary: its text may hold the value
            raise MiddlewareError(type(middleware).__name__, call.tool_id) from exc
    return view


def _require_view(view: object) -> ErrorView:
    if not isinstance(view, ErrorView):
        raise TypeError(f"on_error returned {type(view).__name__}, no ErrorView")
    return view


class RedactPaths:
    """
    Replaces in every string of a result or an error, but not in keys of objects.

    Lists, tuples and dicts are built anew only where something changed. Other values
    (records, sets) become what they are in JSON, if something in them changes.

    Args:
        patterns: Regular expressions and what each match of them becomes, as for
            `re.sub`, applied in order. None: the home directory as it is written in
            ``HOME``, if it is.

    Raises:
        ValueError: A pattern, or what it is to become, does not compile.
    """

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Sequence[tuple[str, str]] | None = None) -> None:
        self._patterns = tuple(
            (_compiled(pattern, replacement), replacement)
            for pattern, replacement in (_home() if patterns is None else patterns)
        )

    def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
        """Return *value* with every match replaced."""
        return self._redacted(value)

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        """Return *error* with every match in message and details replaced."""
        message, details = self._text(error.message), self._redacted(error.details)
        if message is error.message and details is error.details:
            return error
        return ErrorView(message, details)

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, int | float | bytes):
            return value
        if isinstance(value, dict):
            items = [self._redacted(item) for item in value.values()]
            if _is_same(items, value.values()):
                return value
            return dict(zip(value, items, strict=True))
        if isinstance(value, list | tuple):
            items = [self._redacted(item) for item in value]
            if _is_same(items, value):
                return value
            return items if isinstance(value, list) else tuple(items)
        plain = msgspec.to_builtins(value)
        redacted = self._redacted(plain)
        return value if redacted is plain else redacted

    def _text(self, text: str) -> str:
        for pattern, replacement in self._patterns:
            replaced, count = pattern.subn(replacement, text)
            text = replaced if count else text
        return text


def _home() -> list[tuple[str, str]]:
    # Of a home that is the root directory, every slash would be a match.
    home = os.environ.get("HOME", "").rstrip("/")
    return [(re.escape(home), HOME_PLACEHOLDER)] if home else []


def _compiled(pattern: str, replacement: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
        compiled.sub(replacement, "")  # reads the template, match or not
    except (re.error, IndexError) as exc:
        raise ValueError(f"pattern {pattern!r} to {replacement!r}: {exc}") from exc
    return compiled


def _is_same(items: Sequence[Any], others: Any) -> bool:
    return all(map(_is, items, others))


def _is(one: object, other: object) -> bool:
    return one is other
