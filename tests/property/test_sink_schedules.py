"""Producers, slow and failing writers and a close, in any order: every event counts once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt import (
    BackpressureStrategy,
    Block,
    CallEvent,
    Drop,
    Fallback,
    PartialWriteError,
    QueueSink,
    SinkStats,
)
from toolrt.audit.sinks import EndedCall
from toolrt.testing import MemorySink

from ..runtime.audit.writers import SOON, event
from .strategies import REPEATABLE

pytestmark = pytest.mark.slow


class Schedule(msgspec.Struct, frozen=True):
    """What happens: a step of a writer is ok, slow, fails, writes a part or dies."""

    strategy: str
    capacity: int
    producers: tuple[int, ...]
    writer: tuple[str, ...]
    #: After how many batches the sink is closed; None: when all was sent.
    close_after: int | None
    #: Whether the close gives up at once.
    impatient: bool


schedules = st.builds(
    Schedule,
    strategy=st.sampled_from(["drop", "block", "deadline", "fallback"]),
    capacity=st.integers(1, 9),
    producers=st.lists(st.integers(0, 40), min_size=1, max_size=4).map(tuple),
    writer=st.lists(
        st.sampled_from(["ok", "ok", "ok", "slow", "fails", "part", "dies"]),
        max_size=12,
    ).map(tuple),
    close_after=st.none() | st.integers(0, 5),
    impatient=st.booleans(),
)


class Scripted:
    """Does the steps of a schedule, then writes everything."""

    def __init__(self, schedule: Schedule) -> None:
        self.steps = list(schedule.writer)
        self.close_after = schedule.close_after
        self.closing = threading.Event()
        self.batches = 0
        self.written: list[CallEvent] = []

    def write(self, events: Sequence[CallEvent]) -> None:
        if self.batches == self.close_after:
            self.closing.set()
        self.batches += 1
        match self.steps.pop(0) if self.steps else "ok":
            case "slow":
                threading.Event().wait(0.001)  # a slow disk
            case "fails":
                raise OSError("fails")
            case "part":
                half = len(events) // 2
                self.written += events[:half]
                raise PartialWriteError(half, OSError("part"))
            case "dies":
                raise SystemExit
        self.written += events


def strategy_of(schedule: Schedule, fallback: MemorySink) -> BackpressureStrategy:
    made: dict[str, BackpressureStrategy] = {
        "drop": Drop(),
        "block": Block(None),
        "deadline": Block(0.0005),
        "fallback": Fallback(fallback),
    }
    return made[schedule.strategy]


def play(schedule: Schedule) -> tuple[SinkStats, list[CallEvent], list[CallEvent]]:
    """Run *schedule*; return the counters, what was written and what was diverted."""
    writer, fallback = Scripted(schedule), MemorySink()
    sink = QueueSink(writer, schedule.capacity, strategy_of(schedule, fallback))

    ended = sink.ended_calls()

    def produce(name: str, count: int) -> None:
        for number in range(count):
            one = event(number, name)
            if number % 3:
                sink.on_call(one)
            else:  # as a call in the direct way tells of it
                ended(EndedCall(lambda *_, one=one: one, 0, 0), None)

    threads = [
        threading.Thread(target=produce, args=(f"p{n}", count), daemon=True)
        for n, count in enumerate(schedule.producers)
    ]
    for thread in threads:
        thread.start()
    while schedule.close_after is not None and any(one.is_alive() for one in threads):
        seen = sink.stats()
        assert seen.accepted == seen.written + seen.failed + seen.depth
        assert seen.depth <= seen.peak <= schedule.capacity
        if writer.closing.wait(0.0001):
            sink.close(0 if schedule.impatient else SOON)
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    sink.close()
    if sink._thread is not None:
        sink._thread.join(SOON)  # what an impatient close left is written still
    return sink.stats(), writer.written, fallback.events


@settings(REPEATABLE, max_examples=1000)
@given(schedules)
def test_every_event_counts_once_and_keeps_its_order(schedule: Schedule) -> None:
    """Sent = written + failed + dropped + diverted, in order for each producer."""
    stats, written, diverted = play(schedule)

    sent = sum(schedule.producers)
    assert stats.depth == 0
    assert stats.accepted == stats.written + stats.failed
    assert sent == stats.accepted + stats.dropped + stats.diverted
    assert stats.diverted == len(diverted)
    # An impatient close counts as failed what its writer may yet write.
    late = stats.failed if schedule.impatient else 0
    assert stats.written <= len(written) <= stats.written + late
    assert (
        max(Counter(one.call_id for one in [*written, *diverted]).values(), default=1)
        == 1
    )
    for name in {f"p{n}" for n in range(len(schedule.producers))}:
        own = [one for one in written if one.call_id.startswith(f"{name}-")]
        assert own == sorted(own, key=lambda one: int(one.call_id.split("-")[1]))
    if schedule.strategy == "block" and schedule.close_after is None:
        assert stats.dropped == 0 or "dies" in schedule.writer
