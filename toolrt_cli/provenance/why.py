"""One line for each source of what a call needs: what ``run --why`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from toolrt_cli.provenance.answer import Used, explain
from toolrt_cli.provenance.facts import Token
from toolrt_cli.provenance.text import describe
from toolrt_cli.provenance.today import facts_of
from toolrt_cli.wiring import Session


def describe_grants(
    session: Session, caller: str, capabilities: Iterable[str], files: Sequence[str]
) -> list[str]:
    """
    Return one line for each capability: the source that grants it, or that none does.

    Args:
        files: Delegation tokens that the call brought beside those of the config.
    """
    facts, lines = facts_of(session, _tokens(session, caller, files)), []
    if facts.refused_token is not None:
        refused = facts.refused_token
        lines.append(f"delegation {refused.ref}: refused: {refused.why}")
    for capability in capabilities:
        document = explain(facts, caller, capability, used=Used(), now_us=0)
        lines += [
            f"{capability}: {describe(path['links'][-1])}" for path in document["paths"]
        ]
        if not document["paths"]:
            lines.append(f"{capability}: nothing grants it to {caller}")
    return lines


def _tokens(session: Session, caller: str, files: Sequence[str]) -> Sequence[Token]:
    table = session.config.config.callers.get(caller)
    if not files and not (table and table.proofs):
        return ()
    from toolrt_cli.provenance.known import latest_us
    from toolrt_cli.provenance.tokens import tokens_of
    from toolrt_cli.reading import open_to_read

    with open_to_read(session) as store:
        return tokens_of(session.config, caller, files, now_us=latest_us(store))
