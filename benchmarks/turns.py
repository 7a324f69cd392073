"""Two sides of one figure, taken in turn within one run, so that drift hits both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from figures import Pair
from pytest_benchmark.fixture import BenchmarkFixture


def _nothing() -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class Side:
    """
    Work that is timed, and what is done before each round of it, untimed.

    What ``prepare`` returns are the arguments of ``work``.
    """

    work: Callable[..., object]
    prepare: Callable[[], tuple[Any, ...]] = _nothing


def seconds(work: Callable[..., object], *args: Any) -> float:
    """Return how long *work* took."""
    began = time.perf_counter()
    work(*args)
    return time.perf_counter() - began


def in_turn(
    benchmark: BenchmarkFixture, ours: Side, limit: Side, *, rounds: int, units: int = 1
) -> list[Pair]:
    """
    Return the times of one unit of both sides, a pair for each round.

    In each round ours comes first: the limit may do again what ours has just done.

    Args:
        units: How many units of work one round of either side does.
    """
    pairs: list[Pair] = []
    taken = 0.0

    def before() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ours.prepare(), {}

    def work(*args: Any) -> None:
        nonlocal taken
        taken = seconds(ours.work, *args)

    def after(*_args: Any) -> None:
        other = seconds(limit.work, *limit.prepare())
        pairs.append((taken / units, other / units))

    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(work, setup=before, teardown=after, rounds=rounds, warmup_rounds=1)
    if benchmark.disabled:  # one round, without a teardown
        after()
    return pairs[1:] or pairs


def alternately(sides: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Return what each side measured in each round; the first round is for warming up."""
    taken = [[side() for side in sides] for _ in range(rounds + 1)]
    return [list(times) for times in zip(*taken[1:], strict=True)]
