"""Reading leaves nothing behind, waits for nobody, and sees one moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore
from toolrt_store.blocks import BLOCK

from .samples import details, gate_event, start_python
from .tampering import attempt, fill

ROOT = Path(__file__).parents[2]
NOBODY = 65_534


def files_of(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return owner and content of every file beside *path*."""
    return {
        one.name: (one.lstat().st_uid, one.read_bytes())
        for one in sorted(path.parent.iterdir())
    }


def test_reading_changes_no_byte(db_path: Path) -> None:
    """Of a store that nobody has open: the database is as it was."""
    fill(db_path, calls=50)
    before = files_of(db_path)

    with SqliteEventStore.open(db_path, read_only=True) as reader:
        reader.query_events()
        reader.query_attempts()
        reader.verify()

    after = files_of(db_path)
    # A reader cannot take away the log and the shared memory that it needed.
    new = {name: after.pop(name) for name in set(after) - set(before)}
    assert after == before
    assert set(new) <= {"audit.db-wal", "audit.db-shm"}
    assert new.get("audit.db-wal", (0, b""))[1] == b""


READ = """
import sys
from toolrt_store import SqliteEventStore
with SqliteEventStore.open(sys.argv[1], read_only=True) as reader:
    print(reader.count_events())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has others' stores")
def test_root_leaves_no_file_of_its_own(tmp_path: Path) -> None:
    """What root's reading makes beside a user's store belongs to that user."""
    directory = tmp_path / "theirs"
    path = directory / "audit.db"
    fill(path, calls=5)
    for one in [directory, *directory.iterdir()]:
        os.chown(one, NOBODY, NOBODY)

    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert done.stdout == "10\n"
    assert {one.lstat().st_uid for one in directory.iterdir()} == {NOBODY}


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs another user"
)
def test_who_may_not_read_is_told_in_a_line(db_path: Path) -> None:
    """Another user finds neither the store nor a traceback."""
    fill(db_path, calls=5)
    script = READ.replace("with", "from toolrt_store import StoreError\nwith", 1)
    words = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", sys.executable, "-c"]

    done = subprocess.run(
        [*words, script, str(db_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'store'}"},
    )

    assert done.returncode == 1
    assert done.stdout == ""


LOCKED = """
import sys
from toolrt_store import sqlite
from toolrt_store.lock import WriteLock
lock = WriteLock(sys.argv[1])
lock.acquire(5)
connection = sqlite.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_reader_waits_for_no_writer(db_path: Path) -> None:
    """Not even for one that is in the middle of a transaction."""
    fill(db_path, calls=5)
    writer = start_python(LOCKED, db_path)
    assert writer.stdout is not None
    writer.stdout.readline()

    with SqliteEventStore.open(db_path, read_only=True, lock_timeout_s=0) as reader:
        assert reader.query_events().total == 10
        assert reader.verify().is_intact

    writer.communicate()


def test_verifying_sees_one_moment(store: SqliteEventStore) -> None:
    """What is appended, pruned and redacted meanwhile does not count as tampering."""
    for first in range(0, BLOCK // 2 + 200, 256):
        store.append_events([e for n in range(first, first + 256) for e in attempt(n)])
    steps: list[int] = []

    def meddle(done: int, total: int) -> None:
        if not steps:
            numbers = range(10_000, 10_000 + BLOCK // 2)
            store.append_events([e for n in numbers for e in attempt(n)])
            store.redact(attempt(7)[0].id)
        steps.append(done)

    found = store.verify(progress=meddle)

    assert found.mismatches == ()
    assert steps
    assert found.events == 2 * 9 * 256
    assert store.verify().events == found.events + BLOCK + 1


def test_gate_events_that_never_end_can_be_pruned(store: SqliteEventStore) -> None:
    """Where only gate events are kept, no call goes on: they are as old as they are."""
    for first in range(0, BLOCK + 512, 512):
        store.append_events(
            [gate_event(n, details=details()) for n in range(first, first + 512)]
        )

    found = store.prune(2**62)

    assert found.events == BLOCK
    assert store.verify().is_intact
