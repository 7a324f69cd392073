"""Calls that a handler makes: same caller, no more rights, the gate again."""

from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    Authority,
    CallContext,
    CapabilityDeniedError,
    Deny,
    ExecutionFailed,
    GateRequest,
    Pack,
    PermissionDeniedError,
    Registry,
    RegistryBuilder,
    ToolCall,
    ToolFailedError,
    ToolNotFoundError,
)
from toolrt.testing import ManualClock, MemoryEventStore


class NoSecrets:
    """A gate that denies the verb `secret`."""

    def check(self, request: GateRequest) -> Allow | Deny:
        return Deny("no") if request.verb == "secret" else Allow()


class Bench:
    """An outer tool that calls whatever it is told, and what it may call."""

    def __init__(self) -> None:
        self.store = MemoryEventStore()
        self.clock = ManualClock()
        self.seen: list[CallContext] = []
        outer, other = Pack("outer"), Pack("other")

        @outer.handler("call", capabilities=["a"])
        def call(tool: str, *, ctx: CallContext) -> Any:
            return ctx.registry.dispatch(tool, caller="root", actor=ActorRef("x", "y"))

        @outer.handler("own", visibility="subhandler")
        def own() -> str:
            return "sub-handler"

        @other.handler("plain", capabilities=["a"])
        def plain(*, ctx: CallContext) -> str:
            self.seen.append(ctx)
            return "plain"

        @other.handler("more", capabilities=["a", "b"])
        def more() -> str:
            return "more"

        @other.handler("secret")
        def secret() -> str:
            return "secret"

        @other.handler("fail")
        def fail() -> None:
            raise OSError("hush")

        @other.handler("hidden", visibility="subhandler")
        def hidden() -> str:
            return "hidden"

        self.registry: Registry = (
            RegistryBuilder()
            .register(outer)
            .register(other)
            .with_gate(NoSecrets())
            .with_clock(self.clock)
            .with_event_store(self.store, calls=True)
            .with_authority(Authority({"alice": ["a", "b"], "root": ["a", "b"]}))
            .build()
        )

    def call(self, tool: str, **fields: Any) -> Any:
        return self.registry.dispatch("call", {"tool": tool}, caller="alice", **fields)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_sub_call_is_made_for_the_same_caller_and_carries_the_parent(
    bench: Bench,
) -> None:
    """Whatever the handler says, it calls as its own caller; both are recorded."""
    assert bench.call("plain", actor=ActorRef("os", "me")) == "plain"

    outer, inner = (e for e in bench.store.events if e.kind == "gate")
    assert (outer.caller_id, inner.caller_id) == ("alice", "alice")
    assert (outer.actor, inner.actor) == ("os:me", "os:me")
    assert outer.details is not None
    assert inner.details is not None
    assert outer.details.parent_call_id is None
    assert inner.details.parent_call_id == outer.call_id


def test_a_sub_call_has_at_most_the_parents_capabilities(bench: Bench) -> None:
    """What the outer call was not granted the inner one is not, either."""
    with pytest.raises(ToolFailedError) as caught:
        bench.call("more")

    assert caught.value.code == "CAPABILITY_DENIED"
    assert isinstance(caught.value.__cause__, CapabilityDeniedError)
    assert caught.value.__cause__.missing == ("b",)
    assert bench.registry.dispatch("more", caller="alice") == "more"


def test_a_sub_call_passes_the_gate_again(bench: Bench) -> None:
    """Being called by an allowed tool is no permission."""
    with pytest.raises(ToolFailedError) as caught:
        bench.call("secret")

    assert isinstance(caught.value.__cause__, PermissionDeniedError)
    assert [e.outcome for e in bench.store.events if e.kind == "gate"] == [
        "success",
        "denied",
    ]


def test_sub_handlers_serve_their_own_pack_only(bench: Bench) -> None:
    """By bare name or tool id from inside, from nowhere else."""
    assert bench.call("own") == "sub-handler"
    assert bench.call("outer:own") == "sub-handler"
    for name in ("hidden", "other:hidden"):
        with pytest.raises(ToolFailedError) as caught:
            bench.call(name)
        assert isinstance(caught.value.__cause__, ToolNotFoundError)


def test_a_failure_that_is_not_answered_for_is_the_callers_own(bench: Bench) -> None:
    """The outer record has the inner code; both calls are recorded."""
    with pytest.raises(ToolFailedError, match="INTERNAL"):
        bench.call("fail")

    outcomes = [
        event.payload["outcome"] for event in bench.store.events if event.kind == "call"
    ]
    failed = {"kind": "execution_failed", "code": "INTERNAL", "retryable": False}
    assert outcomes == [failed, failed]
    assert "hush" not in str(bench.store.events)


def test_a_sub_call_has_at_most_the_time_that_is_left(bench: Bench) -> None:
    """The inner deadline ends with the outer one."""
    bench.call("plain", timeout_s=2)

    assert bench.seen[0].timeout_s == 2.0


def test_a_registry_in_a_handler_reads_like_any_other(bench: Bench) -> None:
    """Names and handlers are the same from inside."""
    pack = Pack("p")
    pack.handler("look", input_schema={"type": "object"})(
        lambda ctx, **_: ctx.registry.pack_names()
    )
    registry = RegistryBuilder().register(pack).build()

    assert registry.run(ToolCall("look")).value == ("p",)


def test_a_loop_of_calls_ends_as_a_failure(bench: Bench) -> None:
    """A tool that calls itself for ever is INTERNAL, not the end of the program."""
    pack = Pack("p")

    @pack.handler("again")
    def again(*, ctx: CallContext) -> Any:
        return ctx.registry.dispatch("again")

    result = RegistryBuilder().register(pack).build().run(ToolCall("again"))

    assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)
