"""One dispatch, with the cheapest equivalent beside it."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from toolrt import Authority, GateRule, Pack, Registry, RegistryBuilder, RuleGate
from toolrt.schema import compile_check


def double(number: int) -> int:
    return 2 * number


def registry() -> Registry:
    pack = Pack("bench")
    pack.handler("double", capabilities=["bench:run"])(double)
    rules = [GateRule(decision="deny", verbs=("shell.*",), reason="no")]
    return (
        RegistryBuilder()
        .register(pack)
        .with_gate(RuleGate(rules))
        .with_authority(Authority({"alice": ["bench:run"]}))
        .build()
    )


def dispatch() -> Callable[[], Any]:
    made = registry()
    return lambda: made.dispatch("double", {"number": 2}, caller="alice")


def cheapest() -> Callable[[], Any]:
    """Look the function up, check the capability and the arguments, call it."""
    tools = {"double": double}
    granted = {"alice": frozenset({"bench:run"})}
    needed = frozenset({"bench:run"})
    check = compile_check(registry().tool("double").definition.input_schema)

    def call() -> Any:
        params = {"number": 2}
        if not needed <= granted["alice"] or check(params):
            raise PermissionError
        return tools["double"](**params)

    return call


@pytest.mark.benchmark(group="one dispatch")
@pytest.mark.parametrize("make", [cheapest, dispatch], ids=lambda make: make.__name__)
def bench_dispatch(
    benchmark: BenchmarkFixture, make: Callable[[], Callable[[], Any]]
) -> None:
    """The full pipeline without a store: gate, grants, schema, CallEvent."""
    assert benchmark(make()) == 4
