"""Whole processes: toolrt as users have it against ``python -c pass``, time and memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from figures import Asked, Figure
from processes import environment, installed, peak_mib, run
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn

Note = Callable[[Figure], None]

ROUNDS = 25
CHEAPEST = "python -c pass"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an installed toolrt are."""
    return installed(tmp_path_factory.mktemp("wheel"))


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
    programs: Path,
    *,
    words: str,
    asked: float | None,
) -> None:
    """The command with its store on disk, both commits of a run durable."""
    env = environment(tmp_path)
    toolrt, cheapest = _toolrt(programs), _cheapest(programs)
    run([*toolrt, "run", "echo.say"], env, tmp_path)  # makes the store

    def side(command: list[str]) -> Side:
        return Side(lambda: run(command, env, tmp_path))

    ours = side([*toolrt, *words.split()])
    pairs = in_turn(benchmark, ours, side(cheapest), rounds=ROUNDS)
    bound = None if asked is None else Asked(asked, "ratio")
    name = f"toolrt {words}"
    note(Figure.timed("start-up", name, "ms", pairs, cheapest=CHEAPEST, asked=bound))


def bench_first_tab(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path, programs: Path
) -> None:
    """TAB when nothing is remembered, as after a change of the config."""
    env = environment(tmp_path)

    def side(command: list[str]) -> Side:
        return Side(lambda: run(command, env, tmp_path), forget)

    def forget() -> tuple[()]:
        shutil.rmtree(tmp_path / ".cache", ignore_errors=True)
        return ()

    ours = side([*_toolrt(programs), "__complete", "tools"])
    pairs = in_turn(benchmark, ours, side(_cheapest(programs)), rounds=ROUNDS)
    name = "toolrt __complete tools, nothing remembered"
    note(Figure.timed("start-up", name, "ms", pairs, cheapest=CHEAPEST))


def bench_memory(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path, programs: Path
) -> None:
    """The most memory that one run has at any time."""
    env = environment(tmp_path)
    command = [*_toolrt(programs), "run", "echo.say"]
    run(command, env, tmp_path)
    sides = (command, _cheapest(programs))
    pairs = []

    def work() -> None:
        ours, limit = (peak_mib(one, env, tmp_path) for one in sides)
        pairs.append((ours, limit))

    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(work, rounds=5)
    name = "peak memory of toolrt run"
    note(Figure.of("start-up", name, "MiB", pairs, cheapest=CHEAPEST, asked=Asked(40)))


def _toolrt(programs: Path) -> list[str]:
    return [str(programs / "toolrt")]


def _cheapest(programs: Path) -> list[str]:
    """Return the least that a Python program can do."""
    return [str(programs / "python"), "-c", "pass"]
