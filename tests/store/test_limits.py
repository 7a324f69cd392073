"""Limits across processes: decided in the commit of the gate event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from toolrt import IdentityConflictError, RateLimitedError
from toolrt.event import Event
from toolrt.limits import CallLimits, Window
from toolrt_store import SqliteEventStore

from .calling import Caller, outcome, registry_over
from .samples import NOON_US, call_event, details, gate_event

MINUTE_US = 60_000_000
TOOL = "std:fs.read"
ONE_AT_ONCE = CallLimits(TOOL, 1)


@pytest.fixture
def callers(db_path: Path) -> Iterator[list[Caller]]:
    """Eight processes over one store."""
    SqliteEventStore.open(db_path).close()
    found = [Caller(db_path) for _ in range(8)]
    for one in found:
        assert one.said() == "ready"
    yield found
    for one in found:
        one.kill()


@pytest.mark.slow
def test_of_eight_at_once_one_runs(callers: list[Caller], db_path: Path) -> None:
    """Seven are told so; the place is free again once its holder has ended."""
    for one in callers:
        one.tell("hold ann 1")
    said = {one: one.said() for one in callers}
    (holder,) = [one for one, text in said.items() if text == "running"]

    assert Counter(said.values()) == {"running": 1, "rate_limited": 7}
    holder.tell("over")
    assert holder.said() == "success"
    callers[0].tell("hold ann 1")
    assert callers[0].said() == "running"
    with SqliteEventStore.open(db_path, read_only=True) as reader:
        assert reader.verify().is_intact


@pytest.mark.slow
def test_the_place_of_who_was_killed_is_free(callers: list[Caller]) -> None:
    """No pid is asked, and nobody has to open the store anew."""
    first, second, *_ = callers
    first.tell("hold ann 1")
    assert first.said() == "running"
    second.tell("hold ann 1")
    assert second.said() == "rate_limited"

    first.kill()
    second.tell("hold ann 1")

    assert second.said() == "running"


@pytest.mark.slow
def test_a_window_is_exact_over_processes(callers: list[Caller]) -> None:
    """Of 40 calls within a minute exactly 7 are let in, whoever makes them."""
    for one in callers:
        one.tell("quick bob 5")
    said = Counter(one.said() for one in callers for _ in range(5))

    # Those that met on the one place were refused without being counted.
    assert set(said) == {"success", "rate_limited"}
    callers[0].tell("quick bob 9")
    more = Counter(callers[0].said() for _ in range(9))
    assert said["success"] + more["success"] == 7


@pytest.mark.slow
def test_an_obligation_counts_for_each_caller(callers: list[Caller]) -> None:
    """A caller's calls do not use up another's, whichever process they are made in."""
    for one, who in zip(callers, "aabbabab", strict=True):
        one.tell(f"obliged {who} 1")
    said = [one.said() for one in callers]

    assert Counter(said) == {"success": 4, "rate_limited": 4}


def test_a_refused_call_takes_no_place(store: SqliteEventStore) -> None:
    """Not one without the capability, nor one of wrong arguments, nor a dry run."""
    registry = registry_over(store)

    assert outcome(registry, "guarded", "eve") == "capability_denied"
    assert outcome(registry, "guarded", dry_run=True) == "success"
    assert store.select("SELECT * FROM places").rows == ()
    assert outcome(registry, "guarded") == "success"
    assert store.select("SELECT * FROM places").rows == ()


def gate(store: SqliteEventStore, number: int, at_us: int = 0) -> Event:
    """Return the gate event of a call of this process, at a time after NOON_US."""
    event = gate_event(number, details=details(process=store.process))
    return replace(event, created_at_us=NOON_US + at_us)


def end(store: SqliteEventStore, number: int) -> Event:
    """Return the end of that call."""
    return call_event(number, details=details(process=store.process))


def window(count: int) -> CallLimits:
    """Return the limits of so many calls a minute."""
    return CallLimits(TOOL, 0, (Window(("k",), count, 60 * 10**9, "a window"),))


def test_a_window_tells_when_it_has_room(store: SqliteEventStore) -> None:
    """The refused call is on record, and counts nowhere."""
    store.append_event_within(gate(store, 1), window(2))
    store.append_event_within(gate(store, 2, MINUTE_US // 2), window(2))

    with pytest.raises(RateLimitedError) as refused:
        store.append_event_within(gate(store, 3, MINUTE_US - 1), window(2))
    store.append_event_within(gate(store, 4, MINUTE_US), window(2))

    assert refused.value.retry_after_ms == 1
    assert store.count_events() == 4


@pytest.mark.parametrize(("back_us", "is_let_in"), [(1, False), (2 * MINUTE_US, True)])
def test_a_clock_that_is_set_back_locks_nobody_out(
    store: SqliteEventStore, back_us: int, *, is_let_in: bool
) -> None:
    """Admissions of another age go; what may be of this minute still counts."""
    store.append_event_within(gate(store, 1, 5 * MINUTE_US), window(1))
    late = gate(store, 2, 5 * MINUTE_US - back_us)

    if is_let_in:
        store.append_event_within(late, window(1))
    else:
        with pytest.raises(RateLimitedError) as refused:
            store.append_event_within(late, window(1))
        assert refused.value.retry_after_ms == 60_001


def test_an_append_that_fails_gives_no_place_back(store: SqliteEventStore) -> None:
    """The end that was rolled back with a bad event frees its place when it is stored."""
    store.append_event_within(gate(store, 1), ONE_AT_ONCE)
    with pytest.raises(IdentityConflictError):
        store.append_events([end(store, 1), gate(store, 1)])
    with pytest.raises(RateLimitedError):
        store.append_event_within(gate(store, 2), ONE_AT_ONCE)

    store.append_event(end(store, 1))

    store.append_event_within(gate(store, 3), ONE_AT_ONCE)


def test_a_gate_event_that_fails_takes_no_place(store: SqliteEventStore) -> None:
    """Nothing is counted of what was not stored."""
    store.append_event(gate(store, 1))
    limits = CallLimits(TOOL, 1, window(1).windows)
    with pytest.raises(IdentityConflictError):
        store.append_event_within(gate(store, 1), limits)

    store.append_event_within(gate(store, 2), limits)

    assert store.select("SELECT seq FROM places").rows == ((2,),)


def test_a_call_without_a_place_is_told_when_to_ask_again(
    store: SqliteEventStore,
) -> None:
    """Nobody knows when the other call ends, so the time is a fixed one."""
    limits = CallLimits("std:fs.read", 1)
    store.append_event_within(gate(store, 1), limits)

    with pytest.raises(RateLimitedError, match="1 at once") as refused:
        store.append_event_within(gate(store, 2), limits)

    assert refused.value.retry_after_ms == 1_000
