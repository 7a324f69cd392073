"""A plain call in one function: what it does and records is what the stages do and record."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    AllowAllGate,
    Authority,
    Block,
    CallContext,
    CallEvent,
    Drop,
    Fallback,
    GateRequest,
    HandlerDef,
    Pack,
    PackDefinitionError,
    PaginatedResult,
    QueueSink,
    RateLimitedError,
    RecordLostError,
    Registry,
    RegistryBuilder,
    SecretBundle,
    TeeSink,
    ToolCall,
    ToolError,
    ToolFailedError,
    ToolrtError,
    ToolTimeoutError,
)
from toolrt.admit import admit
from toolrt.clock import ulid_number
from toolrt.testing import ManualClock, MemoryEventStore, MemorySink


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


async def _later() -> str:
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
    "awaitable": _later,
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


@pytest.mark.parametrize(("verb", "params"), CALLS, ids=str)
def test_it_ends_and_is_recorded_as_by_the_stages(verb: str, params: Any) -> None:
    """The value or the error, its cause, the event to the microsecond, the counters."""
    short_clock, long_clock = ManualClock(), ManualClock()
    writer, memory = Kept(), MemorySink()
    with QueueSink(writer, backpressure=Block()) as sink:
        short = made(sink, clock=short_clock).build()
        long = made(memory, clock=long_clock).build()
        warm(short)
        warm(long)

        got = ended(lambda: short.dispatch(verb, params, caller="alice"))
        expected = ended(lambda: long.dispatch(verb, params, caller="alice"))

    assert got == expected
    assert list(map(stable, writer.events)) == list(map(stable, memory.events))
    assert counted(short) == counted(long)
    assert all(short.tool(name).direct for name in ("add", "total", "pick", "slow"))
    assert not any(long.tool(name).direct for name in ("add", "total", "pick", "slow"))


@pytest.mark.parametrize(("verb", "params"), CALLS, ids=str)
def test_the_async_path_ends_like_that_too(verb: str, params: Any) -> None:
    """The same calls, awaited."""
    writer, memory = Kept(), MemorySink()
    with QueueSink(writer, backpressure=Block()) as sink:
        short = made(sink, clock=ManualClock()).build()
        long = made(memory, clock=ManualClock()).build()
        warm(short)
        warm(long)

        got, expected = (
            ended(lambda: asyncio.run(each.adispatch(verb, params, caller="alice")))  # noqa: B023
            for each in (short, long)
        )

    assert got == expected
    assert list(map(stable, writer.events)) == list(map(stable, memory.events))
    assert counted(short) == counted(long)


def test_it_passes_none_of_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would not be what is tested here."""
    registry = made().build()
    warm(registry)

    def no_stage(*_args: Any) -> Any:
        raise AssertionError("a stage was asked")

    monkeypatch.setattr("toolrt.dispatch.admit", no_stage)
    monkeypatch.setattr("toolrt.dispatch.settle", no_stage)

    assert registry.dispatch("add", {"left": 1}, caller="alice") == 2
    assert registry.dispatch("desk:add", {"left": 2}, caller="alice") == 3


def test_errors_name_the_event_that_was_written() -> None:
    """What a handler raised in the direct way is found by its call id."""
    writer = Kept()
    with QueueSink(writer) as sink:
        registry = made(sink).build()
        warm(registry)
        with pytest.raises(ToolrtError) as caught:
            registry.dispatch("give", {"what": "exception"}, caller="alice")

    assert caught.value.call_id == writer.events[-1].call_id
    assert len({event.call_id for event in writer.events}) == len(writer.events)


class Asked:
    """A gate of one's own, which allows."""

    def check(self, request: GateRequest) -> Allow:
        return Allow()


class Hook:
    """A dispatch hook that does nothing."""

    def on_dispatch(self, view: Any) -> None:
        """Look at nothing."""


class NoSecrets:
    """A broker that has none of any name."""

    def resolve(self, caller: str | None, names: Sequence[str]) -> SecretBundle:
        return SecretBundle({})


class Silent:
    """A middleware that does nothing."""

    name = "silent"

    def on_result(self, call: Any, value: Any) -> Any:
        return value

    def on_error(self, call: Any, error: Any) -> Any:
        return error


LONG_WAYS: dict[str, Callable[[RegistryBuilder], object]] = {
    "fallback": lambda b: b.with_audit_sink(
        QueueSink(Kept(), 1, Fallback(MemorySink()))
    ),
    "store": lambda b: b.with_event_store(MemoryEventStore()),
    "gate": lambda b: b.with_gate(Asked()),
    "hook": lambda b: b.with_dispatch_hook(Hook()),
    "middleware": lambda b: b.with_middleware(Silent()),
    "alarm": lambda b: b.with_alarm(),
    "sink": lambda b: b.with_audit_sink(MemorySink()),
    "required sink": lambda b: b.with_audit_sink(QueueSink(Kept(), required=True)),
    "two sinks": lambda b: b.with_audit_sink(QueueSink(Kept())).with_audit_sink(
        QueueSink(Kept())
    ),
    "tee": lambda b: b.with_audit_sink(TeeSink([QueueSink(Kept())])),
}


@pytest.mark.parametrize("name", LONG_WAYS)
def test_what_needs_the_stages_has_no_direct_way(name: str) -> None:
    """Whatever may decide, or wants to know, is asked at each call."""
    builder = made()
    plain = made().build()
    LONG_WAYS[name](builder)
    registry = builder.build()

    for each in (plain, registry):
        assert [each.dispatch("add", {"left": 1}, caller="alice")] * 2 == [2, 2]

    assert plain.tool("add").direct.keys() == {"alice"}
    assert not registry.tool("add").direct


def _context(pack: Pack) -> None:
    pack.handler("x")(_with_context)


def _with_context(ctx: CallContext) -> None:
    """Take a context."""


def _async(pack: Pack) -> None:
    pack.handler("x")(_later)


def _nothing() -> None:
    """Take nothing."""


def _in_namespace(namespace: str = "local") -> str:
    return namespace


HANDLERS: dict[str, Callable[[Pack], object]] = {
    "context": _context,
    "async": _async,
    "pages": lambda pack: pack.handler("x", paginates=True)(_nothing),
    "thread": lambda pack: pack.handler("x", deadline="thread")(_nothing),
    "secrets": lambda pack: pack.handler("x", secrets=["S"])(_nothing),
    "namespace": lambda pack: pack.handler("x")(_in_namespace),
}


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_that_needs_more_has_no_direct_way(name: str) -> None:
    """Than its arguments and a thread to run on."""
    pack = Pack("p")
    HANDLERS[name](pack)
    registry = made(pack=pack).with_token_broker(NoSecrets()).build()

    for _ in range(2):
        asyncio.run(registry.adispatch("x", caller="alice"))

    assert not registry.tool("x").direct


@pytest.mark.parametrize(
    "more",
    [
        {"actor": ActorRef("os", "root")},
        {"requested": []},
        {"proofs": ["x.y.z"]},
        {"dry_run": True},
        {"timeout_s": 1.0},
        {"cursor": "c"},
    ],
    ids=str,
)
def test_a_call_that_says_more_passes_the_stages(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything but a verb, arguments and a caller."""
    registry = made().build()
    warm(registry)
    seen = []

    def watched(*args: Any) -> Any:
        seen.append(args)
        return admit(*args)

    monkeypatch.setattr("toolrt.dispatch.admit", watched)
    none: dict[str, Any] = {"numbers": []}
    ended(lambda: registry.dispatch("total", none, caller="alice", **more))
    ended(
        lambda: asyncio.run(registry.adispatch("total", none, caller="alice", **more))
    )

    assert len(seen) == 2


def test_other_callers_get_nothing_of_it() -> None:
    """A way is one caller's."""
    registry = made().build()
    warm(registry)

    for caller in ("bob", None, "Alice"):
        for _ in range(2):
            ending = ended(
                lambda: registry.dispatch("add", {"left": 1}, caller=caller)  # noqa: B023
            )
            assert ending[2] == "capability_denied"
    assert registry.tool("add").direct.keys() == {"alice"}


def test_calls_inside_a_handler_pass_the_stages() -> None:
    """What a handler may is what its caller and it may, not what is remembered."""
    pack = Pack("p")

    @pack.handler("outer", capabilities=["p:outer"])
    def outer(ctx: CallContext) -> Any:
        return ctx.registry.dispatch("inner", {}, caller="alice")

    @pack.handler("inner", capabilities=["p:inner"])
    def inner() -> str:
        return "in"

    builder = made(pack=pack).with_authority(
        Authority({"alice": ["p:inner"], "bob": ["p:outer"]})
    )
    registry = builder.build()
    for _ in range(2):
        assert registry.dispatch("inner", {}, caller="alice") == "in"

    ending = ended(lambda: registry.dispatch("outer", {}, caller="bob"))

    assert ending[2] == "CAPABILITY_DENIED"


def test_the_handler_gets_arguments_of_its_own() -> None:
    """It may change them as it likes."""
    pack = Pack("p")

    @pack.handler("spoil", input_schema={"type": "object"})
    def spoil(**given: Any) -> int:
        given["list"].append(1)
        return len(given["list"])

    registry = made(pack=pack).build()
    params = {"list": [1]}

    assert [registry.dispatch("spoil", params, caller="a") for _ in range(3)] == [2] * 3
    assert params == {"list": [1]}


def test_defaults_that_are_lists_are_not_shared() -> None:
    """Each call has its own."""
    pack = Pack("p")

    @pack.handler("grow")
    def grow(items: list[int] = []) -> int:  # noqa: B006
        items.append(1)
        return len(items)

    registry = made(pack=pack).build()

    assert [registry.dispatch("grow", {}, caller="a") for _ in range(3)] == [1] * 3


def test_an_interrupt_is_recorded_and_goes_on() -> None:
    """Ctrl-C inside a handler."""
    pack, writer = Pack("p"), Kept()

    @pack.handler("stop", max_concurrent=1)
    def stop(now: bool) -> None:
        if now:
            raise KeyboardInterrupt

    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("stop", {"now": False}, caller="a")
        for _ in range(3):  # the call is counted out each time
            with pytest.raises(KeyboardInterrupt):
                registry.dispatch("stop", {"now": True}, caller="a")

    assert [event.outcome.kind for event in writer.events[1:]] == [
        "execution_failed"
    ] * 3


class MuteError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("is_direct", [True, False])
def test_an_exception_without_a_text_is_recorded_too(is_direct: bool) -> None:
    """By its type; and the call is counted out."""
    pack, writer = Pack("p"), Kept()

    @pack.handler("x", max_concurrent=1)
    def x(fails: bool) -> None:
        if fails:
            raise MuteError

    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("x", {"fails": False}, caller="a")
        for _ in range(2):
            if not is_direct:
                registry.tool("x").direct.clear()
            with pytest.raises(ToolFailedError) as caught:
                registry.dispatch("x", {"fails": True}, caller="a")
            assert caught.value.text == "MuteError"
        registry.dispatch("x", {"fails": False}, caller="a")

    assert [event.outcome.kind for event in writer.events[1:3]] == [
        "execution_failed"
    ] * 2


class Interrupts(tzinfo):
    """A time zone that, first asked when its datetime is encoded, raises once."""

    def __init__(self, exc: BaseException) -> None:
        self.left = [exc]

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        if self.left:
            raise self.left.pop()
        return None

    def dst(self, dt: datetime | None, /) -> None:
        """Return nothing: it is not asked."""

    def tzname(self, dt: datetime | None, /) -> None:
        """Return nothing: it is not asked."""


def at(exc: BaseException) -> datetime:
    """Return a value, to encode which raises *exc*."""
    return datetime(2026, 1, 1, tzinfo=Interrupts(exc))


@pytest.mark.parametrize("is_direct", [True, False])
@pytest.mark.parametrize(
    "exc", [KeyboardInterrupt(), RuntimeError("no"), ToolTimeoutError(1.0)], ids=repr
)
def test_what_interrupts_the_reading_of_arguments_is_recorded(
    exc: BaseException, is_direct: bool
) -> None:
    """Ctrl-C, a timer of the caller's: it ends the call, and no handler runs."""
    pack, writer, ran = Pack("p"), Kept(), []
    pack.handler("x", input_schema={"type": "object"}, max_concurrent=1)(
        lambda **given: ran.append(given)
    )
    raised = KeyboardInterrupt if isinstance(exc, KeyboardInterrupt) else ToolrtError
    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("x", {}, caller="a")
        for _ in range(2):
            if not is_direct:
                registry.tool("x").direct.clear()
            with pytest.raises(raised) as caught:
                registry.dispatch("x", {"at": at(exc)}, caller="a")
            assert exc in (caught.value, caught.value.__cause__)
        registry.dispatch("x", {}, caller="a")

    assert len(ran) == 2
    assert [event.outcome.kind == "success" for event in writer.events] == [
        *(True, False, False, True),
    ]


@pytest.mark.parametrize("is_direct", [True, False])
def test_what_interrupts_the_look_at_a_result_leaves_no_call_in_flight(
    is_direct: bool,
) -> None:
    """The handler has ended: its place is free again."""
    pack = Pack("p")

    @pack.handler("x", max_concurrent=1)
    def x(stops: bool) -> Any:
        return [at(KeyboardInterrupt())] if stops else None

    registry = made(pack=pack).build()
    registry.dispatch("x", {"stops": False}, caller="a")
    if not is_direct:
        registry.tool("x").direct.clear()
    with pytest.raises(KeyboardInterrupt):
        registry.dispatch("x", {"stops": True}, caller="a")

    assert registry.dispatch("x", {"stops": False}, caller="a") is None


@pytest.mark.parametrize("is_direct", [True, False])
def test_what_is_to_be_awaited_is_in_flight_until_it_ends(is_direct: bool) -> None:
    """Though the handler has returned."""
    pack = Pack("p")
    pack.handler("x", max_concurrent=1)(lambda: _later_than(running))
    registry = made(pack=pack).build()

    async def twice() -> list[Any]:
        calls = [registry.adispatch("x", {}, caller="a") for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    running: list[int] = []
    asyncio.run(registry.adispatch("x", {}, caller="a"))
    if not is_direct:
        registry.tool("x").direct.clear()
    first, second = asyncio.run(twice())

    assert first == "later"
    assert type(second) is RateLimitedError
    assert running == [1, 1]


async def _later_than(running: list[int]) -> str:
    running.append(1)
    await asyncio.sleep(0)
    return "later"


def test_limits_hold_over_both_ways() -> None:
    """Calls in flight are counted together, and counted out however they end."""
    pack = Pack("p")
    inside, most, lock = 0, 0, threading.Lock()

    @pack.handler("x", max_concurrent=2)
    def x(fails: bool) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.001)
        with lock:
            inside -= 1
        if fails:
            raise ValueError

    registry = made(pack=pack).build()
    registry.dispatch("x", {"fails": False}, caller="a")

    def call(number: int) -> str:
        fails = {"fails": number % 3 == 0}
        if number % 2:
            kind: type = ended(lambda: registry.dispatch("x", fails, caller="a"))[0]
            return kind.__name__
        result = registry.run(ToolCall("x", fails, "a"))
        return "NoneType" if result.ok else type(result.error).__name__

    with ThreadPoolExecutor(8) as threads:
        endings = list(threads.map(call, range(400)))

    assert set(endings) == {"NoneType", "ToolFailedError", "RateLimitedError"}
    assert most == 2
    registry.dispatch("x", {"fails": False}, caller="a")
    assert sum(metric.count for metric in registry.metrics()) == 402


def test_a_rate_limit_refuses_the_call_after_the_last() -> None:
    """And the refusal is recorded."""
    pack, writer = Pack("p"), Kept()
    pack.handler("x", rate_limit_per_min=3)(_nothing)
    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        endings = [
            ended(lambda: registry.dispatch("x", {}, caller="a")) for _ in range(5)
        ]

    assert [ending[0].__name__ for ending in endings] == [
        *["NoneType"] * 3,
        *["RateLimitedError"] * 2,
    ]
    assert [event.outcome.kind for event in writer.events[3:]] == ["rate_limited"] * 2


def test_who_begins_to_listen_hears_of_each_decision(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also of the calls that had a direct way."""
    registry = made().build()
    warm(registry)
    with caplog.at_level(logging.INFO, "toolrt.gate"):
        for _ in range(2):
            registry.dispatch("add", {"left": 1}, caller="alice")

    assert [record.message for record in caplog.records] == ["gate.check"] * 2


def test_ways_are_forgotten_with_what_they_follow_from() -> None:
    """Callers are named from outside: their number is bounded."""
    registry = made().with_authority(Authority()).with_gate(AllowAllGate()).build()
    for number in range(1030):
        registry.dispatch("total", {"numbers": [1]}, caller=f"c{number}")

    assert len(registry.tool("total").direct) == len(registry.tool("total").standings)
    assert len(registry.tool("total").direct) <= 1024


def test_a_schema_that_is_none_is_the_fault_of_each_call() -> None:
    """Where its pack had said that it need not be looked at."""
    pack = Pack("p")
    schema = {"type": "object", "properties": {"n": {"type": "nonsense"}}}
    definition = HandlerDef(name="x", input_schema=schema)
    pack.bind(
        definition,
        lambda _params, _ctx: None,
        has_sure_schemas=True,
        function=lambda **_: None,
    )
    registry = made(pack=pack).build()

    endings = [ended(lambda: registry.dispatch("x", {}, caller="a")) for _ in range(3)]

    assert registry.tool("x").direct
    assert {ending[0] for ending in endings} == {PackDefinitionError}


@pytest.mark.parametrize("required", [5, True, [["a"]]], ids=str)
def test_a_schema_that_cannot_be_read_is_too(required: Any) -> None:
    """Of the first call like of the others."""
    pack = Pack("p")
    schema = {"type": "object", "required": required}
    pack.bind(
        HandlerDef(name="x", input_schema=schema),
        lambda _params, _ctx: None,
        has_sure_schemas=True,
        function=lambda **_: None,
    )
    registry = made(pack=pack).build()

    endings = [ended(lambda: registry.dispatch("x", {}, caller="a")) for _ in range(3)]

    assert {ending[0] for ending in endings} == {PackDefinitionError}


class TestSinks:
    """What queues the record of such a call"""

    def test_a_writer_of_pairs_gets_the_details(self) -> None:
        """As a store's sink does."""
        writer = KeptPairs()
        with QueueSink(writer) as sink:
            registry = made(sink).build()
            warm(registry)
            registry.dispatch("add", {"left": 1}, caller="alice")

        first, last = writer.pairs[0], writer.pairs[-1]
        assert stable(last[0]) == stable(first[0])
        assert last[1] == first[1]
        assert last[1].caller == "alice"

    def test_a_fallback_gets_events(self) -> None:
        """A sink of any kind: it need not know what a queue holds."""
        memory, gate = MemorySink(), threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()
                super().write(events)

        writer = Stuck()
        with QueueSink(writer, 1, Fallback(memory)) as sink:
            registry = made(sink).build()
            warm(registry)
            for _ in range(3):
                registry.dispatch("add", {"left": 1}, caller="alice")
            gate.set()

        events = [*writer.events, *memory.events]
        assert len(memory.events) == 7
        assert {type(event) for event in events} == {CallEvent}
        assert len({event.call_id for event in events}) == 8

    def test_a_required_one_behind_a_fallback_fails_the_call(self) -> None:
        """A record that nobody took is the caller's to know of."""
        gate = threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()

        required = QueueSink(Stuck(), 1, Block(0), required=True)
        with required, QueueSink(Stuck(), 1, Fallback(required)) as sink:
            registry = made(sink).build()
            registry.dispatch("total", {"numbers": []}, caller="a")
            registry.dispatch("total", {"numbers": []}, caller="a")
            for _ in range(2):
                with pytest.raises(RecordLostError):
                    registry.dispatch("total", {"numbers": []}, caller="a")
            gate.set()

    def test_one_that_changes_events_is_given_events(self) -> None:
        """A subclass of one's own, or a sink in front of another."""

        class Masking(QueueSink):
            def on_record(self, event: Any, details: Any) -> None:
                super().on_record(event.replace(caller_id="masked"), details)

        class InFront:
            def __init__(self, sink: QueueSink) -> None:
                self.sink = sink

            def __getattr__(self, name: str) -> Any:
                return getattr(self.sink, name)

            def on_record(self, event: CallEvent, details: Any) -> None:
                self.sink.on_record(event.replace(caller_id="masked"), details)

        first, second = Kept(), Kept()
        with Masking(first) as masking, QueueSink(second) as behind:
            for sink in (masking, InFront(behind)):
                registry = made(sink).build()
                for _ in range(3):
                    registry.dispatch("total", {"numbers": []}, caller="a")

        for events in (first.events, second.events):
            assert [event.caller_id for event in events] == ["masked"] * 3

    def test_a_registry_that_nobody_uses_is_not_kept_by_its_last_events(self) -> None:
        """A sink may outlive many of them."""
        with QueueSink(Kept()) as sink:
            registry = made(sink).build()
            warm(registry)
            warm(registry)
            meter = weakref.ref(registry._core.meter)
            del registry
            sink.flush()
            for _ in range(1000):  # the thread lets go of it right after
                gc.collect()
                if meter() is None:
                    break
                threading.Event().wait(0.001)

            assert meter() is None

    def test_what_is_dropped_is_counted(self) -> None:
        """The call goes first."""
        gate = threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()

        with QueueSink(Stuck(), 1, Drop()) as sink:
            registry = made(sink).build()
            warm(registry)
            registry.dispatch("add", {"left": 1}, caller="alice")
            gate.set()

        assert sink.drops() == 5

    def test_one_that_raises_is_logged_and_the_call_succeeds(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A sink's fault reaches no caller."""

        def loud(_message: str) -> None:
            raise RuntimeError("the operator's callback")

        with QueueSink(Kept(), 1, Block(0)) as sink:
            registry = made(sink).build()
            warm(registry)
        sink.on_trouble = loud
        sink.on_record = loud  # type: ignore[method-assign,assignment]
        again = made(sink).build()

        for _ in range(2):
            with caplog.at_level(logging.ERROR):
                assert again.dispatch("add", {"left": 1}, caller="alice") == 2
        assert again.tool("add").direct
        assert caplog.text.count("sink 'QueueSink' raised") == 2
