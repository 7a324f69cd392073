"""Middleware changes what goes out, and fails closed."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt.errors import ToolrtError
from toolrt.middleware import (
    ErrorView,
    Middleware,
    MiddlewareCall,
    MiddlewareError,
    RedactPaths,
    run_errors,
    run_results,
)
from toolrt.pack import HandlerDef

CALL = MiddlewareCall("p:v", "alice", "01J", HandlerDef(name="v"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Append(Middleware):
    """Appends a letter to what it gets."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
        """Append to a result."""
        return value + self.letter

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        """Append to an error's message."""
        return ErrorView(error.message + self.letter, error.details)


class Silent(Middleware):
    """Overrides nothing."""


class Broken:
    """Raises what it was given."""

    def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
        """Raise with the value in the text."""
        raise RuntimeError(value)

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        """Raise with the message in the text."""
        raise RuntimeError(error.message)


class WrongType(Silent):
    """Returns an error's text where its view is asked for."""

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        """Return no view."""
        return error.message  # type: ignore[return-value]


class TestRun:
    """Middlewares run in order, and what one cannot do is not done."""

    def test_each_gets_what_the_one_before_gave(self) -> None:
        """For results and for errors."""
        chain = [Append("a"), Silent(), Append("b")]

        assert run_results(chain, CALL, "x") == "xab"
        assert run_errors(chain, CALL, ErrorView("x", 1)) == ErrorView("xab", 1)

    def test_none_change_nothing(self) -> None:
        """The very objects come back."""
        value, view = object(), ErrorView("m")

        assert run_results([], CALL, value) is value
        assert run_errors([Silent()], CALL, view) is view

    def test_one_that_raises_fails_closed(self) -> None:
        """The error names the middleware and holds nothing of the text."""
        with pytest.raises(MiddlewareError, match=r"^middleware Broken failed") as one:
            run_results([Broken(), Silent()], CALL, "private")
        with pytest.raises(MiddlewareError, match=r"Broken failed on p:v$") as two:
            run_errors([Broken()], CALL, ErrorView("private"))

        for caught in (one, two):
            assert isinstance(caught.value, ToolrtError)
            assert isinstance(caught.value.__cause__, RuntimeError)
            assert "private" not in str(caught.value)
            assert caught.value.code == "middleware"
            assert caught.value.middleware == "Broken"
            assert caught.value.tool_id == "p:v"

    def test_a_view_of_the_wrong_type_fails_closed(self) -> None:
        """What is no ErrorView is not passed on, and not shown."""
        with pytest.raises(MiddlewareError, match="WrongType") as caught:
            run_errors([WrongType()], CALL, ErrorView("private"))

        assert "private" not in str(caught.value.__cause__)

    def test_a_middleware_without_one_of_the_methods_fails_closed(self) -> None:
        """It is not taken for one that has nothing to change."""
        with pytest.raises(MiddlewareError):
            run_results([object()], CALL, "x")  # type: ignore[list-item]

    def test_interrupts_pass(self) -> None:
        """Ctrl-C is no fault of a middleware."""

        class Interrupted(Silent):
            def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_results([Interrupted()], CALL, "x")


class Place(msgspec.Struct):
    """A record with a path in it."""

    path: str
    size: int = 0


class Pair(NamedTuple):
    """A tuple with names."""

    path: str
    size: int


class Colour(enum.Enum):
    """An enumeration by text."""

    RED = "secret-red"


class TestRedactPaths:
    """Every string leaf is looked at, and nothing without a match is touched."""

    @pytest.fixture
    def redact(self) -> RedactPaths:
        """Redact one word, then a second that the first may yield."""
        return RedactPaths([("secret", "<x>"), (r"<(x)>-(\d+)", r"<\2\1>")])

    @pytest.mark.parametrize(
        ("value", "redacted"),
        [
            pytest.param("a secret, a secret", "a <x>, a <x>", id="every match"),
            pytest.param("secret-12", "<12x>", id="patterns in order"),
            pytest.param(
                {"secret": {"k": ["secret", 1, None]}},
                {"secret": {"k": ["<x>", 1, None]}},
                id="leaves and not keys",
            ),
            pytest.param(("secret", [1]), ("<x>", [1]), id="tuple"),
            pytest.param(Pair("secret", 1), ("<x>", 1), id="named tuple"),
            pytest.param(
                [Place("secret", 2)], [{"path": "<x>", "size": 2}], id="Struct"
            ),
            pytest.param({"k": {"secret"}}, {"k": ["<x>"]}, id="set"),
            pytest.param(Colour.RED, "<x>-red", id="enumeration"),
        ],
    )
    def test_strings_are_redacted(
        self, redact: RedactPaths, value: Any, redacted: Any
    ) -> None:
        """Wherever they are in the value."""
        assert run_results([redact], CALL, value) == redacted

    @settings(max_examples=30)
    @given(JSON)
    def test_without_a_match_the_very_object_comes_back(self, value: Any) -> None:
        """Nothing is built anew."""
        redact = RedactPaths([("no such text anywhere", "")])

        assert redact.on_result(CALL, value) is value

    @settings(max_examples=30)
    @given(JSON)
    def test_no_match_is_left(self, value: Any) -> None:
        """Of a character that is in many strings, none is left but in keys."""
        redacted = RedactPaths([("[0a ]", "")]).on_result(CALL, value)

        assert not any(set("0a ") & set(leaf) for leaf in _leaves(redacted))
        assert _shape(redacted) == _shape(value)

    def test_the_value_itself_is_not_changed(self, redact: RedactPaths) -> None:
        """Containers with a match are new, their neighbours the same."""
        kept = ["plain"]
        value = {"a": ["secret"], "b": kept}

        redacted = redact.on_result(CALL, value)

        assert value == {"a": ["secret"], "b": ["plain"]}
        assert redacted["b"] is kept

    @pytest.mark.parametrize(
        "value", [Place("plain"), {"plain"}, b"secret", 1.5, True, Colour]
    )
    def test_other_values_without_a_match_stay(
        self, redact: RedactPaths, value: Any
    ) -> None:
        """Records, sets and bytes are what they were; what is no JSON is refused."""
        if value is Colour:
            with pytest.raises(MiddlewareError):
                run_results([redact], CALL, value)
        else:
            assert run_results([redact], CALL, value) is value

    def test_a_value_without_end_fails_closed(self, redact: RedactPaths) -> None:
        """A list in itself cannot be looked through."""
        value: list[Any] = []
        value.append(value)

        with pytest.raises(MiddlewareError):
            run_results([redact], CALL, value)

    def test_errors_are_redacted(self, redact: RedactPaths) -> None:
        """Message and details; without a match the view is the same."""
        view = ErrorView("plain", {"k": 1})

        assert redact.on_error(
            CALL, ErrorView("a secret", {"p": ["secret"]})
        ) == ErrorView("a <x>", {"p": ["<x>"]})
        assert redact.on_error(CALL, ErrorView("m", "secret")).details == "<x>"
        assert redact.on_error(CALL, view) is view

    @pytest.mark.parametrize(
        ("pattern", "replacement"),
        [("(", ""), ("a", r"\1"), ("a", r"\g<name>"), ("a", "\\")],
    )
    def test_a_bad_pattern_is_named(self, pattern: str, replacement: str) -> None:
        """At construction and not at the first match."""
        with pytest.raises(ValueError, match=r"^pattern ") as caught:
            RedactPaths([("fine", ""), (pattern, replacement)])

        assert repr(pattern) in str(caught.value)


class TestRedactHome:
    """Without patterns the home directory is redacted."""

    @pytest.mark.parametrize("home", ["/home/a.b", "/home/a.b/"])
    def test_the_home_directory_is_taken_literally(
        self, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        """A dot in it is a dot."""
        monkeypatch.setenv("HOME", home)

        redacted = RedactPaths().on_result(CALL, ["/home/a.b/x", "/home/aXb/x"])

        assert redacted == ["<redacted:home>/x", "/home/aXb/x"]

    @pytest.mark.parametrize("home", [None, "", "/"])
    def test_without_a_home_nothing_is_redacted(
        self, monkeypatch: pytest.MonkeyPatch, home: str | None
    ) -> None:
        """The root directory is no home: every path would match."""
        monkeypatch.delenv("HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("HOME", home)
        value = ["/home/a/x"]

        assert RedactPaths().on_result(CALL, value) is value

    def test_no_patterns_are_not_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An empty list redacts nothing."""
        monkeypatch.setenv("HOME", "/home/a")

        assert RedactPaths([]).on_result(CALL, "/home/a") == "/home/a"


def _leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        return [leaf for item in inner for leaf in _leaves(item)]
    return []


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return type(value)
