"""Settings and values that the property tests share."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: The same examples in every run: a failure is one of the code, not of the day.
REPEATABLE: Final = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: Stands in values only, never in a name: where it is found, a value was let out.
CANARY: Final = "c4n4ry-value"

#: Any text that Python can hold, lone surrogates and NUL among it.
any_text = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Ll"]), max_size=8),
    st.sampled_from(["", "\0", "\ud800", "\udcff", "a:b", "..", "é", "\u202e", "🦀"]),
)
valid_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
storable_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1,
    max_size=12,
)
canary_text = st.one_of(
    st.just(CANARY),
    valid_text.map(lambda text: text + CANARY),
    any_text.map(lambda text: CANARY + text),
)
json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    valid_text,
    valid_text.map(lambda text: CANARY + text),
)


def nested(
    leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Return lists and objects of *leaves*, some levels deep."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    )


json_values = nested(json_scalars, valid_text)


class _Talkative:
    """Tells the canary to everyone who shows it."""

    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


class _Raising:
    """Fails whatever is asked of it, and tells the canary."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError(CANARY)

    __eq__ = __hash__ = __repr__ = __str__ = __iter__ = __len__ = __bool__ = _fail


class _Odd(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, held: dict[str, Any]) -> None:
        self._held = held

    def __getitem__(self, key: str) -> Any:
        return self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class _Fickle(_Odd):
    """A mapping that fails in the middle."""

    def __iter__(self) -> Iterator[str]:
        yield from self._held
        raise RuntimeError(CANARY)


def _circle() -> list[Any]:
    circle: list[Any] = [CANARY]
    circle.append(circle)
    return circle


def _deep() -> Any:
    deep: Any = CANARY
    for _ in range(20_000):
        deep = [deep]
    return deep


_MADE: Final[tuple[Callable[[], Any], ...]] = (
    _Talkative,
    _Raising,
    _circle,
    _deep,
    object,
    lambda: _Odd({"text": CANARY}),
    lambda: _Fickle({"text": CANARY}),
    lambda: (item for item in [CANARY]),
    lambda: Exception(CANARY),
)
python_scalars = st.one_of(
    canary_text,
    any_text,
    st.integers(),
    st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**400]),
    st.floats(),
    st.complex_numbers(),
    st.binary(max_size=8).map(lambda data: data + CANARY.encode()),
    st.decimals(),
    st.sampled_from([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), decimal.Decimal(1)]),
    st.frozensets(canary_text, max_size=2),
    st.tuples(canary_text, st.integers()),
    st.sampled_from([int, print, ...]),
    st.sampled_from(_MADE).map(lambda make: make()),
)
_python_keys = st.one_of(
    any_text, st.integers(), st.none(), st.tuples(st.integers()), st.floats()
)
python_values = st.one_of(
    python_scalars,
    nested(python_scalars, _python_keys),
    st.dictionaries(valid_text, python_scalars, max_size=4).map(_Odd),
)
