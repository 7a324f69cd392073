"""A registry with everything that a call goes through, and the cheapest equivalent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolrt import (
    Authority,
    GateRule,
    Pack,
    QueueSink,
    Registry,
    RegistryBuilder,
    RuleGate,
)
from toolrt.schema import compile_check


def double(number: int) -> int:
    return 2 * number


def registry(sink: QueueSink | None = None, *, max_concurrent: int = 0) -> Registry:
    """Return a registry with a gate that has a rule, and a caller who may."""
    pack = Pack("bench")
    declare = pack.handler(
        "double", capabilities=["bench:run"], max_concurrent=max_concurrent
    )
    declare(double)
    rules = [GateRule(decision="deny", verbs=("shell.*",), reason="no")]
    builder = (
        RegistryBuilder()
        .register(pack)
        .with_gate(RuleGate(rules))
        .with_authority(Authority({"alice": ["bench:run"]}))
    )
    if sink is not None:
        builder.with_audit_sink(sink)
    return builder.build()


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
