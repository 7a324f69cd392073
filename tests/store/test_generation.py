"""Noticing that the files of an open store are no longer at their names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore, StoreUnavailableError
from toolrt_store.generation import Generation

from .samples import gate_event


@pytest.fixture
def generation(store: SqliteEventStore, db_path: Path) -> Generation:
    """The generation of a store that has been written to."""
    store.append_event(gate_event())
    return Generation.of(str(db_path))


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def remove(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replace(path: Path) -> None:
    # The first file is kept: a new one must not get its inode.
    path.rename(path.with_name("old.db"))
    path.touch()


def restore(path: Path) -> None:
    shutil.copy(path, path.with_name("restored"))
    path.with_name("restored").replace(path)


def turn_into_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to(path.with_name("elsewhere.db"))


def remove_log(path: Path) -> None:
    wal_of(path).unlink()


def replace_log(path: Path) -> None:
    replace(wal_of(path))


def link(path: Path) -> None:
    path.with_name("second.db").hardlink_to(path)


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (remove, "audit.db was removed while it was open"),
        (rename, "audit.db was removed while it was open"),
        (replace, "audit.db was replaced while it was open"),
        (restore, "audit.db was replaced while it was open"),
        (turn_into_link, "audit.db was replaced while it was open"),
        (remove_log, "audit.db-wal was removed while it was open"),
        (replace_log, "audit.db-wal was replaced while it was open"),
        (link, "has 2 hard links since it was opened"),
    ],
)
def test_files_that_changed_under_us_are_named(
    generation: Generation, db_path: Path, act: Callable[[Path], None], problem: str
) -> None:
    """The refusal says which file it is, and what to do."""
    generation.check()
    act(db_path)

    with pytest.raises(StoreUnavailableError) as info:
        generation.check()

    assert info.value.path == str(db_path)
    assert info.value.problem == f"{problem}: nothing was written; open the store again"


def test_commits_and_checkpoints_change_nothing(
    store: SqliteEventStore, generation: Generation, db_path: Path
) -> None:
    """What writers of any process do to the files leaves them the same files."""
    with SqliteEventStore.open(db_path) as other:
        for number in range(2, 20):
            other.append_event(gate_event(number))
            generation.check()
    store.append_event(gate_event(20))

    generation.check()


def test_log_that_comes_later_is_remembered(tmp_path: Path) -> None:
    """Until there is a log none can be missing; from then on it must stay."""
    path = tmp_path / "audit.db"
    path.write_bytes(b"x")
    generation = Generation.of(str(path))
    generation.check()

    wal_of(path).touch()
    generation.check()
    wal_of(path).unlink()

    with pytest.raises(StoreUnavailableError, match=r"audit\.db-wal was removed"):
        generation.check()


@pytest.mark.parametrize("name", ["missing.db", "nul\0.db", "file/audit.db"])
def test_generation_of_no_store_is_unavailable(tmp_path: Path, name: str) -> None:
    """What cannot be looked at is an error of the store."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailableError):
        Generation.of(str(tmp_path / name))


@pytest.mark.parametrize("which", ["audit.db", "audit.db-wal"])
def test_files_that_cannot_be_looked_at_any_more_are_unavailable(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails is not a store that is the same."""
    path = tmp_path / "audit.db"
    path.touch()
    generation = Generation.of(str(path))
    real = os.lstat

    def failing(name: str) -> os.stat_result:
        if os.path.basename(name) == which:
            raise OSError(5, "Input/output error")
        return real(name)

    monkeypatch.setattr(os, "lstat", failing)
    with pytest.raises(StoreUnavailableError, match="input/output error"):
        generation.check()
