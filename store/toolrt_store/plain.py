"""
The codec for ordinary events, which nearly all are: what `rows.encode` makes of them.

A payload need not be made and compared where the event says nothing beyond its columns.
What is not ordinary goes the long way. Written out: calls of functions take longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from toolrt.audit.call_event import (
    CallEvent,
    CapabilityDenied,
    ExecutionFailed,
    InvalidArgs,
    Outcome,
    RateLimited,
    Success,
    ToolNotFound,
)
from toolrt.clock import plain_us
from toolrt.event import CallDetails, Event, EventKind
from toolrt_store.call_id import encode_id
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.rows import (
    CALL,
    DETAILS,
    DRY_RUN,
    EXECUTION_FAILED,
    GATE,
    PLACED,
    RETRYABLE,
    SECRETS,
    SHARED,
    SUCCESS,
    TEXTS,
    Encoded,
    OpenGate,
    Texts,
    encode,
    kept_extra,
    texts_of,
)

_NO_DETAILS: Final = CallDetails(namespace="", actor="")
_SUCCEEDED: Final = Success()
_SUCCESS: Final = {"kind": "success"}


class Call(msgspec.Struct, frozen=True, gc=False):
    """A CallEvent on its way into the store, with its details."""

    event: CallEvent
    details: CallDetails
    #: When it ended, in Unix microseconds; None where its time is written in another way
    #: than `toolrt.clock.rfc3339` does.
    at_us: int | None

    @property
    def kind(self) -> EventKind:
        """``call``, like that of the Event that is stored."""
        return "call"

    @property
    def call_id(self) -> str:
        """The id of the call."""
        return self.event.call_id

    @property
    def id(self) -> str:
        """The id of the Event that is stored."""
        return f"{self.event.call_id}/call"

    def as_event(self) -> Event:
        """Return the Event that is stored."""
        details = self.details
        return Event.from_call(
            self.event,
            namespace=details.namespace,
            actor=details.actor,
            details=details,
        )


#: The numbers of the outcomes of a call.
_OUTCOMES: Final[Mapping[type[Outcome], int]] = {
    Success: SUCCESS,
    ExecutionFailed: EXECUTION_FAILED,
    InvalidArgs: 7,
    CapabilityDenied: 8,
    RateLimited: 9,
    ToolNotFound: 10,
}
_BY_TAG: Final = {str(one.__struct_config__.tag): one for one in _OUTCOMES}


def as_call(event: Event, sets: GrantSets) -> Call | None:
    """Return the Call whose `Call.as_event` *event* is; None if there may be none."""
    details, tool_id, told = event.details, event.tool_id, event.payload.get
    ts, tier, version = told("ts"), told("tier"), told("schema_version")
    dry_run, secrets = told("dry_run"), told("secrets_resolved")
    outcome = _outcome(event.outcome, told("outcome"))
    if (
        details is None
        or outcome is None
        or details.actor != event.actor
        or details.namespace != event.namespace
        or event.substrate != "event"
        or (tool_id.partition(":")[2] or tool_id) != event.verb
        or type(event.call_id) is not str
        or type(event.duration_ms) is not int
        or type(event.created_at_us) is not int
        or type(ts) is not str
        or type(tier) is not str
        or type(version) is not int
        or type(dry_run) is not bool
        or type(secrets) is not bool
        or plain_us(ts) != event.created_at_us
    ):
        return None
    _, granted, provenance, wire_provenance = sets.known(details.grants)
    expected = {
        "ts": ts,
        "call_id": event.call_id,
        "tool_id": tool_id,
        "duration_ms": event.duration_ms,
        "outcome": _SUCCESS if outcome is _SUCCEEDED else _wire(outcome),
        "tier": tier,
        "granted_capabilities": list(granted),
        "dry_run": dry_run,
        "schema_version": version,
        "secrets_resolved": secrets,
    }
    if event.caller_id is not None:
        expected["caller_id"] = event.caller_id
    if wire_provenance:
        expected["capability_provenance"] = wire_provenance
    if event.payload != expected:
        return None
    call = CallEvent(
        ts,
        event.call_id,
        tool_id,
        event.duration_ms,
        outcome,
        tier,
        caller_id=event.caller_id,
        granted_capabilities=granted,
        dry_run=dry_run,
        schema_version=version,
        secrets_resolved=secrets,
        capability_provenance=provenance,
    )
    return Call(call, details, event.created_at_us)


def _outcome(tag: str, wire: object) -> Outcome | None:
    """Return the outcome of kind *tag* that *wire* says, None if it says another."""
    if tag == "success" and wire == _SUCCESS:
        return _SUCCEEDED
    shape = _BY_TAG.get(tag)
    try:
        return None if shape is None else msgspec.convert(wire, shape)
    except msgspec.ValidationError:
        return None


def _wire(outcome: Outcome) -> object:
    return msgspec.json.decode(msgspec.json.encode(outcome))


def encode_call(
    call: Call,
    seq: int,
    dictionary: Dictionary,
    sets: GrantSets,
    gate: OpenGate | None = None,
) -> Encoded:
    """Return what `rows.encode` makes of the Event of *call*."""
    event, details = call.event, call.details
    outcome = event.outcome
    number = _OUTCOMES.get(type(outcome))
    at_us = call.at_us
    grant_set, granted, provenance, _ = sets.known(details.grants)
    is_shared = gate is not None and gate.details == details
    if (
        number is None
        or at_us is None
        or type(event.duration_ms) is not int
        or event.cursor_page is not None
        or event.caller_id != details.caller
        or event.granted_capabilities != granted
        or event.capability_provenance != provenance
        or (details.parent_call_id is not None and not is_shared)
        or (details.grants.refusal is not None and not is_shared)
    ):
        return encode(call.as_event(), seq, dictionary, sets, gate)
    context = dictionary.call_contexts[
        event.tool_id,
        event.tier,
        event.schema_version,
        details.namespace,
        details.pack,
        details.effect,
        details.policy,
    ]
    names = dictionary.names
    actor = names[details.actor]
    caller = None if details.caller is None else names[details.caller]
    flags = DETAILS
    if event.dry_run:
        flags |= DRY_RUN
    if event.secrets_resolved:
        flags |= SECRETS
    code = message = extra = process = args_digest = None
    if type(outcome) is not Success:
        code, is_retryable, message, extra = _told_by(outcome, names)
        flags |= is_retryable * RETRYABLE
    texts: Texts = ()
    if is_shared:
        flags |= SHARED
        if message is not None:
            texts = texts_of(message, _NO_DETAILS, dictionary)
    else:
        args_digest = details.args_digest
        if details.process is not None:
            process = dictionary.processes[details.process]
        if message is not None or details.reason is not None or details.labels:
            texts = texts_of(message, details, dictionary)
    if texts:
        flags |= TEXTS
    gate_seq = None if gate is None else gate.seq
    call_id = encode_id(event.call_id) if gate is None else None
    duration_ms = event.duration_ms
    columns = (
        seq,
        CALL,
        at_us,
        gate_seq,
        call_id,
        context,
        actor,
        caller,
        number,
        duration_ms,
        flags,
        grant_set,
        process,
        args_digest,
        code,
        extra,
        None,
    )
    return Encoded(columns, texts)


def _told_by(
    outcome: Outcome, names: Mapping[str, int]
) -> tuple[int | None, bool, str | None, str | None]:
    """Return what *outcome* says: code, whether to retry, message, extra."""
    match outcome:
        case ExecutionFailed(code, retryable):
            return names[code], retryable, None, None
        case InvalidArgs(message):
            return None, False, message, None
        case CapabilityDenied(missing) if missing:
            return None, False, None, kept_extra({"missing": list(missing)})
        case RateLimited(int(wait_ms)):
            return None, False, None, kept_extra({"retry_after_ms": wait_ms})
    return None, False, None, None


def encode_gate(
    event: Event,
    seq: int,
    dictionary: Dictionary,
    sets: GrantSets,
    *,
    is_placed: bool = False,
) -> Encoded:
    """Return what `rows.encode` makes of the gate event *event*."""
    details, payload, call_id = event.details, event.payload, event.call_id
    gate_impl, timestamp = payload.get("gate_impl"), payload.get("timestamp")
    kind, _, name = event.actor.partition(":")
    if (
        event.outcome != "success"
        or details is None
        or call_id is None
        or type(gate_impl) is not str
        or type(timestamp) is not str
        or event.substrate != "event"
        or details.actor != event.actor
        or details.namespace != event.namespace
        or details.caller != event.caller_id
        or details.parent_call_id is not None
        or details.grants.refusal is not None
        or type(event.created_at_us) is not int
        or plain_us(timestamp) != event.created_at_us
        or type(event.duration_ms) is not int
        or payload
        != {
            "timestamp": timestamp,
            "actor": {"kind": kind, "id": name},
            "namespace": event.namespace,
            "verb": event.verb,
            "decision": "allow",
            "gate_impl": gate_impl,
            "obligations": [],
        }
    ):
        return encode(event, seq, dictionary, sets, is_placed=is_placed)
    names = dictionary.names
    context = dictionary.gate_contexts[
        event.tool_id,
        event.verb,
        gate_impl,
        details.namespace,
        details.pack,
        details.effect,
        details.policy,
    ]
    actor = names[event.actor]
    caller = None if event.caller_id is None else names[event.caller_id]
    process = None if details.process is None else dictionary.processes[details.process]
    grant_set, _, _, _ = sets.known(details.grants)
    texts: Texts = ()
    if details.reason is not None or details.labels:
        texts = texts_of(None, details, dictionary)
    flags = DETAILS | bool(texts) * TEXTS | is_placed * PLACED
    stored_id = encode_id(call_id)
    columns = (
        seq,
        GATE,
        event.created_at_us,
        None,
        stored_id,
        context,
        actor,
        caller,
        SUCCESS,
        event.duration_ms,
        flags,
        grant_set,
        process,
        details.args_digest,
        None,
        None,
        None,
    )
    return Encoded(columns, texts)
