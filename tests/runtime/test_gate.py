"""Gates: rules, obligations, the record of a decision."""

import json
from typing import Any

import msgspec
import pytest

from toolrt import (
    ActorRef,
    Allow,
    AllowAllGate,
    AuditEvent,
    AuditObligation,
    CustomObligation,
    Deny,
    GateContext,
    GateRequest,
    GateRule,
    Namespace,
    Obligation,
    RateLimitObligation,
    RuleGate,
)


def request(verb: str = "fs.read", args: Any = None, **context: Any) -> GateRequest:
    facts = {
        "caller": "ci-bot",
        "tool_id": f"std:{verb}",
        "pack": "std",
        "effect": "read",
    }
    return GateRequest(
        ActorRef("os", "deploy"),
        Namespace.local(),
        verb,
        args if args is not None else {},
        GateContext(**{**facts, **context}),
    )


def deny(**conditions: Any) -> GateRule:
    return GateRule(decision="deny", reason="no", **conditions)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(deny(), id="no condition matches everything"),
        pytest.param(deny(verbs=("fs.*",)), id="verb glob"),
        pytest.param(deny(verbs=("x", "fs.rea?")), id="one of two verbs"),
        pytest.param(deny(tools=("std:fs.read",)), id="tool id"),
        pytest.param(deny(packs=("std",)), id="pack"),
        pytest.param(deny(effects=("read",)), id="effect"),
        pytest.param(deny(callers=("ci-*",)), id="caller glob"),
        pytest.param(deny(actors=("os:*",)), id="actor"),
        pytest.param(deny(namespaces=("loc*",)), id="namespace"),
        pytest.param(deny(args={"/n": 1}), id="1 is 1.0"),
        pytest.param(deny(args={"/deep": [{"x": [True, 2]}]}), id="nested value"),
        pytest.param(deny(args={"/~01": 5}), id="~01 is the key ~1"),
        pytest.param(deny(args={"/path": "x"}), id="argument"),
        pytest.param(deny(args={"/list/1": ["a", "b"]}), id="argument in a list"),
        pytest.param(deny(args={"/a~1b~0": 1}), id="escaped pointer"),
    ],
)
def test_a_rule_whose_conditions_all_hold_decides(rule: GateRule) -> None:
    """Each kind of condition can hold, alone."""
    args = {
        "path": "x",
        "list": ["z", "b"],
        "a/b~": 1,
        "n": 1.0,
        "deep": {"x": [True, 2.0]},
        "~1": 5,
    }

    assert RuleGate([rule]).check(request(args=args)) == Deny("no")


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(deny(verbs=("FS.*",)), id="case counts"),
        pytest.param(deny(verbs=("fs",)), id="a glob is not a prefix"),
        pytest.param(deny(callers=("alice",)), id="other caller"),
        pytest.param(deny(verbs=("fs.*",), callers=("alice",)), id="one of two"),
        pytest.param(deny(args={"/path": "y"}), id="other value"),
        pytest.param(deny(args={"/missing": "x"}), id="missing argument"),
        pytest.param(deny(args={"/flag": 1}), id="true is not 1"),
        pytest.param(deny(args={"/list": [[1]]}), id="a longer list"),
        pytest.param(deny(args={"/list/²": "x"}), id="a digit of another kind"),
        pytest.param(deny(args={"/list/-1": "x"}), id="a negative index"),
        pytest.param(deny(actors=("did:*",)), id="other actor"),
        pytest.param(deny(namespaces=("tenant-*",)), id="other namespace"),
        pytest.param(deny(args={"/list/9": "x"}), id="beyond a list"),
        pytest.param(deny(args={"/path/x": "x"}), id="into a string"),
    ],
)
def test_a_rule_with_a_condition_that_fails_does_not_decide(rule: GateRule) -> None:
    """All conditions must hold."""
    args = {"path": "x", "flag": True, "list": []}

    assert RuleGate([rule]).check(request(args=args)) == Allow()


def test_a_condition_on_an_absent_fact_does_not_hold() -> None:
    """A rule for some callers says nothing of a call without one; * is everybody."""
    some, all_ = RuleGate([deny(callers=("c*",))]), RuleGate([deny(callers=("*",))])

    assert some.check(request(caller=None)) == Allow()
    assert all_.check(request(caller=None)) == Deny("no")


def test_the_first_rule_that_matches_wins() -> None:
    """Order decides, not the kind of decision."""
    allow = GateRule(
        decision="allow", verbs=("fs.*",), obligations=(AuditObligation("t"),)
    )

    assert RuleGate([allow, deny()]).check(request()) == Allow((AuditObligation("t"),))
    assert RuleGate([deny(), allow]).check(request()) == Deny("no")


def test_without_a_match_the_default_decides() -> None:
    """Denied by default is told apart from denied by a rule."""
    assert RuleGate([], default="allow").check(request()) == Allow()
    assert RuleGate([], default="deny").check(request()) == Deny(
        "denied by default: no rule matches"
    )


def test_a_rule_without_a_reason_names_its_place() -> None:
    """A refusal always has a reason: where the rule stands."""
    placed = GateRule(decision="deny", file="toolrt.toml", line=7)

    assert RuleGate([placed]).check(request()) == Deny(
        "denied by toolrt.toml:7", "toolrt.toml:7"
    )
    assert RuleGate([GateRule(decision="deny")]).check(request()) == Deny(
        "denied by a deny rule"
    )


def test_allow_all_allows() -> None:
    """The default gate allows without obligations."""
    assert AllowAllGate().check(request()) == Allow()


@pytest.mark.parametrize(
    ("obligation", "expected"),
    [
        (AuditObligation("pii"), {"kind": "audit", "tag": "pii"}),
        (
            RateLimitObligation(60, 5),
            {"kind": "rate_limit", "window_secs": 60, "max": 5},
        ),
        (CustomObligation([1, None]), {"kind": "custom", "value": [1, None]}),
    ],
)
def test_obligations_have_their_wire_form(
    obligation: Obligation, expected: dict[str, Any]
) -> None:
    """Obligations are tagged by kind."""
    assert msgspec.to_builtins(obligation) == expected


@pytest.mark.parametrize(("window", "most"), [(0, 1), (1, 0)])
def test_a_rate_limit_of_nothing_is_refused(window: int, most: int) -> None:
    """Window and count are at least 1."""
    with pytest.raises(ValueError, match="at least 1"):
        RateLimitObligation(window, most)


def test_an_audit_event_of_an_allow_has_exactly_its_keys() -> None:
    """obligations is always written, deny_reason and session_id only when set."""
    asked = request(timestamp="2026-11-20T10:00:00+00:00")

    event = AuditEvent.from_check(asked, Allow(), "RuleGate")

    assert json.loads(event.to_json()) == {
        "timestamp": "2026-11-20T10:00:00+00:00",
        "actor": {"kind": "os", "id": "deploy"},
        "namespace": "local",
        "verb": "fs.read",
        "decision": "allow",
        "gate_impl": "RuleGate",
        "obligations": [],
    }


def test_an_audit_event_of_a_deny_carries_reason_and_session() -> None:
    """A refusal is recorded with its reason, never with arguments."""
    asked = request(args={"path": "/secret"}, session_id="s1")

    event = AuditEvent.from_check(asked, Deny("no"), "G")
    text = event.to_json().decode()

    assert '"deny_reason":"no"' in text
    assert '"session_id":"s1"' in text
    assert "secret" not in text


def test_a_gate_that_cannot_decide_leaves_a_fixed_reason() -> None:
    """The record of an outage has its own decision, and the name of what was wrong."""
    event = AuditEvent.unavailable(request(), "G", "GateError")

    assert event.decision == "gate_unavailable"
    assert event.deny_reason == "GateError"
