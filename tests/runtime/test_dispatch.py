"""The pipeline: each stage, its order, and what each early end leaves behind."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    AllowRule,
    ArgFault,
    AuditObligation,
    AuditUnavailableError,
    Authority,
    CallContext,
    CallEvent,
    CallResult,
    CapabilityDenied,
    CapabilityDeniedError,
    Deny,
    EventView,
    ExecutionFailed,
    Gate,
    GateRequest,
    GateUnavailableError,
    Grant,
    HandlerDef,
    InvalidArgs,
    InvalidArgsError,
    InvalidInputError,
    Pack,
    PackDefinitionError,
    PermissionDeniedError,
    RateLimited,
    RateLimitedError,
    RateLimitObligation,
    RecordLostError,
    Registry,
    RegistryBuilder,
    Success,
    TierLimits,
    ToolCall,
    ToolError,
    ToolFailedError,
    ToolNotFound,
    ToolNotFoundError,
    ToolTimeoutError,
)
from toolrt.testing import ManualClock, MemoryEventStore, MemorySink

ALICE = Grant("notes:write", AllowRule(pattern="notes:*", file="f", line=1, column=2))


class RecordingGate:
    """A gate that answers as it is told and remembers what it was asked."""

    def __init__(self, answer: Callable[[GateRequest], Any]) -> None:
        self.answer = answer
        self.asked: list[GateRequest] = []

    def check(self, request: GateRequest) -> Allow | Deny:
        self.asked.append(request)
        found: Allow | Deny = self.answer(request)
        return found


class Runs:
    """What the handlers of `notes` were called with."""

    def __init__(self) -> None:
        self.params: list[dict[str, Any]] = []
        self.contexts: list[CallContext] = []


def notes(runs: Runs, clock: ManualClock) -> Pack:
    pack = Pack("notes")

    @pack.handler("note.add", capabilities=["notes:write"], effect="write")
    def add(title: str, size: int = 3, *, ctx: CallContext) -> dict[str, Any]:
        runs.params.append({"title": title, "size": size})
        runs.contexts.append(ctx)
        return {"title": title}

    @pack.handler("scoped")
    def scoped(namespace: str) -> str:
        return namespace

    @pack.handler("fail", errors=["NO_ROOM"])
    def fail(code: str = "NO_ROOM") -> None:
        raise ToolError(code, "the hush disk is full", retryable=True)

    @pack.handler("crash")
    def crash() -> None:
        raise OSError("hush path")

    @pack.handler("slow")
    def slow(seconds: float) -> str:
        clock.advance(seconds)
        return "late"

    @pack.handler("big", tier="hot")
    def big(size: int) -> str:
        return "x" * size

    @pack.handler("odd")
    def odd() -> object:
        return object()

    @pack.handler("limited", rate_limit_per_min=1)
    def limited() -> None: ...

    @pack.handler("inner", visibility="subhandler")
    def inner() -> None: ...

    @pack.handler("shy", hidden=True)
    def shy() -> str:
        return "found"

    return pack


class Bench:
    """One registry with everything around it within reach."""

    def __init__(self, *, fail_on: tuple[str, ...] = (), calls: bool = True) -> None:
        self.clock = ManualClock()
        self.runs = Runs()
        self.store = MemoryEventStore(fail_on=fail_on)
        self.sink = MemorySink()
        self.builder = (
            RegistryBuilder()
            .register(notes(self.runs, self.clock))
            .with_clock(self.clock)
            .with_event_store(self.store, calls=calls)
            .with_audit_sink(self.sink)
            .with_authority(Authority({"alice": [ALICE]}))
        )

    @property
    def registry(self) -> Registry:
        return self.builder.build()

    def run(self, tool: str, params: Any = None, **fields: Any) -> CallResult:
        return self.registry.run(ToolCall(tool, params, **fields))

    def add(self, title: Any = "t", **fields: Any) -> CallResult:
        return self.run("note.add", {"title": title}, caller="alice", **fields)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.outcome) for event in self.store.events]


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


class TestGate:
    """Stages 3 and 4."""

    def test_a_denial_is_one_gate_event_and_no_call_event(self, bench: Bench) -> None:
        """The gate event is the record; the receipt names it."""
        bench.builder.with_gate(RecordingGate(lambda _: Deny("not today")))

        result = bench.add()

        assert isinstance(result.error, PermissionDeniedError)
        assert result.error.reason == "not today"
        assert result.error.receipt.event_id == f"{result.call_id}/gate"
        assert result.error.receipt.committed
        assert result.error.call_id == result.call_id
        assert (result.outcome, result.event) == (None, None)
        assert bench.kinds == [("gate", "denied")]
        assert bench.runs.params == []

    def test_a_gate_that_exits_is_unavailable(self, bench: Bench) -> None:
        """It refuses like any other gate that cannot decide, and is recorded so."""

        def leave(_: GateRequest) -> Allow:
            raise SystemExit(0)

        bench.builder.with_gate(RecordingGate(leave))

        assert isinstance(bench.add().error, GateUnavailableError)
        assert bench.kinds == [("gate", "error")]
        assert bench.runs.params == []

    def test_a_denial_without_a_reason_is_a_denial(self, bench: Bench) -> None:
        """An empty reason does not let a call through, and is logged like another."""
        bench.builder.with_gate(RecordingGate(lambda _: Deny("")))

        assert isinstance(bench.add().error, PermissionDeniedError)
        assert bench.kinds == [("gate", "denied")]

    @pytest.mark.parametrize(
        "secret",
        [
            "token=s3cr3tvalue",
            "API_KEY: s3cr3tvalue",
            "Authorization: Bearer s3cr3tvalue",
            "sent bearer s3cr3tvalue here",
            "https://user:s3cr3tvalue@host/path",
            "eyJhbGciOiJFZERTQSJ9.s3cr3tvalue.s3cr3tvalue",
        ],
    )
    def test_secrets_in_a_reason_are_masked(self, bench: Bench, secret: str) -> None:
        """Neither the caller nor the record sees them; the rest stays."""
        bench.builder.with_gate(RecordingGate(lambda _: Deny(f"refused: {secret}")))

        result = bench.add()

        assert isinstance(result.error, PermissionDeniedError)
        assert result.error.reason.startswith("refused: ")
        assert "s3cr3t" not in str(result.error) + str(bench.store.events)
        assert "***" in result.error.reason

    def test_a_denial_is_logged_too(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One log record a decision, whatever the decision."""
        caplog.set_level(logging.INFO, "toolrt.gate")
        bench.builder.with_gate(RecordingGate(lambda _: Deny("no")))

        bench.add()

        (record,) = [r for r in caplog.records if r.message == "gate.check"]
        assert json.loads(record.audit_event)["decision"] == "deny"  # type: ignore[attr-defined]

    def test_a_store_needs_only_the_methods_of_the_protocol(self) -> None:
        """Without a key there is no digest, without a process nothing is in flight."""
        kept: list[Any] = []

        class Bare:
            def append_event(self, event: Any) -> Any:
                kept.append(event)
                return event

        pack = Pack("p")
        pack.handler("x")(lambda: 1)
        store: Any = Bare()
        registry = RegistryBuilder().register(pack).with_event_store(store, calls=True)

        assert registry.build().dispatch("x", {}) == 1
        assert [event.kind for event in kept] == ["gate", "call"]
        assert kept[0].details.args_digest is None
        assert kept[0].details.process is None

    def test_an_unknown_tool_that_is_denied_is_a_denial(self, bench: Bench) -> None:
        """Whether a tool exists is not told to those who are refused."""
        bench.builder.with_gate(RecordingGate(lambda _: Deny("no")))

        assert isinstance(bench.run("nothing").error, PermissionDeniedError)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            pytest.param(lambda _: 1 / 0, "GateError", id="raises"),
            pytest.param(lambda _: None, "InvalidDecision", id="None"),
            pytest.param(lambda _: True, "InvalidDecision", id="true"),
            pytest.param(lambda _: Allow(None), "InvalidDecision", id="no obligations"),  # type: ignore[arg-type]
            pytest.param(
                lambda _: Allow((object(),)),  # type: ignore[arg-type]
                "InvalidDecision",
                id="odd obligation",
            ),
            pytest.param(lambda _: Deny(object()), "InvalidDecision", id="odd reason"),  # type: ignore[arg-type]
            pytest.param(lambda _: Deny("\udcff"), "InvalidDecision", id="no text"),
        ],
    )
    def test_a_gate_that_cannot_decide_refuses(
        self, bench: Bench, answer: Callable[[GateRequest], Any], reason: str
    ) -> None:
        """The reason is the name of a class of fault, never the gate's own text."""
        bench.builder.with_gate(RecordingGate(answer))

        result = bench.add()

        assert isinstance(result.error, GateUnavailableError)
        assert result.error.reason == reason
        assert "division" not in str(result.error)
        assert bench.kinds == [("gate", "error")]
        assert result.decision == "gate_unavailable"
        assert bench.store.events[0].payload["decision"] == "gate_unavailable"

    def test_a_gate_may_be_told_to_let_through_when_it_fails(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        """on_error allow: a warning, no gate event, and the call goes on."""
        gate = RecordingGate(lambda _: 1 / 0)
        bench.builder.with_gate(gate, on_error="allow")

        result = bench.add()

        assert result.ok
        assert bench.kinds == [("call", "success")]
        assert "could not decide on note.add" in caplog.text

    def test_no_record_no_run(self) -> None:
        """A store that cannot take the gate event stops the call."""
        bench = Bench(fail_on=("gate",))

        result = bench.add()

        assert isinstance(result.error, AuditUnavailableError)
        assert bench.runs.params == []
        assert (bench.kinds, bench.sink.events) == ([], [])

    def test_no_record_of_a_denial_is_no_denial_either(self) -> None:
        """What could not be recorded is reported as that."""
        bench = Bench(fail_on=("gate",))
        bench.builder.with_gate(RecordingGate(lambda _: Deny("no")))

        assert isinstance(bench.add().error, AuditUnavailableError)

    def test_a_gate_that_writes_into_the_arguments_changes_nothing(
        self, bench: Bench
    ) -> None:
        """The gate decides on a copy."""

        def meddle(request: GateRequest) -> Allow:
            request.args["title"] = "changed"
            return Allow()

        bench.builder.with_gate(RecordingGate(meddle))

        bench.add("kept")

        assert bench.runs.params == [{"title": "kept", "size": 3}]

    def test_the_gate_is_told_who_what_and_whence(self, bench: Bench) -> None:
        """The request carries the facts that rules speak of."""
        gate = RecordingGate(lambda _: Allow())
        bench.builder.with_gate(gate)

        result = bench.add(source="cli", session_id="s", actor=ActorRef("os", "me"))

        context = gate.asked[0].context
        assert str(gate.asked[0].actor) == "os:me"
        assert (context.call_id, context.caller) == (result.call_id, "alice")
        assert (context.pack, context.effect) == ("notes", "write")
        assert (context.source, context.session_id) == ("cli", "s")
        assert context.requested == ("notes:write",)

    def test_a_decision_is_logged_once_with_its_json(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        """gate.check at INFO on toolrt.gate, the JSON as an attribute."""
        caplog.set_level(logging.INFO, "toolrt.gate")

        bench.add()

        (record,) = [r for r in caplog.records if r.message == "gate.check"]
        audit = json.loads(record.audit_event)  # type: ignore[attr-defined]
        assert audit == bench.store.events[0].payload

    def test_the_gates_name_is_recorded(self, bench: Bench) -> None:
        """impl_name, or the class's name where there is none."""
        bench.builder.with_gate(RecordingGate(lambda _: Allow()))
        bench.add()

        class Named(RecordingGate):
            impl_name = "policy v7"

        bench.builder.with_gate(Named(lambda _: Allow()))
        bench.add()

        names = [e.payload["gate_impl"] for e in bench.store.events if e.kind == "gate"]
        assert names == ["RecordingGate", "policy v7"]

    def test_a_rate_limit_obligation_is_enforced(self, bench: Bench) -> None:
        """The obligation counts per caller and verb; others are recorded."""
        obligations = (RateLimitObligation(10, 1), AuditObligation("pii"))
        bench.builder.with_gate(RecordingGate(lambda _: Allow(obligations)))
        registry = bench.registry
        call = ToolCall("shy", caller="alice")

        first, second = registry.run(call), registry.run(call)
        other = registry.run(ToolCall("shy", caller="bob"))

        assert (first.ok, other.ok) == (True, True)
        assert isinstance(second.error, RateLimitedError)
        assert second.error.retry_after_ms == 10_000
        assert bench.store.events[0].payload["obligations"][1]["tag"] == "pii"


class TestRefusals:
    """Stages 1 and 5 to 8."""

    def test_an_unknown_tool_is_gated_and_recorded_under_its_name(
        self, bench: Bench
    ) -> None:
        """Asking for what is not there is recorded like any other call."""
        result = bench.run("note.ad", {"x": 1}, caller="alice")

        assert isinstance(result.error, ToolNotFoundError)
        assert result.error.suggestions == ("note.add",)
        assert "shy" not in result.error.available
        assert "inner" not in result.error.available
        assert isinstance(result.outcome, ToolNotFound)
        assert bench.kinds == [("gate", "success"), ("call", "tool_not_found")]
        assert bench.store.events[0].tool_id == "note.ad"
        assert result.event is not None
        assert result.event.tier == "warm"

    def test_the_last_segment_finds_a_verb(self, bench: Bench) -> None:
        """`add` suggests note.add."""
        error = bench.run("add").error

        assert isinstance(error, ToolNotFoundError)
        assert error.suggestions[0] == "note.add"

    @pytest.mark.parametrize("name", ["inner", "notes:inner", ""])
    def test_a_sub_handler_is_not_callable_from_outside(
        self, bench: Bench, name: str
    ) -> None:
        """Sub-handlers serve their own pack."""
        assert isinstance(bench.run(name).error, ToolNotFoundError)

    def test_missing_capabilities_are_named_all_at_once(self, bench: Bench) -> None:
        """required, granted and missing are told apart."""
        pack = Pack("two")
        pack.handler("both", capabilities=["z", "notes:write", "a"])(lambda: 1)
        bench.builder.register(pack)

        result = bench.run("both", caller="alice")

        assert isinstance(result.error, CapabilityDeniedError)
        assert result.error.required == ("a", "notes:write", "z")
        assert result.error.granted == ("notes:write",)
        assert result.outcome == CapabilityDenied(("a", "z"))
        assert bench.kinds == [("gate", "success"), ("call", "capability_denied")]

    def test_a_denied_capability_outranks_bad_arguments(self, bench: Bench) -> None:
        """Stage 5 comes before stage 7."""
        result = bench.run("note.add", {"title": 1})

        assert isinstance(result.error, CapabilityDeniedError)

    def test_what_is_not_requested_is_not_granted(self, bench: Bench) -> None:
        """A caller may ask for less than the tool needs, and lacks it then."""
        assert isinstance(bench.add(requested=()).error, CapabilityDeniedError)

    def test_a_rate_limit_of_the_tool_is_enforced(self, bench: Bench) -> None:
        """rate_limited with the time to retry, before the arguments are looked at."""
        registry = bench.registry

        registry.run(ToolCall("limited"))
        result = registry.run(ToolCall("limited", {"bad": 1}))

        assert result.outcome == RateLimited(60_000)

    def test_a_fault_of_other_peoples_code_before_the_handler_frees_the_place(
        self, bench: Bench
    ) -> None:
        """An authority that raises is INTERNAL, and the call no longer counts."""

        class Flaky(Authority):
            broken = True

            def resolve(self, *args: Any, **kwargs: Any) -> Any:
                if self.broken:
                    raise OSError("hush")
                return super().resolve(*args, **kwargs)

        authority = Flaky()
        pack = Pack("one")
        pack.handler("alone", max_concurrent=1)(lambda: 1)
        registry = bench.builder.register(pack).with_authority(authority).build()

        broken = registry.run(ToolCall("alone"))
        authority.broken = False
        after = registry.run(ToolCall("alone"))

        assert broken.outcome == ExecutionFailed("INTERNAL", retryable=False)
        assert "hush" not in str(bench.store.events)
        assert after.ok

    def test_concurrent_calls_are_counted(self, bench: Bench) -> None:
        """The second of two at once is refused; when the first ends there is room."""
        inside, go_on = Flag(), Flag()
        pack = Pack("one")

        @pack.handler("alone", max_concurrent=1, tier="cold")
        def alone() -> None:
            inside.set()
            go_on.wait(10)

        bench.builder.register(pack)
        registry = bench.registry
        thread = Thread(target=registry.run, args=(ToolCall("alone"),))
        thread.start()
        assert inside.wait(10)

        refused = registry.run(ToolCall("alone"))
        go_on.set()
        thread.join(10)
        after = registry.run(ToolCall("alone"))

        assert refused.outcome == RateLimited(None)
        assert after.ok

    def test_every_fault_of_the_arguments_is_reported(self, bench: Bench) -> None:
        """The record holds paths and rules, never values."""
        result = bench.run(
            "note.add", {"title": 471100, "sise": "hush"}, caller="alice"
        )

        assert isinstance(result.error, InvalidArgsError)
        assert [fault.path for fault in result.error.faults] == ["sise", "title"]
        assert result.error.faults[1].value == "471100"
        assert isinstance(result.outcome, InvalidArgs)
        assert result.outcome.message == "sise: is not known; title: must be string"
        assert result.event is not None
        assert b"hush" not in result.event.to_json()

    def test_arguments_that_are_no_object_are_refused(self, bench: Bench) -> None:
        """A list is gated like anything else and fails the schema."""
        result = bench.run("note.add", ["title"], caller="alice")

        assert isinstance(result.error, InvalidArgsError)

    def test_a_schema_that_is_none_is_the_packs_fault(self, bench: Bench) -> None:
        """A broken schema is reported by handler and recorded as INTERNAL."""
        pack = Pack("bad")
        pack.handler("x", input_schema={"type": "nope"})(lambda: 1)
        bench.builder.register(pack)

        result = bench.run("x", {"a": 1})

        assert isinstance(result.error, PackDefinitionError)
        assert "bad:x" in str(result.error)
        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_a_dry_run_decides_records_and_runs_nothing(self, bench: Bench) -> None:
        """Success with dry_run, and a preview of the arguments."""
        result = bench.add(dry_run=True)

        assert result.value == {
            "dry_run": True,
            "tool_id": "notes:note.add",
            "args_preview": {"title": "t", "size": 3},
        }
        assert bench.runs.params == []
        assert result.event is not None
        assert (result.event.dry_run, result.event.secrets_resolved) == (True, False)
        assert bench.kinds == [("gate", "success"), ("call", "success")]

    def test_a_dry_run_is_refused_like_the_call(self, bench: Bench) -> None:
        """It goes through the same gate and the same checks."""
        result = bench.run("note.add", {"title": "t"}, dry_run=True)

        assert isinstance(result.error, CapabilityDeniedError)


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
