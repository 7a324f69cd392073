"""
Why a recorded call was denied, from what was recorded then.

The gate event has the reason; the policy that it names has the rules with their places.
Arguments are not kept, so where several rules give one reason only the call could tell
them apart, and all of them are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from toolrt import ActorRef, Event, EventFilter, GateContext, GateRequest, GateRule
from toolrt.gate import mask_secrets
from toolrt.namespace import Namespace
from toolrt_cli.provenance.answer import explain
from toolrt_cli.provenance.facts import Document, Facts, Token
from toolrt_cli.provenance.known import used_of
from toolrt_cli.provenance.past import (
    missing_of,
    of_call,
    policy_of,
    refused_tokens,
    snapshot_facts,
)
from toolrt_store import Attempt, SqliteEventStore

_BY_DEFAULT: Final = "denied by default: no rule matches"


def denial(store: SqliteEventStore, attempt: Attempt) -> Document | None:
    """
    Return why *attempt* was denied, None if it was not.

    ``by`` is ``gate``, ``gate_unavailable`` or ``capability``; ``rules`` are the rules
    that can have denied it; ``missing`` has an explanation for each missing capability;
    ``delegation`` names the token that was refused, if one was.

    Raises:
        ForeignStoreError: The policy on record is not the one that was stored.
        NotCoveredError: It was kept in a form that this version does not read.
    """
    events = store.query_events(EventFilter(call_ids=(attempt.call_id,))).items
    if attempt.decision in ("deny", "gate_unavailable"):
        return _by_gate(store, attempt, events)
    if attempt.outcome != "capability_denied":
        return None
    missing, caller = missing_of(events), attempt.caller
    return {
        "by": "capability",
        "reason": _lack(events, missing),
        "policy": policy_of(events),
        "rules": [],
        "delegation": next(map(_named, refused_tokens(events)), None),
        "missing": []
        if caller is None  # nobody is granted anything
        else [_missing(store, attempt, caller, one) for one in missing],
    }


def _lack(events: Sequence[Event], missing: Sequence[str]) -> str:
    for token in refused_tokens(events):
        return f"a delegation is refused: {token.code}: {token.why}"
    return f"lacks {', '.join(missing)}"


def _named(token: Token) -> Document:
    return {
        "code": token.code,
        "digest": token.digest or None,
        "issuer": token.issuer or None,
    }


def _missing(
    store: SqliteEventStore, attempt: Attempt, caller: str, capability: str
) -> Document:
    then = of_call(store, attempt, caller, capability)
    used = used_of(store, caller, capability)
    document = explain(then.facts, caller, capability, used=used, now_us=then.at_us)
    return {**document, "at": then.as_document()}


def _by_gate(
    store: SqliteEventStore, attempt: Attempt, events: Sequence[Event]
) -> Document:
    gate = next(event for event in events if event.kind == "gate")
    reason = gate.payload.get("deny_reason") or "no reason"
    policy = policy_of(events)
    content = None if policy is None else store.policy(policy)
    rules: list[Document] = []
    if policy is not None and content is not None and attempt.decision == "deny":
        facts, _ = snapshot_facts(store, policy, content)
        rules = list(_rules(facts, attempt, reason))
    by = "gate" if attempt.decision == "deny" else "gate_unavailable"
    return {
        "by": by,
        "reason": reason,
        "policy": policy,
        "rules": rules,
        "delegation": None,
        "missing": [],
    }


def _rules(facts: Facts, attempt: Attempt, reason: str) -> Iterator[Document]:
    """Yield what of the policy can have denied *attempt* with *reason*."""
    table = facts.callers.get(attempt.caller or "")
    if table is not None and table.actors is not None:
        said = f"actor {attempt.actor} may not call as {attempt.caller}"
        if reason == said and attempt.actor not in table.actors:
            where = {"file": facts.config_path, "line": table.actors_line}
            yield {"kind": "actors", **where, "conditions": list(table.actors)}
            return
    if facts.gate.kind != "rules":
        return
    if reason == _BY_DEFAULT:
        conditions = ["no rule matches"]
        yield {
            "kind": "default",
            "file": facts.config_path,
            "line": None,
            "conditions": conditions,
        }
        return
    for rule in facts.gate.rules:
        stated = mask_secrets(rule.reason or f"denied by {rule.place}")
        if rule.decision == "deny" and stated == reason and _names(rule, attempt):
            yield {
                "kind": "rule",
                "file": rule.file,
                "line": rule.line,
                "conditions": list(_conditions(rule)),
            }


def _names(rule: GateRule, attempt: Attempt) -> bool:
    """Return whether *rule* matches but for arguments, which are not on record."""
    kind, _, name = attempt.actor.partition(":")
    request = GateRequest(
        ActorRef(kind, name),
        Namespace(attempt.namespace),
        attempt.verb,
        {},
        GateContext(
            caller=attempt.caller,
            tool_id=attempt.tool,
            pack=attempt.pack,
            effect=attempt.effect,
        ),
    )
    whatever = {name: getattr(rule, name) for name in rule.__struct_fields__}
    return GateRule(**{**whatever, "args": {}}).matches(request)


def _conditions(rule: GateRule) -> Iterator[str]:
    for name in _LISTS:
        patterns = getattr(rule, name)
        if patterns:
            yield f"{name} {', '.join(patterns)}"
    yield from (f"argument {pointer}" for pointer in rule.args)


_LISTS: Final = (
    "verbs",
    "tools",
    "packs",
    "effects",
    "callers",
    "actors",
    "namespaces",
)
