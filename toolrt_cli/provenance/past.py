"""
Facts as the record has them: of one call, or of a moment.

A call answers from the grants that its own gate event holds, a moment from the policy
that the last gate event before it names. Today's config has no part in it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from toolrt import AllowRule, Event, EventFilter, GateRule
from toolrt.capability import ChainLink, Grant
from toolrt.ucan import CODES
from toolrt_cli.call_labels import unmet_of
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import named_attempts
from toolrt_cli.policy import SCHEMA
from toolrt_cli.problems import NotCoveredError, NotFoundError
from toolrt_cli.provenance.answer import source_of
from toolrt_cli.provenance.facts import (
    Caller,
    Document,
    Facts,
    GatePolicy,
    Link,
    Root,
    Rule,
    Source,
    Token,
    as_link,
)
from toolrt_cli.times import parse_time, show_utc
from toolrt_store import Attempt, ForeignStoreError, SqliteEventStore


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """
    A point in the record, and the facts as of then.

    ``at_us`` is in Unix microseconds. ``is_asked_for`` is False for a call that neither
    got nor lacked the capability: the policy in force then answers for it.
    """

    at_us: int
    seq: int
    policy: str | None
    facts: Facts
    call_id: str | None = None
    is_asked_for: bool = True

    def as_document(self) -> Document:
        """Return it as ``at`` of ``toolrt.explain/1``."""
        return {
            "time": show_utc(self.at_us),
            "seq": self.seq,
            "policy": self.policy,
            "call_id": self.call_id,
            "asked_for": self.is_asked_for,
        }


def moment(
    store: SqliteEventStore | None, text: str, caller: str, capability: str
) -> Moment:
    """
    Return the moment that *text* names: a time, a call id, its start or ``@last``.

    Raises:
        NotFoundError: It is no time, and no call has that id.
        NotCoveredError: The record does not reach so far.
        UsageError: Several calls begin so, or the call was made for somebody else.
    """
    now_us = time.time_ns() // 1000
    try:
        at_us = parse_time(text, now_us=now_us, tz=None)
    except ValueError:
        attempts = [] if store is None else named_attempts(store, text)
        if store is None or not attempts:
            raise NotFoundError("time or call", text) from None
        return of_call(store, attempts[0], caller, capability)
    if at_us > now_us:
        problem = f"--at {text}: {show_utc(at_us)} is in the future"
        raise UsageError(problem, next_step="toolrt help time")
    if store is None:
        raise NotCoveredError("nothing is recorded yet")
    return of_time(store, at_us, caller)


def of_time(store: SqliteEventStore, at_us: int, caller: str) -> Moment:
    """
    Return the moment *at_us*, with the tokens that *caller* had shown by then.

    Raises:
        NotCoveredError: No gate event so early names a policy that is kept.
    """
    found = store.policy_at(at_us)
    when = show_utc(at_us)
    if found is None:
        first_us = store.coverage().first_us
        begins = f": it begins at {show_utc(first_us)}" if first_us else ""
        raise NotCoveredError(f"the store has no policy as of {when}{begins}")
    if found.content is None:
        raise NotCoveredError(f"the store lacks the policy {found.digest} of {when}")
    facts, roots = snapshot_facts(store, found.digest, found.content)
    tokens = tuple(_shown_by(store, caller, at_us, roots))
    facts = msgspec.structs.replace(facts, tokens=tokens)
    return Moment(at_us=at_us, seq=found.seq, policy=found.digest, facts=facts)


def _shown_by(
    store: SqliteEventStore, caller: str, at_us: int, roots: Mapping[str, Root]
) -> Iterator[Token]:
    """Yield the recorded tokens that calls of *caller* had used and that still held."""
    seen: set[str] = set()
    for use in store.uses():
        chain = use.source
        if not isinstance(chain, ChainLink) or use.caller != caller:
            continue
        if use.first_us > at_us or not chain.links or chain.digest in seen:
            continue
        seen.add(chain.digest)
        links = tuple(map(as_link, chain.links))
        root = roots.get(links[0].issuer)
        if root is not None and all(_holds(link, at_us // 1_000_000) for link in links):
            yield Token(
                links=links, root=root, is_bearer=chain.bearer, is_from_record=True
            )


def _holds(link: Link, at: int) -> bool:
    return (link.not_before or 0) <= at and (link.expires is None or at < link.expires)


def of_call(
    store: SqliteEventStore, attempt: Attempt, caller: str, capability: str
) -> Moment:
    """
    Return the moment of one call, its own grants before everything else.

    Raises:
        NotCoveredError: It did not ask for the capability, and no policy is kept.
        UsageError: It was made for another caller.
    """
    if attempt.caller != caller:
        who = "nobody" if attempt.caller is None else attempt.caller
        raise UsageError(f"call {attempt.call_id} was made for {who}, not for {caller}")
    events = store.query_events(EventFilter(call_ids=(attempt.call_id,))).items
    granted, policy = grants_of(events), policy_of(events)
    content = None if policy is None else store.policy(policy)
    had = [grant for grant in granted if grant.capability == capability]
    lacked = capability in missing_of(events)
    if not had and _is_unexplained(events, capability):
        problem = f"call {attempt.call_id} had {capability}"
        raise NotCoveredError(f"{problem}, and its record does not say by what")
    if content is None and not had and not lacked:
        problem = f"call {attempt.call_id} names no policy that is kept"
        raise NotCoveredError(f"{problem}, and did not get {capability}")
    facts, roots = Facts(), dict[str, Root]()
    if policy is not None and content is not None:
        facts, roots = snapshot_facts(store, policy, content)
    if had or lacked:
        sources = [
            *refused_tokens(events),
            *_unmet_tokens(events, caller),
            *(_source(caller, one, roots) for one in had),
        ]
        facts = _with_sources(facts, caller, capability, sources)
    return Moment(
        at_us=attempt.at_us,
        seq=attempt.seq,
        policy=policy,
        facts=facts,
        call_id=attempt.call_id,
        is_asked_for=bool(had or lacked),
    )


def grants_of(events: Sequence[Event]) -> tuple[Grant, ...]:
    """Return what the events of a call say that it was granted, with every source."""
    for event in events:
        if event.details is not None:
            return event.details.grants.grants
    # Of a call that came without details, its CallEvent names the mechanisms.
    return tuple(grant for event in events for grant in _stated(event))


def _stated(event: Event) -> Iterator[Grant]:
    for item in event.payload.get("capability_provenance") or ():
        name, source = item["cap"], item["source"]
        if source["kind"] == "ucan_chain":
            issuer, depth = source["issuer_did"], source["chain_depth"]
            yield Grant(name, ChainLink(issuer=issuer, depth=depth, digest=""))
        else:
            yield Grant(name, AllowRule(pattern=name))


def _is_unexplained(events: Sequence[Event], capability: str) -> bool:
    """Return whether a call was granted the capability and nobody says by what."""
    return any(
        capability in event.payload.get("granted_capabilities", ()) for event in events
    )


def policy_of(events: Sequence[Event]) -> str | None:
    """Return the digest of the policy that the events of a call name."""
    return next((e.details.policy for e in events if e.details is not None), None)


def missing_of(events: Sequence[Event]) -> tuple[str, ...]:
    """Return the capabilities that a call was refused for the lack of."""
    for event in events:
        if event.kind == "call" and event.outcome == "capability_denied":
            return tuple(event.payload["outcome"]["missing"])
    return ()


def refused_tokens(events: Sequence[Event]) -> Iterator[Token]:
    """Yield the token that made the call be refused whatever else it had."""
    for event in events:
        refusal = None if event.details is None else event.details.grants.refusal
        if refusal is not None:
            why = CODES.get(refusal.code, refusal.code)
            yield Token(
                code=refusal.code,
                why=why,
                named=refusal.token or "",
                named_issuer=refusal.issuer or "",
            )
            return


def _unmet_tokens(events: Sequence[Event], caller: str) -> Iterator[Token]:
    """Yield the tokens that the call brought and that its arguments did not meet."""
    for event in events:
        if event.details is not None:
            for one in unmet_of(event.details.labels):
                link = Link(
                    issuer=one.issuer,
                    audience=caller,
                    capabilities=one.capabilities,
                    digest=one.digest,
                )
                yield Token(links=(link,), unmet=one.only_with)
            return


def _source(caller: str, grant: Grant, roots: Mapping[str, Root]) -> Source:
    found = source_of(caller, grant)
    if isinstance(found, Token) and found.links[0].issuer in roots:
        return msgspec.structs.replace(found, root=roots[found.links[0].issuer])
    return found


def _with_sources(
    facts: Facts, caller: str, capability: str, sources: Sequence[Source]
) -> Facts:
    """Return *facts* in which exactly *sources* grant the capability to the caller."""
    table = facts.callers.get(caller, Caller())
    others = [rule for rule in table.rules if capability not in rule.capabilities]
    rules = [source for source in sources if isinstance(source, Rule)]
    tokens = tuple(source for source in sources if isinstance(source, Token))
    changed = msgspec.structs.replace(table, rules=(*rules, *others))
    callers = {**facts.callers, caller: changed}
    return msgspec.structs.replace(facts, callers=callers, tokens=tokens)


def snapshot_facts(
    store: SqliteEventStore, digest: str, content: str
) -> tuple[Facts, dict[str, Root]]:
    """
    Return what the policy *content* says, and the issuers that it trusts.

    Raises:
        ForeignStoreError: It is not what was stored under *digest*.
        NotCoveredError: It was kept in a form that this version does not read.
    """
    if hashlib.sha256(content.encode()).hexdigest() != digest:
        raise ForeignStoreError(store.path, f"policy {digest} was changed")
    try:
        document = msgspec.json.decode(content, type=dict)
        is_known = document["schema"] == SCHEMA
        found = (_facts(document), _roots(document)) if is_known else None
    except (msgspec.MsgspecError, KeyError, TypeError) as exc:
        raise NotCoveredError(f"policy {digest} cannot be read") from exc
    if found is None:
        raise NotCoveredError(f"policy {digest} is kept in another form")
    return found


def _facts(document: Document) -> Facts:
    config = document["config"]
    return Facts(
        config_path=config["path"],
        config_sha256=config["sha256"],
        callers={
            name: _caller(config, name, table)
            for name, table in document["callers"].items()
        },
        gate=_gate(config, document["gate"]),
    )


def _caller(config: Document, name: str, table: Document) -> Caller:
    granted: dict[AllowRule, list[str]] = {}
    for grant in table["grants"]:
        source = AllowRule(
            pattern=grant["pattern"],
            file=config["path"],
            line=grant.get("line"),
            column=grant.get("column"),
            config=config["sha256"],
        )
        granted.setdefault(source, []).append(grant["capability"])
    actors = table["actors"]
    return Caller(
        rules=tuple(Rule(name, one, tuple(names)) for one, names in granted.items()),
        actors=None if actors is None else tuple(actors),
        actors_line=table.get("actors_line"),
    )


def _roots(document: Document) -> dict[str, Root]:
    file = document["config"]["path"]
    return {
        one["did"]: Root(
            one["did"],
            None if one["capabilities"] is None else tuple(one["capabilities"]),
            file,
            one.get("line"),
        )
        for one in document["roots"]
    }


def _gate(config: Document, gate: Document) -> GatePolicy:
    rules: list[dict[str, Any]] = [
        {**rule, "file": config["path"]} for rule in gate["rules"]
    ]
    return GatePolicy(
        kind=gate["kind"],
        default=gate["default"],
        rules=tuple(msgspec.convert(rule, GateRule) for rule in rules),
    )
