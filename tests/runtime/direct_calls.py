"""Calls that end in every way there is, and the registries to make them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolrt import (
    Authority,
    CallEvent,
    Pack,
    PaginatedResult,
    Registry,
    RegistryBuilder,
    ToolError,
    ToolrtError,
    ToolTimeoutError,
)
from toolrt.clock import ulid_number
from toolrt.testing import ManualClock


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []

    def write(self, events: Sequence[CallEvent], /) -> None:
        self.events += events


class KeptPairs:
    """A writer that keeps events with their details."""

    def __init__(self) -> None:
        self.pairs: list[tuple[CallEvent, Any]] = []

    def write(self, events: Sequence[CallEvent], /) -> None:
        raise AssertionError("given pairs")

    def write_records(self, pairs: Sequence[tuple[CallEvent, Any]], /) -> None:
        self.pairs += pairs


def desk(clock: ManualClock) -> Pack:
    """Return a pack whose handlers end in every way there is."""
    pack = Pack("desk")

    @pack.handler("add", capabilities=["desk:use"])
    def add(left: int, right: int = 1, note: str = "") -> int:
        return left + right

    @pack.handler("total")
    def total(numbers: list[float]) -> float:
        return sum(numbers)

    @pack.handler("pick", input_schema={"properties": {"n": {"minimum": 2}}})
    def pick(**given: Any) -> Any:
        return given

    @pack.handler("slow", timeout=2.0)
    def slow(seconds: int) -> str:
        clock.advance(seconds)
        if seconds == FAILS_AFTER_S:
            raise ToolError("LATE")
        return "done"

    @pack.handler("give", max_output=64)
    def give(what: str) -> Any:
        return GIVEN[what]()

    return pack


FAILS_AFTER_S = 7


async def later() -> str:
    return "later"


def _fail(kind: Callable[..., Exception], *given: Any) -> Callable[[], Any]:
    def fail() -> Any:
        raise kind(*given)

    return fail


GIVEN: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"a": [1, None, {"b": 1.5}]},
    "none": lambda: None,
    "tuple": lambda: (1, 2),
    "set in list": lambda: [{1}],
    "surrogate": lambda: "\ud800",
    "object": object,
    "too much": lambda: "x" * 63,
    "just enough": lambda: "x" * 62,
    "awaitable": later,
    "page": lambda: PaginatedResult([1], b"2"),
    "tool error": _fail(ToolError, "NO_LUCK", "try again"),
    "exception": _fail(RuntimeError, "broken"),
    "type error": _fail(TypeError, "of the handler's own"),
    "time-out": _fail(ToolTimeoutError, 1.0),
}

CALLS: list[tuple[str, Any]] = [
    ("add", {"left": 1}),
    ("add", {"left": 1, "right": 2, "note": "é🦀"}),
    ("desk:add", {"left": 1 << 80}),
    ("add", {}),
    ("add", None),
    ("add", [1]),
    ("add", {"left": True}),
    ("add", {"left": 1.0}),
    ("add", {"left": "1"}),
    ("add", {"left": float("nan")}),
    ("add", {"left": {1}}),
    ("add", {"left": 1, "more": 2}),
    ("add", {"left": 1, "note": "\ud800"}),
    ("add", {"left": 1, "note": None}),
    ("add", {"left": 1, 2: 3}),
    ("add", {"left": 1, "namespace": "local"}),
    ("add", {"left": 1, "namespace": "Not One"}),
    ("total", {"numbers": [1, 2.5]}),
    ("total", {"numbers": (1, 2)}),
    ("total", {"numbers": ["1"]}),
    ("total", {"numbers": []}),
    ("pick", {"n": 2, "free": [{}]}),
    ("pick", {"n": 1}),
    ("pick", {"n": 3, "namespace": "local"}),
    ("slow", {"seconds": 1}),
    ("slow", {"seconds": FAILS_AFTER_S}),
    ("slow", {"seconds": 2}),
    ("slow", {"seconds": 8}),
    *(("give", {"what": what}) for what in GIVEN),
]


def made(
    *sinks: Any, clock: ManualClock | None = None, pack: Pack | None = None
) -> RegistryBuilder:
    clock = clock or ManualClock()
    builder = (
        RegistryBuilder()
        .register(pack or desk(clock))
        .with_authority(Authority({"alice": ["desk:use"]}))
        .with_clock(clock)
    )
    for sink in sinks:
        builder.with_audit_sink(sink)
    return builder


def ended(call: Callable[[], Any]) -> tuple[Any, ...]:
    """Return how a call ended, in values that can be compared."""
    try:
        value = call()
    except ToolrtError as exc:
        cause = exc.__cause__
        return type(exc), str(exc), exc.code, exc.retryable, type(cause), str(cause)
    return type(value), value


def stable(event: CallEvent) -> CallEvent:
    """Return *event* with the time of its id only, which is when the call began."""
    number = ulid_number(event.call_id)
    assert number is not None
    return event.replace(call_id=str(number >> 80))


def warm(registry: Registry) -> None:
    """Make one call of each tool, after which it is known who asks."""
    for verb, params in (
        ("add", {"left": 1}),
        ("total", {"numbers": [1]}),
        ("pick", {"n": 2}),
        ("slow", {"seconds": 0}),
        ("give", {"what": "none"}),
    ):
        registry.dispatch(verb, params, caller="alice")


def counted(registry: Registry) -> list[tuple[Any, ...]]:
    return [
        (m.tool_id, m.outcome, m.count, m.total_ms, m.buckets)
        for m in registry.metrics()
    ]


def nothing() -> None:
    """Take nothing."""
