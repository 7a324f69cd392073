"""
JSON text for what no column holds, exact for tuples.

msgspec makes tuples of the arrays of a record, other people make lists; an event reads
back equal only if the two stay apart. A tuple is written ``{"()": [...]}``, and a mapping
with such a key ``{"{}": [[key, value], ...]}``. Pure functions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_TUPLE: Final = "()"
_MAPPING: Final = "{}"
_MARKS: Final = frozenset({_TUPLE, _MAPPING})


def encode(value: Any) -> str:
    """
    Return the JSON text of *value*.

    Raises:
        ValueError: *value* is not plain JSON data.
    """
    try:
        text = msgspec.json.encode(_marked(value)).decode()
    except (TypeError, RecursionError) as error:
        raise ValueError("an event holds what is no plain JSON") from error
    # Also catches what JSON would change without a word, such as NaN.
    if decode(text) != value:
        raise ValueError("an event holds what JSON does not keep")
    return text


def decode(text: str) -> Any:
    """Return what `encode` was given."""
    return _unmarked(msgspec.json.decode(text))


def _marked(value: Any) -> Any:
    if isinstance(value, tuple):
        return {_TUPLE: [_marked(one) for one in value]}
    if isinstance(value, list):
        return [_marked(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _MARKS.isdisjoint(value):
        return {key: _marked(one) for key, one in value.items()}
    return {_MAPPING: [[key, _marked(one)] for key, one in value.items()]}


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _TUPLE in value:
        return tuple(_unmarked(one) for one in value[_TUPLE])
    if _MAPPING in value:
        return {key: _unmarked(one) for key, one in value[_MAPPING]}
    return {key: _unmarked(one) for key, one in value.items()}
