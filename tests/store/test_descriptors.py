"""No Python code opens the database, its log or its index while a store is open."""

from __future__ import annotations

from pathlib import Path

import pytest

from .samples import finish, start_python

#: Every life that a store can have, in a process that watches what Python opens.
WATCHED = """
import os, sys
from itertools import islice

path = sys.argv[1]
names = {os.path.basename(path) + suffix for suffix in ("", "-wal", "-shm")}
seen = []

def hook(name, arguments):
    if name == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        if os.path.basename(os.fsdecode(arguments[0])) in names:
            seen.append(os.fsdecode(arguments[0]))
    elif name in ("shutil.copyfile", "shutil.move", "os.rename", "os.remove"):
        if os.path.basename(os.fsdecode(arguments[0])) in names:
            seen.append(name)

sys.addaudithook(hook)
from tests.store.samples import call_event, call_id, details, gate_event
from toolrt_store import SqliteEventStore, StoreError
from toolrt_store.backup import backup
from toolrt_store.doctor import check_store
from toolrt_store.generation import Generation
from toolrt_store.spool import Spool

def use(store):
    store.query_events(), store.count_events(), store.coverage(), store.values("tool")
    store.query_attempts(), store.get_attempt(call_id(1)), store.usage("a", "b")
    list(islice(store.follow(), store.count_events()))
    list(store.follow(stop=iter([False, True]).__next__, poll_s=0))
    Generation.of(path).check()
    check_store(path, last_event_us=1, now_us=2, reserve=0)

for opening in range(2):
    with SqliteEventStore.open(path) as store:
        spool = Spool(path)
        spool.prepare()
        for number in range(3):
            which = 10 * opening + number
            store.append_event(gate_event(which, details=details(process=store.process)))
            store.append_events([call_event(which)])
            spool.put(b"record")
        try:
            store.append_event(gate_event(which))
        except StoreError:
            pass
        use(store)
        with SqliteEventStore.open(path, read_only=True) as reader:
            use(reader)
        backup(path, f"{path}.copy{opening}", timeout_s=300)
        spool.clear([slot for slot, _ in spool.records()])
        use(store)
print(seen)
{more}
print(len(seen))
"""


@pytest.mark.slow
def test_no_file_of_sqlite_is_opened_through_the_life_of_a_store(
    db_path: Path,
) -> None:
    """Closing such a descriptor drops SQLite's locks: acknowledged events were lost."""
    (said,) = finish([start_python(WATCHED.replace("{more}", ""), db_path)])

    assert said == "[]\n0\n"


@pytest.mark.slow
def test_the_watcher_sees_what_it_should(db_path: Path) -> None:
    """Each way to open a file by hand is noticed."""
    more = (
        "import hashlib, pathlib, shutil\n"
        "open(path, 'rb').close()\n"
        "os.close(os.open(path, os.O_RDONLY))\n"
        "pathlib.Path(path).read_bytes()\n"
        "shutil.copyfile(path, path + '.x')\n"
    )

    (said,) = finish([start_python(WATCHED.replace("{more}", more), db_path)])

    assert int(said.split()[-1]) >= 5
