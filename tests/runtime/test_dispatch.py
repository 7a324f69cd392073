"""The pipeline: each stage, its order, and what each early end leaves behind."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    ArgFault,
    AuditUnavailableError,
    CallEvent,
    CapabilityDeniedError,
    Deny,
    EventView,
    ExecutionFailed,
    Gate,
    HandlerDef,
    InvalidArgs,
    InvalidArgsError,
    InvalidInputError,
    Pack,
    PermissionDeniedError,
    RecordLostError,
    Registry,
    RegistryBuilder,
    Success,
    TierLimits,
    ToolCall,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from toolrt.testing import ManualClock

from .dispatch_bench import ALICE, Bench, RecordingGate


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestSuccess:
    """A call that goes all the way."""

    def test_the_value_comes_back(self, bench: Bench) -> None:
        """dispatch returns what the handler returned."""
        value = bench.registry.dispatch("note.add", {"title": "t"}, caller="alice")

        assert value == {"title": "t"}

    def test_a_tool_id_names_the_same_tool(self, bench: Bench) -> None:
        """The gate sees the bare verb, however the tool was named."""
        gate = RecordingGate(lambda _: Allow())
        bench.builder.with_gate(gate)

        result = bench.run("notes:note.add", {"title": "t"}, caller="alice")

        assert result.ok
        assert gate.asked[0].verb == "note.add"
        assert gate.asked[0].context.tool_id == "notes:note.add"

    def test_gate_and_call_event_share_the_call(self, bench: Bench) -> None:
        """Two events, in order, with one call id."""
        result = bench.add()

        gate, call = bench.store.events
        assert bench.kinds == [("gate", "success"), ("call", "success")]
        assert {gate.call_id, call.call_id} == {result.call_id}
        assert gate.id == f"{result.call_id}/gate"

    def test_the_gate_event_is_stored_before_the_handler_runs(
        self, bench: Bench
    ) -> None:
        """Nothing runs before its record is kept."""
        seen: list[int] = []
        pack = Pack("spy")
        pack.handler("look")(lambda: seen.append(len(bench.store.events)))
        bench.builder.register(pack)

        bench.run("look")

        assert seen == [1]

    def test_the_call_event_says_what_was_granted_and_by_what(
        self, bench: Bench
    ) -> None:
        """Provenance is on the wire, the rule's place in the details."""
        result = bench.add()

        assert result.event is not None
        assert result.event.granted_capabilities == ("notes:write",)
        wire = json.loads(result.event.to_json())["capability_provenance"]
        assert wire == [{"cap": "notes:write", "source": {"kind": "string_allow_list"}}]
        details = bench.store.events[0].details
        assert details is not None
        assert details.grants.grants == (ALICE,)
        assert bench.store.events[1].details == details

    def test_the_details_carry_what_the_wire_event_does_not(self, bench: Bench) -> None:
        """Actor, namespace, effect, policy, reason and the digest of the arguments."""
        bench.builder.with_policy("ab" * 32)

        bench.add(actor=ActorRef("os", "me"), reason="why", labels={"job": "1"})

        details = bench.store.events[0].details
        assert details is not None
        assert (details.actor, details.namespace) == ("os:me", "local")
        assert (details.pack, details.effect) == ("notes", "write")
        assert (details.reason, details.labels) == ("why", {"job": "1"})
        assert details.policy == "ab" * 32
        assert details.args_digest is not None
        assert len(details.args_digest) == 16

    def test_the_digest_depends_on_the_arguments_not_on_their_order(
        self, bench: Bench
    ) -> None:
        """Equal arguments have one digest, defaults counted in."""
        bench.run("note.add", {"title": "a", "size": 3}, caller="alice")
        bench.run("note.add", {"size": 3, "title": "a"}, caller="alice")
        bench.run("note.add", {"title": "a"}, caller="alice")
        bench.run("note.add", {"title": "b"}, caller="alice")

        assert len(bench.store.args_key) == 32
        other = Bench()
        other.store.args_key = b"another key"
        other.run("note.add", {"title": "a"}, caller="alice")
        theirs = other.store.events[0].details
        assert theirs is not None

        digests = [
            event.details.args_digest
            for event in bench.store.events
            if event.kind == "gate" and event.details
        ]
        assert len(set(digests[:3])) == 1
        assert digests[3] != digests[0]
        assert theirs.args_digest != digests[0]

    def test_the_context_tells_the_handler_about_its_call(self, bench: Bench) -> None:
        """Call id, caller, token, capabilities and the time that is left."""
        result = bench.add(actor=ActorRef("os", "me"))

        (context,) = bench.runs.contexts
        assert context.call_id == result.call_id
        assert context.caller == "alice"
        assert str(context.token.actor) == "os:me"
        assert context.capabilities.granted == ("notes:write",)
        assert context.remaining() == 5.0

    def test_the_sink_gets_the_same_event_with_details(self, bench: Bench) -> None:
        """A sink is a copy of the record."""
        result = bench.add()

        assert bench.sink.events == [result.event]
        assert bench.sink.details == [bench.store.events[0].details]

    def test_a_bare_sink_needs_only_on_call(self, bench: Bench) -> None:
        """An object with on_call alone is a sink, and its fault is its own."""
        seen: list[CallEvent] = []

        class Bare:
            def on_call(self, event: CallEvent) -> None:
                seen.append(event)
                raise OSError("the sink is broken")

        bench.builder.with_audit_sink(Bare())

        assert bench.add().ok
        assert len(seen) == 1

    def test_without_calls_only_the_gate_event_is_stored(self) -> None:
        """with_event_store(store) keeps exactly one event a call, never in flight."""
        bench = Bench(calls=False)

        assert bench.add().ok

        assert bench.kinds == [("gate", "success")]
        details = bench.store.events[0].details
        assert details is not None
        assert details.process is None

    def test_without_a_store_the_call_runs_all_the_same(self) -> None:
        """A library may do without a store; the receipt of a refusal says so."""
        pack = Pack("p")
        pack.handler("x")(lambda: 1)
        gate = RecordingGate(lambda r: Deny("no") if r.verb == "y" else Allow())
        pack.handler("y")(lambda: 1)
        registry = RegistryBuilder().register(pack).with_gate(gate).build()

        assert registry.dispatch("x") == 1
        with pytest.raises(PermissionDeniedError) as caught:
            registry.dispatch("y")
        assert caught.value.receipt.committed is False

    def test_the_actor_follows_from_the_caller(self, bench: Bench) -> None:
        """caller:<id> with a caller alone, anonymous:local with neither."""
        bench.add()
        bench.run("shy")

        actors = [e.actor for e in bench.store.events if e.kind == "gate"]
        assert actors == ["caller:alice", "anonymous:local"]

    def test_a_hidden_tool_can_be_called(self, bench: Bench) -> None:
        """Hidden is a matter of listings."""
        assert bench.run("shy").value == "found"


class TestNamespace:
    """Stage 2."""

    def test_a_given_namespace_is_used_and_not_passed_on(self, bench: Bench) -> None:
        """The gate sees it in the arguments, the tool does not."""
        gate = RecordingGate(lambda _: Allow())
        bench.builder.with_gate(gate)

        bench.run("note.add", {"title": "t", "namespace": "x:y"}, caller="alice")

        assert str(gate.asked[0].namespace) == "x:y"
        assert gate.asked[0].args == {"title": "t", "namespace": "x:y", "size": 3}
        assert bench.runs.params == [{"title": "t", "size": 3}]

    def test_a_tool_that_declares_namespace_gets_it(self, bench: Bench) -> None:
        """The argument is the tool's own then, too."""
        assert bench.run("scoped", {"namespace": "x"}).value == "x"

    @pytest.mark.parametrize("bad", [3, None, ["x"], "", "a::b"])
    def test_a_bad_namespace_is_refused_ungated(self, bench: Bench, bad: Any) -> None:
        """invalid_args in the default namespace, and no gate event."""
        result = bench.run("note.add", {"title": "t", "namespace": bad})

        assert isinstance(result.error, InvalidInputError)
        assert isinstance(result.outcome, InvalidArgs)
        assert bench.kinds == [("call", "invalid_args")]
        assert bench.store.events[0].namespace == "local"
        assert result.decision is None

    @pytest.mark.parametrize(
        "bad",
        [
            {"x": object()},
            {"x": {1, object()}},
            {"title": float("nan")},
            {"title": [float("inf")]},
            {"title": {"a": {1}}},
            {"title": "\ud800"},
        ],
    )
    def test_arguments_that_are_no_json_are_refused(
        self, bench: Bench, bad: Mapping[str, Any]
    ) -> None:
        """What cannot be written down cannot be called with."""
        result = bench.run("note.add", bad)

        assert str(result.error) == "arguments: must be JSON"
        assert isinstance(result.outcome, InvalidArgs)

    def test_tuples_are_arrays(self, bench: Bench) -> None:
        """A tuple means what JSON makes of it."""
        result = bench.run("note.add", {"title": (1, 2)}, caller="alice")

        assert isinstance(result.error, InvalidArgsError)
        assert result.error.faults[0].value == "[1,2]"

    @pytest.mark.parametrize("field", ["tool", "caller", "session_id", "reason"])
    @pytest.mark.parametrize("text", ["a\ud800", "a\0b"])
    def test_names_that_no_record_can_hold_are_refused(
        self, bench: Bench, field: str, text: str
    ) -> None:
        """Refused and recorded, with the text escaped; nothing is gated."""
        call = {"tool": "shy", field: text}

        result = bench.registry.run(ToolCall(**call))  # type: ignore[arg-type]

        assert isinstance(result.error, InvalidInputError)
        assert str(result.error) == f"{field}: must be UTF-8 text without NUL"
        assert bench.kinds == [("call", "invalid_args")]
        assert bench.runs.params == []

    def test_the_details_of_a_call_that_was_not_gated_are_kept(
        self, bench: Bench
    ) -> None:
        """Actor, namespace and reason of a stage-2 failure are in the record."""
        bench.run("shy", {"namespace": 3}, caller="alice", reason="why")

        details = bench.store.events[0].details
        assert details is not None
        assert (details.actor, details.caller) == ("caller:alice", "alice")
        assert (details.namespace, details.reason) == ("local", "why")


class TestHandler:
    """Stage 10."""

    def test_a_tool_error_keeps_its_code_and_its_text_stays_outside(
        self, bench: Bench
    ) -> None:
        """Code and retryable are recorded; the text is the caller's alone."""
        result = bench.run("fail")

        assert isinstance(result.error, ToolFailedError)
        assert (result.error.code, result.error.retryable) == ("NO_ROOM", True)
        assert result.error.text == "the hush disk is full"
        assert result.outcome == ExecutionFailed("NO_ROOM", retryable=True)
        assert "hush" not in str(bench.store.events)

    def test_any_other_exception_is_internal(self, bench: Bench) -> None:
        """Its text reaches the caller, never the record."""
        result = bench.run("crash")

        assert isinstance(result.error, ToolFailedError)
        assert result.error.text == "OSError: hush path"
        assert isinstance(result.error.__cause__, OSError)
        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)
        assert "hush" not in str(bench.store.events)

    def test_dispatch_raises_what_run_returns(self, bench: Bench) -> None:
        """The raised error names the call."""
        with pytest.raises(ToolFailedError, match="NO_ROOM") as caught:
            bench.registry.dispatch("fail")

        assert caught.value.call_id == bench.store.events[0].call_id

    def test_a_result_after_the_deadline_is_refused(self, bench: Bench) -> None:
        """The tier's deadline counts: a late value is TIMEOUT."""
        result = bench.run("slow", {"seconds": 5.5})

        assert isinstance(result.error, ToolTimeoutError)
        assert result.error.timeout_s == 5.0
        assert result.value is None
        assert result.outcome == ExecutionFailed("TIMEOUT", retryable=True)
        assert result.event is not None
        assert result.event.duration_ms == 5500

    def test_a_call_may_shorten_the_deadline_only(self, bench: Bench) -> None:
        """timeout_s is a bound from above."""
        assert bench.run("slow", {"seconds": 2}, timeout_s=1).error is not None
        assert bench.run("slow", {"seconds": 6}, timeout_s=60).error is not None
        assert bench.run("slow", {"seconds": 2}, timeout_s=3).ok

    def test_tiers_can_be_configured(self, bench: Bench) -> None:
        """The operator may give a tier other limits."""
        bench.builder.with_tiers({"warm": TierLimits(9.0, 100)})

        assert bench.run("slow", {"seconds": 8}).ok

    def test_a_result_over_the_limit_is_refused_whole(self, bench: Bench) -> None:
        """OUTPUT_LIMIT, and never a part of the value."""
        fits = bench.run("big", {"size": 65_534})
        result = bench.run("big", {"size": 65_535})

        assert fits.ok
        assert isinstance(result.error, ToolFailedError)
        assert result.error.code == "OUTPUT_LIMIT"
        assert result.value is None

    def test_a_result_that_is_no_json_is_internal(self, bench: Bench) -> None:
        """A tool returns what can be written down."""
        result = bench.run("odd")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_a_handler_cannot_end_the_program(self, bench: Bench) -> None:
        """sys.exit in a handler is a crash of the tool, not of who called it."""

        def leave() -> None:
            raise SystemExit(7)

        pack = Pack("leave")
        pack.handler("leave")(leave)
        bench.builder.register(pack)

        result = bench.run("leave")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_an_interrupt_is_recorded_and_goes_on(self, bench: Bench) -> None:
        """INTERRUPTED in the record, and the exception reaches the caller."""

        def stop() -> None:
            raise KeyboardInterrupt

        pack = Pack("stop")
        pack.handler("stop")(stop)
        bench.builder.register(pack)

        with pytest.raises(KeyboardInterrupt):
            bench.run("stop")

        assert bench.sink.events[0].outcome == ExecutionFailed(
            "INTERRUPTED", retryable=False
        )

    def test_a_lost_call_event_is_told_with_the_value(self) -> None:
        """The tool has run: its value comes back beside the error."""
        bench = Bench(fail_on=("call",))

        result = bench.add()

        assert isinstance(result.error, RecordLostError)
        assert result.error.failure is None
        assert result.value == {"title": "t"}
        assert result.outcome == Success()
        assert bench.sink.events == [result.event]

    def test_a_lost_call_event_of_a_failure_keeps_the_failure(self) -> None:
        """How the tool ended is not hidden by what became of its record."""
        result = Bench(fail_on=("call",)).run("fail")

        assert isinstance(result.error, RecordLostError)
        assert isinstance(result.error.failure, ToolFailedError)
        assert result.outcome == ExecutionFailed("NO_ROOM", retryable=True)

    @pytest.mark.parametrize(
        ("tool", "error"),
        [("nothing", ToolNotFoundError), ("note.add", CapabilityDeniedError)],
    )
    def test_a_refusal_whose_record_is_lost_stays_a_refusal(
        self, tool: str, error: type[Exception]
    ) -> None:
        """Nothing ran, so nobody is told that something did."""
        result = Bench(fail_on=("call",)).run(tool)

        assert isinstance(result.error, error)
        assert "record of its end cannot be written" in result.error.__notes__[0]

    def test_a_dry_run_whose_record_is_lost_did_not_run(self) -> None:
        """A dry run without a record is a call without a record: nothing ran."""
        result = Bench(fail_on=("call",)).add(dry_run=True)

        assert isinstance(result.error, AuditUnavailableError)

    def test_arguments_that_the_handler_refuses_are_invalid_args(
        self, bench: Bench
    ) -> None:
        """A handler may find what no schema can say."""

        def picky(n: int) -> None:
            raise InvalidArgsError([ArgFault("n", "must be prime", str(n))])

        pack = Pack("picky")
        pack.handler("picky")(picky)
        bench.builder.register(pack)

        result = bench.run("picky", {"n": 4})

        assert isinstance(result.error, InvalidArgsError)
        assert result.outcome == InvalidArgs("n: must be prime")


class TestHook:
    """What a dispatch hook sees."""

    def test_the_hook_sees_successes_only(self, bench: Bench) -> None:
        """No hook for failures, refusals or dry runs; the last one set wins."""
        views: list[EventView] = []

        class Hook:
            def on_dispatch(self, view: EventView) -> None:
                views.append(view)

        class Never:
            def on_dispatch(self, view: EventView) -> None:
                raise AssertionError("the last hook set wins")

        bench.builder.with_dispatch_hook(Never()).with_dispatch_hook(Hook())

        bench.add()
        bench.run("fail")
        bench.run("nothing")
        bench.add(dry_run=True)

        (view,) = views
        assert (view.event.kind, view.event.outcome) == ("call", "success")
        assert view.observations == ()

    @pytest.mark.parametrize("raised", [OSError, SystemExit])
    def test_a_hook_that_raises_does_not_fail_the_call(
        self,
        bench: Bench,
        caplog: pytest.LogCaptureFixture,
        raised: type[BaseException],
    ) -> None:
        """The call has succeeded; its observer's fault is logged."""

        class Hook:
            def on_dispatch(self, view: EventView) -> None:
                raise raised

        bench.builder.with_dispatch_hook(Hook())

        assert bench.add().ok
        assert "dispatch hook raised" in caplog.text

    def test_an_async_hook_is_awaited_on_the_async_path(self, bench: Bench) -> None:
        """There, and only there; its fault is logged as well."""
        seen: list[str] = []

        class Hook:
            async def on_dispatch(self, view: EventView) -> None:
                await asyncio.sleep(0)
                seen.append(view.event.verb)
                raise OSError

        registry = bench.builder.with_dispatch_hook(Hook()).build()
        call = ToolCall("note.add", {"title": "t"}, "alice")

        assert asyncio.run(registry.arun(call)).ok
        assert registry.run(call).ok
        assert seen == ["note.add"]

    def test_a_plain_hook_is_told_on_the_async_path(self, bench: Bench) -> None:
        """Of successes, as on the other: a value that was refused is none."""
        seen: list[str] = []

        class Hook:
            def on_dispatch(self, view: EventView) -> None:
                seen.append(view.event.verb)

        registry = bench.builder.with_dispatch_hook(Hook()).build()

        assert asyncio.run(registry.arun(ToolCall("shy"))).ok
        for _ in range(2):
            assert not asyncio.run(registry.arun(ToolCall("odd"))).ok
            assert not registry.run(ToolCall("odd")).ok
        assert seen == ["shy"]


class TestAsync:
    """Async handlers, and the async way in."""

    @pytest.fixture
    def registry(self) -> Registry:
        pack = Pack("p")

        @pack.handler("double")
        async def double(n: int) -> int:
            await asyncio.sleep(0)
            return 2 * n

        @pack.handler("hang", timeout=0.01)
        async def hang() -> None:
            await asyncio.sleep(60)

        @pack.handler("plain")
        def plain() -> str:
            return "p"

        @pack.handler("raise")
        async def fail() -> None:
            raise TimeoutError("the tool's own")

        return RegistryBuilder().register(pack).build()

    def test_an_async_handler_is_run_for_a_sync_caller(
        self, registry: Registry
    ) -> None:
        """dispatch drives the coroutine itself."""
        assert registry.dispatch("double", {"n": 2}) == 4

    def test_an_async_caller_awaits_it(self, registry: Registry) -> None:
        """adispatch serves both kinds of handler."""

        async def both() -> tuple[int, str]:
            return (
                await registry.adispatch("double", {"n": 3}),
                await registry.adispatch("plain"),
            )

        assert asyncio.run(both()) == (6, "p")

    def test_a_hanging_coroutine_is_ended_at_its_deadline(
        self, registry: Registry
    ) -> None:
        """Both ways in enforce the deadline."""
        sync = registry.run(ToolCall("hang"))
        result = asyncio.run(registry.arun(ToolCall("hang")))

        assert isinstance(sync.error, ToolTimeoutError)
        assert isinstance(result.error, ToolTimeoutError)

    def test_a_tools_own_timeout_is_not_the_deadline(self, registry: Registry) -> None:
        """A TimeoutError before the deadline is a crash like another."""
        result = registry.run(ToolCall("raise"))

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_the_class_form_may_be_async(self) -> None:
        """An async dispatch of a subclass is awaited like a function."""

        class Notes(Pack):
            async def dispatch(self, verb: str, *_rest: Any) -> Any:
                await asyncio.sleep(0)
                return verb

        pack = Notes("notes", handlers=[HandlerDef(name="x")])
        registry = RegistryBuilder().register(pack).build()

        assert registry.dispatch("x") == "x"
        assert asyncio.run(registry.adispatch("x")) == "x"

    def test_the_deadline_of_a_coroutine_is_of_the_loop(self) -> None:
        """It is TIMEOUT also where the registry's own clock stands still."""
        pack = Pack("p")

        @pack.handler("hang", timeout=0.01)
        async def hang() -> None:
            await asyncio.sleep(60)

        builder = RegistryBuilder().register(pack).with_clock(ManualClock())

        result = builder.build().run(ToolCall("hang"))

        assert result.outcome == ExecutionFailed("TIMEOUT", retryable=True)

    def test_a_sync_call_inside_a_loop_cannot_drive_a_coroutine(
        self, registry: Registry
    ) -> None:
        """It fails with words, and leaves no coroutine behind."""

        async def inside() -> Any:
            return registry.run(ToolCall("double", {"n": 1}))

        result = asyncio.run(inside())

        assert isinstance(result.error, ToolFailedError)
        assert "needs adispatch" in result.error.text

    def test_refusals_do_not_need_a_loop(self, registry: Registry) -> None:
        """The stages before the handler are the same functions."""
        result = asyncio.run(registry.arun(ToolCall("nothing")))

        assert isinstance(result.error, ToolNotFoundError)


def test_gates_are_a_protocol() -> None:
    """Any object with check is a gate."""
    gate: Gate = RecordingGate(lambda _: Allow())

    assert not hasattr(gate, "impl_name")
