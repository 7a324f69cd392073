"""The EventStore contract, over real files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from toolrt.audit.call_event import (
    CapabilityDenied,
    ExecutionFailed,
    InvalidArgs,
    Outcome,
)
from toolrt.event import Event, EventFilter, EventStore, PageRequest
from toolrt.gate import AuditObligation
from toolrt_store import (
    AttemptFilter,
    ForeignStoreError,
    IdentityConflictError,
    SqliteEventStore,
    StoreUnavailableError,
    UnstorableEventError,
    sqlite,
)

from .samples import NOON_US, call_event, call_id, details, gate_event


def test_store_is_an_event_store(store: SqliteEventStore) -> None:
    """The store satisfies the protocol that the runtime asks for."""
    as_protocol: EventStore = store

    assert as_protocol.count_events() == 0
    assert len(store.args_key) == 32
    assert len(store.process) == 26


def test_append_returns_the_event_with_its_sequence(store: SqliteEventStore) -> None:
    """Sequence numbers begin at 1 and have no gaps."""
    stored = [store.append_event(gate_event(number)) for number in (1, 2, 3)]

    assert [event.seq for event in stored] == [1, 2, 3]
    assert store.get_event(stored[1].id) == stored[1]


def test_event_survives_reopening(db_path: Path) -> None:
    """What one store object wrote, a later one reads, with the same key and id."""
    with SqliteEventStore.open(db_path) as first:
        stored = first.append_event(gate_event(details=details()))

    with SqliteEventStore.open(db_path) as second:
        assert second.get_event(stored.id) == stored
        assert (second.args_key, second.store_id) == (first.args_key, first.store_id)
        assert second.process != first.process


def test_unknown_ids_give_none(store: SqliteEventStore) -> None:
    """An id that names no event is no error."""
    for event_id in ("", "x", "x/gate", "system/1", "system/x", "system/" + "9" * 30):
        assert store.get_event(event_id) is None


def test_system_event_is_found_by_its_sequence(store: SqliteEventStore) -> None:
    """A system event's id is its sequence; several may concern one call."""
    events = [
        replace(gate_event(), kind="system", payload={"what": [number, [None, 1.5]]})
        for number in (1, 2)
    ]

    stored = [store.append_event(event) for event in events]

    assert store.get_event("system/2") == stored[1] == replace(events[1], seq=2)


def test_second_event_with_one_id_is_refused(store: SqliteEventStore) -> None:
    """An id is stored once; the refusal names it and nothing is stored."""
    store.append_event(gate_event())

    with pytest.raises(IdentityConflictError, match="/gate is stored already") as info:
        store.append_event(gate_event())

    assert info.value.event_id == f"{call_id()}/gate"
    assert store.count_events() == 1


def test_a_batch_of_many_statements_is_stored_whole(store: SqliteEventStore) -> None:
    """More events than one statement takes, and than are encoded at once."""
    count = 7_700
    events = [gate_event(number) for number in range(count)]

    assert store.append_events(events).affected == count
    assert [store.get_event(events[at].id) for at in (0, 512, 7_680, -1)] == [
        replace(events[at], seq=at % count + 1) for at in (0, 512, 7_680, -1)
    ]
    assert store.verify().is_intact


def test_batch_is_stored_whole(store: SqliteEventStore) -> None:
    """A batch is one commit in its own order."""
    summary = store.append_events([gate_event(), call_event(), gate_event(2)])

    assert (summary.attempted, summary.affected, summary.failed) == (3, 3, 0)
    assert [event.seq for event in store.query_events().items] == [3, 2, 1]


@pytest.mark.parametrize("bad", [gate_event(1), replace(gate_event(9), verb="a\0b")])
def test_batch_with_one_bad_event_is_not_stored(
    store: SqliteEventStore, bad: Event
) -> None:
    """All or nothing: the good events before the bad one are not stored either."""
    store.append_event(gate_event(1))

    with pytest.raises((IdentityConflictError, UnstorableEventError)):
        store.append_events([gate_event(2), bad])

    assert store.count_events() == 1
    assert store.append_event(gate_event(3, verb="new.verb")).seq == 2
    assert store.get_event(f"{call_id(3)}/gate") is not None


def test_duplicate_inside_a_batch_is_named(store: SqliteEventStore) -> None:
    """Two events with one id in one batch conflict as well."""
    with pytest.raises(IdentityConflictError) as info:
        store.append_events([call_event(4), call_event(4)])

    assert info.value.event_id == f"{call_id(4)}/call"


@pytest.mark.parametrize("sizes", [(3,), (1, 2), (2, 1), (1, 1, 1)])
def test_a_second_end_of_a_call_is_refused(
    store: SqliteEventStore, sizes: tuple[int, ...]
) -> None:
    """Whichever of the call's events are committed before it, or with it."""
    events = iter([gate_event(4), call_event(4), call_event(4)])
    *before, last = [list(islice(events, size)) for size in sizes]
    for some in before:
        store.append_events(some)

    with pytest.raises(IdentityConflictError) as info:
        store.append_events(last)

    assert info.value.event_id == f"{call_id(4)}/call"
    assert store.count_events() == 3 - len(last)


def test_empty_batch_writes_nothing(store: SqliteEventStore) -> None:
    """No events, no commit."""
    assert store.append_events([]).attempted == 0
    assert store.coverage().events == 0


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(replace(gate_event(), tool_id="a\0b"), id="NUL in a name"),
        pytest.param(replace(gate_event(), verb="\ud800"), id="lone surrogate"),
        pytest.param(replace(gate_event(), call_id=None), id="gate without call id"),
        pytest.param(replace(gate_event(), created_at_us=1 << 64), id="65-bit time"),
        pytest.param(replace(gate_event(), payload={"x": object()}), id="no JSON"),
        pytest.param(replace(gate_event(), payload={"x": float("nan")}), id="NaN"),
    ],
)
def test_what_cannot_be_kept_is_refused(store: SqliteEventStore, event: Event) -> None:
    """Nothing is stored changed: what cannot be kept exactly is an error."""
    with pytest.raises(UnstorableEventError):
        store.append_event(event)

    assert store.count_events() == 0


def test_ordinary_events_need_no_json(store: SqliteEventStore, db_path: Path) -> None:
    """Columns hold all of an ordinary event: its extra is NULL."""
    told = details(process=store.process)
    outcomes: list[Outcome] = [
        ExecutionFailed("X", retryable=True),
        InvalidArgs("a"),
    ]
    events = [
        gate_event(details=told),
        gate_event(2, decision="deny", deny_reason="no"),
    ]
    events += [
        call_event(number, outcome=outcome, details=told)
        for number, outcome in enumerate(outcomes, 10)
    ]

    store.append_events(events)

    rows = store._connection.execute("SELECT DISTINCT extra FROM events").fetchall()
    assert rows == [(None,)]
    newest_first = [event.payload for event in reversed(events)]
    assert [event.payload for event in store.query_events().items] == newest_first


def test_closed_store_refuses(db_path: Path) -> None:
    """Close is idempotent, and a closed store fails as one that is unavailable."""
    store = SqliteEventStore.open(db_path)
    store.close()
    store.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        store.append_event(gate_event())
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.count_events()


def test_durability_must_be_known(db_path: Path) -> None:
    """A misspelt durability is the programmer's error."""
    with pytest.raises(ValueError, match="durability"):
        SqliteEventStore.open(db_path, durability="none")  # type: ignore[arg-type]


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_sets_synchronous(
    db_path: Path, durability: str, level: int
) -> None:
    """Full syncs each commit, normal leaves it to the checkpoint."""
    with SqliteEventStore.open(db_path, durability=durability) as store:  # type: ignore[arg-type]
        found = store._connection.execute("PRAGMA synchronous").fetchone()

    assert found == (level,)


def test_threads_share_a_store(store: SqliteEventStore) -> None:
    """Appends of several threads leave neither gap nor duplicate."""

    def append_ten(first: int) -> None:
        for number in range(first, first + 10):
            store.append_event(gate_event(number))

    threads = [threading.Thread(target=append_ten, args=(n,)) for n in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    items = store.query_events().items
    assert [event.seq for event in items] == list(range(30, 0, -1))
    assert len({event.id for event in items}) == 30


class TestFilters:
    """OR inside a list, AND across the fields."""

    @pytest.fixture(autouse=True)
    def _events(self, store: SqliteEventStore) -> None:
        told = details()
        store.append_events(
            [
                gate_event(1, details=told),
                call_event(1, details=told, duration_ms=700),
                gate_event(2, verb="echo.say", caller="bob"),
                call_event(2, verb="echo.say", caller="bob"),
                gate_event(3, decision="deny", caller=None),
                call_event(4, outcome=CapabilityDenied(("fs:read",))),
            ]
        )

    @pytest.mark.parametrize(
        ("filter_", "seqs"),
        [
            (EventFilter(), [6, 5, 4, 3, 2, 1]),
            (EventFilter(ids=(f"{call_id(1)}/call", "system/1", "x")), [2]),
            (EventFilter(kinds=("call",)), [6, 4, 2]),
            (EventFilter(verbs=("echo.say", "none")), [4, 3]),
            (EventFilter(tools=("std:fs.read",)), [6, 5, 2, 1]),
            (EventFilter(callers=("bob",)), [4, 3]),
            (EventFilter(actors=("os:ann",), kinds=("gate",)), [5, 3, 1]),
            (EventFilter(namespaces=("other",)), []),
            (EventFilter(outcomes=("denied", "capability_denied")), [6, 5]),
            (EventFilter(capabilities=("fs:read",)), [2, 1]),
            (EventFilter(call_ids=(call_id(1), call_id(3))), [5, 2, 1]),
            (EventFilter(after=NOON_US + 1, before=NOON_US + 3), [4, 3]),
            (EventFilter(min_duration_ms=700), [2]),
        ],
    )
    def test_filter(
        self, store: SqliteEventStore, filter_: EventFilter, seqs: list[int]
    ) -> None:
        """Each field selects what it says, and the count agrees with the page."""
        page = store.query_events(filter_)

        assert [event.seq for event in page.items] == seqs
        assert page.total == store.count_events(filter_) == len(seqs)

    @pytest.mark.parametrize(
        ("page", "seqs"),
        [
            (PageRequest(limit=2), [6, 5]),
            (PageRequest(offset=4, limit=9), [2, 1]),
            (PageRequest(before_seq=4, limit=2), [3, 2]),
            (PageRequest(after_seq=2, limit=2), [4, 3]),
            (PageRequest(limit=0), []),
        ],
    )
    def test_page(
        self, store: SqliteEventStore, page: PageRequest, seqs: list[int]
    ) -> None:
        """A page is newest first; the total does not depend on it."""
        found = store.query_events(EventFilter(), page)

        assert [event.seq for event in found.items] == seqs
        assert found.total == 6

    def test_keyset_page_has_no_offset(self, store: SqliteEventStore) -> None:
        """The two ways of paging do not mix, and numbers are SQLite's."""
        with pytest.raises(ValueError, match="offset"):
            PageRequest(offset=1, before_seq=3)
        with pytest.raises(ValueError, match="2\\*\\*63"):
            PageRequest(limit=2**70)

    def test_many_ids_are_no_trouble(self, store: SqliteEventStore) -> None:
        """A filter may name thousands of events."""
        ids = [f"{call_id(number)}/gate" for number in range(5000)] + ["system/7"]

        assert store.count_events(EventFilter(ids=tuple(ids))) == 3

    def test_an_unknown_kind_matches_nothing(self, store: SqliteEventStore) -> None:
        """What is no kind is no event's."""
        kinds: Any = ("verdict",)

        assert store.count_events(EventFilter(kinds=kinds)) == 0


def test_a_swallowed_event_is_noticed(store: SqliteEventStore, db_path: Path) -> None:
    """A trigger added under us that drops rows without an error does not go unseen."""
    with closing(sqlite.connect(db_path)) as meddler:
        meddler.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON events"
            " BEGIN SELECT RAISE(IGNORE); END"
        )
        meddler.commit()

    with pytest.raises(ForeignStoreError, match="swallowed"):
        store.append_event(gate_event(1))


def test_names_of_a_failed_append_are_forgotten(store: SqliteEventStore) -> None:
    """What a rolled-back transaction stored is stored again by the next one."""
    first = gate_event(1)
    store.append_event(first)
    fresh = replace(gate_event(2), tool_id="new:tool", details=details(pack="new"))
    with pytest.raises(IdentityConflictError):
        store.append_events([fresh, first])

    stored = store.append_event(fresh)

    assert store.get_event(fresh.id) == stored
    assert stored.seq == 2


def test_a_reader_can_only_read(store: SqliteEventStore, db_path: Path) -> None:
    """The connection itself refuses writes, and code hidden in a schema."""
    with SqliteEventStore.open(db_path, read_only=True) as reader:
        pragma = reader._connection.execute
        assert pragma("PRAGMA query_only").fetchone() == (1,)
        assert pragma("PRAGMA trusted_schema").fetchone() == (0,)
        with pytest.raises(StoreUnavailableError, match="read-only"):
            reader.append_event(gate_event(1))


def test_rows_that_do_not_agree_are_an_integrity_fault(
    store: SqliteEventStore, db_path: Path
) -> None:
    """A name that is gone is named as damage, never a Python error."""
    store.append_event(gate_event(1))
    with closing(sqlite3.connect(db_path)) as meddler:
        meddler.execute("DELETE FROM names WHERE text = 'local'")
        meddler.commit()

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        with pytest.raises(ForeignStoreError, match="do not agree"):
            reader.query_events()
        with pytest.raises(ForeignStoreError, match="do not agree"):
            reader.query_attempts(AttemptFilter(), limit=1)


FORKED = """
import os, sys
from toolrt_store import SqliteEventStore, StoreUnavailableError

store = SqliteEventStore.open(sys.argv[1])
pid = os.fork()
if pid == 0:
    for use in (store.count_events, lambda: store.append_events([None])):
        try:
            use()
        except StoreUnavailableError as exc:
            assert "before a fork" in str(exc)
        else:
            os._exit(1)
    store.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
store._writer._lock.acquire(1)
other = os.fork()
if other == 0:
    store.close()
    os._exit(0)
os.waitpid(other, 0)
import fcntl
probe = os.open(sys.argv[1] + ".lock", os.O_RDWR)
try:
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("still locked")
"""


def test_a_forked_child_leaves_the_store_to_its_parent(db_path: Path) -> None:
    """It cannot use the store, and closing it there drops nothing of the parent's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(db_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "still locked\n"


AUDITED = """
import sys

opened = []

def hook(name, args):
    if name == "open" and str(args[0]).endswith((".db", ".db-wal", ".db-shm")):
        opened.append(args[0])

sys.addaudithook(hook)
from toolrt_store import SqliteEventStore

for _ in range(2):
    with SqliteEventStore.open(sys.argv[1]) as store:
        assert store.count_events() == 0
with SqliteEventStore.open(sys.argv[1], read_only=True) as store:
    store.query_events()
print(opened)
"""


def test_no_file_of_sqlite_is_ever_opened_by_hand(db_path: Path) -> None:
    """Closing a descriptor of the database would drop SQLite's locks."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(db_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"


def test_obligations_and_session_are_kept(store: SqliteEventStore) -> None:
    """What has no column of its own reads back all the same."""
    event = gate_event(obligations=(AuditObligation("pii"),), session_id="s-1")

    assert store.append_event(event) == store.get_event(event.id)
    assert event.payload["session_id"] == "s-1"


def test_closing_waits_for_no_lock_that_nobody_gives_back(
    store: SqliteEventStore,
) -> None:
    """An interrupt can leave the mutex taken: the process still ends."""
    store.append_event(gate_event())
    taken = threading.Thread(target=store._mutex.acquire)
    taken.start()
    taken.join()

    store.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        store.append_event(call_event())
