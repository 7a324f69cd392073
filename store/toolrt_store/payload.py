"""
What a payload says beyond the columns that every event has, and what it ought to say.

`read_facts` takes the facts out of a payload; `expected_payload` makes the payload that
an event with these columns and facts has. Where the two differ from what was given, the
difference is kept as a patch, so that any payload reads back equal. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from toolrt.audit.call_event import StringAllowList, UcanChain
from toolrt.capability import AllowRule, Grant
from toolrt.clock import rfc3339
from toolrt.event import Event
from toolrt_store.grant_sets import Grants, Source, StatedGrant, granted

_DECISIONS: Final = {"success": "allow", "denied": "deny", "error": "gate_unavailable"}


class Facts(msgspec.Struct, frozen=True):
    """
    What only the payload holds; None where it does not say.

    ``message`` is the reason of a gate that denied, or what ``invalid_args`` says.
    """

    gate_impl: str | None = None
    tier: str | None = None
    code: str | None = None
    retryable: bool = False
    retry_after_ms: int | None = None
    schema_version: int | None = None
    cursor_page: int | None = None
    dry_run: bool = False
    secrets_resolved: bool = False
    message: str | None = None
    missing: tuple[str, ...] = ()


NO_FACTS: Final = Facts()


def read_facts(event: Event) -> Facts:
    """Return what the payload of *event* says; what is no wire form says nothing."""
    payload = event.payload
    if event.kind == "call":
        return _call_facts(payload)
    if event.kind == "gate":
        return Facts(
            gate_impl=_typed(payload, "gate_impl", str),
            message=_typed(payload, "deny_reason", str),
        )
    return NO_FACTS


def _call_facts(payload: Mapping[str, Any]) -> Facts:
    outcome = _typed(payload, "outcome", dict) or {}
    return Facts(
        tier=_typed(payload, "tier", str),
        code=_typed(outcome, "code", str),
        retryable=outcome.get("retryable") is True,
        retry_after_ms=_typed(outcome, "retry_after_ms", int),
        schema_version=_typed(payload, "schema_version", int),
        cursor_page=_typed(payload, "cursor_page", int),
        dry_run=payload.get("dry_run") is True,
        secrets_resolved=payload.get("secrets_resolved") is True,
        message=_typed(outcome, "message", str),
        missing=_texts(outcome.get("missing")),
    )


def _typed(payload: Mapping[str, Any], key: str, kind: type) -> Any:
    value = payload.get(key)
    return value if type(value) is kind else None


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(value) if all(type(one) is str for one in value) else ()


def stated_grants(payload: Mapping[str, Any]) -> Grants:
    """Return the grants that the wire form in *payload* tells of."""
    listed = _texts(payload.get("granted_capabilities"))
    found = []
    provenance = payload.get("capability_provenance")
    for item in provenance if isinstance(provenance, list | tuple) else ():
        capability = item.get("cap") if isinstance(item, dict) else None
        if isinstance(capability, str):
            found.append(StatedGrant(capability, _stated_source(item.get("source"))))
    known = {one.capability for one in found}
    found += [StatedGrant(name, None) for name in listed if name not in known]
    return tuple(sorted(found, key=_by_capability))


def _by_capability(grant: StatedGrant) -> str:
    return grant.capability


def _stated_source(source: object) -> Source:
    try:
        return msgspec.convert(source, StringAllowList | UcanChain)
    except msgspec.ValidationError:
        return None


def expected_payload(event: Event, facts: Facts, grants: Grants) -> dict[str, Any]:
    """Return the payload of an event with these columns, facts and grants."""
    if event.kind == "call":
        return _call_payload(event, facts, grants)
    if event.kind == "gate":
        return _gate_payload(event, facts)
    return {}


def _gate_payload(event: Event, facts: Facts) -> dict[str, Any]:
    kind, _, id_ = event.actor.partition(":")
    payload: dict[str, Any] = {
        "timestamp": _time_text(event.created_at_us),
        "actor": {"kind": kind, "id": id_},
        "namespace": event.namespace,
        "verb": event.verb,
        "decision": _DECISIONS.get(event.outcome),
        "gate_impl": facts.gate_impl,
        "obligations": [],
    }
    if facts.message is not None:
        payload["deny_reason"] = facts.message
    return payload


def _call_payload(event: Event, facts: Facts, grants: Grants) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "ts": _time_text(event.created_at_us),
        "call_id": event.call_id,
        "tool_id": event.tool_id,
        "duration_ms": event.duration_ms,
        "outcome": _outcome(event.outcome, facts),
        "tier": facts.tier,
        "granted_capabilities": list(granted(grants)),
        "dry_run": facts.dry_run,
        "schema_version": facts.schema_version,
        "secrets_resolved": facts.secrets_resolved,
    }
    if event.caller_id is not None:
        payload["caller_id"] = event.caller_id
    if facts.cursor_page is not None:
        payload["cursor_page"] = facts.cursor_page
    provenance = list(_provenance(grants))
    if provenance:
        payload["capability_provenance"] = provenance
    return payload


def _outcome(kind: str, facts: Facts) -> dict[str, Any]:
    if kind == "execution_failed":
        return {"kind": kind, "code": facts.code, "retryable": facts.retryable}
    if kind == "invalid_args":
        return {"kind": kind, "message": facts.message}
    if kind == "capability_denied":
        return {"kind": kind, "missing": list(facts.missing)}
    if kind == "rate_limited":
        return {"kind": kind, "retry_after_ms": facts.retry_after_ms}
    return {"kind": kind}


def _provenance(grants: Grants) -> Iterable[dict[str, Any]]:
    for one in grants:
        if one.source is not None:
            yield {"cap": one.capability, "source": _wire_source(one)}


def _wire_source(grant: Grant | StatedGrant) -> dict[str, Any]:
    source = grant.source
    if isinstance(source, AllowRule | StringAllowList):
        return {"kind": "string_allow_list"}
    if isinstance(source, UcanChain):
        issuer, depth = source.issuer_did, source.chain_depth
    else:
        assert source is not None
        issuer, depth = source.issuer, source.depth
    return {"kind": "ucan_chain", "issuer_did": issuer, "chain_depth": depth}


def _time_text(at_us: int) -> str | None:
    try:
        return rfc3339(at_us)
    except (ValueError, OverflowError, OSError):
        # Beyond the years that Python can write: the patch holds the text.
        return None
