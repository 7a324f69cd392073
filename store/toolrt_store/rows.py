"""
The codec between an Event and the columns of its row.

Every column is a fact of the event. What is left over, which for ordinary events is
nothing, goes into ``extra`` as JSON: ``payload`` and ``absent`` (how the payload differs
from what the columns say), ``missing`` (of ``capability_denied``), ``details`` (where
they differ from the event) and ``substrate``.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt.capability import CapabilitySet, Grant
from toolrt.event import CallDetails, Event, EventKind
from toolrt_store.call_id import decode_id, encode_id
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import Grants, GrantSets
from toolrt_store.payload import Facts, expected_payload, read_facts, stated_grants

GATE: Final = 0
CALL: Final = 1
SYSTEM: Final = 2
KINDS: Final[tuple[EventKind, ...]] = ("gate", "call", "system")
KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}

#: The numbers of the outcomes that queries reason about; set by the first migration.
SUCCESS, DENIED, ERROR, RUNNING, INTERRUPTED, EXECUTION_FAILED = range(1, 7)
UNKNOWN: Final = 11

DRY_RUN, _SECRETS, _RETRYABLE, _DETAILS = (1 << bit for bit in range(4))

COLUMNS: Final = (
    "seq, kind, at_us, call_id, namespace, verb, tool, actor, caller, outcome,"
    " duration_ms, flags, grant_set, pack, effect, args_digest, policy, process,"
    " parent_call_id, reason, gate_impl, tier, code, retry_after_ms, schema_version,"
    " cursor_page, message, extra"
)
INSERT: Final = f"INSERT INTO events ({COLUMNS}) VALUES ({', '.join('?' * 28)})"
_NO_DETAILS: Final = CallDetails(namespace="", actor="")


def encode(
    event: Event, seq: int, dictionary: Dictionary, sets: GrantSets
) -> tuple[Any, ...]:
    """
    Return the row of *event* at *seq*, in the order of COLUMNS.

    Raises:
        ValueError: The event holds what cannot be kept.
    """
    if event.call_id is None and event.kind != "system":
        raise ValueError(f"a {event.kind} event needs a call id")
    name, number = dictionary.names, dictionary.number_of
    details = event.details or _NO_DETAILS
    facts = read_facts(event)
    grants: Grants = (
        stated_grants(event.payload) if event.details is None else details.grants.grants
    )
    return (
        seq,
        KIND_NUMBERS[event.kind],
        event.created_at_us,
        _optional_id(event.call_id),
        name[event.namespace],
        name[event.verb],
        name[event.tool_id],
        name[event.actor],
        number(event.caller_id),
        name[event.outcome],
        event.duration_ms,
        _flags(facts, has_details=event.details is not None),
        sets.numbers[grants] if grants else None,
        number(details.pack),
        number(details.effect),
        details.args_digest,
        number(details.policy),
        None if details.process is None else dictionary.processes[details.process],
        _optional_id(details.parent_call_id),
        details.reason,
        number(facts.gate_impl),
        number(facts.tier),
        number(facts.code),
        facts.retry_after_ms,
        facts.schema_version,
        facts.cursor_page,
        facts.message,
        _extra(event, facts, grants),
    )


def _optional_id(text: str | None) -> bytes | str | None:
    return None if text is None else encode_id(text)


def _flags(facts: Facts, *, has_details: bool) -> int:
    return (
        facts.dry_run * DRY_RUN
        | facts.secrets_resolved * _SECRETS
        | facts.retryable * _RETRYABLE
        | has_details * _DETAILS
    )


def _extra(event: Event, facts: Facts, grants: Grants) -> str | None:
    expected = expected_payload(event, facts, grants)
    found: dict[str, Any] = {}
    if event.payload != expected:
        found = _difference(event.payload, expected)
    if facts.missing:
        found["missing"] = list(facts.missing)
    if event.details is not None:
        differing = _differing_details(event, event.details)
        if differing:
            found["details"] = differing
    if event.substrate != "event":
        found["substrate"] = event.substrate
    return _json(found) if found else None


def _json(value: dict[str, Any]) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, RecursionError) as error:
        raise ValueError("an event holds what is no plain JSON") from error
    # Also catches what JSON would change without a word, such as NaN.
    if msgspec.json.decode(text) != _as_lists(value):
        raise ValueError("an event holds what JSON does not keep")
    return text


def _as_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_lists(one) for one in value]
    if isinstance(value, dict):
        return {key: _as_lists(one) for key, one in value.items()}
    return value


def _difference(
    payload: Mapping[str, Any], expected: Mapping[str, Any]
) -> dict[str, Any]:
    changed = {
        key: value
        for key, value in payload.items()
        if key not in expected or expected[key] != value
    }
    absent = [key for key in expected if key not in payload]
    difference: dict[str, Any] = {"payload": changed} if changed else {}
    return difference | ({"absent": absent} if absent else {})


def _differing_details(event: Event, details: CallDetails) -> dict[str, Any]:
    differing: dict[str, Any] = {}
    if details.namespace != event.namespace:
        differing["namespace"] = details.namespace
    if details.actor != event.actor:
        differing["actor"] = details.actor
    if details.caller != event.caller_id:
        differing["caller"] = details.caller
    if details.labels:
        differing["labels"] = dict(details.labels)
    return differing


def decode(row: Sequence[Any], dictionary: Dictionary, sets: GrantSets) -> Event:
    """Return the event of *row*, which holds COLUMNS."""
    seq, kind, at_us, call_id, namespace, verb, tool, actor, caller, outcome = row[:10]
    name = dictionary.texts
    extra = {} if row[27] is None else msgspec.json.decode(row[27])
    grants: Grants = () if row[12] is None else sets.sets[row[12]]
    payload: dict[str, Any] = {}
    event = Event(
        kind=KINDS[kind],
        namespace=name[namespace],
        verb=name[verb],
        tool_id=name[tool],
        actor=name[actor],
        outcome=name[outcome],
        call_id=_optional_text(call_id),
        created_at_us=at_us,
        payload=payload,
        caller_id=dictionary.text_of(caller),
        duration_ms=row[10],
        substrate=extra.get("substrate", "event"),
        details=_details(row, dictionary, grants, extra),
        seq=seq,
    )
    facts = _facts(row, dictionary, extra)
    payload.update(expected_payload(event, facts, grants))
    payload.update(extra.get("payload", {}))
    for key in extra.get("absent", ()):
        del payload[key]
    return event


def _optional_text(stored: bytes | str | None) -> str | None:
    return None if stored is None else decode_id(stored)


def _details(
    row: Sequence[Any], dictionary: Dictionary, grants: Grants, extra: Mapping[str, Any]
) -> CallDetails | None:
    if not row[11] & _DETAILS:
        return None
    pack, effect, args_digest, policy, process, parent_call_id, reason = row[13:20]
    text = dictionary.text_of
    fields: dict[str, Any] = {
        "namespace": dictionary.texts[row[4]],
        "actor": dictionary.texts[row[7]],
        "caller": text(row[8]),
    }
    return CallDetails(
        **(fields | extra.get("details", {})),
        pack=text(pack),
        effect=text(effect),
        args_digest=args_digest,
        # With details every grant has its source: see `encode`.
        grants=CapabilitySet(tuple(one for one in grants if isinstance(one, Grant))),
        policy=text(policy),
        process=None if process is None else dictionary.process_texts[process],
        parent_call_id=_optional_text(parent_call_id),
        reason=reason,
    )


def _facts(
    row: Sequence[Any], dictionary: Dictionary, extra: Mapping[str, Any]
) -> Facts:
    flags = row[11]
    gate_impl, tier, code, retry_after_ms, schema_version, cursor_page, message = row[
        20:27
    ]
    text = dictionary.text_of
    return Facts(
        gate_impl=text(gate_impl),
        tier=text(tier),
        code=text(code),
        retryable=bool(flags & _RETRYABLE),
        retry_after_ms=retry_after_ms,
        schema_version=schema_version,
        cursor_page=cursor_page,
        dry_run=bool(flags & DRY_RUN),
        secrets_resolved=bool(flags & _SECRETS),
        message=message,
        missing=tuple(extra.get("missing", ())),
    )
