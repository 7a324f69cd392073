"""The key that seals a store is private, whole, and the one that is in force."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolrt_store import keys
from toolrt_store.checkpoint import public_key
from toolrt_store.errors import StoreError
from toolrt_store.keys import (
    SealKeyError,
    SealKeyMissingError,
    begin_rotation,
    finish_rotation,
    key_path,
    make_key,
    read_key,
    settle_rotation,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a key may be made; nothing is there yet."""
    return key_path(str(tmp_path / "audit.db"))


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the process's umask for one test."""
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


def names(path: str) -> list[str]:
    """Return what stands in the directory of *path*."""
    return sorted(os.listdir(os.path.dirname(path)))


def test_a_key_is_read_as_it_was_made(path: str) -> None:
    """One line of hex, another one each time, and nothing beside it."""
    seed = make_key(path)

    assert len(seed) == 32
    assert Path(path).read_text() == f"{seed.hex()}\n"
    assert read_key(path) == seed
    assert names(path) == ["audit.db.key"]
    assert begin_rotation(path) != seed


@pytest.mark.parametrize("umask", [0, 0o022, 0o077], indirect=True)
def test_key_files_are_private(path: str, umask: int) -> None:
    """0600 whatever the umask, the successor's as well."""
    make_key(path)
    begin_rotation(path)

    modes = {
        name: stat.S_IMODE(os.stat(name).st_mode) for name in (path, f"{path}.new")
    }
    assert set(modes.values()) == {0o600}


def test_names_can_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory that is synced is then the one we are in."""
    monkeypatch.chdir(tmp_path)

    make_key("k")
    successor = begin_rotation("k")
    finish_rotation("k")

    assert read_key("k") == successor


def test_no_key_is_written_over(path: str) -> None:
    """Neither a key nor whatever else has its name; it stays as it is."""
    seed = make_key(path)
    with pytest.raises(SealKeyError, match=r"key: the key file is there already$"):
        make_key(path)
    begin_rotation(path)
    with pytest.raises(SealKeyError, match=r"key\.new: .* is there already$"):
        begin_rotation(path)

    assert read_key(path) == seed
    assert names(path) == ["audit.db.key", "audit.db.key.new"]


def test_a_link_in_the_place_of_a_new_key_is_not_followed(path: str) -> None:
    """Whoever put it there does not get a key written elsewhere."""
    os.symlink("elsewhere", path)
    os.symlink("elsewhere", f"{path}.tmp")

    with pytest.raises(SealKeyError, match="is there already"):
        make_key(path)

    assert names(path) == ["audit.db.key"]


class RacingOs:
    """Puts a link where a file was just removed, as another process could."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def unlink(self, path: str) -> None:
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(f"{path}.elsewhere", path)


def test_a_link_that_comes_in_between_is_not_followed(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is made by this process or not at all."""
    monkeypatch.setattr(keys, "os", RacingOs())

    with pytest.raises(SealKeyError, match="is there already"):
        make_key(path)

    assert names(path) == ["audit.db.key.tmp"]


def make_link(path: str) -> None:
    make_key(f"{path}.real")
    os.symlink(f"{path}.real", path)


def make_fifo(path: str) -> None:
    os.mkfifo(path, 0o600)


def make_directory(path: str) -> None:
    os.mkdir(path, 0o700)


def with_content(content: bytes) -> Callable[[str], None]:
    """Return what makes a private file of *content*."""

    def make(path: str) -> None:
        Path(path).write_bytes(content)
        os.chmod(path, 0o600)

    return make


def with_mode(mode: int) -> Callable[[str], None]:
    """Return what makes a key and gives its file *mode*."""

    def make(path: str) -> None:
        make_key(path)
        os.chmod(path, mode)

    return make


LINE = b"ab" * 32 + b"\n"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        pytest.param(make_link, "is a symbolic link", id="link"),
        pytest.param(make_fifo, "not a regular file", id="FIFO"),
        pytest.param(make_directory, "not a regular file", id="directory"),
        pytest.param(with_mode(0o644), "open to group or others", id="0644"),
        pytest.param(with_mode(0o620), "open to group or others", id="0620"),
        pytest.param(with_content(b""), "holds no key", id="empty"),
        pytest.param(with_content(LINE[:-1]), "holds no key", id="no newline"),
        pytest.param(with_content(LINE[:-3] + b"\n"), "holds no key", id="short"),
        pytest.param(with_content(LINE + b"\n"), "larger than 65 bytes", id="long"),
        pytest.param(with_content(LINE.upper()), "holds no key", id="upper case"),
        pytest.param(with_content(b"\xff" * 64 + b"\n"), "holds no key", id="no text"),
    ],
)
def test_bad_key_files_are_refused(
    path: str, make: Callable[[str], None], match: str
) -> None:
    """The error names the file and the reason, and never what is in it."""
    make(path)

    with pytest.raises(SealKeyError, match=match) as caught:
        read_key(path)

    assert isinstance(caught.value, StoreError)
    assert (caught.value.code, caught.value.path) == ("seal_key", path)
    assert "ab" * 8 not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_a_key_of_another_user_is_refused(path: str) -> None:
    """It could be replaced or known by that user."""
    make_key(path)
    os.chown(path, 12345, -1)

    with pytest.raises(SealKeyError, match="owned by another user"):
        read_key(path)


def test_a_missing_key_is_told_apart(path: str) -> None:
    """A store that was never sealed has none; one can be made."""
    with pytest.raises(SealKeyMissingError, match="is missing") as caught:
        read_key(path)
    assert caught.value.code == "seal_key_missing"

    with pytest.raises(SealKeyMissingError, match="is missing"):
        settle_rotation(path, bytes(32))
    make_key(path)
    with pytest.raises(SealKeyMissingError, match=r"key\.new: .* is missing"):
        finish_rotation(path)


def test_what_cannot_be_a_path_is_an_error_of_the_key() -> None:
    """A NUL in a name, or a directory that is not there, is no traceback."""
    for bad in ("/tmp/a\0b", "/nowhere/at/all/audit.db.key"):
        for call in (make_key, read_key, begin_rotation, finish_rotation):
            with pytest.raises(SealKeyError):
                call(bad)


class TestRotation:
    """Which key is in force is said by the checkpoints; the files follow."""

    def test_both_keys_are_there_until_it_is_finished(self, path: str) -> None:
        """The old one signs until then, and is gone after it."""
        old = make_key(path)
        new = begin_rotation(path)
        assert (read_key(path), read_key(f"{path}.new")) == (old, new)

        finish_rotation(path)

        assert read_key(path) == new
        assert names(path) == ["audit.db.key"]

    def test_without_its_checkpoint_the_successor_goes(self, path: str) -> None:
        """Nothing names it, so it never signed."""
        old = make_key(path)
        begin_rotation(path)

        assert settle_rotation(path, public_key(old)) == old
        assert names(path) == ["audit.db.key"]

    def test_with_its_checkpoint_the_successor_takes_over(self, path: str) -> None:
        """The commit decided, so the rename is made up for; once is enough."""
        make_key(path)
        new = begin_rotation(path)

        assert settle_rotation(path, public_key(new)) == new
        assert settle_rotation(path, public_key(new)) == read_key(path) == new
        assert names(path) == ["audit.db.key"]

    @pytest.mark.parametrize("is_begun", [False, True])
    def test_a_key_that_is_not_in_force_is_refused(
        self, path: str, is_begun: bool
    ) -> None:
        """A store or a key file put back to an older copy; nothing is removed."""
        make_key(path)
        if is_begun:
            begin_rotation(path)
        before = names(path)

        with pytest.raises(SealKeyError, match="does not hold the key in force"):
            settle_rotation(path, public_key(bytes(32)))

        assert names(path) == before

    def test_a_successor_that_cannot_be_removed_is_named(self, path: str) -> None:
        """As a directory of that name: settling does not go on over it."""
        old = make_key(path)
        os.mkdir(f"{path}.new")

        with pytest.raises(SealKeyError, match=r"key\.new: .* cannot be used"):
            settle_rotation(path, public_key(old))


class Crash(BaseException):
    """The process is gone; nothing that it would still do is done."""


class CrashingOs:
    """The calls of `os` that change a disk; the process dies at the one of *number*."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __getattr__(self, name: str) -> Any:
        if name not in {"open", "write", "fsync", "link", "unlink", "rename"}:
            return getattr(os, name)

        def call(*args: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                if self.left == -1 and name == "write":
                    os.write(args[0], args[1][:20])
                raise Crash
            return getattr(os, name)(*args)

        return call


@pytest.mark.parametrize("number", range(12))
def test_a_rotation_can_be_cut_off_anywhere(
    path: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After any call that the process died at, the key in force is found again."""
    old = make_key(path)
    in_force = public_key(old)
    is_finished = False
    with monkeypatch.context() as patch:
        patch.setattr(keys, "os", CrashingOs(number))
        try:
            new = begin_rotation(path)
            in_force = public_key(new)  # the checkpoint is committed
            finish_rotation(path)
            is_finished = True
        except Crash:
            pass

    found = settle_rotation(path, in_force)

    assert public_key(found) == in_force == public_key(read_key(path))
    assert is_finished == (number >= 7)
    begin_rotation(path)
    finish_rotation(path)
    assert names(path) == ["audit.db.key"]


@pytest.mark.parametrize("number", range(6))
def test_making_a_key_can_be_cut_off_anywhere(
    path: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """There is a whole key or none, and then one can be made."""
    with monkeypatch.context() as patch:
        patch.setattr(keys, "os", CrashingOs(number))
        with pytest.raises(Crash):
            make_key(path)

    if not os.path.lexists(path):
        make_key(path)
    seed = read_key(path)
    assert settle_rotation(path, public_key(seed)) == seed
    assert names(path) == ["audit.db.key"]


class FullDisk(CrashingOs):
    """Writes only a part, as a disk without space does."""

    def __getattr__(self, name: str) -> Any:
        if name == "write":
            return lambda descriptor, data: os.write(descriptor, data[:20])
        return getattr(os, name)


def test_a_full_disk_leaves_no_key(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is taken away again."""
    monkeypatch.setattr(keys, "os", FullDisk(0))

    with pytest.raises(SealKeyError, match="written only in part") as caught:
        make_key(path)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert names(path) == []
