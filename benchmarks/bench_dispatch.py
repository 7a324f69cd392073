"""One call through the whole pipeline, in process, beside the cheapest equivalent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from figures import Asked, Figure
from pipeline import cheapest, registry
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn

from toolrt import Block, JsonLinesAuditSink, ToolCall

# Short rounds, for on a busy machine a long one is always interrupted.
CALLS = 200
ROUNDS = 400
SUSTAINED = 20_000
CHEAPEST = "look up, compare sets, check arguments, call"

Note = Callable[[Figure], None]


def repeat(call: Callable[[], Any]) -> Callable[[], None]:
    """Return what makes *call* so often as one round does."""

    def many() -> None:
        for _ in range(CALLS):
            call()

    return many


class Case(NamedTuple):
    """One way of setting up the pipeline."""

    name: str
    has_sink: bool
    max_concurrent: int = 0
    asked: Asked | None = None


CASES = (
    Case("full pipeline, event queued", has_sink=True, asked=Asked(2.0)),
    Case("the same, with max_concurrent", has_sink=True, max_concurrent=8),
    Case("the same, without a sink", has_sink=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def bench_dispatch(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path, case: Case
) -> None:
    """Gate, capabilities, limits, schema, handler, CallEvent; the drain is at work."""
    # Deep enough for a round: what a full queue costs is a figure of the sinks.
    path = str(tmp_path / "calls.jsonl")
    sink = JsonLinesAuditSink.file(path, capacity=16_384, backpressure=Block())
    made = registry(sink if case.has_sink else None, max_concurrent=case.max_concurrent)

    def prepare() -> tuple[()]:
        sink.flush()
        return ()

    ours = Side(
        repeat(lambda: made.dispatch("double", {"number": 2}, caller="alice")), prepare
    )
    pairs = in_turn(
        benchmark, ours, Side(repeat(cheapest())), rounds=ROUNDS, units=CALLS
    )
    sink.close()

    assert sink.drops() == 0
    note(
        Figure.timed(
            "dispatch",
            case.name,
            "us",
            pairs,
            cheapest=CHEAPEST,
            asked=case.asked,
        )
    )


def bench_run(benchmark: BenchmarkFixture, note: Note, tmp_path: Path) -> None:
    """The same call through every stage, its outcome and event in the result."""
    sink = JsonLinesAuditSink.file(
        str(tmp_path / "calls.jsonl"), capacity=16_384, backpressure=Block()
    )
    made = registry(sink)

    def prepare() -> tuple[()]:
        sink.flush()
        return ()

    def call() -> None:
        assert made.run(ToolCall("double", {"number": 2}, "alice")).ok

    pairs = in_turn(
        benchmark,
        Side(repeat(call), prepare),
        Side(repeat(cheapest())),
        rounds=ROUNDS,
        units=CALLS,
    )
    sink.close()

    name = "run(ToolCall): stage by stage"
    note(Figure.timed("dispatch", name, "us", pairs, cheapest=CHEAPEST))


def bench_until_written(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path
) -> None:
    """The same calls with all that the sink's thread does for them, to the last line."""
    sink = JsonLinesAuditSink.file(str(tmp_path / "calls.jsonl"), backpressure=Block())
    made = registry(sink)

    def work() -> None:
        for _ in range(SUSTAINED):
            made.dispatch("double", {"number": 2}, caller="alice")
        sink.flush()

    def bare() -> None:
        call = cheapest()
        for _ in range(SUSTAINED):
            call()

    pairs = in_turn(benchmark, Side(work), Side(bare), rounds=10, units=SUSTAINED)
    sink.close()

    assert sink.drops() == 0
    name = "the same, until the event is written"
    note(Figure.timed("dispatch", name, "us", pairs, cheapest=CHEAPEST))


def bench_adispatch(benchmark: BenchmarkFixture, note: Note) -> None:
    """The async twin, on a loop that runs already, beside one await."""
    made = registry()
    call = cheapest()
    loop = asyncio.new_event_loop()

    async def bare() -> Any:
        return call()

    def repeated(make: Callable[[], Awaitable[Any]]) -> Side:
        async def many() -> None:
            for _ in range(CALLS):
                await make()

        return Side(lambda: loop.run_until_complete(many()))

    ours = repeated(lambda: made.adispatch("double", {"number": 2}, caller="alice"))
    pairs = in_turn(benchmark, ours, repeated(bare), rounds=ROUNDS, units=CALLS)
    loop.close()

    name = "adispatch, without a sink"
    note(
        Figure.timed("dispatch", name, "us", pairs, cheapest=f"{CHEAPEST}, in an await")
    )
