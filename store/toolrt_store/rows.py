"""
The codec between an Event and the columns of its row.

Every column is a fact of the event. What calls of one tool share is a *context*, stored
once. A call event whose gate event is stored refers to it, and leaves the call id and
what else they share to it. What is left over, which for ordinary events is nothing, goes
into ``extra`` as JSON: ``payload`` and ``absent`` (how the payload differs from what the
columns say), ``missing``, ``retry_after_ms``, ``cursor_page``, ``parent_call_id``,
``details`` (where they differ from the event, and a refusal), ``substrate``, and ``cut``
in place of all of it but ``details`` where it is too large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from toolrt.capability import CapabilitySet, Grant, Refusal
from toolrt.event import CallDetails, Event, EventKind
from toolrt_store.call_id import decode_id, encode_id
from toolrt_store.dictionary import Context, Dictionary, cut
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

DRY_RUN, SECRETS, RETRYABLE, DETAILS, SHARED, TEXTS, PLACED = (
    1 << bit for bit in range(7)
)

#: The fields of ``texts``.
MESSAGE, REASON, LABELS = range(3)
MAX_EXTRA_BYTES: Final = 64 * 1024
#: What stands for a text that was redacted.
REDACTED: Final = "<redacted>"

COLUMNS: Final = (
    "seq, kind, at_us, gate, call_id, context, actor, caller, outcome, duration_ms,"
    " flags, grant_set, process, args_digest, code, extra, chain"
)
COLUMN_COUNT: Final = COLUMNS.count(",") + 1
#: What `decode` takes, of ``events AS e LEFT JOIN events AS g ON g.seq = e.gate``.
SELECTED: Final = (
    ", ".join(f"e.{name}" for name in COLUMNS.split(", ")[:-1])
    + ", g.call_id, g.process, g.args_digest, g.extra, g.flags"
)
FROM_EVENTS: Final = "FROM events AS e LEFT JOIN events AS g ON g.seq = e.gate"

#: The places of some of COLUMNS.
SEQ, KIND, AT_US, GATE_COLUMN, CALL_ID = range(5)
OUTCOME_COLUMN, FLAGS, ARGS_DIGEST = 8, 10, 13

#: (field, salt, text) of each free text of an event.
Texts: TypeAlias = tuple[tuple[int, bytes, str], ...]
_NO_DETAILS: Final = CallDetails(namespace="", actor="")
_ENCODE: Final = msgspec.json.Encoder().encode


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """An event ready to be stored: COLUMNS, ``chain`` yet None, and its free texts."""

    columns: tuple[Any, ...]
    texts: Texts = ()


class OpenGate(msgspec.Struct, frozen=True, gc=False):
    """The stored gate event of a call: where, and the details that it may share."""

    seq: int
    details: CallDetails | None


def digests_of(texts: Texts) -> tuple[tuple[int, bytes], ...]:
    """Return what the chain holds of *texts*: field and digest."""
    return tuple((field, text_digest(salt, text)) for field, salt, text in texts)


def encode(
    event: Event,
    seq: int,
    dictionary: Dictionary,
    sets: GrantSets,
    gate: OpenGate | None = None,
    *,
    is_placed: bool = False,
) -> Encoded:
    """
    Return *event* as it is stored at *seq*.

    Args:
        gate: Its gate event, for the end of an attempt.

        is_placed: It takes one of the places that ``max_concurrent`` gives.

    Raises:
        ValueError: The event holds what cannot be kept.
    """
    if event.call_id is None and event.kind != "system":
        raise ValueError(f"a {event.kind} event needs a call id")
    if type(event.duration_ms) is not int or type(event.created_at_us) is not int:
        raise ValueError("a time is no whole number")  # a column would make it one
    details = event.details or _NO_DETAILS
    facts = read_facts(event)
    grants: Grants = (
        stated_grants(event.payload) if event.details is None else details.grants.grants
    )
    is_shared = (
        gate is not None
        and gate.details is not None
        and shareable_details(event) == gate.details
    )
    texts = texts_of(facts.message, _NO_DETAILS if is_shared else details, dictionary)
    flags = (
        facts.dry_run * DRY_RUN
        | facts.secrets_resolved * SECRETS
        | facts.retryable * RETRYABLE
        | (event.details is not None) * DETAILS
        | is_shared * SHARED
        | bool(texts) * TEXTS
        | is_placed * PLACED
    )
    own = _NO_DETAILS if is_shared else details
    context = Context(
        event.namespace,
        event.verb,
        event.tool_id,
        details.pack,
        details.effect,
        details.policy,
        facts.gate_impl,
        facts.tier,
        facts.schema_version,
    )
    number, name = dictionary.number_of, dictionary.names
    columns = (
        seq,
        KIND_NUMBERS[event.kind],
        event.created_at_us,
        None if gate is None else gate.seq,
        None if gate is not None or event.call_id is None else encode_id(event.call_id),
        dictionary.contexts[context],
        name[event.actor],
        number(event.caller_id),
        name[event.outcome],
        event.duration_ms,
        flags,
        sets.numbers[grants] if grants else None,
        None if own.process is None else dictionary.processes[own.process],
        own.args_digest,
        number(facts.code),
        _extra(event, facts, grants, is_shared=is_shared),
        None,
    )
    return Encoded(columns, texts)


def shareable_details(event: Event) -> CallDetails | None:
    """Return the details of *event* if they say what the event itself says."""
    details = event.details
    if (
        details is not None
        and details.actor == event.actor
        and details.namespace == event.namespace
        and details.caller == event.caller_id
    ):
        return details
    return None


def resolve(
    rows: Iterable[Sequence[Any]],
    texts: Mapping[int, tuple[tuple[int, bytes], ...]],
    dictionary: Dictionary,
    sets: GrantSets,
) -> list[tuple[Any, ...]]:
    """
    Return what the chain is over: COLUMNS but for ``chain``, numbers resolved.

    A name becomes its text, a context and a grant set the digest of what they hold, a
    free text the digest of salt and text. A call id that is stored as text is in a list
    of its own: it could read like the bytes of another.

    Args:
        rows: With all of COLUMNS.

        texts: The fields and digests of free texts, by sequence.
    """
    # For every row of an append or a verification: one loop, and every look-up bound
    # before it.
    text, context_digest = dictionary.texts, dictionary.context_digests
    set_digest, process_text, digests = (
        sets.digests,
        dictionary.process_texts,
        texts.get,
    )
    return [
        (
            seq,
            kind,
            at_us,
            gate,
            (call_id,) if type(call_id) is str else call_id,
            context_digest[context],
            text[actor],
            None if caller is None else text[caller],
            text[outcome],
            duration_ms,
            flags,
            None if grant_set is None else set_digest[grant_set],
            None if process is None else process_text[process],
            args_digest,
            None if code is None else text[code],
            extra,
            digests(seq, ()),
        )
        for (
            seq,
            kind,
            at_us,
            gate,
            call_id,
            context,
            actor,
            caller,
            outcome,
            duration_ms,
            flags,
            grant_set,
            process,
            args_digest,
            code,
            extra,
            _,
        ) in rows
    ]


def text_digest(salt: bytes, text: str) -> bytes:
    """Return what the chain holds of a free text."""
    return hashlib.sha256(salt + text.encode()).digest()


def texts_of(
    message: str | None, details: CallDetails, dictionary: Dictionary
) -> Texts:
    """Return the free texts of an event, salted and cut."""
    if message is None and details.reason is None and not details.labels:
        return ()
    labels = _json(dict(details.labels)) if details.labels else None
    found = ((MESSAGE, message), (REASON, details.reason), (LABELS, labels))
    return tuple(
        (field, dictionary.salt(), text if field == LABELS else cut(text))
        for field, text in found
        if text is not None
    )


def _extra(
    event: Event, facts: Facts, grants: Grants, *, is_shared: bool
) -> str | None:
    expected = expected_payload(event, facts, grants)
    found: dict[str, Any] = {}
    if event.payload != expected:
        found = _difference(event.payload, expected)
    if facts.missing:
        found["missing"] = list(facts.missing)
    if facts.retry_after_ms is not None:
        found["retry_after_ms"] = facts.retry_after_ms
    if facts.cursor_page is not None:
        found["cursor_page"] = facts.cursor_page
    if event.details is not None and not is_shared:
        differing = _differing_details(event, event.details)
        if differing:
            found["details"] = differing
    if event.substrate != "event":
        found["substrate"] = event.substrate
    return kept_extra(found)


def kept_extra(found: dict[str, Any]) -> str | None:
    """Return what the column ``extra`` holds of *found*, None of nothing."""
    if not found:
        return None
    text = _json(found)
    if len(text) > MAX_EXTRA_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()
        left = {"cut": {"characters": len(text), "sha256": digest}}
        # That a token was refused, and whose call it is, no size of the rest hides.
        whole = _json(left | {k: found[k] for k in ("details",) if k in found})
        return whole if len(whole) <= MAX_EXTRA_BYTES else _json(left)
    return text


def _json(value: dict[str, Any]) -> str:
    try:
        text = _ENCODE(value).decode()
        # Also catches what JSON would change without a word, such as NaN.
        is_kept = msgspec.json.decode(text) == _as_lists(value)
    except (TypeError, RecursionError) as error:
        raise ValueError("an event holds what is no plain JSON") from error
    if not is_kept:
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
    if details.parent_call_id is not None:
        differing["parent_call_id"] = details.parent_call_id
    if details.grants.refusal is not None:
        differing["refusal"] = msgspec.to_builtins(details.grants.refusal)
    return differing


def decode(
    row: Sequence[Any],
    texts: Mapping[int, str],
    dictionary: Dictionary,
    sets: GrantSets,
) -> Event:
    """
    Return the event of *row*, which holds SELECTED.

    Args:
        texts: Its free texts by field, those of a shared gate event included.
    """
    seq, kind, at_us, _, call_id, context_number, actor, caller, outcome = row[:9]
    duration_ms, flags, grant_set, _, _, _, extra_text, gate_call_id = row[9:17]
    context = dictionary.context_values[context_number]
    extra = {} if extra_text is None else msgspec.json.decode(extra_text)
    grants: Grants = () if grant_set is None else sets.sets[grant_set]
    payload: dict[str, Any] = {}
    event = Event(
        kind=KINDS[kind],
        namespace=context.namespace,
        verb=context.verb,
        tool_id=context.tool,
        actor=dictionary.texts[actor],
        outcome=dictionary.texts[outcome],
        call_id=_optional_id(call_id if call_id is not None else gate_call_id),
        created_at_us=at_us,
        payload=payload,
        caller_id=dictionary.text_of(caller),
        duration_ms=duration_ms,
        substrate=extra.get("substrate", "event"),
        details=_details(row, dictionary, grants, extra, texts),
        seq=seq,
    )
    facts = Facts(
        gate_impl=context.gate_impl,
        tier=context.tier,
        code=dictionary.text_of(row[14]),
        retryable=bool(flags & RETRYABLE),
        retry_after_ms=extra.get("retry_after_ms"),
        schema_version=context.schema_version,
        cursor_page=extra.get("cursor_page"),
        dry_run=bool(flags & DRY_RUN),
        secrets_resolved=bool(flags & SECRETS),
        message=texts.get(MESSAGE),
        missing=tuple(extra.get("missing", ())),
    )
    payload.update(expected_payload(event, facts, grants))
    payload.update(extra.get("payload", {}))
    for key in extra.get("absent", ()):
        del payload[key]
    return event


def _optional_id(stored: bytes | str | None) -> str | None:
    return None if stored is None else decode_id(stored)


def _details(
    row: Sequence[Any],
    dictionary: Dictionary,
    grants: Grants,
    extra: Mapping[str, Any],
    texts: Mapping[int, str],
) -> CallDetails | None:
    flags = row[10]
    if not flags & DETAILS:
        return None
    context = dictionary.context_values[row[5]]
    process, args_digest = row[12:14]
    if flags & SHARED:
        process, args_digest, gate_extra = row[17:20]
        extra = {} if gate_extra is None else msgspec.json.decode(gate_extra)
    fields: dict[str, Any] = {
        "namespace": context.namespace,
        "actor": dictionary.texts[row[6]],
        "caller": dictionary.text_of(row[7]),
    }
    fields |= extra.get("details", {})
    refusal = fields.pop("refusal", None)
    labels = texts.get(LABELS)
    return CallDetails(
        **fields,
        pack=context.pack,
        effect=context.effect,
        args_digest=args_digest,
        # With details every grant has its source: see `encode`.
        grants=CapabilitySet(
            tuple(one for one in grants if isinstance(one, Grant)),
            None if refusal is None else Refusal(**refusal),
        ),
        policy=context.policy,
        process=None if process is None else dictionary.process_texts[process],
        reason=texts.get(REASON),
        labels={} if labels in (None, REDACTED) else msgspec.json.decode(labels),
    )
