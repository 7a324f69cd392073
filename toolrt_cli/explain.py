"""
Why a caller has a capability, or has not: the answer as one JSON document.

`explain` builds the document from the configuration and from what the store counted;
`render` draws the text from that document alone, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt import AllowRule, Grant
from toolrt.gate import glob
from toolrt_cli.grant_lines import Change, grant_lines
from toolrt_cli.output import to_json
from toolrt_cli.times import show_utc
from toolrt_cli.wiring import Session, authority

Document = dict[str, Any]

#: Rules of other callers that are listed beside a refusal.
_MOST_NEAR: Final = 3
#: From here on a rule of the caller's own looks like the capability misspelt.
_TYPO: Final = 0.8


def explain(
    session: Session,
    caller: str,
    capability: str,
    *,
    used: Mapping[str, Any],
    now_us: int,
) -> Document:
    """
    Return the document ``toolrt.explain/1`` without its ``schema`` key.

    Args:
        used: How often recorded calls used the capability: ``calls``, and ``first`` and
            ``last`` as RFC 3339 text or None.

        now_us: When the question is asked, in Unix microseconds.
    """
    found = authority(session, [caller]).resolve(caller, [capability])
    document: Document = {
        "caller": caller,
        "capability": capability,
        "decision": "allow" if found.grants else "deny",
        "evaluated_at": show_utc(now_us),
        "config": {"path": session.config.path, "sha256": session.config.sha256},
        "paths": [{"links": [_link(session, caller, one)]} for one in found.grants],
        "rejected": [],
        "used": dict(used),
        "effective_until": None,
        "change": None,
    }
    if not found.grants:
        document["rejected"] = _rejected(session, caller, capability)
        file = session.config_to_edit
        change = grant_lines(session.config, file, caller, [capability])
        document["change"] = msgspec.to_builtins(change)
    return document


def _link(session: Session, caller: str, grant: Grant) -> Document:
    rule = grant.source
    assert isinstance(rule, AllowRule)
    how = "is" if rule.pattern == grant.capability else "covers"
    is_declared = grant.capability in session.capabilities
    checks = [
        {
            "name": "pattern",
            "ok": True,
            "detail": f"{to_json(rule.pattern)} {how} {grant.capability}",
        },
        {
            "name": "declared",
            "ok": is_declared,
            "detail": f"{'a' if is_declared else 'no'} loaded pack needs it",
        },
    ]
    actors = session.config.config.callers[caller].actors
    if actors is not None:
        who = ", ".join(actors) or "nobody"
        line = session.config.position("callers", caller, "actors")
        detail = f"only {who} may call as {caller}, line {line.line if line else '?'}"
        checks.append({"name": "actors", "ok": bool(actors), "detail": detail})
    return {
        "kind": "allow_list",
        "source": _source(rule),
        "pattern": rule.pattern,
        "issuer": None,
        "audience": caller,
        "digest": None,
        "checks": checks,
        "expires": None,
    }


def _source(rule: AllowRule) -> Document:
    return {"file": rule.file, "line": rule.line, "column": rule.column}


def _rejected(session: Session, caller: str, capability: str) -> list[Document]:
    """Return the rules that were looked at and did not grant, the nearest first."""
    callers = session.config.config.callers
    own = [
        _near(session, name, index, pattern, f"does not cover {capability}")
        for name in (caller,)
        if name in callers
        for index, pattern in enumerate(callers[name].capabilities)
    ]
    others = [
        _near(session, name, index, pattern, f"it is for {name}")
        for name, table in callers.items()
        if name != caller
        for index, pattern in enumerate(table.capabilities)
        if glob(pattern).match(capability)
    ]
    own.sort(key=lambda item: -_likeness(item["pattern"], capability))
    nearest = (
        [*others[:_MOST_NEAR], *own]
        if not _is_like(own, capability)
        else [
            *own,
            *others[:_MOST_NEAR],
        ]
    )
    return [{**item, "nearest": index == 0} for index, item in enumerate(nearest)]


def _near(
    session: Session, caller: str, index: int, pattern: str, reason: str
) -> Document:
    at = session.config.position("callers", caller, "capabilities", index)
    return {
        "kind": "allow_list",
        "source": {
            "file": session.config.path,
            "line": at and at.line,
            "column": at and at.column,
        },
        "pattern": pattern,
        "audience": caller,
        "reason": reason,
    }


def _is_like(own: Sequence[Document], capability: str) -> bool:
    return bool(own) and _likeness(own[0]["pattern"], capability) > _TYPO


def _likeness(pattern: str, capability: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, pattern, capability).ratio()


def describe_grants(
    session: Session, caller: str, capabilities: Iterable[str]
) -> list[str]:
    """Return one line for each capability: the rule that grants it, or that none does."""
    resolved = authority(session, [caller])
    lines = []
    for capability in capabilities:
        grants = resolved.resolve(caller, [capability]).grants
        lines += [
            f"{capability}: {_describe(_link(session, caller, g))}" for g in grants
        ]
        if not grants:
            lines.append(f"{capability}: no rule grants it to {caller}")
    return lines


def render(document: Document, *, show_time: Any = str) -> list[str]:
    """Return the lines of text that *document* says; not yet escaped."""
    allowed = document["decision"] == "allow"
    verdict = "ALLOW" if allowed else "DENY"
    may = "may use" if allowed else "may not use"
    config = document["config"]
    digest = f", sha256 {config['sha256'][:12]}" if config["sha256"] else ""
    lines = [
        f"{verdict}  {document['caller']} {may} {document['capability']}",
        f"config  {config['path'] or 'built-in default'}{digest}",
    ]
    for path in document["paths"]:
        lines += [f"✓ {_describe(link)}" for link in path["links"]]
        lines += [
            f"    {'✓' if check['ok'] else '✗'} {check['name']}: {check['detail']}"
            for link in path["links"]
            for check in link["checks"]
        ]
    for item in document["rejected"]:
        mark = "   <- nearest" if item["nearest"] else ""
        lines.append(f"✗ {_describe(item)}: {item['reason']}{mark}")
    if not allowed and not document["rejected"]:
        lines.append("✗ allow-list: no rule names this caller or this capability")
    lines.append(_usage(document["used"], show_time))
    lines += _ending(document)
    return lines


def _describe(item: Document) -> str:
    place = _place(item["source"])
    caller, pattern = to_json(item["audience"]), to_json(item["pattern"])
    return f"allow-list {place} callers.{caller} {pattern}"


def _place(source: Mapping[str, Any]) -> str:
    return f"{source['file']}:{source['line']}:{source['column']}"


def _usage(used: Mapping[str, Any], show_time: Any) -> str:
    if not used["calls"]:
        return "used by no recorded call"
    plural = "s" if used["calls"] > 1 else ""
    first, last = show_time(used["first"]), show_time(used["last"])
    return f"used by {used['calls']} recorded call{plural}, first {first}, last {last}"


def _ending(document: Document) -> list[str]:
    change = document["change"]
    if change is not None:
        return ["to allow it:", *msgspec.convert(change, Change).as_text()]
    sources = [link["source"] for p in document["paths"] for link in p["links"]]
    places = [_place(source) for source in sources if source["file"] is not None]
    return [f"removing {' and '.join(places)} ends this access"] if places else []
