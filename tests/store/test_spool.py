"""The emergency spool: what was put there is found again, or its loss is told."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import StoreLockedError, StoreUnavailableError
from toolrt_store import spool as spools
from toolrt_store.spool import SLOT_BYTES, SLOTS, Spool

from .samples import finish, start_python

#: As much as one slot holds.
ROOM = spools._ROOM


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool without records."""
    made = Spool(str(tmp_path / "audit.db"))
    made.prepare()
    return made


@pytest.fixture
def path(tmp_path: Path, spool: Spool) -> Path:
    """The file of the spool."""
    return tmp_path / "audit.db.spool"


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Write *data* over what the file at *path* holds there."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_spool_is_private_and_has_its_size(tmp_path: Path, mask: int) -> None:
    """It is 256 KiB of real blocks, 0600 whatever the umask."""
    previous = os.umask(mask)
    try:
        Spool(str(tmp_path / "audit.db")).prepare()
    finally:
        os.umask(previous)

    found = (tmp_path / "audit.db.spool").lstat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == 256 * 1024
    assert found.st_blocks * 512 >= found.st_size


@pytest.mark.parametrize(
    "size", [0, 1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, SLOTS * ROOM]
)
def test_record_comes_back_as_it_was(spool: Spool, size: int) -> None:
    """Records of any size that fits, over one slot or many."""
    data = os.urandom(size)

    spool.put(data)

    assert spool.records() == [(1, data)]
    assert spool.torn() == []
    assert spool.free_slots() == SLOTS - max(1, -(-size // ROOM))


def test_records_stay_until_they_are_cleared(spool: Spool, tmp_path: Path) -> None:
    """Another object finds them in their slots; clearing frees those slots only."""
    for data in (b"a", b"b" * (ROOM + 1), b"c"):
        spool.put(data)
    other = Spool(str(tmp_path / "audit.db"))
    assert [slot for slot, _ in other.records()] == [1, 2, 4]

    other.clear([2])

    assert other.records() == [(1, b"a"), (4, b"c")]
    assert not spool.is_empty()
    spool.put(b"d" * (2 * ROOM))
    assert [slot for slot, _ in other.records()] == [1, 2, 4]
    other.clear([1, 2, 4])
    assert other.records() == []
    assert other.is_empty()
    assert spool.free_slots() == SLOTS


def test_clear_leaves_what_somebody_else_put_there(
    spool: Spool, tmp_path: Path
) -> None:
    """A slot that was freed and taken again meanwhile is not the one that was read."""
    spool.put(b"old")
    slow, fast = Spool(str(tmp_path / "audit.db")), Spool(str(tmp_path / "audit.db"))
    assert slow.records() == fast.records() == [(1, b"old")]
    fast.clear([1])
    spool.put(b"new")

    slow.clear([1, 7])

    assert spool.records() == [(1, b"new")]


def test_full_spool_refuses_and_keeps_what_it_has(spool: Spool) -> None:
    """Nothing is written over."""
    spool.put(b"first")
    spool.put(b"x" * (SLOTS - 2) * ROOM)

    with pytest.raises(StoreUnavailableError) as info:
        spool.put(b"y" * (ROOM + 1))

    assert info.value.problem == (
        "its emergency spool has 1 of 63 slots free, and 2 in a row are needed"
    )
    spool.put(b"last")
    assert [slot for slot, _ in spool.records()] == [1, 2, SLOTS]
    assert spool.free_slots() == 0


def test_record_larger_than_the_spool_is_refused(spool: Spool) -> None:
    """However large."""
    for size in (SLOTS * ROOM + 1, 70_000 * ROOM):
        with pytest.raises(StoreUnavailableError, match="in a row are needed"):
            spool.put(bytes(size))
    assert spool.is_empty()


def test_empty_spool_costs_one_small_read(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a store asks every time."""
    reads: list[int] = []
    real = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        reads.append(size)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert spool.is_empty()
    assert spool.free_slots() == SLOTS

    assert len(reads) == 2
    assert max(reads) < 32


def test_without_a_spool_there_is_nothing(tmp_path: Path) -> None:
    """A store that never had one is empty, and has no room."""
    spool = Spool(str(tmp_path / "audit.db"))

    assert spool.is_empty()
    assert (spool.records(), spool.torn(), spool.free_slots()) == ([], [], 0)
    spool.clear([1])
    with pytest.raises(StoreUnavailableError, match="there is no emergency spool"):
        spool.put(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0, 1, 2])
def test_torn_record_is_told_apart(spool: Spool, path: Path, part: int) -> None:
    """Each slot of a record that lost a sector is named; the others are read."""
    spool.put(b"before")
    spool.put(os.urandom(3 * ROOM))
    spool.put(b"after")
    overwrite(path, (2 + part) * SLOT_BYTES + 512, bytes(512))

    assert spool.records() == [(1, b"before"), (5, b"after")]
    assert spool.torn() == [2, 3, 4]

    spool.clear([slot for slot, _ in spool.records()])
    assert not spool.is_empty()
    spool.clear(spool.torn())
    assert spool.is_empty()


def test_parts_in_another_order_are_torn(spool: Spool, path: Path) -> None:
    """Whole slots that stand in each other's place are no record."""
    spool.put(os.urandom(3 * ROOM))
    data = path.read_bytes()
    second, third = (data[at * SLOT_BYTES :][:SLOT_BYTES] for at in (2, 3))

    overwrite(path, 2 * SLOT_BYTES, third + second)

    assert (spool.records(), spool.torn()) == ([], [1, 2, 3])


def test_file_system_without_allocation_gets_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are written where they cannot be reserved."""

    def refusing(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    for known in (True, False):
        if known:
            monkeypatch.setattr(os, "posix_fallocate", refusing, raising=False)
        else:
            monkeypatch.delattr(os, "posix_fallocate")
        Spool(str(tmp_path / f"{known}.db")).prepare()

        found = (tmp_path / f"{known}.db.spool").stat()
        assert found.st_blocks * 512 >= found.st_size == 256 * 1024


def test_record_without_its_last_slots_is_torn(spool: Spool, path: Path) -> None:
    """Slots that were never written are free, and what stands before them is torn."""
    spool.put(os.urandom(3 * ROOM))
    overwrite(path, 2 * SLOT_BYTES, bytes(2 * SLOT_BYTES))

    assert (spool.records(), spool.torn()) == ([], [1])
    assert spool.free_slots() == SLOTS - 1


def test_data_that_looks_like_a_slot_is_data(spool: Spool, path: Path) -> None:
    """What a record holds cannot become a record when the rest is torn."""
    forged = spools._slot(0, 1, b"forged")
    spool.put(bytes(ROOM) + forged + forged)
    overwrite(path, SLOT_BYTES, b"torn")

    assert spool.records() == []
    assert spool.torn() == [1, 2, 3, 4]


def test_no_flipped_bit_goes_unnoticed(spool: Spool, path: Path) -> None:
    """Any change in a slot that is in use makes it torn."""
    spool.put(b"record")
    whole = path.read_bytes()
    offsets = [*range(24), 100, SLOT_BYTES - 1]

    for offset in offsets:
        changed = bytes([whole[SLOT_BYTES + offset] ^ 0x10])
        overwrite(path, SLOT_BYTES + offset, changed)
        assert (spool.records(), spool.torn()) == ([], [1]), offset
        path.write_bytes(whole)


@pytest.mark.parametrize("text", [b"\0" * 23, b"rubbish", b"toolrt spool 1: in use\n"])
def test_records_are_found_whatever_the_summary_says(
    spool: Spool, path: Path, text: bytes
) -> None:
    """Only the very words that say so make a spool empty."""
    spool.put(b"record")
    overwrite(path, 0, text)

    assert not spool.is_empty()
    assert spool.records() == [(1, b"record")]


def test_summary_is_written_before_the_record(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two leaves a spool that is looked at."""
    offsets: list[int] = []
    real = os.pwrite

    def recording(fd: int, data: bytes, offset: int) -> int:
        offsets.append(offset)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", recording)
    spool.put(b"a")
    spool.put(b"b")
    spool.records()
    spool.clear([1, 2])

    assert offsets == [0, SLOT_BYTES, 2 * SLOT_BYTES, SLOT_BYTES, 2 * SLOT_BYTES, 0]


@pytest.mark.parametrize("size", [0, 100, SLOT_BYTES * 10 + 7])
def test_half_made_spool_is_completed(spool: Spool, path: Path, size: int) -> None:
    """A process killed while it made the spool leaves a short file."""
    os.truncate(path, size)

    spool.prepare()

    assert path.stat().st_size == SLOT_BYTES * (SLOTS + 1)
    assert spool.is_empty()
    spool.put(b"x" * 70_000)
    assert spool.free_slots() == SLOTS - 18


def test_cut_spool_has_no_room_and_tells_so(spool: Spool, path: Path) -> None:
    """Slots that are missing are torn, never free."""
    spool.put(b"kept")
    os.truncate(path, 3 * SLOT_BYTES + 1)

    assert spool.records() == [(1, b"kept")]
    assert spool.torn() == list(range(3, SLOTS + 1))
    with pytest.raises(StoreUnavailableError, match="1 of 63 slots free"):
        spool.put(b"x" * (ROOM + 1))


def test_second_prepare_changes_nothing(spool: Spool, path: Path) -> None:
    """A spool that is there keeps its records."""
    spool.put(b"record")
    before = path.read_bytes()

    spool.prepare()

    assert path.read_bytes() == before


def test_short_writes_are_completed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that took a part is gone on with; without O_DSYNC it is synced."""
    real = os.pwrite
    synced: list[int] = []
    monkeypatch.setattr(os, "pwrite", lambda fd, view, at: real(fd, view[:1000], at))
    monkeypatch.setattr(os, "fdatasync", synced.append)
    monkeypatch.setattr(spools, "_SYNC", 0)
    data = os.urandom(5000)

    spool.put(data)

    assert spool.records() == [(1, data)]
    assert len(synced) == 2


def test_failed_write_leaves_no_half_record(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is not found later as torn."""
    real, calls = os.pwrite, []

    def failing(fd: int, view: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, view[:SLOT_BYTES], offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(StoreUnavailableError, match="input/output error"):
        spool.put(b"x" * (2 * ROOM))

    assert (spool.records(), spool.torn()) == ([], [])
    assert spool.free_slots() == SLOTS


def test_locked_spool_is_waited_for_with_a_deadline(
    spool: Spool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped while it writes does not hang the others."""
    monkeypatch.setattr(spools, "_LOCK_TIMEOUT_S", 0.02)
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)

    for use in (lambda: spool.put(b"x"), spool.records, lambda: spool.clear([1])):
        with pytest.raises(StoreLockedError):
            use()

    os.close(holder)
    spool.put(b"x")


def make_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    path.with_name("elsewhere").write_bytes(b"x")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_link, make_fifo, make_directory])
def test_what_is_no_spool_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Links are not followed, pipes not waited for."""
    make(tmp_path / "audit.db.spool")
    spool = Spool(str(tmp_path / "audit.db"))

    for use in (spool.prepare, spool.is_empty, spool.records, lambda: spool.put(b"x")):
        with pytest.raises(StoreUnavailableError):
            use()


def test_spool_in_a_missing_directory_is_unavailable(tmp_path: Path) -> None:
    """The store makes its directory; the spool does not."""
    with pytest.raises(StoreUnavailableError, match="no such file"):
        Spool(str(tmp_path / "nothing" / "audit.db")).prepare()
    with pytest.raises(StoreUnavailableError):
        Spool("/tmp/a\0b").is_empty()


PUTTER = """
import sys
from toolrt_store import spool as spools
from toolrt_store.spool import Spool
spools._LOCK_TIMEOUT_S = 300
spool = Spool(sys.argv[1])
spool.prepare()
for step in range(10):
    spool.put(b"%s %d " % (sys.argv[2].encode(), step) * (300 if step % 2 else 1000))
"""


@pytest.mark.slow
def test_processes_share_a_spool(tmp_path: Path) -> None:
    """Four that make it and write at once lose nothing and overwrite nothing."""
    db_path = tmp_path / "audit.db"

    finish([start_python(PUTTER, db_path, name) for name in "abcd"])

    spool = Spool(str(db_path))
    words = sorted(data.split()[0] + data.split()[1] for _, data in spool.records())
    assert words == sorted(
        f"{name}{step}".encode() for name in "abcd" for step in range(10)
    )
    assert spool.torn() == []


LIMITED = """
import os, resource, signal, sys
from toolrt_store import SqliteEventStore, StoreError
from toolrt_store.spool import Spool
from tests.store.samples import call_event, gate_event
store = SqliteEventStore.open(sys.argv[1])
spool = Spool(sys.argv[1])
spool.prepare()
size = os.stat(sys.argv[1] + ".spool").st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
for number in range(10_000):
    try:
        store.append_event(gate_event(number))
    except StoreError:
        break
else:
    sys.exit("never full")
spool.put(b"the call of %d" % number)
print(number)
"""


@pytest.mark.slow
def test_spool_takes_what_a_limited_file_cannot(tmp_path: Path) -> None:
    """Past the size that the process may give a file, the spool still has room."""
    db_path = tmp_path / "audit.db"

    (said,) = finish([start_python(LIMITED, db_path)])

    assert Spool(str(db_path)).records() == [(1, b"the call of %d" % int(said))]


def test_limit_below_the_spool_is_an_error(tmp_path: Path) -> None:
    """A spool that the process may not give its size is no spool."""
    code = (
        "import resource, sys\n"
        "from toolrt_store.spool import Spool\n"
        "from toolrt_store import StoreUnavailableError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "try:\n    Spool(sys.argv[1]).prepare()\n"
        "except StoreUnavailableError as error:\n    print(error.problem)\n"
    )

    (said,) = finish([start_python(code, tmp_path / "audit.db")])

    assert said == "file too large\n"


FULL = """
import sys
from toolrt_store import SqliteEventStore, StoreError, StoreUnavailableError
from toolrt_store.spool import Spool
from tests.store.samples import call_event, gate_event
path = sys.argv[1] + "/audit.db"
store = SqliteEventStore.open(path, reserve=0)
spool = Spool(path)
spool.prepare()
store.append_event(gate_event(1))
junk = open(sys.argv[1] + "/junk", "wb", buffering=0)
try:
    while junk.write(bytes(512)):
        pass
except OSError:
    pass
for number in range(2, 200):
    try:
        store.append_event(gate_event(number))
    except StoreError:
        break
else:
    sys.exit("never full")
kept = [b"call %d " % n * 700 for n in range(30)]
for data in kept:
    spool.put(data)
other = Spool(sys.argv[1] + "/other.db")
try:
    other.prepare()
except StoreUnavailableError:
    print("no room for another")
assert [data for _, data in Spool(path).records()] == kept
spool.clear([slot for slot, _ in spool.records()])
junk.truncate(0)
store.append_event(gate_event(number))
print(store.count_events() == number)
"""


@pytest.mark.slow
def test_spool_works_on_a_full_disk(tmp_path: Path) -> None:
    """Where no other file can grow, records go in and come out again."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to mount a small disk with")
    mount = f"mount -t tmpfs -o size=1m,mode=700 tmpfs {tmp_path}"
    probe = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip("this user may not mount a small disk")

    done = subprocess.run(
        [
            *("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"),
            *(sys.executable, "-c", FULL, str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert (done.stdout, done.stderr) == ("no room for another\nTrue\n", "")


KILLED = """
import sys
from toolrt_store.spool import Spool
spool = Spool(sys.argv[1])
print("ready", flush=True)
for step in range(60):
    spool.put(b"%d" % step)
    print(step, flush=True)
"""


@pytest.mark.slow
def test_what_was_put_survives_a_kill(tmp_path: Path) -> None:
    """Each record that was told as kept is there after SIGKILL, whole."""
    db_path = tmp_path / "audit.db"
    for _ in range(5):
        spool = Spool(str(db_path))
        spool.prepare()
        process = start_python(KILLED, db_path)
        assert process.stdout is not None
        while process.stdout.readline() not in ("20\n", ""):
            pass
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()

        kept = [int(data) for _, data in spool.records()]
        last = int(rest[-1]) if rest else 20
        assert kept[: last + 1] == list(range(last + 1))
        assert spool.torn() == []
        spool.clear([slot for slot, _ in spool.records()])
