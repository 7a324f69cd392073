"""
A store and a model of it, driven at random: what the one answers, the other does.

The model is every event ever stored, in memory, and how many of the first were pruned.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from toolrt import EventFilter, PageRequest, RateLimitedError
from toolrt.event import MAX_COUNT, Event
from toolrt.limits import CallLimits
from toolrt.testing import MemoryEventStore
from toolrt_store import SqliteEventStore
from toolrt_store.blocks import BLOCK

from ..store.samples import NOON_US, call_event, details, gate_event
from ..store.second_process import Second
from ..store.tampering import attempt
from .strategies import REPEATABLE

#: ``make store-faults`` takes longer walks.
STEPS = int(os.environ.get("TOOLRT_STEPS", "14"))
WALKS = STEPS // 2
ALL = PageRequest(limit=MAX_COUNT)
MOST = 2

filters = st.builds(
    EventFilter,
    kinds=st.sampled_from([(), ("gate",), ("call", "system")]),
    verbs=st.sampled_from([(), ("fs.read",), ("pruned", "redacted")]),
    tools=st.sampled_from([(), ("std:fs.read",), ("toolrt:store", "none")]),
    callers=st.sampled_from([(), (), ("caller-3",), ("caller-1", "ci-bot")]),
    actors=st.sampled_from([(), ("os:ann",), ("nobody",)]),
    outcomes=st.sampled_from([(), (), ("invalid_args", "interrupted"), ("success",)]),
    capabilities=st.sampled_from([(), (), ("net:fetch",), ("fs:read",)]),
    after=st.one_of(st.none(), st.integers(0, 9_000).map(lambda n: NOON_US + n)),
    before=st.one_of(st.none(), st.integers(0, 9_000).map(lambda n: NOON_US + n)),
    min_duration_ms=st.sampled_from([None, None, 4_000]),
)
pages = st.one_of(
    st.builds(PageRequest, offset=st.integers(0, 9_000), limit=st.integers(0, 40)),
    st.builds(PageRequest, limit=st.just(9), before_seq=st.integers(0, 9_000)),
    st.builds(PageRequest, limit=st.just(9), after_seq=st.integers(0, 9_000)),
)


class StoreAndModel(RuleBasedStateMachine):
    """Both, and the second process, which comes and is killed."""

    @initialize()
    def begin_empty(self) -> None:
        """A store that is new."""
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "audit.db"
        self.store = SqliteEventStore.open(self.path)
        self.second: Second | None = None
        self.model = MemoryEventStore()
        self.pruned = 0
        self.number = 0
        self.open: dict[int, str] = {}
        self.placed: dict[int, str] = {}

    def teardown(self) -> None:
        """Compare everything once, and leave nothing behind."""
        if not hasattr(self, "store"):
            return
        try:
            kept = self.kept().events
            assert list(self.store.query_events(page=ALL).items[::-1]) == kept
        finally:
            if self.second is not None:
                self.second.kill()
            self.store.close()
            shutil.rmtree(self.directory)

    def kept(self) -> MemoryEventStore:
        """Return the model without what was pruned."""
        kept = MemoryEventStore()
        kept._events = self.model.events[self.pruned :]
        return kept

    def stored(self, *expected: Event) -> None:
        """Take what is new into the model: *expected*, and what the store itself says."""
        head = len(self.model.events)
        page = PageRequest(limit=MAX_COUNT, after_seq=head)
        found = self.store.query_events(page=page).items[::-1]
        told = [event for event in found if event.kind != "system"]

        assert [event.seq for event in found] == list(
            range(head + 1, head + 1 + len(found))
        )
        assert [(e.id, e.payload, e.details) for e in told] == [
            (e.id, e.payload, e.details) for e in expected
        ]
        self.model._events += found

    def numbers(self, count: int) -> range:
        """Return the numbers of the next calls."""
        first = self.number + 1
        self.number += count
        return range(first, first + count)

    @rule(count=st.integers(1, 40))
    def append_attempts(self, count: int) -> None:
        """Whole attempts in one commit."""
        events = [
            e for n in self.numbers(count) for e in attempt(n, self.store.process)
        ]
        self.store.append_events(events)
        self.stored(*events)

    @precondition(lambda self: self.number < 3 * BLOCK // 2)
    @rule()
    def fill_a_block(self) -> None:
        """As many events as make a block full, in commits that a checkpoint ends."""
        for _ in range(4):
            self.append_attempts(BLOCK // 8)

    @rule()
    def begin_a_call(self) -> None:
        """A gate event whose call goes on."""
        (number,) = self.numbers(1)
        event = gate_event(number, details=details(process=self.store.process))
        self.store.append_event(event)
        self.open[number] = self.store.process
        self.stored(event)

    @rule()
    def begin_a_call_within_limits(self) -> None:
        """Only so many at once; the refused one is on record as well."""
        (number,) = self.numbers(1)
        event = gate_event(number, details=details(process=self.store.process))
        flying = sum(name in self.alive() for name in self.placed.values())
        try:
            self.store.append_event_within(event, CallLimits(event.tool_id, MOST))
        except RateLimitedError:
            assert flying >= MOST
        else:
            assert flying < MOST
            self.placed[number] = self.store.process
        self.open[number] = self.store.process
        self.stored(event)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end_a_call(self, data: st.DataObject) -> None:
        """The end of a call that was begun, be it late."""
        number = data.draw(st.sampled_from(sorted(self.open)))
        process = self.open.pop(number)
        if process == self.store.process:
            self.placed.pop(number, None)
        event = call_event(number, details=details(process=process))
        self.store.append_event(event)
        self.stored(event)

    def alive(self) -> set[str]:
        """Return the processes that live."""
        second = [] if self.second is None else [self.second.name]
        return {self.store.process, *second}

    @rule(count=st.integers(1, 30), leaves_open=st.booleans())
    def append_elsewhere(self, count: int, *, leaves_open: bool) -> None:
        """Another process appends between ours."""
        if self.second is None:
            self.second = Second(self.path)
            self.swept()
        numbers = self.numbers(count)
        self.second.attempts(numbers.start, numbers.stop)
        expected = [e for n in numbers for e in attempt(n, self.second.name)]
        if leaves_open:
            (number,) = self.numbers(1)
            self.second.gate(number)
            told = details(process=self.second.name)
            expected.append(gate_event(number, details=told))
            self.open[number] = self.second.name
        self.stored(*expected)

    @precondition(lambda self: self.second is not None)
    @rule()
    def kill_the_other(self) -> None:
        """It is gone without a word."""
        assert self.second is not None
        self.second.kill()
        self.second = None

    @rule()
    def reopen(self) -> None:
        """Attempts of who is gone get an end."""
        self.store.close()
        self.store = SqliteEventStore.open(self.path)
        self.swept()

    def swept(self) -> None:
        """Expect an end of every attempt whose process is gone."""
        alive = self.alive()
        gone = {n for n, process in self.open.items() if process not in alive}
        self.stored()
        ended = {e.call_id for e in self.model.events if e.outcome == "interrupted"}
        assert {gate_event(number).call_id for number in gone} <= ended

    @rule(before=st.integers(0, 12_000))
    def prune(self, before: int) -> None:
        """Only what is old enough, whole attempts, and none that goes on."""
        found = self.store.prune(NOON_US + before)
        gone = self.model.events[: found.up_to]
        left = self.model.events[found.up_to :]

        assert found.up_to >= self.pruned
        assert all(event.created_at_us < NOON_US + before for event in gone) or (
            found.up_to == self.pruned
        )
        ids = {event.call_id for event in gone} - {None}
        assert not ids & {e.call_id for e in left if e.outcome != "interrupted"} or (
            found.up_to == self.pruned
        )
        assert not ids & {gate_event(number).call_id for number in self.open}
        self.pruned = found.up_to
        self.stored()

    @precondition(lambda self: len(self.model.events) > self.pruned)
    @rule(data=st.data())
    def redact(self, data: st.DataObject) -> None:
        """The texts of one event are gone, and nothing else of it."""
        kept = self.model.events[self.pruned :]
        event = kept[data.draw(st.integers(0, len(kept) - 1))]
        self.store.redact(event.id)
        for number, one in enumerate(self.model.events):
            if one.call_id == event.call_id and number >= self.pruned:
                now = self.store.get_event(one.id)
                assert now is not None
                assert facts(now) == facts(one)
                self.model._events[number] = now
        self.stored()

    @rule(rotate=st.booleans())
    def checkpoint(self, *, rotate: bool) -> None:
        """All events so far are signed."""
        self.store.checkpoint(rotate=rotate)
        self.stored()

    @rule(chosen=filters, page=pages)
    def ask(self, chosen: EventFilter, page: PageRequest) -> None:
        """Every filter and every page is as if all events were looked at."""
        expected = self.kept().query_events(chosen, page)
        assert self.store.query_events(chosen, page) == expected
        assert self.store.count_events(chosen) == expected.total

    @invariant()
    def is_intact(self) -> None:
        """Verifying finds nothing, and every event above what was pruned."""
        found = self.store.verify()
        assert found.mismatches == ()
        assert found.pruned_up_to == self.pruned
        assert found.events == len(self.model.events) - self.pruned
        assert self.store.coverage().events == found.events

    @invariant()
    def attempts_have_one_end(self) -> None:
        """No call ends twice, and none is interrupted twice."""
        ends = [
            (event.call_id, event.kind)
            for event in self.model.events
            if event.call_id is not None and event.kind != "gate"
        ]
        assert len(ends) == len(set(ends))


def facts(event: Event) -> tuple[Any, ...]:
    """Return what a redaction leaves of an event."""
    return (event.id, event.seq, event.outcome, event.caller_id, event.duration_ms)


@pytest.mark.slow
def test_a_store_does_what_its_model_does() -> None:
    """Appends, limits, kills, prunings and redactions, in any order."""
    run_state_machine_as_test(
        StoreAndModel,
        settings=settings(
            REPEATABLE,
            max_examples=WALKS,
            stateful_step_count=STEPS,
            # A walk is told whole: making it shorter takes minutes.
            phases=(Phase.generate,),
        ),
    )
