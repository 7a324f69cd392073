"""Facts as today's config and today's packs have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolrt import AllowRule, GateRule, Visibility
from toolrt_cli.config import LoadedConfig
from toolrt_cli.provenance.facts import (
    Caller,
    Facts,
    GatePolicy,
    Rule,
    Token,
    Tool,
)
from toolrt_cli.wiring import Session, authority


def facts_of(session: Session, tokens: Iterable[Token] = ()) -> Facts:
    """Return the facts of *session*; *tokens* are those that the caller shows."""
    config = session.config
    return Facts(
        config_path=config.path,
        config_sha256=config.sha256,
        callers={name: _caller(session, name) for name in config.config.callers},
        tokens=tuple(tokens),
        declared=frozenset(session.capabilities),
        tools=tuple(_tools(session)),
        gate=_gate(config),
    )


def _caller(session: Session, name: str) -> Caller:
    config = session.config
    table = config.config.callers[name]
    granted: dict[AllowRule, list[str]] = {}
    # What the authority grants and nothing else, so that no answer differs from a call.
    for grant in authority(session, [name]).grants_of(name):
        if isinstance(grant.source, AllowRule):
            granted.setdefault(grant.source, []).append(grant.capability)
    rules = []
    for index, pattern in enumerate(table.capabilities):
        at = config.position("callers", name, "capabilities", index)
        source = AllowRule(
            pattern=pattern,
            file=config.path,
            line=at and at.line,
            column=at and at.column,
            config=config.sha256,
        )
        rules.append(Rule(name, source, tuple(granted.get(source, ()))))
    at = config.position("callers", name, "actors")
    return Caller(
        rules=tuple(rules), actors=table.actors, actors_line=at.line if at else None
    )


def _gate(config: LoadedConfig) -> GatePolicy:
    table = config.config.gate
    rules = []
    for index, rule in enumerate(table.rule):
        at = config.position("gate", "rule", index)
        fields = {name: getattr(rule, name) for name in rule.__struct_fields__}
        rules.append(GateRule(**fields, file=config.path, line=at and at.line))
    return GatePolicy(kind=table.kind, default=table.default, rules=tuple(rules))


def _tools(session: Session) -> Iterator[Tool]:
    for pack in session.packs:
        for handler in pack.handlers:
            if handler.visibility is Visibility.VERB:
                yield Tool(
                    verb=handler.name,
                    tool_id=f"{pack.name}:{handler.name}",
                    pack=pack.name,
                    effect=handler.effect,
                    capabilities=tuple(handler.capabilities),
                )
