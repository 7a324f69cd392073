"""
The filter words of the audit commands: ``tool=fs.* ms>500 not:caller=ci-bot``.

A comma and a repeated field mean OR inside the field; different fields mean AND. The
words become `toolrt_store.Term` values; what they match is the store's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

from toolrt.errors import ToolrtError
from toolrt_cli.times import parse_duration

if TYPE_CHECKING:  # the store is loaded by the commands that read it, not before
    from toolrt_store import Term

Operator = Literal["=", "<", "<=", ">", ">="]

#: The one field that has an order: how long a call took, in milliseconds.
DURATION_FIELD: Final = "ms"
_NEGATION: Final = "not:"
#: Signs of the words and the operators of their terms. Longest first, so that "<=" is
#: not read as "<" and "=…".
_OPERATORS: Final[Mapping[str, Operator]] = {
    "!=": "=",
    "<=": "<=",
    ">=": ">=",
    "=": "=",
    "<": "<",
    ">": ">",
}


class FilterError(ToolrtError):
    """A word that is no filter; `suggestions` are names near an unknown field."""

    code = "usage"
    next_step = "toolrt help filters"

    def __init__(
        self, word: str, problem: str, *, suggestions: Sequence[str] = ()
    ) -> None:
        self.word = word
        self.problem = problem
        self.suggestions = tuple(suggestions)
        super().__init__(f"filter {word!r}: {problem}")


def parse_filters(words: Sequence[str], *, known: Collection[str]) -> tuple[Term, ...]:
    """
    Return the terms that *words* ask for, one for each field and sense, all to hold.

    Args:
        known: Names of the fields. ``ms`` is compared as a number of milliseconds
            and may be written as a duration.

    Raises:
        FilterError: A word has no such form, or its field is not in *known*.
    """
    from toolrt_store import Term

    merged: dict[tuple[str, Operator, bool], tuple[str, ...]] = {}
    comparisons = []
    for word in words:
        field, operator, values, negated = _read(word, known)
        if operator == "=":
            key = (field, operator, negated)
            merged[key] = (*merged.get(key, ()), *values)
        else:
            # Two bounds of one field are a range: they are not alternatives.
            comparisons.append(Term(field, operator, values, negated))
    alternatives = [
        Term(field, operator, tuple(dict.fromkeys(values)), negated)
        for (field, operator, negated), values in merged.items()
    ]
    return (*alternatives, *comparisons)


def _read(
    word: str, known: Collection[str]
) -> tuple[str, Operator, tuple[str, ...], bool]:
    body = word.removeprefix(_NEGATION)
    field, sign, text = _split(body)
    if not field or not sign:
        raise FilterError(word, "must be FIELD=VALUE, FIELD!=VALUE or ms>500")
    if field not in known:
        raise _unknown(word, field, known)
    values = tuple(text.split(","))
    if not all(values):
        raise FilterError(word, "has an empty value")
    operator = _OPERATORS[sign]
    if field == DURATION_FIELD:
        values = tuple(_milliseconds(word, value) for value in values)
    elif operator != "=":
        raise FilterError(word, f"{sign} compares {DURATION_FIELD} only")
    if operator != "=" and len(values) > 1:
        raise FilterError(word, f"{sign} takes one value")
    # not:tool!=x is tool=x.
    return field, operator, values, (body != word) != (sign == "!=")


def _split(body: str) -> tuple[str, str, str]:
    """Split at the first sign; an empty one if there is none."""
    for at in range(len(body)):
        for sign in _OPERATORS:
            if body.startswith(sign, at):
                return body[:at], sign, body[at + len(sign) :]
    return body, "", ""


def _milliseconds(word: str, text: str) -> str:
    is_bare = text.isascii() and text.isdigit()
    try:
        return str(round(parse_duration(f"{text}ms" if is_bare else text) * 1000))
    except ValueError as exc:
        raise FilterError(word, str(exc)) from exc


def _unknown(word: str, field: str, known: Collection[str]) -> FilterError:
    from difflib import get_close_matches

    near = get_close_matches(field, sorted(known))
    guess = f", did you mean {' or '.join(near)}?" if near else ";"
    problem = f"unknown field {field!r}{guess} fields: {', '.join(sorted(known))}"
    return FilterError(word, problem, suggestions=near)
