"""What every EventStore promises, over both that there are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from toolrt import (
    EventFilter,
    EventStore,
    IdentityConflictError,
    PageRequest,
    UnstorableEventError,
)
from toolrt.testing import MemoryEventStore
from toolrt_store import SqliteEventStore

from .samples import NOON_US, call_event, call_id, details, gate_event


@pytest.fixture(params=["memory", "sqlite"])
def events(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    store: Any = MemoryEventStore()
    if request.param == "sqlite":
        store = SqliteEventStore.open(tmp_path / "audit.db")
    with store:
        yield store


def test_what_is_stored_reads_back_equal(events: EventStore) -> None:
    """An event comes back with its sequence, from 1 and without gaps."""
    stored = [
        events.append_event(gate_event(1, details=details())),
        events.append_event(call_event(1, details=details())),
    ]

    assert [event.seq for event in stored] == [1, 2]
    assert [events.get_event(event.id) for event in stored] == stored
    assert events.get_event("nothing/gate") is None


def test_a_batch_is_stored_whole_or_not_at_all(events: EventStore) -> None:
    """A second event with one id refuses the batch that holds it."""
    summary = events.append_events([gate_event(1), gate_event(2)])

    with pytest.raises(IdentityConflictError) as caught:
        events.append_events([gate_event(3), gate_event(1)])

    assert (summary.attempted, summary.affected, summary.failed) == (2, 2, 0)
    assert caught.value.event_id == f"{call_id(1)}/gate"
    assert events.count_events() == 2
    assert events.append_event(gate_event(3)).seq == 3


def test_a_name_with_nul_is_refused(events: EventStore) -> None:
    """Nothing is stored of what cannot be stored whole."""
    with pytest.raises(UnstorableEventError):
        events.append_event(replace(gate_event(1), verb="a\0b"))

    assert events.count_events() == 0


@pytest.mark.parametrize(
    ("chosen", "seqs"),
    [
        (EventFilter(), [4, 3, 2, 1]),
        (EventFilter(kinds=("call",)), [4, 2]),
        (EventFilter(ids=(f"{call_id(1)}/gate", f"{call_id(2)}/call")), [4, 1]),
        (EventFilter(callers=("ci-bot",), kinds=("gate",)), [3, 1]),
        (EventFilter(tools=("std:fs.read", "x")), [4, 3, 2, 1]),
        (EventFilter(verbs=("nothing",)), []),
        (EventFilter(outcomes=("success",)), [4, 3, 2, 1]),
        (EventFilter(capabilities=("fs:read",)), [4, 3, 2, 1]),
        (EventFilter(capabilities=("fs:write",)), []),
        (EventFilter(call_ids=(call_id(2),)), [4, 3]),
        (EventFilter(after=NOON_US + 1), [4, 3]),
        (EventFilter(before=NOON_US + 2), [2, 1]),
        (EventFilter(min_duration_ms=10**9), []),
    ],
)
def test_filters(events: EventStore, chosen: EventFilter, seqs: list[int]) -> None:
    """Or inside a list, and across fields; the count agrees."""
    for number in (1, 2):
        events.append_event(gate_event(number, details=details()))
        events.append_event(call_event(number, details=details()))

    assert [event.seq for event in events.query_events(chosen).items] == seqs
    assert events.count_events(filter=chosen) == len(seqs)


@pytest.mark.parametrize(
    ("page", "seqs"),
    [
        (PageRequest(limit=2), [5, 4]),
        (PageRequest(offset=3), [2, 1]),
        (PageRequest(before_seq=3, limit=1), [2]),
        (PageRequest(after_seq=3), [5, 4]),
        (PageRequest(after_seq=1, limit=2), [3, 2]),
        (PageRequest(after_seq=1, before_seq=4), [3, 2]),
        (PageRequest(limit=0), []),
    ],
)
def test_pages(events: EventStore, page: PageRequest, seqs: list[int]) -> None:
    """Newest first, by sequence; the total is of all."""
    events.append_events([gate_event(number) for number in range(1, 6)])

    found = events.query_events(page=page)

    assert [event.seq for event in found.items] == seqs
    assert found.total == 5
