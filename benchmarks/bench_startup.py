"""Whole processes: toolrt against ``python -c pass``, time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from figures import Asked, Figure
from processes import PASS, TOOLRT, environment, peak_mib, run
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn

Note = Callable[[Figure], None]

ROUNDS = 25
CHEAPEST = "python -c pass"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        pytest.param("run echo.say", 8.0, id="run"),
        pytest.param("--version", 1.5, id="version"),
        pytest.param("__complete tools", 3.0, id="tab"),
        pytest.param("pack list", None, id="pack list"),
        pytest.param("audit query", None, id="audit query"),
    ],
)
def bench_startup(
    benchmark: BenchmarkFixture,
    note: Note,
    tmp_path: Path,
    words: str,
    asked: float | None,
) -> None:
    """The command with its store on disk, both commits of a run durable."""
    env = environment(tmp_path)
    run([TOOLRT, "run", "echo.say"], env, tmp_path)  # makes the store and the bytecode

    def side(command: list[str]) -> Side:
        return Side(lambda: run(command, env, tmp_path))

    ours = side([TOOLRT, *words.split()])
    pairs = in_turn(benchmark, ours, side(PASS), rounds=ROUNDS)
    bound = None if asked is None else Asked(asked, "ratio")
    name = f"toolrt {words}"
    note(Figure.timed("start-up", name, "ms", pairs, cheapest=CHEAPEST, asked=bound))


def bench_memory(benchmark: BenchmarkFixture, note: Note, tmp_path: Path) -> None:
    """The most memory that one run has at any time."""
    env = environment(tmp_path)
    command = [TOOLRT, "run", "echo.say"]
    run(command, env, tmp_path)
    pairs = []

    def work() -> None:
        ours, limit = (peak_mib(one, env, tmp_path) for one in (command, PASS))
        pairs.append((ours, limit))

    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(work, rounds=5)
    name = "peak memory of toolrt run"
    note(Figure.of("start-up", name, "MiB", pairs, cheapest=CHEAPEST, asked=Asked(40)))
