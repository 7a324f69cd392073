"""A store and fork: the child has nothing of it, the parent loses nothing by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore
from toolrt_store.lock import WriteLock

from .samples import finish, start_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

#: Runs `child` in a forked process, `before` and `after` in the one that opened.
FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore")
from tests.store.samples import call_event, call_id, gate_event
from toolrt_store import AttemptFilter, SqliteEventStore, StoreUnavailableError
from toolrt_store.lock import WriteLock
from toolrt_store.liveness import Liveness

path = sys.argv[1]
store = SqliteEventStore.open(path)
store.append_event(gate_event(1))
{before}
pid = os.fork()
if pid == 0:
{child}
assert os.waitpid(pid, 0)[1] == 0
{after}
"""


def run_forking(db_path: Path, *, before: str = "", child: str, after: str = "") -> str:
    """Return what the two processes printed."""
    indented = "\n".join(f"    {line}" for line in child.strip().splitlines())
    code = FORKING.format(before=before.strip(), child=indented, after=after.strip())
    (said,) = finish([start_python(code, db_path)])
    return said


def test_every_use_in_the_child_raises(db_path: Path) -> None:
    """Reads, writes and iterators that began before the fork: each is refused."""
    said = run_forking(
        db_path,
        before="followed = store.follow()\nnext(followed)\nsink = store.sink()",
        child="""
call = call_event(1)
uses = [
    lambda: store.append_event(call),
    lambda: store.append_events([call]),
    lambda: store.get_event(call.id),
    lambda: store.query_events(),
    lambda: store.count_events(),
    lambda: store.query_attempts(),
    lambda: store.count_attempts(AttemptFilter()),
    lambda: store.get_attempt(call_id(1)),
    lambda: store.values("tool"),
    lambda: store.knows_caller("ci-bot"),
    lambda: store.usage("ci-bot", "fs:read"),
    lambda: store.coverage(),
    lambda: next(store.follow()),
    lambda: next(followed),
]
refused = 0
for use in uses:
    try:
        use()
    except StoreUnavailableError as error:
        refused += "before a fork" in str(error)
print(refused, len(uses), flush=True)
os._exit(0)
""",
        after="print(store.count_events())",
    )

    assert said == "14 14\n1\n"


@pytest.mark.parametrize(
    "end", ["store.close(); os._exit(0)", "sys.exit()", "del store; sys.exit()"]
)
def test_end_of_the_child_changes_nothing_for_the_parent(
    db_path: Path, end: str
) -> None:
    """However it ends: the log stays, the process lives, its next commit is read."""
    said = run_forking(
        db_path,
        before="log = os.lstat(path + '-wal')",
        child=end,
        after="""
assert os.path.samestat(os.lstat(path + "-wal"), log)
print(sorted(Liveness(path).live_slots()), flush=True)
store.append_event(call_event(1))
with SqliteEventStore.open(path, read_only=True) as reader:
    print(reader.count_events())
print([event.seq for event in store.query_events().items], flush=True)
os._exit(0)
""",
    )

    assert said == "[1]\n2\n[2, 1]\n"
    with SqliteEventStore.open(db_path) as store:
        assert store.count_events() == 2


def test_locks_of_sqlite_stay_with_the_parent(db_path: Path) -> None:
    """While the parent is in a transaction, nobody can write, child gone or not."""
    said = run_forking(
        db_path,
        before="store._connection.execute('BEGIN IMMEDIATE')",
        child="store.close()\nsys.exit()",
        after="""
import subprocess
# In this process a second SQLite would not see the locks of the first.
probe = (
    "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], timeout=0);"
    " other.execute('BEGIN IMMEDIATE')"
)
done = subprocess.run(
    [sys.executable, "-c", probe, path], capture_output=True, text=True
)
print(done.stderr.splitlines()[-1])
""",
    )

    assert said == "sqlite3.OperationalError: database is locked\n"


@pytest.mark.parametrize("held", [True, False])
def test_writing_lock_stays_with_the_parent(db_path: Path, held: bool) -> None:
    """The child's end and its close leave the lock as it was: held, or free."""
    said = run_forking(
        db_path,
        before="store._writer._lock.acquire(1)" if held else "",
        child="store.close()\nsys.exit()",
        after="""
from toolrt_store import StoreLockedError
probe = WriteLock(path)
try:
    probe.acquire(0)
    print("free", flush=True)
except StoreLockedError:
    print("held", flush=True)
os._exit(0)
""",
    )

    assert said == ("held\n" if held else "free\n")
    WriteLock(str(db_path)).close()


def test_child_may_open_the_store_anew(db_path: Path) -> None:
    """What it opened itself works, beside its parent."""
    said = run_forking(
        db_path,
        child="""
with SqliteEventStore.open(path) as own:
    print(own.append_event(gate_event(2)).seq, flush=True)
os._exit(0)
""",
        after="print(store.append_event(gate_event(3)).seq)\nstore.close()",
    )

    assert said == "2\n3\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="/proc is Linux's")
def test_programs_that_are_run_inherit_nothing(db_path: Path) -> None:
    """A tool has no descriptor of any file of the store, not even when asked for all."""
    said = run_forking(
        db_path,
        before="""
import subprocess
listing = "import os; print(*[os.readlink(f'/proc/self/fd/{n}')" \\
    " for n in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{n}')])"
""",
        child="os.execv(sys.executable, [sys.executable, '-c', listing])",
        after="""
done = subprocess.run(
    [sys.executable, "-c", listing], close_fds=False, capture_output=True, text=True
)
print(done.stdout)
own = [os.path.join('/proc/self/fd', n) for n in os.listdir('/proc/self/fd')]
print(sum(os.readlink(one).startswith(path) for one in own if os.path.lexists(one)) > 3)
""",
    )

    assert str(db_path) not in said
    assert said.count("pipe:") >= 4
    assert said.endswith("True\n")
