"""The first half of the pipeline: the gate, and what refuses a call before it runs."""

import json
import logging
import math
import sys
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    AuditObligation,
    AuditUnavailableError,
    Authority,
    CapabilityDenied,
    CapabilityDeniedError,
    Deny,
    ExecutionFailed,
    GateRequest,
    GateUnavailableError,
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
    RegistryBuilder,
    ToolCall,
    ToolNotFound,
    ToolNotFoundError,
)
from toolrt.event import Event
from toolrt.limits import CallLimits
from toolrt.testing import MemoryEventStore

from .dispatch_bench import Bench, RecordingGate


class StoreWithRoom(MemoryEventStore):
    """Has room for so many calls of limited tools."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self.asked: list[tuple[str, int, int]] = []

    def append_event_within(self, event: Event, limits: CallLimits) -> Event:
        """Store *event*, and refuse the call if there is no more room."""
        self.asked.append((limits.tool_id, limits.max_concurrent, len(limits.windows)))
        stored = self.append_event(event)
        self._room -= 1
        if self._room < 0:
            raise RateLimitedError(700, limit="full")
        return stored


@pytest.fixture
def bench() -> Bench:
    return Bench()


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
        payload = bench.store.events[0].payload
        assert (payload["decision"], payload["deny_reason"]) == (
            "gate_unavailable",
            reason,
        )

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

    def test_where_nobody_imported_logging_nothing_is_logged(
        self,
        bench: Bench,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Nobody listens then, and the import is a fifth of a start."""
        caplog.set_level(logging.INFO, "toolrt.gate")
        monkeypatch.delitem(sys.modules, "logging")

        assert bench.add().ok
        assert "logging" not in sys.modules
        assert caplog.records == []

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
            go_on.wait(300)

        bench.builder.register(pack)
        registry = bench.registry
        thread = Thread(target=registry.run, args=(ToolCall("alone"),))
        thread.start()
        assert inside.wait(300)

        refused = registry.run(ToolCall("alone"))
        go_on.set()
        thread.join(300)
        after = registry.run(ToolCall("alone"))

        assert refused.outcome == RateLimited(None)
        assert after.ok

    def test_a_store_that_can_decides_on_limits(self) -> None:
        """It is asked with the gate event, before the tool runs, and only where limited."""
        store = StoreWithRoom(room=1)
        pack = Pack("one")
        pack.handler("alone", max_concurrent=1, rate_limit_per_min=9)(lambda: 1)
        pack.handler("free")(lambda: 2)
        pack.handler("needy", max_concurrent=1, capabilities=["a:b"])(lambda: 3)
        registry = RegistryBuilder().register(pack).with_event_store(store, calls=True)

        results = [
            registry.build().run(ToolCall(tool))
            for tool in ("free", "needy", "alone", "alone")
        ]

        assert [result.ok for result in results] == [True, False, True, False]
        assert results[3].outcome == RateLimited(700)
        assert store.asked == [("one:alone", 1, 1), ("one:alone", 1, 1)]
        assert [event.outcome for event in store.events if event.kind == "call"] == [
            "success",
            "capability_denied",
            "success",
            "rate_limited",
        ]

    def test_a_store_that_sees_no_end_decides_on_nothing(self, bench: Bench) -> None:
        """Where CallEvents are not kept, calls are counted in this process."""
        store = StoreWithRoom(room=0)
        pack = Pack("one")
        pack.handler("alone", max_concurrent=1)(lambda: 1)
        registry = RegistryBuilder().register(pack).with_event_store(store).build()

        assert registry.run(ToolCall("alone")).ok
        assert store.asked == []

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
        """Even one that was promised to be right: named by handler, and INTERNAL."""
        pack = Pack("bad")
        definition = HandlerDef(name="x", input_schema={"type": "nope"})
        pack.bind(definition, lambda _params, _ctx: 1, has_sure_schemas=True)
        bench.builder.register(pack)

        result = bench.run("x", {"a": 1})

        assert isinstance(result.error, PackDefinitionError)
        assert "bad:x" in str(result.error)
        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_an_authority_that_breaks_is_internal(self, bench: Bench) -> None:
        """Also for a tool that nobody knows: it is asked before the name is refused."""

        class Broken(Authority):
            def resolve(self, *given: Any, **named: Any) -> Any:
                raise OSError("hush")

        bench.builder.with_authority(Broken())

        result = bench.run("nothing")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)
        assert "hush" not in str(result.error)

    @pytest.mark.parametrize(
        "timeout_s", [0, -1, -math.inf, math.inf, math.nan, "5", True, 0.0]
    )
    def test_a_deadline_that_is_none_is_refused(
        self, bench: Bench, timeout_s: Any
    ) -> None:
        """It is input like any other: recorded as invalid_args, nothing gated or run."""
        result = bench.add(timeout_s=timeout_s)

        assert isinstance(result.error, InvalidInputError)
        assert isinstance(result.outcome, InvalidArgs)
        assert result.outcome.message == "timeout_s: must be a positive, finite number"
        assert bench.kinds == [("call", "invalid_args")]
        assert bench.runs.params == []

    @pytest.mark.parametrize("timeout_s", [10**400, 1e-9, 1])
    def test_any_deadline_that_can_pass_is_taken(
        self, bench: Bench, timeout_s: float
    ) -> None:
        """Of a clock that stands still even the shortest does not pass."""
        assert bench.add(timeout_s=timeout_s).error is None

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
