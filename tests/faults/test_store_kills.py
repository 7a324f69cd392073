"""What was told to be stored is stored: kills, many writers, disks that fail or fill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt.event import Event
from toolrt_store import (
    ForeignStoreError,
    SqliteEventStore,
    StoreError,
    StoreUnavailableError,
)
from toolrt_store.errors import RecordSpooledError
from toolrt_store.spool import Spool

from ..store.samples import call_event, details, finish, gate_event, start_python

ROOT = Path(__file__).parents[2]
#: ``make store-faults`` takes the long forms.
KILLS = int(os.environ.get("TOOLRT_KILLS", "40"))
WRITES = int(os.environ.get("TOOLRT_WRITES", "25"))
WRITERS = 16


def say(text: str) -> None:
    """Tell a figure, for who runs pytest with -s."""
    sys.stdout.write(f"\n{text}\n")


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """A store that is new and closed."""
    path = tmp_path / "state" / "audit.db"
    SqliteEventStore.open(path).close()
    return path


@pytest.mark.slow
def test_acknowledged_events_survive_kills(db_path: Path) -> None:
    """Whenever a writer is killed: nothing is lost, nothing to repair, no gap."""
    began = time.monotonic()
    words = ["-m", "tests.faults.killing", str(db_path), str(KILLS), "1"]
    told = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    with SqliteEventStore.open(db_path) as store:
        stored = {one[0] for one in store.select(STORED, limit=10**9).rows}
        found = store.verify()
    say(f"{KILLS} kills, {len(told)} acknowledged, {time.monotonic() - began:.1f} s")
    assert len(told) >= KILLS / 2
    assert set(told) <= stored
    assert found.mismatches == ()
    assert integrity_of(db_path) == "ok"


STORED = """
SELECT call_id || '/' || kind FROM event_log WHERE kind IN ('gate', 'call')
"""


def integrity_of(path: Path) -> str:
    """Return what SQLite says of the file."""
    script = (
        "import sys; from toolrt_store import sqlite;"
        "c = sqlite.connect(sys.argv[1]);"
        "print(c.execute('PRAGMA integrity_check').fetchone()[0])"
    )
    return finish([start_python(script, path)])[0].strip()


WRITER = """
import sys, time
from tests.store.samples import details, gate_event
from toolrt_store import SqliteEventStore
first, count = int(sys.argv[2]), int(sys.argv[3])
with SqliteEventStore.open(sys.argv[1], lock_timeout_s=300) as store:
    told = details(process=store.process)
    print("ready", flush=True)
    sys.stdin.readline()
    worst = 0.0
    for number in range(first, first + count):
        began = time.monotonic()
        store.append_event(gate_event(number, decision="deny", details=told))
        worst = max(worst, time.monotonic() - began)
print(worst)
"""


@pytest.mark.slow
def test_many_processes_write_without_gap(db_path: Path) -> None:
    """Sixteen at once: every event once, in one sequence, and none is told locked."""
    began = time.monotonic()
    processes = [
        start_python(WRITER, db_path, number * 10_000, WRITES)
        for number in range(WRITERS)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    waits = [float(one) for one in finish(processes)]

    with SqliteEventStore.open(db_path, read_only=True) as store:
        found = store.verify()
        calls = store.select("SELECT count(DISTINCT call_id), max(seq) FROM events")
    say(
        f"{WRITERS} x {WRITES}: worst wait {max(waits) * 1000:.0f} ms,"
        f" {time.monotonic() - began:.1f} s"
    )
    assert calls.rows == ((WRITERS * WRITES, WRITERS * WRITES),)
    assert found.mismatches == ()


SYNC_FAILS = """
import os, sys
from tests.store.samples import details, call_event, gate_event
from toolrt_store import SqliteEventStore, StoreUnavailableError
from toolrt_store.errors import RecordSpooledError
store = SqliteEventStore.open(sys.argv[1])
told = details(process=store.process)
store.append_event(gate_event(1, details=told))
switch = os.environ["FAIL_SYNC"]
open(switch, "w").close()
for attempt in range(2):
    try:
        store.append_event(gate_event(2, details=told))
    except StoreUnavailableError as error:
        assert "did not reach the disk" in str(error), error
        print("refused")
    os.unlink(switch) if os.path.exists(switch) else None
try:
    store.append_event(call_event(1, details=told))
except RecordSpooledError:
    print("spooled")
store.close()
with SqliteEventStore.open(sys.argv[1]) as store:
    assert store.get_event(gate_event(1).id)
    assert store.get_event(call_event(1).id)
    store.append_event(gate_event(3, details=told))
    print("intact" if store.verify().is_intact else "broken")
"""


@pytest.mark.slow
def test_a_failed_sync_poisons_the_store_until_it_is_opened_anew(
    db_path: Path, tmp_path: Path
) -> None:
    """Nobody knows what the disk holds: nothing more is let in, the end goes aside."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler to make a failing sync with")
    shim = tmp_path / "failing_sync.so"
    source = Path(__file__).with_name("failing_sync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source], check=True)

    done = subprocess.run(
        [sys.executable, "-c", SYNC_FAILS, str(db_path)],
        env=os.environ
        | {"LD_PRELOAD": str(shim), "FAIL_SYNC": str(tmp_path / "fail now")},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["refused", "refused", "spooled", "intact"]


def test_a_disk_that_fills_between_gate_and_call_loses_no_record(
    db_path: Path,
) -> None:
    """The record goes to the spool, and from there into the store at the next open."""
    with SqliteEventStore.open(db_path) as store:
        told = details(process=store.process)
        store.append_event(gate_event(1, details=told))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = details(process=store.process, reason="r" * 1_999)
        gates = [gate_event(number, details=large) for number in range(2, 99)]
        with pytest.raises(StoreUnavailableError, match="full"):
            append_each(store, gates)
        ends = [call_event(number, details=large) for number in range(100, 200)]
        with pytest.raises(RecordSpooledError, match="full"):
            append_each(store, ends)

    assert len(Spool(str(db_path)).records()) == 1
    with SqliteEventStore.open(db_path) as store:
        kept = [one for one in ends if store.get_event(one.id) is not None]
        assert kept == ends[: len(kept)] != []
        assert store.verify().is_intact
    assert Spool(str(db_path)).is_empty()


def append_each(store: SqliteEventStore, events: list[Event]) -> None:
    """Append *events*, a commit each."""
    for event in events:
        store.append_event(event)


SPOOLING = """
import sys
from tests.store.samples import details, call_event
from toolrt_store import SqliteEventStore, spool
from toolrt_store.errors import RecordSpooledError
spool._LOCK_TIMEOUT_S = 300
store = SqliteEventStore.open(sys.argv[1], lock_timeout_s=300)
told = details(process=store.process)
pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
store._connection.execute(f"PRAGMA max_page_count = {pages}")
number, count = int(sys.argv[2]), 0
while count < 5:
    number += 1
    try:
        store.append_event(call_event(number, details=told, id_=f"{number} " * 300))
    except RecordSpooledError:
        count += 1
        print(f"{number} " * 300 + "/call")
"""


@pytest.mark.slow
def test_two_processes_spool_at_once(db_path: Path) -> None:
    """No record of either is lost, and each is stored once."""
    said = finish([start_python(SPOOLING, db_path, n * 10_000) for n in (1, 2)])
    ids = [line for text in said for line in text.splitlines()]

    with SqliteEventStore.open(db_path) as store:
        assert len(ids) == 10
        assert all(store.get_event(one) is not None for one in ids)
        assert store.verify().is_intact
    assert Spool(str(db_path)).is_empty()


def removed(path: Path, old: Path) -> None:
    """Remove the database."""
    path.unlink()


def replaced(path: Path, old: Path) -> None:
    """Put an older copy in its place, as an editor or mv does."""
    shutil.copy(old, path.with_name("tmp"))
    path.with_name("tmp").rename(path)


def log_removed(path: Path, old: Path) -> None:
    """Remove the log that the last commits are in."""
    path.with_name("audit.db-wal").unlink()


def restored(path: Path, old: Path) -> None:
    """Copy an older file over the bytes of this one, as cp does, and its empty log."""
    _overwrite(path, old.read_bytes())
    _overwrite(path.with_name("audit.db-wal"), b"")


def _overwrite(path: Path, data: bytes) -> None:
    # By another process: closing a descriptor of the database here would drop the
    # locks of the store that the test has open.
    script = "import sys; open(sys.argv[1], 'r+b').truncate(0);"
    script += "open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", script, str(path)], input=data, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [removed, replaced, log_removed, restored])
@pytest.mark.parametrize("is_idle", [False, True])
def test_other_files_in_place_of_the_stores_are_not_written_to(
    db_path: Path,
    tmp_path: Path,
    attack: Callable[[Path, Path], None],
    *,
    is_idle: bool,
) -> None:
    """Each append is refused, and what stands there now is left as it is."""
    with SqliteEventStore.open(db_path) as store:
        store.append_events([gate_event(number) for number in range(50)])
    old = tmp_path / "old.db"
    shutil.copy(db_path, old)
    with SqliteEventStore.open(db_path) as store:
        if not is_idle:
            store.append_events([gate_event(number) for number in range(50, 1_500)])
        store.checkpoint()
        attack(db_path, old)

        for _ in range(2):
            with pytest.raises((StoreUnavailableError, ForeignStoreError)):
                store.append_event(gate_event(9_000))
        with pytest.raises(StoreError):
            store.append_event(call_event(9_000))


@pytest.mark.slow
def test_a_migration_that_is_killed_is_made_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    """At whichever statement: an old schema or the new one, with every event."""
    golden = ROOT / "tests" / "store" / "golden" / "schema-1.db"
    stride = "1" if "TOOLRT_KILLS" in os.environ else "7"
    words = ["-m", "tests.faults.migrating", str(golden), str(tmp_path), stride]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT
    )

    states = done.stdout.splitlines()
    say(f"migration killed {len(states) - 1} times")
    assert len(states) > 20
    versions = [state.split()[0] for state in states]
    assert versions == sorted(versions)
    assert (versions[0], versions[-1]) == ("1", "3")
    recorded = len(json.loads(golden.with_suffix(".json").read_text()))
    assert {state.split()[2] for state in states} == {"True"}
    (events,) = {int(state.split()[1]) for state in states}
    assert events >= recorded
