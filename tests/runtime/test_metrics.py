"""Counters and latencies."""

import threading
from collections.abc import Callable
from typing import Self

import pytest

from toolrt import Deny, GateRequest, Pack, RegistryBuilder, ToolCall, ToolError
from toolrt.metrics import BUCKETS_MS, Meter
from toolrt.testing import ManualClock


def test_calls_are_counted_by_tool_and_outcome() -> None:
    """Successes, failures, refusals and names that nobody declared."""
    clock, pack = ManualClock(), Pack("p")

    @pack.handler("work")
    def work(ms: int) -> None:
        clock.advance(ms / 1000)

    @pack.handler("fail")
    def fail() -> None:
        raise ToolError("NO")

    registry = RegistryBuilder().register(pack).with_clock(clock).build()
    for ms in (0, 3, 700):
        registry.run(ToolCall("work", {"ms": ms}))
    for call in (ToolCall("work"), ToolCall("fail"), ToolCall("x"), ToolCall("y")):
        registry.run(call)

    counted = {(m.tool_id, m.outcome): m for m in registry.metrics()}

    assert {key: metric.count for key, metric in counted.items()} == {
        ("", "tool_not_found"): 2,
        ("p:fail", "execution_failed"): 1,
        ("p:work", "invalid_args"): 1,
        ("p:work", "success"): 3,
    }
    work_metric = counted["p:work", "success"]
    assert work_metric.total_ms == 703
    assert len(work_metric.buckets) == len(BUCKETS_MS) + 1
    assert [
        most for most, n in zip(BUCKETS_MS, work_metric.buckets, strict=False) if n
    ] == [
        1,
        5,
        1000,
    ]


def test_denials_are_counted() -> None:
    """A refusal by the gate has no CallEvent and is counted all the same."""

    class No:
        def check(self, request: GateRequest) -> Deny:
            return Deny("no")

    pack = Pack("p")
    pack.handler("x")(lambda: 1)
    registry = RegistryBuilder().register(pack).with_gate(No()).build()

    registry.run(ToolCall("x"))

    assert [(m.tool_id, m.outcome, m.count) for m in registry.metrics()] == [
        ("p:x", "denied", 1)
    ]


def test_no_call_is_lost_between_threads() -> None:
    """Counting is exact however many count at once; the longest have a bucket."""
    meter = Meter()

    def work() -> None:
        for _ in range(500):
            meter.count("t", "success", 10**6)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (metric,) = meter.read()

    assert metric.count == metric.buckets[-1] == 4000


class Interrupted(int):
    """A duration at which, while it is added up, something else happens once."""

    def __new__(cls, _then: Callable[[], object]) -> Self:
        return super().__new__(cls, 5)

    def __init__(self, then: Callable[[], object]) -> None:
        self.left = [then]

    def __hash__(self) -> int:
        if self.left:
            self.left.pop()()
        return super().__hash__()


def test_a_signal_handler_may_count_while_calls_are_added_up() -> None:
    """On the same thread, which cannot wait for itself."""
    meter = Meter()
    count = meter.counter("t", "success")

    def handler() -> None:
        for _ in range(600):
            count(1)

    def work() -> None:
        count(Interrupted(handler))
        for _ in range(600):
            count(1)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
    (metric,) = meter.read()
    assert (metric.count, metric.total_ms) == (1201, 1205)


def test_an_interrupt_while_calls_are_added_up_loses_none() -> None:
    """Ctrl-C, or a deadline that has come."""
    meter = Meter()
    count = meter.counter("t", "success")

    def interrupt() -> None:
        raise KeyboardInterrupt

    count(Interrupted(interrupt))
    count(1)
    with pytest.raises(KeyboardInterrupt):
        meter.read()

    (metric,) = meter.read()
    assert (metric.count, metric.total_ms) == (2, 6)
