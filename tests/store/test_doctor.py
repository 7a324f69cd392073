"""What the doctor says of a store, without ever opening its database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore, doctor, files
from toolrt_store.doctor import Finding, Holder, check_store
from toolrt_store.spool import SLOT_BYTES, SLOTS, Spool

from .samples import NOON_US, gate_event, start_python

CHECKS = [
    *("sqlite", "log", "space", "network", "directory", "files"),
    *("clock", "spool", "key"),
]
TOOLRT = Holder(10, "toolrt")
LITESTREAM = Holder(11, "litestream")
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="/proc is Linux's"
)


def examine(
    db_path: Path, *, reserve: int = 1, group: str | None = None
) -> dict[str, Finding]:
    """Return the findings of a store whose clock is right, by check."""
    found = check_store(
        str(db_path),
        last_event_us=NOON_US,
        now_us=NOON_US + 1,
        reserve=reserve,
        group=group,
    )
    return {one.check: one for one in found}


@pytest.fixture
def healthy(db_path: Path) -> Path:
    """The path of a closed store that has all it should have."""
    with SqliteEventStore.open(db_path) as store:
        store.append_event(gate_event())
    Spool(str(db_path)).prepare()
    key = Path(f"{db_path}.key")
    key.write_text("ab" * 32)
    key.chmod(0o600)
    return db_path


def test_healthy_store_has_no_complaint(healthy: Path) -> None:
    """Every check is made, in its order, and finds all well."""
    found = examine(healthy)

    assert list(found) == CHECKS
    healthy_ones = [one for one in found.values() if one.check != "sqlite"]
    assert {(one.status, one.fix) for one in healthy_ones} == {("ok", "")}


def test_store_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    """Nothing is made by looking, and nothing fails."""
    found = examine(tmp_path / "state" / "a" / "audit.db")

    assert {one.status for one in found.values()} == {"ok", "warn"}
    assert found["files"].text == "there is no store yet"
    assert found["directory"].fix == "the first call makes it"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.45.0", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.0", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.52.0", True),
        ("3.52.1", False),
        ("3.53.4", False),
    ],
)
def test_versions_of_sqlite_that_can_corrupt(version: str, affected: bool) -> None:
    """The range of the bug, its two backports and the version that was withdrawn."""
    assert doctor.can_corrupt(version) is affected


@pytest.mark.parametrize(
    ("version", "holders", "status"),
    [
        ("3.53.4", [LITESTREAM], "ok"),
        ("3.40.1", [], "warn"),
        ("3.40.1", [TOOLRT], "warn"),
        ("3.40.1", [TOOLRT, LITESTREAM], "fail"),
    ],
)
def test_old_sqlite_is_a_fault_beside_other_programs(
    version: str, holders: list[Holder], status: str
) -> None:
    """Our own processes take turns; others that checkpoint do not."""
    found = doctor.check_sqlite(version, holders)

    assert found.status == status
    assert ("11 (litestream)" in found.text) == (status == "fail")


def test_large_log_names_who_may_hold_it(tmp_path: Path) -> None:
    """From 64 MiB on it is a warning, with the processes that have the store open."""
    path = tmp_path / "audit.db"
    wal = Path(f"{path}-wal")
    wal.touch()
    os.truncate(wal, doctor.WAL_WARNING_BYTES - 1)
    assert doctor.check_log(str(path), [TOOLRT]).status == "ok"
    os.truncate(wal, doctor.WAL_WARNING_BYTES)

    found = doctor.check_log(str(path), [TOOLRT, LITESTREAM])

    assert found.status == "warn"
    assert found.text == (
        "the log has 64 MiB; the store is open in 10 (toolrt), 11 (litestream)"
    )
    assert found.fix


HOLDER = """
import sys
from toolrt_store import SqliteEventStore
store = SqliteEventStore.open(sys.argv[1], read_only=True)
store.count_events()
print("open", flush=True)
sys.stdin.read()
"""


@needs_proc
def test_processes_that_have_the_store_open_are_found(healthy: Path) -> None:
    """A reader elsewhere is found by its pid; whoever has closed it is not."""
    process = start_python(HOLDER, healthy)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"

    holders = doctor.find_holders(str(healthy))
    told = examine(healthy)["log"].text
    process.communicate()

    assert [one.pid for one in holders] == [process.pid]
    assert f"open in {process.pid} (" in told
    assert doctor.find_holders(str(healthy)) == ()


def test_processes_that_end_meanwhile_are_passed_over(tmp_path: Path) -> None:
    """A process without files, or a name, is no trouble; nor is a system without any."""
    path = os.path.realpath(tmp_path / "audit.db")
    for pid, target in (("1", path), ("2", "/dev/null"), ("x", path)):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "fd" / "3").symlink_to(target)
    (tmp_path / "1" / "fd" / "4").touch()
    (tmp_path / "3").mkdir()

    assert doctor.find_holders(path, str(tmp_path)) == (Holder(1, "ended"),)
    assert doctor.find_holders(path, str(tmp_path / "nothing")) == ()


@pytest.mark.parametrize(
    ("part", "status"), [(0.4, "ok"), (0.6, "warn"), (1.5, "fail")]
)
def test_free_space_is_held_against_the_reserve(
    healthy: Path, part: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below twice the reserve it is a warning, below the reserve a fault."""
    monkeypatch.setattr(files, "free_bytes", lambda path: 1 << 30)

    found = examine(healthy, reserve=int((1 << 30) * part))["space"]

    assert found.status == status
    assert found.text.startswith("1.0 GiB free, the reserve is ")
    assert bool(found.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("behind_s", "status", "text"),
    [
        (-5, "ok", "not behind the last event"),
        (0, "ok", "not behind the last event"),
        (300, "ok", "300 s behind the last event"),
        (301, "fail", "301 s behind the last event"),
    ],
)
def test_clock_behind_the_last_event_is_a_fault(
    behind_s: int, status: str, text: str
) -> None:
    """More than 300 s behind, what has expired could count again."""
    found = doctor.check_clock(NOON_US + behind_s * 1_000_000, NOON_US)

    assert (found.status, found.text) == (status, text)
    assert doctor.check_clock(None, 0).status == "ok"


def test_waiting_records_are_told(healthy: Path) -> None:
    """A spool with records, with torn slots, and one that is missing differ."""
    spool = Spool(str(healthy))
    spool.put(b"x" * 5000)
    waiting = examine(healthy)["spool"]
    with Path(f"{healthy}.spool").open("r+b") as file:
        file.seek(SLOT_BYTES)
        file.write(b"torn")
    torn = examine(healthy)["spool"]
    os.unlink(f"{healthy}.spool")
    missing = examine(healthy)["spool"]

    rest = f"{SLOTS - 2} of {SLOTS} are free"
    assert (waiting.status, waiting.text) == (
        "warn",
        f"1 records wait, 0 slots are torn, {rest}",
    )
    assert (torn.status, torn.text) == (
        "fail",
        f"0 records wait, 2 slots are torn, {rest}",
    )
    assert (missing.status, missing.text) == ("warn", "there is none")


def test_missing_key_is_a_warning(healthy: Path) -> None:
    """Without a key the next checkpoint is signed by another."""
    os.unlink(f"{healthy}.key")

    assert examine(healthy)["key"].status == "warn"


def test_files_open_to_others_are_named_with_the_cure(healthy: Path) -> None:
    """Those that hold data are a fault, those that do not a warning; all are told."""
    lock, key = Path(f"{healthy}.lock"), Path(f"{healthy}.key")
    lock.chmod(0o644)
    warned = examine(healthy)["files"]
    healthy.chmod(0o640)
    key.chmod(0o604)
    failed = examine(healthy)["files"]

    assert (warned.status, warned.fix) == ("warn", f"chmod 600 {lock}")
    assert failed.status == "fail"
    assert failed.text == (
        "audit.db is open to its group (mode 0640); "
        "audit.db.lock is open to others (mode 0644); "
        "audit.db.key is open to others (mode 0604)"
    )
    assert failed.fix == f"chmod 600 {healthy}; chmod 600 {lock}; chmod 600 {key}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user_are_a_fault(healthy: Path) -> None:
    """Both the files and the directory are looked at."""
    os.chown(f"{healthy}.live", 12345, -1)
    os.chown(healthy.parent, 12345, -1)

    found = examine(healthy)

    assert found["files"].status == "fail"
    assert "audit.db.live belongs to the user 12345" in found["files"].text
    assert found["directory"].status == "warn"


@pytest.mark.parametrize(
    ("mode", "status", "fix"),
    [(0o700, "ok", ""), (0o770, "warn", "chmod g-w "), (0o1777, "fail", "chmod o-w ")],
)
def test_directory_that_others_may_write_to(
    healthy: Path, mode: int, status: str, fix: str
) -> None:
    """Everyone is a fault, its group a warning."""
    healthy.parent.chmod(mode)

    found = examine(healthy)["directory"]

    assert found.status == status
    assert found.fix.startswith(fix)
    healthy.parent.chmod(0o700)


def test_what_is_no_store_is_a_finding(tmp_path: Path) -> None:
    """Whatever stands at the path, the doctor answers."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "x.spool")

    assert examine(tmp_path / "dir")["files"].text == "is a directory"
    assert examine(tmp_path / "link")["files"].text == "is a symbolic link"
    assert examine(tmp_path / "file" / "audit.db")["files"].status == "fail"
    assert examine(tmp_path / "nul\0.db")["files"].status in {"fail", "warn"}
    assert examine(tmp_path / "x")["spool"].text == "is not a regular file"
    assert examine(tmp_path / "x", group="no such group")["directory"].status == "fail"


def test_check_that_cannot_be_made_is_a_warning(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that cannot be made is a warning that says why."""

    def failing(path: str) -> os.stat_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "stat", failing)
    found = examine(healthy)["directory"]
    monkeypatch.undo()

    assert (found.status, found.text) == (
        "warn",
        "cannot be checked: input/output error",
    )
