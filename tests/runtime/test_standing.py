"""What is remembered of a caller of a tool, and what is asked for each call."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from toolrt import (
    ActorRef,
    Allow,
    AllowAllGate,
    Authority,
    CallContext,
    CapabilityDeniedError,
    Deny,
    Gate,
    GateRequest,
    GateRule,
    GateUnavailableError,
    Pack,
    PermissionDeniedError,
    RateLimitedError,
    RateLimitObligation,
    Registry,
    RegistryBuilder,
    RuleGate,
    ToolCall,
)
from toolrt.capability import CapabilitySet
from toolrt.testing import MemorySink

from .dispatch_bench import RecordingGate


class CountingAuthority(Authority):
    """An authority of another kind, which counts what it is asked."""

    def __init__(self, allow_lists: dict[str, list[str]]) -> None:
        super().__init__(allow_lists)
        self.asked: list[str | None] = []

    def resolve(
        self,
        caller: str | None,
        requested: Iterable[str],
        proofs: Sequence[str] = (),
        at: int | None = None,
        params: object = None,
    ) -> CapabilitySet:
        self.asked.append(caller)
        return super().resolve(caller, requested, proofs, at, params)


class EveryOther(GateRule, frozen=True, kw_only=True):
    """A rule with a condition of its own."""

    seen: list[int]

    def matches(self, request: GateRequest) -> bool:
        self.seen.append(1)
        return len(self.seen) % 2 == 0


class Meddling(RuleGate):
    """A gate that only looks like the one that ships."""

    def check(self, request: GateRequest) -> Allow | Deny:
        return Deny("of its own mind")


def registry(
    gate: Gate | None = None,
    *,
    authority: Authority | None = None,
    sink: MemorySink | None = None,
) -> Registry:
    pack = Pack("p")

    @pack.handler("echo", capabilities=["p:echo"])
    def echo(value: Any = None) -> Any:
        return value

    @pack.handler("free")
    def free(value: Any = None) -> Any:
        return value

    return (
        RegistryBuilder()
        .register(pack)
        .with_gate(gate or AllowAllGate())
        .with_authority(authority or Authority({"alice": ["p:echo"], "bob": []}))
        .with_audit_sink(sink or MemorySink())
        .build()
    )


def test_each_caller_has_what_it_is_granted_itself() -> None:
    """What is remembered of one caller is no other's, whoever comes first."""
    made = registry()

    for _ in range(2):
        assert made.dispatch("echo", caller="alice") is None
        for caller in ("bob", "", None, "Alice"):
            with pytest.raises(CapabilityDeniedError):
                made.dispatch("echo", caller=caller)


def test_events_of_remembered_calls_are_like_the_first() -> None:
    """The same record, but for id and time, and details that say the same."""
    sink = MemorySink()
    made = registry(sink=sink)

    results = [made.run(ToolCall("echo", {"value": n}, "alice")) for n in range(3)]

    first, second, third = (
        event.replace(call_id="", ts="", duration_ms=0) for event in sink.events
    )
    assert first == second == third
    assert sink.details[0] == sink.details[2]
    assert [result.value for result in results] == [0, 1, 2]
    assert len({result.call_id for result in results}) == 3


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({"actor": ActorRef("os", "me")}, id="actor"),
        pytest.param({"requested": ()}, id="requested"),
        pytest.param({"requested": ("p:echo", "p:more")}, id="more requested"),
        pytest.param({"proofs": ("no token",)}, id="proofs"),
        pytest.param({"session_id": "s"}, id="session"),
        pytest.param({"reason": "why"}, id="reason"),
        pytest.param({"labels": {"job": "1"}}, id="labels"),
        pytest.param({"params": {"namespace": "other"}}, id="namespace"),
    ],
)
def test_a_call_that_tells_more_is_looked_at_itself(told: dict[str, Any]) -> None:
    """Its details are its own, and the calls after it do not have them."""
    sink = MemorySink()
    made, plain = registry(sink=sink), ToolCall("free", caller="alice")

    made.run(plain)
    made.run(ToolCall(**{"tool": "free", "caller": "alice", **told}))
    made.run(plain)

    before, other, after = sink.details
    assert before == after
    assert before is after
    assert other is not before
    if told.keys() & {"actor", "reason", "labels", "params"}:
        assert other != before


def test_what_is_requested_counts_at_each_call() -> None:
    """To ask for less than a tool needs is to be refused, whatever was remembered."""
    made = registry()

    assert made.dispatch("echo", caller="alice") is None
    with pytest.raises(CapabilityDeniedError):
        made.dispatch("echo", caller="alice", requested=())
    assert made.dispatch("echo", caller="alice") is None


def test_an_authority_of_another_kind_is_asked_each_time() -> None:
    """It may decide otherwise from call to call."""
    authority = CountingAuthority({"alice": ["p:echo"]})
    made = registry(authority=authority)

    for _ in range(3):
        made.dispatch("echo", caller="alice")

    assert authority.asked == ["alice"] * 3


def test_a_gate_of_another_kind_is_asked_each_time() -> None:
    """With the arguments of each call."""
    gate = RecordingGate(lambda r: Deny("no") if r.args.get("value") == 2 else Allow())
    made = registry(gate)

    assert made.dispatch("echo", {"value": 1}, caller="alice") == 1
    with pytest.raises(PermissionDeniedError):
        made.dispatch("echo", {"value": 2}, caller="alice")
    assert made.dispatch("echo", {"value": 3}, caller="alice") == 3
    assert len(gate.asked) == 3


def test_a_gate_that_only_looks_like_a_shipped_one_is_asked() -> None:
    """A subclass decides by its own check."""
    made = registry(Meddling([]))

    with pytest.raises(PermissionDeniedError, match="of its own mind"):
        made.dispatch("echo", caller="alice")


def test_rules_on_arguments_are_tried_at_each_call() -> None:
    """Also behind a rule that does not concern the tool."""
    rules = [
        GateRule(decision="deny", verbs=("other",), args={"/value": 1}),
        GateRule(decision="deny", args={"/value": 2}, reason="no twos"),
    ]
    made = registry(RuleGate(rules))

    for _ in range(2):
        assert made.dispatch("echo", {"value": 1}, caller="alice") == 1
        with pytest.raises(PermissionDeniedError, match="no twos"):
            made.dispatch("echo", {"value": 2}, caller="alice")


def test_a_rule_of_another_kind_is_tried_at_each_call() -> None:
    """Its conditions may be anything."""
    made = registry(RuleGate([EveryOther(decision="deny", reason="now", seen=[])]))

    outcomes = [made.run(ToolCall("echo", caller="alice")).ok for _ in range(4)]

    assert outcomes == [True, False, True, False]


def test_rules_without_arguments_decide_once_and_for_all() -> None:
    """A denial is remembered like a permission, with its reason and its place."""
    rule = GateRule(decision="deny", callers=("bob",), reason="x", file="f", line=3)
    made = registry(RuleGate([rule]))

    for _ in range(2):
        assert made.dispatch("free", {"value": 1}, caller="alice") == 1
        with pytest.raises(PermissionDeniedError) as caught:
            made.dispatch("free", caller="bob")
        assert (caught.value.reason, caught.value.place) == ("x", "f:3")


def test_secrets_in_a_remembered_reason_are_masked() -> None:
    """As in one that is asked for."""
    made = registry(RuleGate([GateRule(decision="deny", reason="token=s3cr3tvalue")]))

    for _ in range(2):
        with pytest.raises(PermissionDeniedError) as caught:
            made.dispatch("free", caller="alice")
        assert caught.value.reason == "token=***"


def test_an_obligation_is_enforced_on_remembered_calls() -> None:
    """What limits a call is counted for each one."""
    rule = GateRule(decision="allow", obligations=(RateLimitObligation(3600, 2),))
    made = registry(RuleGate([rule]))

    assert made.dispatch("free", caller="alice") is None
    assert made.dispatch("free", caller="alice") is None
    with pytest.raises(RateLimitedError):
        made.dispatch("free", caller="alice")
    assert made.dispatch("free", caller="bob") is None


def test_a_rule_that_cannot_be_read_refuses_each_call() -> None:
    """As a gate that raises, and no less the second time."""
    rule: Any = GateRule(decision="allow", verbs=(3,))  # type: ignore[arg-type]
    made = registry(RuleGate([rule]))

    for _ in range(2):
        with pytest.raises(GateUnavailableError):
            made.dispatch("free", caller="alice")


def test_who_begins_to_listen_hears_of_remembered_decisions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A log record for each call from then on."""
    made = registry()
    made.dispatch("free", caller="alice")
    caplog.set_level(logging.INFO, "toolrt.gate")

    made.dispatch("free", caller="alice")

    assert [record.message for record in caplog.records] == ["gate.check"]


def test_what_is_remembered_is_bounded() -> None:
    """However many names callers give themselves."""
    made = registry()

    for n in range(3000):
        made.dispatch("free", caller=f"guest {n}")

    assert 0 < len(made.tool("free").standings) <= 1024
    assert made.dispatch("echo", caller="alice") is None


def test_a_handler_that_takes_a_context_gets_one_of_its_own() -> None:
    """What is remembered of the caller is in it, and what differs is not."""
    pack, seen = Pack("p"), []

    @pack.handler("look", capabilities=["p:look"])
    def look(*, ctx: CallContext) -> None:
        seen.append(ctx)

    made = (
        RegistryBuilder()
        .register(pack)
        .with_authority(Authority({"alice": ["p:look"]}))
        .build()
    )
    made.dispatch("look", caller="alice")
    made.dispatch("look", caller="alice", timeout_s=1)

    first, second = seen
    assert first.call_id != second.call_id
    assert (first.timeout_s, second.timeout_s) == (5.0, 1)
    assert first.capabilities == second.capabilities
    assert str(first.actor) == "caller:alice"


@pytest.mark.parametrize("gate", [AllowAllGate(), RuleGate([])])
def test_the_gates_that_ship_cannot_be_changed(gate: Any) -> None:
    """What they decided once stays decided."""
    if isinstance(gate, RuleGate):
        assert (gate.rules, gate.default) == ((), "allow")
    for name in ("check", "rules", "default"):
        with pytest.raises(AttributeError):
            setattr(gate, name, None)
