"""
What the gate would say of calls that need a capability, as far as it can be told.

A capability is one question and the gate is another: who has the first may still be
refused by the second. What a rule asks of arguments, actor or namespace is not known
before the call, so such a rule only *may* decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from toolrt import GateRule
from toolrt.gate import glob
from toolrt_cli.provenance.facts import Document, Facts, Tool

_ANY: Final = "*"


def outlook(facts: Facts, caller: str, capability: str) -> list[Document]:
    """Return an item for each tool that needs *capability*: what the gate would say."""
    found = [one for one in facts.tools or () if capability in one.capabilities]
    return [_for_actors(facts, caller, _verdict(facts, caller, tool)) for tool in found]


def _for_actors(facts: Facts, caller: str, verdict: Document) -> Document:
    """Return *verdict* as it is where only some actors may call as *caller*."""
    table = facts.callers.get(caller)
    if table is None or table.actors is None or verdict["decision"] == "deny":
        return verdict
    who = ", ".join(table.actors) or "nobody"
    source = {"file": facts.config_path, "line": table.actors_line}
    return {
        **verdict,
        "decision": "depends" if table.actors else "deny",
        "source": source if facts.config_path else None,
        "reason": f"only {who} may call as {caller}",
    }


def _verdict(facts: Facts, caller: str, tool: Tool) -> Document:
    gate = facts.gate
    if gate.kind == "allow-all":
        return _item(tool, "allow", None, "the gate allows every call")
    if gate.kind != "rules":
        return _item(tool, "unknown", None, f"only {gate.kind} can tell")
    # First match wins: a rule that may match adds to what may be, one that does ends it.
    possible: list[GateRule] = []
    for rule in gate.rules:
        if _names(rule, caller, tool):
            possible.append(rule)
            if not _depends(rule):
                break
    is_settled = bool(possible) and not _depends(possible[-1])
    last = possible[-1].decision if is_settled else gate.default
    deciding = next((rule for rule in possible if rule.decision != last), None)
    if deciding is not None:
        return _item(tool, "depends", deciding, _reason(deciding))
    if is_settled:
        return _item(tool, last, possible[-1], _reason(possible[-1]))
    return _item(tool, last, None, "by default: no rule matches")


def _names(rule: GateRule, caller: str, tool: Tool) -> bool:
    """Return whether what *rule* asks, of all that is known, holds."""
    return (
        _any(rule.verbs, tool.verb)
        and _any(rule.tools, tool.tool_id)
        and _any(rule.packs, tool.pack)
        and _any(rule.effects, tool.effect)
        and _any(rule.callers, caller)
    )


def _depends(rule: GateRule) -> bool:
    """Return whether *rule* also asks what is known at the call only."""
    return bool(rule.args) or any(
        patterns and _ANY not in patterns for patterns in (rule.actors, rule.namespaces)
    )


def _any(patterns: Sequence[str], text: str) -> bool:
    return not patterns or any(glob(one).match(text) for one in patterns)


def _reason(rule: GateRule) -> str:
    return rule.reason or f"{rule.decision} rule without a reason"


def _item(tool: Tool, decision: str, rule: GateRule | None, reason: str) -> Document:
    source = {"file": rule.file, "line": rule.line} if rule is not None else None
    return {
        "tool": tool.tool_id,
        "decision": decision,
        "source": source,
        "reason": reason,
    }
