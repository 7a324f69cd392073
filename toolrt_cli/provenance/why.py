"""One line for each source of what a call needs: what ``run --why`` prints."""

from __future__ import annotations

from collections.abc import Iterable

from toolrt_cli.provenance.answer import Used, explain
from toolrt_cli.provenance.text import describe
from toolrt_cli.provenance.today import facts_of
from toolrt_cli.wiring import Session


def describe_grants(
    session: Session, caller: str, capabilities: Iterable[str]
) -> list[str]:
    """Return one line for each capability: the rule that grants it, or that none does."""
    facts, lines = facts_of(session), []
    for capability in capabilities:
        document = explain(facts, caller, capability, used=Used(), now_us=0)
        lines += [
            f"{capability}: {describe(path['links'][-1])}" for path in document["paths"]
        ]
        if not document["paths"]:
            lines.append(f"{capability}: no rule grants it to {caller}")
    return lines
