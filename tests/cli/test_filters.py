"""The filter words of the audit commands, and what they become."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.filters import FilterError, parse_filters
from toolrt_store import Term

KNOWN = ("tool", "caller", "outcome", "namespace", "ms")


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        pytest.param([], (), id="none"),
        pytest.param(["tool=fs.*"], (Term("tool", "=", ("fs.*",)),), id="one field"),
        pytest.param(
            ["tool=a", "caller=ci"],
            (Term("tool", "=", ("a",)), Term("caller", "=", ("ci",))),
            id="two fields",
        ),
        pytest.param(["tool=a,b"], (Term("tool", "=", ("a", "b")),), id="comma"),
        pytest.param(
            ["tool=a", "caller=ci", "tool=b,a"],
            (Term("tool", "=", ("a", "b")), Term("caller", "=", ("ci",))),
            id="repeated field",
        ),
        pytest.param(
            ["tool!=a"], (Term("tool", "=", ("a",), negated=True),), id="not equal"
        ),
        pytest.param(
            ["not:tool=a"], (Term("tool", "=", ("a",), negated=True),), id="not:"
        ),
        pytest.param(["not:tool!=a"], (Term("tool", "=", ("a",)),), id="not not"),
        pytest.param(
            ["tool!=a", "tool=b", "not:tool=c"],
            (
                Term("tool", "=", ("a", "c"), negated=True),
                Term("tool", "=", ("b",)),
            ),
            id="both senses of a field",
        ),
        pytest.param(["ms>500"], (Term("ms", ">", ("500",)),), id="more than"),
        pytest.param(["ms<=2s"], (Term("ms", "<=", ("2000",)),), id="duration"),
        pytest.param(["ms>=1m30s"], (Term("ms", ">=", ("90000",)),), id="compound"),
        pytest.param(["ms=0250"], (Term("ms", "=", ("250",)),), id="leading zero"),
        pytest.param(
            ["not:ms<5"], (Term("ms", "<", ("5",), negated=True),), id="not less"
        ),
        pytest.param(
            ["ms>1", "ms<=5"],
            (Term("ms", ">", ("1",)), Term("ms", "<=", ("5",))),
            id="two bounds",
        ),
        pytest.param(
            ["caller=a=b>c"], (Term("caller", "=", ("a=b>c",)),), id="signs in a value"
        ),
        pytest.param(
            ["caller=not:x"], (Term("caller", "=", ("not:x",)),), id="not: in a value"
        ),
    ],
)
def test_terms(words: list[str], terms: tuple[Term, ...]) -> None:
    """Alternatives of a field are one term; bounds and other fields are their own."""
    assert parse_filters(words, known=KNOWN) == terms


@pytest.mark.parametrize(
    ("word", "match"),
    [
        pytest.param("fs.read", "must be FIELD=VALUE", id="no operator"),
        pytest.param("=x", "must be FIELD=VALUE", id="no field"),
        pytest.param("not:", "must be FIELD=VALUE", id="not: alone"),
        pytest.param("tool=", "has an empty value", id="no value"),
        pytest.param("tool=a,,b", "has an empty value", id="gap in a list"),
        pytest.param("tool>5", "> compares ms only", id="order of a name"),
        pytest.param("ms>1,2", "> takes one value", id="bound of two values"),
        pytest.param("ms>fast", "is no duration", id="no number"),
        pytest.param("ms>-5", "is no duration", id="negative"),
        pytest.param("ms>5M", "m is minutes and mo is months", id="ambiguous unit"),
        pytest.param("ms>" + "9" * 5000, "longer than 1000 years", id="huge"),
    ],
)
def test_refused_words(word: str, match: str) -> None:
    """A word of another form is refused, with the word and the reason."""
    with pytest.raises(FilterError, match=match) as caught:
        parse_filters(["tool=ok", word], known=KNOWN)
    assert (caught.value.word, caught.value.code) == (word, "usage")


def test_unknown_field_is_named_with_its_neighbours() -> None:
    """A mistyped field gets the names near to it and the whole list."""
    with pytest.raises(FilterError) as caught:
        parse_filters(["not:tol=x"], known=KNOWN)

    assert caught.value.suggestions == ("tool",)
    assert "unknown field 'tol', did you mean tool?" in str(caught.value)
    assert "fields: caller, ms, namespace, outcome, tool" in str(caught.value)


def test_strange_field_has_no_neighbours() -> None:
    """A field like none of them gets the list alone."""
    with pytest.raises(FilterError, match="unknown field 'zzz'; fields: caller, ms"):
        parse_filters(["zzz=x"], known=KNOWN)


@given(st.lists(st.text("tolms=!<>:, 5no", max_size=10), max_size=4))
@settings(max_examples=150)
def test_any_words_are_terms_or_a_filter_error(words: list[str]) -> None:
    """No words make the parser fail in another way, and no term is empty."""
    try:
        terms = parse_filters(words, known=KNOWN)
    except FilterError:
        return
    assert all(term.values and all(term.values) for term in terms)
    assert {term.field for term in terms} <= set(KNOWN)
