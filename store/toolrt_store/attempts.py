"""
Attempts: everything with one call id read as one thing, and filters over them.

The gate event and the call event of an attempt are two rows; the outcome that an
operator sees follows from both and from whether the process behind the gate event still
lives. Filters see the same outcome, so what is shown and what is counted agree.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from toolrt.errors import InvalidInputError
from toolrt_store import blocks
from toolrt_store.call_id import decode_id, encode_id, text_after, ulid_range
from toolrt_store.dictionary import Dictionary
from toolrt_store.query import (
    Condition,
    Named,
    Span,
    all_of,
    any_of,
    contexts,
    sets_with,
)
from toolrt_store.rows import (
    CALL,
    DENIED,
    DRY_RUN,
    ERROR,
    GATE,
    INTERRUPTED,
    RUNNING,
    SUCCESS,
    UNKNOWN,
)

Decision = Literal["allow", "deny", "gate_unavailable"]
Operator = Literal["=", "<", "<=", ">", ">="]
Order = Literal["newest", "oldest"]

#: What a `Term` may ask about, with what it means.
ATTEMPT_FIELDS: Final[Mapping[str, str]] = {
    "actor": "authenticated principal, kind:id",
    "call": "call id, or how it begins",
    "caller": "who asked",
    "capability": "a capability that the call was granted",
    "code": "error code of the tool or the runtime",
    "decision": "allow, deny or gate_unavailable",
    "dry": "yes or no: whether nothing was to run",
    "effect": "read, write or destructive",
    "ms": "duration in milliseconds",
    "namespace": "namespace of the call",
    "outcome": "how it ended: success, execution_failed, denied and others",
    "pack": "pack of the tool",
    "tool": "tool id or bare verb",
    "verb": "bare verb",
}


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    One call as the record tells it.

    ``at_us`` (Unix microseconds) and ``seq`` are those of its gate event, else of its
    call event; ``last_seq`` is its highest. ``decision`` is None where nothing was
    gated. ``outcome`` is the CallEvent's; without one it is ``denied``, ``error`` (the
    gate was unavailable), ``running`` or ``interrupted`` (never "did not run"), or
    ``unknown`` where the ends of calls are not kept. ``duration_ms`` and ``code`` are
    None where no CallEvent tells.
    """

    call_id: str
    at_us: int
    caller: str | None
    actor: str
    tool: str
    verb: str
    namespace: str
    pack: str | None
    effect: str | None
    decision: Decision | None
    outcome: str
    code: str | None
    duration_ms: int | None
    #: True if nothing was to run.
    dry_run: bool
    seq: int
    last_seq: int


class Term(msgspec.Struct, frozen=True):
    """
    One condition on a field of ATTEMPT_FIELDS.

    With ``=`` a value is a glob (``*``, ``?``; case counts), for ``call`` a prefix, for
    ``ms`` a number; one of ``values`` has to match. The other operators are for ``ms``.
    ``negated`` turns the whole term round.
    """

    field: str
    op: Operator
    values: tuple[str, ...]
    negated: bool = False


class AttemptFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which attempts: every term holds, and ``after_us < at_us < before_us``.

    The bounds are Unix microseconds, both exclusive.
    """

    terms: tuple[Term, ...] = ()
    after_us: int | None = None
    before_us: int | None = None


class LiveProcesses(msgspec.Struct, frozen=True):
    """
    Which processes lived when it was asked, before the rows were read.

    One that registered later, above ``newest``, is taken to live: it did a moment ago.
    """

    slots: frozenset[int]
    newest: int


_DECISIONS: Final[Mapping[int, Decision]] = {
    SUCCESS: "allow",
    DENIED: "deny",
    ERROR: "gate_unavailable",
}

#: One row an attempt: ``e`` is its gate event, else its call event; ``c`` is the end of
#: a gate event. A call event does not refer to its gate event if it came before it, or
#: after the attempt was taken to be interrupted.
FROM_ATTEMPTS: Final = f"""
FROM events AS e
LEFT JOIN events AS c ON e.kind = {GATE} AND c.seq = coalesce(
  (SELECT seq FROM events WHERE gate = e.seq AND kind = {CALL}),
  (SELECT seq FROM events WHERE call_id = e.call_id AND kind = {CALL}),
  (SELECT seq FROM events WHERE gate = e.seq))
WHERE (e.kind = {GATE} OR e.kind = {CALL} AND e.gate IS NULL AND NOT EXISTS (
  SELECT 1 FROM events AS g WHERE g.call_id = e.call_id AND g.kind = {GATE}))
"""
GRANT_SET: Final = "coalesce(e.grant_set, c.grant_set)"
_CODE: Final = "coalesce(c.code, e.code)"
_DURATION: Final = f"CASE e.kind WHEN {CALL} THEN e.duration_ms ELSE c.duration_ms END"
_IS_DRY: Final = f"(coalesce(c.flags, e.flags) & {DRY_RUN}) > 0"
_DECISION: Final = f"CASE e.kind WHEN {GATE} THEN e.outcome END"
#: The fields that are columns of an event, or of its context, with the role of the
#: column in the index of blocks.
_EVENT_FIELDS: Final[Mapping[str, tuple[str, int | None]]] = {
    "actor": ("e.actor", blocks.ACTOR),
    "caller": ("e.caller", blocks.CALLER),
    "code": (_CODE, None),
}
_CONTEXT_FIELDS: Final = ("effect", "namespace", "pack", "tool", "verb")


def outcome_sql(live: LiveProcesses) -> str:
    """Return the SQL of an attempt's outcome, as the number of a name."""
    slots = ", ".join(str(slot) for slot in sorted(live.slots))
    alive = f"e.process > {live.newest} OR e.process IN ({slots})"
    return f"""CASE
  WHEN c.seq IS NOT NULL THEN c.outcome
  WHEN e.kind = {CALL} THEN e.outcome
  WHEN e.outcome IN ({DENIED}, {ERROR}) THEN e.outcome
  WHEN e.process IS NULL THEN {UNKNOWN}
  WHEN {alive} THEN {RUNNING} ELSE {INTERRUPTED} END"""


def select_attempts(live: LiveProcesses) -> str:
    """Return the SELECT whose rows `read_attempt` takes, up to its WHERE."""
    return (
        "SELECT e.call_id, e.at_us, e.caller, e.actor, e.context, c.context,"
        f" {_DECISION}, {outcome_sql(live)}, {_CODE}, {_DURATION},"
        f" {_IS_DRY}, e.seq, max(e.seq, coalesce(c.seq, 0)) {FROM_ATTEMPTS}"
    )


def read_attempt(row: Sequence[Any], dictionary: Dictionary) -> Attempt:
    """Return the attempt of a row of `select_attempts`."""
    call_id, at_us, caller, actor, context_number, end_context, decision = row[:7]
    outcome, code, duration_ms, is_dry, seq, last_seq = row[7:]
    name, text = dictionary.texts, dictionary.text_of
    context = dictionary.context_values[context_number]
    end = dictionary.context_values[end_context] if end_context else context
    return Attempt(
        call_id=decode_id(call_id),
        at_us=at_us,
        caller=text(caller),
        actor=name[actor],
        tool=context.tool,
        verb=context.verb,
        namespace=context.namespace,
        pack=context.pack or end.pack,
        effect=context.effect or end.effect,
        decision=_DECISIONS.get(decision),
        outcome=name[outcome],
        code=text(code),
        duration_ms=duration_ms,
        dry_run=bool(is_dry),
        seq=seq,
        last_seq=last_seq,
    )


#: Every outcome that an attempt can have.
OUTCOMES: Final = (
    "success",
    "execution_failed",
    "invalid_args",
    "capability_denied",
    "rate_limited",
    "tool_not_found",
    "denied",
    "error",
    "running",
    "interrupted",
    "unknown",
)
DECISIONS: Final = tuple(_DECISIONS.values())
DRY_VALUES: Final = ("yes", "no")


def where(filter: AttemptFilter, live: LiveProcesses) -> Condition:
    """
    Return the condition of *filter*.

    Raises:
        InvalidInputError: A term names no field, or its operator or value does not fit.
    """
    return all_of(_conditions(filter, live))


def _conditions(filter: AttemptFilter, live: LiveProcesses) -> Iterator[Condition]:
    for term in filter.terms:
        condition = _term(term, live)
        if term.negated:
            # What is not known, such as the caller of nobody, is not that value.
            condition = Condition(f"({condition.sql}) IS NOT TRUE", condition.values)
        yield condition
    if filter.after_us is not None:
        yield Condition("e.at_us > ?", (filter.after_us,))
    if filter.before_us is not None:
        yield Condition("e.at_us < ?", (filter.before_us,))


def _term(term: Term, live: LiveProcesses) -> Condition:
    if term.field not in ATTEMPT_FIELDS:
        raise InvalidInputError(f"no field {term.field!r}")
    if term.field == "ms":
        return any_of(_duration(term.op, value) for value in term.values)
    if term.op != "=":
        raise InvalidInputError(f"{term.field} takes =, not {term.op}")
    if term.field == "call":
        return any_of(id_prefix(value) for value in term.values)
    if term.field == "decision":
        return _decision(term.values)
    if term.field == "dry":
        return any_of(_dry(value) for value in term.values)
    return _named(term, live)


def _named(term: Term, live: LiveProcesses) -> Condition:
    names = _names(term)
    if term.field == "capability":
        return _is_in(GRANT_SET, sets_with(names))
    if term.field == "outcome":
        return _is_in(outcome_sql(live), names)
    if term.field in _EVENT_FIELDS:
        return _is_in(_EVENT_FIELDS[term.field][0], names)
    found = contexts(_in_context(term.field, names))
    if term.field in ("pack", "effect"):  # a gate event without details has none
        end = _is_in("coalesce(c.context, e.context)", found)
        return any_of([_is_in("e.context", found), end])
    return _is_in("e.context", found)


def _names(term: Term) -> Condition:
    return Condition(
        f"SELECT id FROM names WHERE {' OR '.join(map(_match, term.values))}",
        tuple(map(_pattern, term.values)),
    )


def _is_in(expression: str, found: Condition) -> Condition:
    return Condition(f"{expression} IN ({found.sql})", found.values)


def _in_context(field: str, names: Condition) -> Condition:
    if field == "tool":
        return any_of([_is_in("tool", names), _is_in("verb", names)])
    return _is_in(field, names)


def named(filter: AttemptFilter) -> tuple[Named, ...]:
    """Return the names that the first event of every such attempt has."""
    found = []
    for term in filter.terms:
        if term.negated or term.op != "=":
            continue
        role = _EVENT_FIELDS.get(term.field, ("", None))[1]
        if role is not None:
            found.append(Named(role, _names(term)))
        elif term.field in ("namespace", "tool", "verb"):
            names = contexts(_in_context(term.field, _names(term)))
            found.append(Named(blocks.CONTEXT, names))
    return tuple(found)


def span(filter: AttemptFilter) -> Span:
    """Return where the first event of every such attempt is."""
    return Span(after_us=filter.after_us, before_us=filter.before_us)


def _decision(values: tuple[str, ...]) -> Condition:
    rows = ", ".join(f"({number}, '{text}')" for number, text in _DECISIONS.items())
    matches = " OR ".join(f"column2 {_operator(value)} ?" for value in values)
    return Condition(
        f"{_DECISION} IN (SELECT column1 FROM (VALUES {rows}) WHERE {matches})",
        tuple(map(_pattern, values)),
    )


def _duration(op: Operator, value: str) -> Condition:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):  # noqa: PLR2004 - fits 64 bits
        raise InvalidInputError(f"ms takes a number of milliseconds, not {value!r}")
    return Condition(f"{_DURATION} {op} ?", (int(value),))


def _dry(value: str) -> Condition:
    sql = f"CASE {_IS_DRY} WHEN 1 THEN 'yes' ELSE 'no' END {_operator(value)} ?"
    return Condition(sql, (_pattern(value),))


def id_prefix(prefix: str) -> Condition:
    """Return the condition that the call id begins with *prefix*."""
    after = text_after(prefix)
    texts = Condition("e.call_id >= ? AND e.call_id < ?", (prefix, after))
    if after is None:
        texts = Condition("e.call_id >= ? AND typeof(e.call_id) = 'text'", (prefix,))
    bounds = ulid_range(prefix)
    if bounds is None:
        return texts
    return any_of([texts, Condition("e.call_id BETWEEN ? AND ?", bounds)])


def id_exactly(call_id: str) -> Condition:
    """Return the condition that the call id is *call_id*."""
    return Condition("e.call_id = ?", (encode_id(call_id),))


def _match(value: str) -> str:
    return f"text {_operator(value)} ?"


def _operator(value: str) -> str:
    return "GLOB" if "*" in value or "?" in value else "="


def _pattern(value: str) -> str:
    # A bracket is no glob character here, but it is one to SQLite.
    return value.replace("[", "[[]") if _operator(value) == "GLOB" else value


def values_sql(field: str, live: LiveProcesses) -> str:
    """Return the SELECT of the values of *field*, as numbers, with their attempts."""
    if field == "capability":
        return f"""SELECT g.capability, count(DISTINCT a.seq)
FROM (SELECT e.seq, {GRANT_SET} AS grant_set {FROM_ATTEMPTS}) AS a
JOIN grants AS g ON g.grant_set = a.grant_set GROUP BY g.capability"""
    if field in _CONTEXT_FIELDS:
        return f"""SELECT contexts.{field}, sum(attempts) FROM (
  SELECT e.context AS context, count(*) AS attempts {FROM_ATTEMPTS} GROUP BY e.context)
JOIN contexts ON contexts.id = context
WHERE contexts.{field} IS NOT NULL GROUP BY contexts.{field}"""
    value = outcome_sql(live) if field == "outcome" else _EVENT_FIELDS[field][0]
    return f"""SELECT value, count(*) FROM (SELECT {value} AS value {FROM_ATTEMPTS})
WHERE value IS NOT NULL GROUP BY value"""


def group_sql(field: str, live: LiveProcesses) -> str:
    """Return the SQL of what attempts are grouped by, as a text."""
    if field in _CONTEXT_FIELDS:
        column = f"(SELECT {field} FROM contexts WHERE id = e.context)"
    elif field == "outcome":
        column = outcome_sql(live)
    elif field in ("day", "hour"):
        form = "%Y-%m-%d" if field == "day" else "%Y-%m-%dT%H"
        return f"strftime('{form}', e.at_us / 1000000, 'unixepoch')"
    elif field == "decision":
        cases = " ".join(f"WHEN {n} THEN '{text}'" for n, text in _DECISIONS.items())
        return f"CASE {_DECISION} {cases} END"
    else:
        column = _EVENT_FIELDS[field][0]
    return f"(SELECT text FROM names WHERE id = {column})"


def changed_since(seq: int) -> Condition:
    """Return the condition that an attempt has an event above *seq*."""
    ended = "SELECT gate FROM events WHERE seq > ? AND gate IS NOT NULL"
    return Condition(f"(e.seq > ? OR e.seq IN ({ended}))", (seq, seq))
