"""Backups while writers go on: whole, private, and a prefix of what came after."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

import toolrt
from toolrt import Event, PageRequest
from toolrt_store import (
    ForeignStoreError,
    SqliteEventStore,
    StoreMissingError,
    StoreTooNewError,
    StoreUnavailableError,
)
from toolrt_store import backup as backups
from toolrt_store.backup import backup, copy_store

from .samples import finish, gate_event, start_python

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(db_path: Path) -> Path:
    """The path of a closed store of three events."""
    with SqliteEventStore.open(db_path) as store:
        store.append_events([gate_event(number) for number in range(3)])
    return db_path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a backup may go."""
    return tmp_path / "copy.db"


def events_of(path: Path) -> list[Event]:
    """Return the events of the store at *path*, oldest first."""
    with SqliteEventStore.open(path) as store:
        return list(reversed(store.query_events(page=PageRequest(limit=10**6)).items))


def copy(source: Path, target: Path) -> int:
    return backup(str(source), str(target), timeout_s=300)


def test_backup_is_the_store(source: Path, target: Path) -> None:
    """It opens as any store, holds the same events, and goes on from there."""
    assert copy(source, target) == 3

    assert events_of(target) == events_of(source)
    with (
        SqliteEventStore.open(source) as store,
        SqliteEventStore.open(target) as again,
    ):
        assert again.store_id == store.store_id
        assert again.append_event(gate_event(9)).seq == 4


@pytest.mark.parametrize("mask", [0, 0o077])
def test_backup_is_private_and_alone(source: Path, tmp_path: Path, mask: int) -> None:
    """It is 0600 whatever the umask, and nothing is left beside it."""
    (tmp_path / "to").mkdir()

    previous = os.umask(mask)
    try:
        copy(source, tmp_path / "to" / "copy.db")
    finally:
        os.umask(previous)

    (made,) = (tmp_path / "to").iterdir()
    assert made.name == "copy.db"
    assert stat.S_IMODE(made.lstat().st_mode) == 0o600
    assert not list(source.parent.glob("*.part"))


def test_events_in_the_log_are_in_the_backup(db_path: Path, target: Path) -> None:
    """What the writer committed last, and nothing wrote back yet, is copied."""
    with SqliteEventStore.open(db_path) as store:
        store.append_event(gate_event())
        assert copy(db_path, target) == 1

    assert len(events_of(target)) == 1


WRITER = """
import select, sys
from itertools import count
from tests.store.samples import gate_event
from toolrt_store import SqliteEventStore
number = int(sys.argv[2])
with SqliteEventStore.open(sys.argv[1], lock_timeout_s=300) as store:
    print("ready", flush=True)
    for step in count():
        first = number * 1_000_000 + step * 10
        store.append_events([gate_event(first + n) for n in range(10)])
        if step == 3:
            print("writing", flush=True)
        if select.select([sys.stdin], [], [], 0)[0]:
            break
"""


@pytest.mark.slow
def test_backups_while_others_write_are_prefixes(db_path: Path, tmp_path: Path) -> None:
    """Each backup that four writers did not wait for is the beginning of the log."""
    SqliteEventStore.open(db_path).close()
    writers = [start_python(WRITER, db_path, number) for number in range(4)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() + writer.stdout.readline() == "ready\nwriting\n"
    targets = [tmp_path / f"copy-{number}.db" for number in range(5)]

    sizes = [copy(db_path, target) for target in targets]
    running = sum(writer.poll() is None for writer in writers)
    finish(writers)

    log = events_of(db_path)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    for size, target in zip(sizes, targets, strict=True):
        assert events_of(target) == log[:size]
    # Nobody waited for anybody: there was something to copy, and more came.
    assert sizes == sorted(sizes)
    assert 160 <= sizes[0] < sizes[-1] <= len(log)
    assert running == 4


def test_a_backup_holds_one_moment(source: Path, target: Path) -> None:
    """What is added between two steps is not in the copy, which does not start over."""
    with SqliteEventStore.open(source) as store:
        for number in range(100, 140):
            store.append_events([gate_event(number * 1000 + n) for n in range(200)])
        before = store.coverage().events
        numbers = count(1_000_000)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            store.append_event(gate_event(next(numbers)))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backups, "_STEP_PAGES", 16)
            last_seq = copy_store(str(source), str(target), pause=pause)

        assert len(pauses) > 5
        assert last_seq == before
        assert store.coverage().events == before + len(pauses)
    assert len(events_of(target)) == before


def make_nothing(path: Path) -> None:
    path.unlink()


def make_text(path: Path) -> None:
    path.write_text("remember the milk\n" * 100)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (make_nothing, StoreMissingError, "there is no store here"),
        (make_text, ForeignStoreError, "not a database"),
        (make_newer, StoreTooNewError, "schema 99 is newer than"),
        (make_fifo, ForeignStoreError, "not a regular file"),
    ],
)
def test_source_that_is_no_store_is_refused(
    source: Path,
    target: Path,
    make: Callable[[Path], None],
    error: type[Exception],
    match: str,
) -> None:
    """The failure of the other process arrives as the error that it was."""
    make(source)

    with pytest.raises(error, match=match) as info:
        copy(source, target)

    assert getattr(info.value, "path", None) == str(source)
    assert list(target.parent.glob("copy*")) == []


def test_existing_target_is_left(source: Path, target: Path) -> None:
    """A backup never replaces anything, a link to nowhere included."""
    target.write_text("mine")
    link = target.with_name("copy-link.db")
    link.symlink_to(target.with_name("copy-nowhere"))

    for path in (target, link, source):
        with pytest.raises(StoreUnavailableError, match="exists already"):
            copy(source, path)

    assert target.read_text() == "mine"
    assert sorted(target.parent.glob("copy*")) == [link, target]


@pytest.mark.parametrize("name", ["nothing/copy.db", "file/copy.db", "nul\0.db"])
def test_target_that_cannot_be_made_is_refused(
    source: Path, tmp_path: Path, name: str
) -> None:
    """The directory of a backup must be there."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailableError):
        copy(source, tmp_path / name)


def test_target_that_appears_meanwhile_is_left(source: Path, target: Path) -> None:
    """What was made while the copy was, is not replaced; the copy is discarded."""
    with pytest.MonkeyPatch.context() as patch:
        real = backups._copy

        def slow(*arguments: object) -> int:
            target.write_text("mine")
            return real(*arguments)  # type: ignore[arg-type]

        patch.setattr(backups, "_copy", slow)
        with pytest.raises(StoreUnavailableError, match="exists already"):
            copy_store(str(source), str(target))

    assert target.read_text() == "mine"
    assert list(target.parent.glob("copy*")) == [target]


def test_backup_past_its_deadline_leaves_nothing(source: Path, target: Path) -> None:
    """The process is ended, and its half of a copy removed."""
    with pytest.raises(StoreUnavailableError, match="took longer than 0 s"):
        backup(str(source), str(target), timeout_s=0)

    assert list(target.parent.glob("copy*")) == []


def test_half_of_a_copy_goes_with_its_process(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that was ended had made so far is removed."""
    hanging = (
        "import os, sys; part = f'{sys.argv[-1]}.{os.getpid()}.part';"
        " open(part, 'w').close(); print(part, flush=True); sys.stdin.read()"
    )

    def start(source: str, target: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", hanging, target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert os.path.exists(process.stdout.readline().decode().strip())
        return process

    monkeypatch.setattr(backups, "_start", start)
    with pytest.raises(StoreUnavailableError, match="took longer than 0 s"):
        backup(str(source), str(target), timeout_s=0)

    assert list(target.parent.glob("copy*")) == []


def test_process_that_breaks_down_is_an_error(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the other process, the caller gets an error of the store."""
    monkeypatch.setattr(backups, "_BOOT", "raise SystemExit('no room')")
    with pytest.raises(StoreUnavailableError, match="failed: no room"):
        copy(source, target)
    monkeypatch.setattr(backups, "_BOOT", "import os; os._exit(9)")
    with pytest.raises(StoreUnavailableError, match="its process ended"):
        copy(source, target)
    monkeypatch.setattr(sys, "executable", "/nothing/python")
    with pytest.raises(StoreUnavailableError, match="no such file"):
        copy(source, target)


@pytest.mark.slow
def test_full_disk_is_an_error_without_remains(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that did not fit is removed."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
    # Half of a compiled module must not be left for others to import.
    limit += " import sys; sys.dont_write_bytecode = True;"
    monkeypatch.setattr(backups, "_BOOT", limit + backups._BOOT)

    with pytest.raises(StoreUnavailableError):
        copy(source, target)

    assert list(target.parent.glob("copy*")) == []


def run_module(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the module as an operator would."""
    return subprocess.run(
        [sys.executable, "-I", "-m", "toolrt_store.backup", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_module_runs_isolated(source: Path, target: Path, tmp_path: Path) -> None:
    """``python -I -m`` makes a backup; its output and exit code say how it went."""
    done = run_module(source, "copy.db", cwd=tmp_path)
    again = run_module(source, target, cwd=tmp_path)
    usage = run_module(source, cwd=tmp_path)

    assert (done.stdout, done.stderr, done.returncode) == ('{"last_seq":3}\n', "", 0)
    assert len(events_of(target)) == 3
    assert (again.returncode, again.stderr) == (6, "")
    assert '"exists already"' in again.stdout
    assert usage.returncode == 2
    assert usage.stderr.startswith("usage: ")


def test_module_hears_nobody_in_the_working_directory(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules that lie about, or that PYTHONPATH names, are not imported."""
    for name in ("json", "msgspec", "toolrt_store", "stat"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert copy(source, target) == 3


@pytest.mark.slow
def test_checkout_that_is_not_installed_makes_backups(
    source: Path, target: Path, tmp_path: Path
) -> None:
    """The process finds the package where its caller did, not one that is installed."""
    elsewhere = tmp_path / "elsewhere"
    for module in (backups, toolrt):
        package = Path(module.__file__ or "").parent
        shutil.copytree(package, elsewhere / package.name)
    with (elsewhere / "toolrt_store" / "backup.py").open("a") as file:
        file.write("\n\ndef main(arguments):\n    print('{\"last_seq\":77}')\n")
    code = (
        "import sys\nsys.path[:0] = [sys.argv[1]]\n"
        "from toolrt_store import backup\n"
        "print(backup.backup(sys.argv[2], sys.argv[3], timeout_s=300))\n"
    )

    (said,) = finish([start_python(code, elsewhere, source, target)])

    assert said == "77\n"
