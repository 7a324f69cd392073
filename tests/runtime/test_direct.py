"""A plain call in one function: what it does and records is what the stages do and record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    AllowAllGate,
    Authority,
    Block,
    CallContext,
    Fallback,
    GateRequest,
    HandlerDef,
    Pack,
    PackDefinitionError,
    QueueSink,
    RegistryBuilder,
    SecretBundle,
    TeeSink,
    ToolrtError,
)
from toolrt.admit import admit
from toolrt.testing import ManualClock, MemoryEventStore, MemorySink

from .direct_calls import (
    CALLS,
    Kept,
    counted,
    ended,
    later,
    made,
    nothing,
    stable,
    warm,
)


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
    pack.handler("x")(later)


def _in_namespace(namespace: str = "local") -> str:
    return namespace


HANDLERS: dict[str, Callable[[Pack], object]] = {
    "context": _context,
    "async": _async,
    "pages": lambda pack: pack.handler("x", paginates=True)(nothing),
    "thread": lambda pack: pack.handler("x", deadline="thread")(nothing),
    "secrets": lambda pack: pack.handler("x", secrets=["S"])(nothing),
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


def test_other_callers_getnothing_of_it() -> None:
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
