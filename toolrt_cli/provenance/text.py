"""The document ``toolrt.explain/1`` as a tree for people, made from the document alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from toolrt_cli.grant_lines import Change
from toolrt_cli.output import to_json
from toolrt_cli.provenance.facts import Document, place
from toolrt_cli.provenance.near import ago

#: How a point in time is shown.
Clock: TypeAlias = Callable[[str], str]

_DIGEST: Final = 12
_DID: Final = 20
_DEEPER: Final = "   "
#: What the gate would say, where it is not plainly yes.
_GATE_SAYS: Final = {
    "deny": "denies {tool} all the same",
    "depends": "may deny {tool}, by what only the call tells",
    "unknown": "is asked at the call of {tool}",
}


def render(document: Document, *, clock: Clock = str) -> list[str]:
    """Return the lines of text that *document* says; not yet escaped."""
    return [
        *_head(document, clock),
        *(line for path in document["paths"] for line in _path(path, document, clock)),
        *_rejected(document),
        *_gate(document),
        *_usage(document["used"], clock),
        *_refused(document, clock),
        *_today(document),
        *_ending(document),
    ]


def _head(document: Document, clock: Clock) -> Iterator[str]:
    allowed = document["decision"] == "allow"
    verdict, may = ("ALLOW", "may use") if allowed else ("DENY", "may not use")
    until = document["effective_until"]
    ending = f"   until {clock(until)} ({_left(document)})" if until else ""
    yield f"{verdict}  {document['caller']} {may} {document['capability']}{ending}"
    if document["without"]:
        gone = ", ".join(_named(one) for one in document["without"]["removed"])
        yield f"without  {gone}"
    if document["at"]:
        yield f"at  {_moment(document['at'], clock)}"
    config = document["config"]
    digest = f", sha256 {config['sha256'][:_DIGEST]}" if config["sha256"] else ""
    if config["path"] or not document["at"]:
        yield f"config  {config['path'] or 'built-in default'}{digest}"


def _left(document: Document) -> str:
    from toolrt.clock import parse_rfc3339

    now_us = parse_rfc3339(document["evaluated_at"])
    until = document["effective_until"]
    if until.startswith("@"):  # no calendar has it
        return "for good"
    return ago(max(0, parse_rfc3339(until) - now_us) // 1_000_000)


def _moment(at: Mapping[str, Any], clock: Clock) -> str:
    if at["call_id"] is None:
        return f"{clock(at['time'])}, under the policy of event {at['seq']}"
    source = "its own record"
    if not at["asked_for"]:
        source = "the policy then, as its record does not say that it asked"
    return f"{clock(at['time'])}, call {at['call_id']}, from {source}"


def _path(path: Document, document: Document, clock: Clock) -> Iterator[str]:
    for depth, link in enumerate(path["links"]):
        branch = f"{_DEEPER * (depth - 1)}└─ " if depth else ""
        yield f"{branch}✓ {describe(link)}"
        for check in link["checks"]:
            sign = "✓" if check["ok"] else "✗"
            yield f"{_DEEPER * depth}    {sign} {check['name']}: {check['detail']}"
    is_only = len(document["paths"]) == 1 and not document["used"]["others"]
    if not is_only:
        yield f"    {_calls(path['used'], clock)}"


def describe(item: Document) -> str:
    """Return a link or a near miss in one line."""
    if item["kind"] == "allow_list":
        source = item["source"]
        where = place(source["file"], source["line"], source["column"])
        caller = f" callers.{to_json(item['audience'])}" if "audience" in item else ""
        return " ".join(filter(None, ["allow-list", where])) + (
            f"{caller} {to_json(item['pattern'])}"
        )
    digest = (item["digest"] or "")[:_DIGEST] or "token"
    file = item["source"]["file"]
    if item.get("issuer") is None:
        return " ".join(filter(None, ["delegation", digest, file]))
    if item["audience"] is None:
        return f"delegation {digest} by {short_did(item['issuer'])}"
    return f"delegation {digest}  {short_did(item['issuer'])} → {short_did(item['audience'])}"


def short_did(text: str) -> str:
    """Return a DID as people tell it from others: its start and its end."""
    return text if len(text) <= _DID + 6 else f"{text[:_DID]}…{text[-4:]}"


def _rejected(document: Document) -> Iterator[str]:
    for item in document["rejected"]:
        mark = "   <- nearest" if item["nearest"] else ""
        yield f"✗ {describe(item)}: {item['reason']}{mark}"
        yield f"    to pass: {item['change']}"
    if document["decision"] == "deny" and not document["rejected"]:
        yield "✗ allow-list: no rule names this caller or this capability"


def _gate(document: Document) -> Iterator[str]:
    allowed = document["decision"] == "allow"
    for item in document["gate"]:
        if item["decision"] == "allow":
            continue
        says = _GATE_SAYS[item["decision"]].format(tool=item["tool"])
        if not allowed:
            says = says.replace("denies", "would deny").replace(
                "all the same", "anyway"
            )
        source = item["source"]
        where = f" {place(source['file'], source['line'])}" if source else ""
        yield f"! the gate {says}:{where} {item['reason']}"


def _usage(used: Document, clock: Clock) -> Iterator[str]:
    yield _calls(used, clock)
    for other in used["others"]:
        how = describe(other)
        yield f"    {other['calls']} of them by {how}, which grants nothing now"


def _calls(used: Mapping[str, Any], clock: Clock) -> str:
    if not used["calls"]:
        return "used by no recorded call"
    first, last = clock(used["first"]), clock(used["last"])
    return f"used by {_count(used['calls'])}, first {first}, last {last}"


def _count(calls: int) -> str:
    return f"{calls} recorded call{'s' if calls != 1 else ''}"


def _refused(document: Document, clock: Clock) -> Iterator[str]:
    without = document["without"]
    if without is None:
        return
    refused = without["refused"]
    since, calls = clock(without["since"]), refused["calls"]
    what = (
        f"{_count(calls)} since {since}" if calls else f"no recorded call since {since}"
    )
    yield f"it would have refused {what}"
    for call in refused["first"]:
        lost = ", ".join(call["capabilities"])
        yield f"    {call['call_id']}  {clock(call['time'])}  {call['tool']}  {lost}"
    if calls > len(refused["first"]):
        yield f"    and {calls - len(refused['first'])} more"


def _today(document: Document) -> Iterator[str]:
    today = document["today"]
    if today is None:
        return
    if today["differs"]:
        yield f"today it would be {today['decision'].upper()}"
    else:
        yield f"today it is {today['decision'].upper()} as well"


def _ending(document: Document) -> list[str]:
    if document["change"] is not None:
        change = msgspec.convert(document["change"], Change)
        return ["to allow it:", *change.as_text()]
    if document["at"]:
        return []
    return _ends(document["ends"])


def _ends(groups: Sequence[Sequence[Document]]) -> list[str]:
    """Return what ends the access: of every group one part has to go."""
    removals = [_removal(group) for group in groups]
    if len(removals) < 2:  # noqa: PLR2004 - one source, or none that could go
        return [f"{one} ends this access" for one in removals]
    first, *others = removals
    every = " and ".join([first, *(one.removeprefix("removing ") for one in others)])
    count = len(removals)
    return [
        f"{count} independent sources: {every} ends this access; one alone does not"
    ]


def _removal(group: Sequence[Document]) -> str:
    """Return what ends one group: any one of its parts has to go."""
    tokens = [one["ref"][:_DIGEST] for one in group if one["kind"] == "token"]
    places = [one["ref"] for one in group if one["kind"] != "token"]
    ways = [
        f"{what} {' or '.join(refs)}"
        for what, refs in (("revoking", tokens), ("removing", places))
        if refs
    ]
    return " or ".join(ways)


def _named(removed: Document) -> str:
    if removed["kind"] == "delegation":
        return f"delegation {removed['ref'][:_DIGEST]}"
    return f"{removed['ref']} {to_json(removed['pattern'])}"


def wrapped(line: str, width: int) -> list[str]:
    """Return *line* on as many lines as *width* asks, those after the first indented."""
    from toolrt_cli.escape import display_width

    if display_width(line) <= width:
        return [line]
    start = len(line) - len(line.lstrip())
    indent = " " * min(start + 4, width // 2)
    found, current = [], line[:start]
    for word in line[start:].split(" "):
        longer = f"{current} {word}" if current.strip() else f"{current}{word}"
        if current.strip() and display_width(longer) > width:
            found.append(current)
            current = indent + word
        else:
            current = longer
    return [*found, current]


def render_denial(denial: Document, *, clock: Clock = str) -> list[str]:
    """Return the lines of text that ``denial`` of ``toolrt.attempt/1`` says."""
    gates = {"gate": "the gate", "gate_unavailable": "a gate that could not decide"}
    if denial["by"] == "capability":
        lines = [f"DENY  {denial['reason']}"]
        for document in denial["missing"]:
            lines += [f"    {line}" for line in render(document, clock=clock)]
        token = denial["delegation"]
        if token is not None and token["digest"] and not denial["missing"]:
            by = f" by {token['issuer']}" if token["issuer"] else ""
            lines.append(f"✗ delegation {token['digest']}{by}")
        return lines
    lines = [f"DENY  by {gates[denial['by']]}: {denial['reason']}"]
    if len(denial["rules"]) > 1:
        lines.append("one of these, which only the arguments could tell apart:")
    lines += [f"✗ {_rule_line(rule)}" for rule in denial["rules"]]
    if not denial["rules"] and denial["by"] == "gate":
        lines.append("✗ no rule on record gives this reason")
    return lines


def _rule_line(rule: Document) -> str:
    sort = {"rule": "gate rule", "actors": "actors", "default": "gate default"}
    where = place(rule["file"], rule["line"])
    conditions = "; ".join(rule["conditions"])
    return f"{sort[rule['kind']]} {where}{f': {conditions}' if conditions else ''}"
