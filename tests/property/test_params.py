"""Whatever a call is given, it ends in a value or in a ToolrtError, and in a record."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolrt import (
    ActorRef,
    Allow,
    AuditEvent,
    Authority,
    CallEvent,
    CallResult,
    Deny,
    HandlerDef,
    InvalidInputError,
    Pack,
    Registry,
    RegistryBuilder,
    ToolCall,
    ToolError,
    ToolrtError,
)
from toolrt.bindings.command import CommandSpec, bind_command
from toolrt.gate import GateRequest
from toolrt.testing import MemoryEventStore, MemorySink

from .strategies import (
    CANARY,
    REPEATABLE,
    any_text,
    canary_text,
    json_values,
    python_scalars,
    python_values,
    storable_text,
    valid_text,
)

pytestmark = pytest.mark.slow

RULES = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "ratio": {"type": "number", "multipleOf": 0.5},
        "level": {"enum": [1, "two", None, True]},
        "same": {"const": {"a": [1]}},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "when": {"type": "string", "format": "date-time"},
        "either": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "never": False,
        "tree": {"$ref": "#/$defs/tree"},
    },
    "required": ["text"],
    "propertyNames": {"maxLength": 8},
    "minProperties": 1,
    "not": {"required": ["ratio", "level"]},
    "additionalProperties": False,
    "$defs": {
        "tree": {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/tree"},
            "contains": {"type": "null"},
            "dependentRequired": {"a": ["b"]},
        }
    },
}


def make_pack() -> Pack:
    pack = Pack("any")

    @pack.handler("any.typed")
    def typed(
        text: str,
        count: int = 1,
        flag: bool = False,
        tags: list[str] = [],  # noqa: B006 - a default of the schema, never changed
        extra: dict[str, int] | None = None,
    ) -> dict[str, Any]:
        return {"text": text, "count": count, "flag": flag, "tags": tags}

    @pack.handler("any.open")
    def open_(**given: Any) -> Any:
        return {"given": given}

    @pack.handler("any.ruled", input_schema=RULES)
    def ruled(**given: Any) -> Any:
        return given

    @pack.handler("any.placed", capabilities=["any:place"])
    def placed(namespace: str, **given: Any) -> str:
        return namespace

    @pack.handler("any.anything", input_schema={})
    def anything(**given: Any) -> Any:
        return [*given.values()]

    @pack.handler("any.fails")
    def fails(**given: Any) -> Any:
        raise ToolError("FAILED", f"with {given}")

    @pack.handler("any.breaks")
    def breaks(**given: Any) -> Any:
        raise ValueError(f"with {given}")

    @pack.handler("any.no_json")
    def no_json(**given: Any) -> Any:
        return {object(): given}

    @pack.handler("any.changes")
    def changes(**given: Any) -> Any:
        for value in given.values():
            if isinstance(value, dict | list):
                value.clear()
        return given

    @pack.handler("any.single", max_concurrent=1)
    def single(**given: Any) -> Any:
        return None

    broken = HandlerDef(name="any.broken", input_schema={"type": "no such type"})
    pack.bind(broken, lambda given, _ctx: given, has_sure_schemas=True)
    spec = CommandSpec(command=("true", "{text}", "--x={count}"), stdin="text")
    pack.bind(HandlerDef(name="any.command"), bind_command(spec), ends_itself=True)
    return pack


class TellingGate:
    """Decides as it is told; when it fails it tells all arguments."""

    decision: str = "allow"

    def check(self, request: GateRequest) -> Any:
        if self.decision == "raise":
            raise ValueError(f"{request.args}")
        if self.decision == "nonsense":
            return request.args
        return Allow() if self.decision == "allow" else Deny("no")


class Bench:
    """A registry, and everything that it recorded."""

    def __init__(self) -> None:
        self.store = MemoryEventStore()
        self.sink = MemorySink()
        self.gate = TellingGate()
        self.logged: list[str] = []
        self.registry: Registry = (
            RegistryBuilder()
            .register(make_pack())
            .with_gate(self.gate)
            .with_authority(Authority({"alice": ["any:place"]}))
            .with_event_store(self.store, calls=True)
            .with_audit_sink(self.sink)
            .build()
        )

    def run(self, call: ToolCall) -> CallResult:
        """Make *call*, and check what holds for the result of each."""
        result = self.registry.run(call)

        assert result.ok == (result.error is None)
        assert isinstance(result.error, ToolrtError | None)
        return result

    def dispatch(self, verb: str, params: Any, **named: Any) -> None:
        """Make a call that may raise a ToolrtError and nothing else."""
        try:
            self.registry.dispatch(verb, params, **named)
        except ToolrtError as exc:
            error = exc
        else:
            return
        assert error.code
        assert str(error)

    def recorded(self) -> bytes:
        """Return every byte that was recorded, after reading the records back."""
        for event in self.sink.events:
            assert CallEvent.from_json(event.to_json()) == event
        for stored in self.store.events:
            as_what = AuditEvent if stored.kind == "gate" else CallEvent
            msgspec.convert(stored.payload, as_what)
        every = (self.store.events, self.sink.events, self.sink.details, self.logged)
        return b"".join(msgspec.json.encode(part) for part in every)


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bench: Bench | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.bench is not None:
            event = getattr(record, "audit_event", "")
            self.bench.logged.append(f"{record.getMessage()} {event}")


@pytest.fixture(scope="module")
def keeping() -> Iterator[_Keeping]:
    """Listen to the gate's log, as an operator may."""
    keeping, logger = _Keeping(), logging.getLogger("toolrt")
    level = logger.level
    logger.addHandler(keeping)
    logger.setLevel(logging.INFO)
    yield keeping
    logger.setLevel(level)
    logger.removeHandler(keeping)


@pytest.fixture(scope="module")
def new_bench(keeping: _Keeping) -> Any:
    """Return what makes a bench that hears the log."""

    def make() -> Bench:
        keeping.bench = Bench()
        return keeping.bench

    return make


def _is_no_name(value: object) -> bool:
    return not (isinstance(value, str) and CANARY in value)


VERBS = [definition.name for definition in make_pack().handlers]
NAMES = ["text", "count", "flag", "tags", "extra", "ratio", "level", "tree", "either"]
verbs = st.sampled_from([*VERBS, "any:any.typed", "any.unknown", "other:any.typed"])
decisions = st.sampled_from(["allow", "allow", "allow", "deny", "raise", "nonsense"])
names = st.one_of(st.sampled_from(NAMES), valid_text)
json_params = st.one_of(st.dictionaries(names, json_values, max_size=5), json_values)
python_params = st.one_of(
    st.dictionaries(names, python_values, max_size=3),
    python_values,
    # A namespace that parses is a name of the caller's choice, and recorded.
    st.dictionaries(
        st.just("namespace"),
        st.one_of(canary_text.map("!".__add__), python_scalars.filter(_is_no_name)),
    ),
)


class TestParams:
    """Arbitrary JSON as params never yields anything but a value or a ToolrtError."""

    @REPEATABLE
    @given(verb=verbs, params=json_params, decision=decisions, dry_run=st.booleans())
    def test_arbitrary_json_is_a_value_or_a_typed_error(
        self, new_bench: Any, verb: str, params: Any, decision: str, dry_run: bool
    ) -> None:
        """Neither run nor dispatch raises anything else, and no value is recorded."""
        bench = new_bench()
        bench.gate.decision = decision

        bench.run(ToolCall(verb, params, caller="alice", dry_run=dry_run))
        bench.dispatch(verb, params, caller="alice")

        assert CANARY.encode() not in bench.recorded()

    @REPEATABLE
    @given(verb=verbs, params=python_params, decision=decisions)
    def test_arbitrary_python_values_are_a_value_or_a_typed_error(
        self, new_bench: Any, verb: str, params: Any, decision: str
    ) -> None:
        """What is no JSON is refused, by name, and what it shows is not recorded."""
        bench = new_bench()
        bench.gate.decision = decision

        bench.run(ToolCall(verb, params, caller="alice"))
        bench.dispatch(verb, params, caller="alice")

        assert CANARY.encode() not in bench.recorded()

    @REPEATABLE
    @given(verb=st.sampled_from(VERBS), params=json_params)
    def test_each_call_has_a_gate_event_and_a_call_event_or_a_refusal(
        self, new_bench: Any, verb: str, params: Any
    ) -> None:
        """An allowed call has both; one with a bad namespace has the call event alone."""
        bench = new_bench()

        result = bench.run(ToolCall(verb, params, caller="alice"))

        kinds = [event.kind for event in bench.store.events]
        assert kinds in (["gate", "call"], ["call"])
        assert bench.sink.events == [result.event]
        assert kinds == ["gate", "call"] or result.outcome.kind == "invalid_args"

    @REPEATABLE
    @given(params=st.dictionaries(names, json_values, max_size=4))
    def test_what_an_open_tool_is_given_comes_back(
        self, new_bench: Any, params: dict[str, Any]
    ) -> None:
        """Arguments reach the tool as they are, and the caller's own are not changed."""
        before = msgspec.json.encode(params)

        result = new_bench().run(ToolCall("any.open", params))
        new_bench().run(ToolCall("any.changes", params))

        assert result.ok
        assert result.value == {"given": params}
        assert msgspec.json.encode(params) == before


class TestNames:
    """Names of the caller's choice are recorded, escaped if need be, or refused."""

    @REPEATABLE
    @given(
        verb=st.one_of(verbs, any_text),
        caller=st.one_of(st.none(), any_text),
        namespace=any_text,
        decision=decisions,
    )
    def test_arbitrary_names_are_a_value_or_a_typed_error(
        self,
        new_bench: Any,
        verb: str,
        caller: str | None,
        namespace: str,
        decision: str,
    ) -> None:
        """Any text as verb, caller and namespace: run does not raise, records encode."""
        bench = new_bench()
        bench.gate.decision = decision
        params = {"namespace": namespace, "text": CANARY}

        result = bench.run(ToolCall(verb, params, caller=caller))
        bench.dispatch(verb, params, caller=caller)

        assert result.call_id
        assert CANARY.encode() not in bench.recorded()

    @REPEATABLE
    @given(kind=storable_text, id_=storable_text, verb=verbs)
    def test_arbitrary_actors_are_a_value_or_a_typed_error(
        self, new_bench: Any, kind: str, id_: str, verb: str
    ) -> None:
        """An actor is any text that can be written."""
        bench = new_bench()

        bench.run(ToolCall(verb, {"text": CANARY}, actor=ActorRef(kind, id_)))

        assert len(bench.sink.events) == 1
        assert CANARY.encode() not in bench.recorded()

    @pytest.mark.parametrize("id_", ["\ud800", "a\0b"])
    def test_an_actor_that_no_record_can_hold_is_refused_as_input(
        self, new_bench: Any, id_: str
    ) -> None:
        """Lone surrogates and NUL in an actor are the caller's fault and recorded."""
        bench = new_bench()

        result = bench.run(ToolCall("any.open", actor=ActorRef("user", id_)))

        assert isinstance(result.error, InvalidInputError)
        assert len(bench.sink.events) == 1
        assert bench.recorded()

    @REPEATABLE
    @given(
        requested=st.one_of(st.none(), st.lists(any_text, max_size=3).map(tuple)),
        proofs=st.lists(any_text, max_size=2).map(tuple),
        reason=st.one_of(st.none(), any_text),
        session=st.one_of(st.none(), any_text),
        source=st.one_of(st.none(), any_text),
        labels=st.dictionaries(storable_text, storable_text, max_size=2),
    )
    def test_arbitrary_texts_about_a_call_are_a_value_or_a_typed_error(
        self,
        new_bench: Any,
        requested: tuple[str, ...] | None,
        proofs: tuple[str, ...],
        reason: str | None,
        session: str | None,
        source: str | None,
        labels: dict[str, str],
    ) -> None:
        """Capabilities, proofs, reason, session, source and labels hold any text."""
        bench = new_bench()
        call = ToolCall("any.typed", {"text": CANARY}, requested=requested)
        call = msgspec.structs.replace(
            call, proofs=proofs, reason=reason, session_id=session, labels=labels
        )

        bench.run(msgspec.structs.replace(call, source=source))

        assert len(bench.sink.events) == 1
        assert CANARY.encode() not in bench.recorded()

    @pytest.mark.parametrize("labels", [{"a": "\ud800"}, {"\ud800": "a"}])
    def test_labels_that_no_record_can_hold_are_refused_or_escaped(
        self, new_bench: Any, labels: dict[str, str]
    ) -> None:
        """What is recorded of a call can be written down."""
        bench = new_bench()

        bench.run(ToolCall("any.open", labels=labels))

        assert bench.recorded()

    @REPEATABLE
    @given(
        timeout_s=st.one_of(st.floats(), st.just(math.nan), st.integers(-5, 5)),
        verb=st.sampled_from(VERBS),
    )
    @example(timeout_s=0.0, verb="any.command")
    @example(timeout_s=-1.0, verb="any.command")
    def test_an_arbitrary_timeout_is_a_value_or_a_typed_error(
        self, new_bench: Any, timeout_s: float, verb: str
    ) -> None:
        """A deadline only gets shorter by it, and one that is no number harms nobody."""
        bench = new_bench()

        bench.run(ToolCall(verb, {"text": CANARY}, timeout_s=timeout_s))

        assert len(bench.sink.events) == 1
        assert CANARY.encode() not in bench.recorded()

    @pytest.mark.parametrize("timeout_s", [-math.inf, -1e300])
    def test_a_timeout_far_below_zero_keeps_no_place(
        self, new_bench: Any, timeout_s: float
    ) -> None:
        """Nothing is raised by run, and a tool with one place can be called again."""
        bench = new_bench()

        bench.run(ToolCall("any.single", timeout_s=timeout_s))

        assert len(bench.sink.events) == 1
        assert bench.run(ToolCall("any.single")).ok
