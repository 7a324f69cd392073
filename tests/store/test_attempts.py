"""Attempts as operators see and filter them."""

from __future__ import annotations

from typing import Any

import pytest

from toolrt.audit.call_event import (
    CallEvent,
    CapabilityDenied,
    CapProvenance,
    ExecutionFailed,
    StringAllowList,
    Success,
    UcanChain,
)
from toolrt.capability import AllowRule, CapabilitySet, ChainLink, Grant
from toolrt.clock import rfc3339
from toolrt.errors import InvalidInputError
from toolrt.event import Event
from toolrt_store import (
    ATTEMPT_FIELDS,
    AttemptFilter,
    Coverage,
    SourceUsage,
    SqliteEventStore,
    Term,
    Usage,
)
from toolrt_store.call_id import text_after, ulid_range

from .samples import (
    FS_GRANTS,
    FS_RULE,
    NOON_US,
    call_event,
    call_id,
    details,
    gate_event,
)


@pytest.fixture
def filled(store: SqliteEventStore) -> SqliteEventStore:
    """
    A store with one attempt of each sort.

    1 success, 2 denied by the gate, 3 gate unavailable, 4 running here, 5 failed,
    6 allowed but from before details were kept, 7 never gated, 8 lacks a capability.
    """
    told = details(process=store.process)
    bare = details(grants=CapabilitySet(), process=store.process, caller=None)
    failed = ExecutionFailed("NOT_FOUND", retryable=False)
    events = [
        gate_event(1, details=told),
        call_event(1, details=told, duration_ms=600),
        gate_event(2, decision="deny", verb="shell.exec", deny_reason="no"),
        gate_event(3, decision="gate_unavailable", caller=None),
        gate_event(4, details=told, verb="fs.grep"),
        gate_event(5, details=bare, caller="bob"),
        call_event(5, details=bare, caller="bob", outcome=failed),
        gate_event(6, verb="echo.say"),
        call_event(7, id_="import-[7]", outcome=Success(), caller="eve"),
        gate_event(8, details=bare),
        call_event(8, details=bare, outcome=CapabilityDenied(("fs:read",))),
    ]
    store.append_events(events)
    return store


def numbers(store: SqliteEventStore, filter_: AttemptFilter) -> list[int]:
    """Return which attempts of `filled` match, oldest first; the counts agree."""
    found = store.query_attempts(filter_, order="oldest")
    assert store.count_attempts(filter_) == len(found)
    return [attempt.at_us - NOON_US for attempt in found]


def test_attempts_show_their_outcomes(filled: SqliteEventStore) -> None:
    """The CallEvent's outcome, or what the gate and the process leave to say."""
    found = filled.query_attempts(order="oldest")

    assert [(one.decision, one.outcome) for one in found] == [
        ("allow", "success"),
        ("deny", "denied"),
        ("gate_unavailable", "error"),
        ("allow", "running"),
        ("allow", "execution_failed"),
        ("allow", "unknown"),
        (None, "success"),
        ("allow", "capability_denied"),
    ]
    assert [(one.seq, one.last_seq) for one in found[:2]] == [(1, 2), (3, 3)]
    assert [one.duration_ms for one in found[:3]] == [600, None, None]


def test_attempt_tells_everything(filled: SqliteEventStore) -> None:
    """One attempt joins what its two events say."""
    (attempt,) = filled.get_attempt(call_id(5))

    assert attempt.call_id == call_id(5)
    assert (attempt.caller, attempt.actor) == ("bob", "os:ann")
    assert (attempt.tool, attempt.verb) == ("std:fs.read", "fs.read")
    assert (attempt.namespace, attempt.pack, attempt.effect) == ("local", "std", "read")
    assert (attempt.code, attempt.at_us) == ("NOT_FOUND", NOON_US + 5)


def term(
    field: str, *values: str, op: Any = "=", negated: bool = False
) -> AttemptFilter:
    """Return the filter of one term."""
    return AttemptFilter(terms=(Term(field, op, values, negated),))


@pytest.mark.parametrize(
    ("filter_", "matching"),
    [
        (AttemptFilter(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (term("tool", "std:fs.*"), [1, 3, 4, 5, 7, 8]),
        (term("tool", "fs.grep", "echo.say"), [4, 6]),
        (term("verb", "shell.????"), [2]),
        (term("verb", "FS.*"), []),
        (term("caller", "bob", "e*"), [5, 7]),
        (term("caller", "ci-bot", negated=True), [3, 5, 7]),
        (term("actor", "os:*"), [1, 2, 3, 4, 5, 6, 7, 8]),
        (term("namespace", "local", negated=True), []),
        (term("outcome", "denied"), [2]),
        (term("outcome", "running", "unknown"), [4, 6]),
        (term("outcome", "*ed"), [2, 5, 8]),
        (term("outcome", "success", negated=True), [2, 3, 4, 5, 6, 8]),
        (term("decision", "deny", "gate_*"), [2, 3]),
        (term("decision", "allow", negated=True), [2, 3, 7]),
        (term("capability", "fs:*"), [1, 4]),
        (term("pack", "std"), [1, 4, 5, 8]),
        (term("effect", "read"), [1, 4, 5, 8]),
        (term("code", "NOT_FOUND"), [5]),
        (term("call", call_id(4)), [4]),
        (term("call", call_id(1)[:8], "none"), [1, 2, 3, 4, 5, 6, 8]),
        (term("call", "import-["), [7]),
        (term("ms", "500", op=">"), [1]),
        (term("ms", "3"), [5, 7, 8]),
        (term("ms", "3", op="<="), [5, 7, 8]),
        (AttemptFilter(after_us=NOON_US + 2, before_us=NOON_US + 5), [3, 4]),
    ],
)
def test_filter(
    filled: SqliteEventStore, filter_: AttemptFilter, matching: list[int]
) -> None:
    """Each field selects by what the attempt shows."""
    assert numbers(filled, filter_) == matching


def test_terms_are_joined_by_and(filled: SqliteEventStore) -> None:
    """Every term has to hold."""
    terms = (Term("tool", "=", ("fs.*",)), Term("outcome", "=", ("success",), True))

    assert numbers(filled, AttemptFilter(terms=terms)) == [3, 4, 5, 8]


@pytest.mark.parametrize(
    ("filter_", "match"),
    [
        (term("colour", "red"), "no field 'colour'"),
        (term("tool", "x", op=">"), "tool takes ="),
        (term("ms", "soon"), "number of milliseconds"),
        (term("ms", "9" * 30), "number of milliseconds"),
    ],
)
def test_bad_term_is_refused(
    store: SqliteEventStore, filter_: AttemptFilter, match: str
) -> None:
    """A filter that cannot mean anything is the caller's error."""
    with pytest.raises(InvalidInputError, match=match):
        store.query_attempts(filter_)


def test_every_field_can_be_asked(filled: SqliteEventStore) -> None:
    """ATTEMPT_FIELDS lists exactly what a term takes."""
    for field in ATTEMPT_FIELDS:
        assert filled.count_attempts(term(field, "7")) == 0


def test_brackets_are_no_glob(filled: SqliteEventStore) -> None:
    """Only * and ? are special in a value."""
    filled.append_event(gate_event(9, caller="[x]y"))

    assert numbers(filled, term("caller", "[x]*")) == [9]
    assert numbers(filled, term("caller", "[x]y")) == [9]


def test_limit_and_order(filled: SqliteEventStore) -> None:
    """Newest first unless asked otherwise; the limit counts from that end."""
    newest = filled.query_attempts(limit=2)
    oldest = filled.query_attempts(limit=1, order="oldest")

    assert [one.seq for one in newest] == [10, 9]
    assert [one.seq for one in oldest] == [1]


def test_after_seq_shows_what_changed(filled: SqliteEventStore) -> None:
    """An attempt that has ended since is news, though it began before."""
    last = filled.coverage().events
    filled.append_event(call_event(4))
    filled.append_event(gate_event(20))

    changed = filled.query_attempts(order="oldest", after_seq=last)

    assert [(one.seq, one.last_seq) for one in changed] == [(5, 12), (13, 13)]


def test_get_attempt_by_prefix(filled: SqliteEventStore) -> None:
    """A prefix finds all that begin so, newest first and at most 20; a whole id one."""
    filled.append_events([gate_event(number) for number in range(100, 130)])

    assert [one.seq for one in filled.get_attempt(call_id(1)[:6])][:2] == [41, 40]
    assert len(filled.get_attempt(call_id(1)[:6])) == 20
    assert [one.seq for one in filled.get_attempt("import")] == [9]
    assert filled.get_attempt("nothing") == []


def test_whole_id_hides_longer_ones(store: SqliteEventStore) -> None:
    """An id that another one begins with is still found alone."""
    store.append_events([gate_event(1, id_="a"), gate_event(2, id_="ab")])

    assert [one.call_id for one in store.get_attempt("a")] == ["a"]


def test_prefix_ranges() -> None:
    """A prefix is a range of bytes for ULIDs and a range of texts for the rest."""
    assert ulid_range("") == (bytes(16), b"\xff" * 16)
    assert ulid_range("7") == (b"\xe0" + bytes(15), b"\xff" * 16)
    assert ulid_range("8") is None
    assert ulid_range("I") is None
    assert ulid_range("0" * 27) is None
    assert text_after("ab") == "ac"
    assert text_after("a\U0010ffff") == "b"
    assert text_after("\ud7ff") == "\ue000"
    assert text_after("\U0010ffff") is None


def test_values_count_attempts(filled: SqliteEventStore) -> None:
    """Values are counted once an attempt, the most frequent first."""
    assert filled.values("caller") == [("ci-bot", 5), ("bob", 1), ("eve", 1)]
    assert filled.values("capability") == [("fs:read", 2)]
    assert dict(filled.values("outcome"))["running"] == 1
    assert filled.values("tool")[0] == ("std:fs.read", 5)
    with pytest.raises(ValueError, match="not of 'ms'"):
        filled.values("ms")


def test_usage_is_counted_as_a_whole_and_for_each_source(
    store: SqliteEventStore,
) -> None:
    """A call that two sources grant counts once, and under each of them."""
    link = ChainLink(issuer="did:key:z6Mk", depth=1, digest="ef" * 32)
    both = CapabilitySet((*FS_GRANTS.grants, Grant("fs:read", link)))
    store.append_events(
        [
            gate_event(1, details=details()),
            call_event(1, details=details()),
            call_event(2, details=details(grants=both)),
            call_event(3, details=details(), caller="bob"),
            gate_event(4, details=details()),
        ]
    )

    assert store.usage("ci-bot", "fs:read") == Usage(
        2,
        NOON_US + 1,
        NOON_US + 2,
        (
            SourceUsage(FS_RULE, 2, NOON_US + 1, NOON_US + 2),
            SourceUsage(link, 1, NOON_US + 2, NOON_US + 2),
        ),
    )
    unused = Usage(0, None, None, ())
    assert store.usage("ci-bot", "fs:write") == store.usage("x", "fs:read") == unused


def test_usage_of_events_without_details(store: SqliteEventStore) -> None:
    """The wire form names the mechanism only, and an old one nothing at all."""
    sources = (StringAllowList(), UcanChain("did:key:z6Mk", 2))
    event = CallEvent(
        rfc3339(NOON_US),
        "x",
        "std:fs.read",
        1,
        Success(),
        "warm",
        caller_id="eve",
        granted_capabilities=("a", "b"),
        capability_provenance=tuple(CapProvenance("a", one) for one in sources),
    )

    store.append_event(Event.from_call(event, namespace="local", actor="os:eve"))

    used = [one.source for one in store.usage("eve", "a").sources]
    assert used == [
        AllowRule(pattern="a"),
        ChainLink(issuer="did:key:z6Mk", depth=2, digest=""),
    ]
    assert store.usage("eve", "b") == Usage(1, NOON_US, NOON_US, ())
    assert store.values("capability") == [("a", 1), ("b", 1)]


def test_known_callers_and_coverage(filled: SqliteEventStore) -> None:
    """A caller is known once an event is of it; coverage names the ends."""
    assert filled.knows_caller("bob")
    assert not filled.knows_caller("os:ann")
    assert filled.coverage() == Coverage(11, NOON_US + 1, NOON_US + 8)


def test_empty_store_covers_nothing(store: SqliteEventStore) -> None:
    """No events, no range."""
    assert store.coverage() == Coverage(0, None, None)


def test_an_event_that_cannot_be_stored_fails_alone(store: SqliteEventStore) -> None:
    """Those of its batch are stored, with details or without."""
    sink = store.sink()
    wire = CallEvent(rfc3339(NOON_US), "a", "std:x", 1, Success(), "hot")

    sink.on_call(wire)
    sink.on_call(wire.replace(call_id="b", tool_id="std:\ud800"))
    sink.on_record(wire.replace(call_id="c", tool_id="std:\ud800"), details())
    sink.on_call(wire.replace(call_id="d"))
    sink.close()

    stats = sink.stats()
    assert (stats.written, stats.failed) == (2, 2)
    assert {one.call_id for one in store.query_events().items} == {"a", "d"}


def test_sink_stores_call_events(store: SqliteEventStore) -> None:
    """A sink stores what it is given, with details where there are some."""
    sink = store.sink()
    wire = CallEvent(rfc3339(NOON_US), "a", "std:x", 1, Success(), "hot", caller_id="c")

    sink.on_call(wire)
    sink.on_call(wire.replace(call_id="b", caller_id=None))
    sink.on_record(wire.replace(call_id="c"), details(namespace="n", actor="os:x"))
    sink.close()

    newest_first = store.query_events().items
    actors = [event.actor for event in newest_first]
    assert actors == ["os:x", "anonymous:local", "caller:c"]
    assert newest_first[0].namespace == "n"
    assert sink.drops() == 0
