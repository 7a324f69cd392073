"""An anchor keeps what it was told, and shows what a store by itself cannot."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt_store import anchor
from toolrt_store.anchor import AnchorError, BadLine, append, compare, parse, read
from toolrt_store.checkpoint import SignedCheckpoint, public_key
from toolrt_store.errors import StoreError

from .seals import SealSimulator, five, resigned, seed


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where an anchor may be made; nothing is there yet."""
    return str(tmp_path / "anchor.jsonl")


@pytest.fixture
def log() -> list[SignedCheckpoint]:
    """Five sound checkpoints; the third is a rotation."""
    return five().log


class TestAppend:
    """One checkpoint is one line, written at once."""

    def test_what_is_told_is_read(self, path: str, log: list[SignedCheckpoint]) -> None:
        """In the order in which it was told, signatures included."""
        for signed in log:
            append(path, signed)

        assert read(path) == anchor.Anchored(tuple(log), ())

    def test_a_line_is_plain_json(self, path: str, log: list[SignedCheckpoint]) -> None:
        """Four keys, of which the last one is only there in a rotation."""
        append(path, log[0])
        append(path, log[2])

        first, rotation = map(msgspec.json.decode, Path(path).read_bytes().splitlines())
        assert list(first) == ["schema", "note", "signature"]
        assert first["schema"] == "toolrt.anchor/1"
        assert first["note"] == log[0].note.decode()
        assert list(rotation)[3:] == ["successor_signature"]

    @pytest.mark.parametrize("umask", [0, 0o022])
    def test_the_file_is_private(
        self, path: str, log: list[SignedCheckpoint], umask: int
    ) -> None:
        """0600 whatever the umask; the mode of one that is there is left alone."""
        previous = os.umask(umask)
        try:
            append(path, log[0])
        finally:
            os.umask(previous)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        os.chmod(path, 0o640)

        append(path, log[1])

        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640

    def test_a_torn_line_is_closed_off(
        self, path: str, log: list[SignedCheckpoint]
    ) -> None:
        """What a crash cut off costs one line, and that one is named."""
        append(path, log[0])
        append(path, log[1])
        os.truncate(path, os.path.getsize(path) - 30)

        append(path, log[2])

        found = read(path)
        assert found.checkpoints == (log[0], log[2])
        assert [bad.number for bad in found.bad_lines] == [2]

    def test_a_line_without_its_newline_counts(
        self, path: str, log: list[SignedCheckpoint]
    ) -> None:
        """Only the newline was lost, and the next line does not glue to it."""
        append(path, log[0])
        os.truncate(path, os.path.getsize(path) - 1)

        append(path, log[1])

        assert read(path) == anchor.Anchored((log[0], log[1]), ())

    def test_an_anchor_that_cannot_be_read_is_written(
        self,
        path: str,
        log: list[SignedCheckpoint],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """An empty line then makes sure that the one before is ended."""
        append(path, log[0])
        with monkeypatch.context() as patch:
            patch.setattr(anchor, "os", WriteOnlyOs())
            append(path, log[1])

        assert Path(path).read_bytes().count(b"\n\n") == 1
        assert read(path) == anchor.Anchored((log[0], log[1]), ())

    def test_a_relative_name_does(
        self,
        tmp_path: Path,
        log: list[SignedCheckpoint],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The directory that is synced is then the one we are in."""
        monkeypatch.chdir(tmp_path)

        append("a", log[0])

        assert read("a").checkpoints == (log[0],)

    def test_a_fifo_is_told_if_somebody_reads(
        self, path: str, log: list[SignedCheckpoint]
    ) -> None:
        """The line comes whole; with no reader or a full FIFO, nothing waits."""
        os.mkfifo(path)
        with pytest.raises(AnchorError, match="read by nobody"):
            append(path, log[0])
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            append(path, log[0])
            assert parse(os.read(reader, 4096)).checkpoints == (log[0],)
            with pytest.raises(AnchorError, match="temporarily unavailable"):
                fill(path, log[0])
        finally:
            os.close(reader)

    def test_a_device_is_told(self, log: list[SignedCheckpoint]) -> None:
        """Where there is nothing to sync, nothing is."""
        append("/dev/null", log[0])

    @pytest.mark.skipif(
        not os.path.exists("/dev/full"), reason="this system has no such device"
    )
    def test_a_full_device_is_an_error(self, log: list[SignedCheckpoint]) -> None:
        """It names the anchor and the reason."""
        with pytest.raises(AnchorError, match="no space left") as caught:
            append("/dev/full", log[0])

        assert isinstance(caught.value, StoreError)
        assert (caught.value.code, caught.value.path) == ("anchor", "/dev/full")

    def test_a_part_of_a_line_is_an_error(
        self,
        path: str,
        log: list[SignedCheckpoint],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A checkpoint that did not fit counts as not told."""
        monkeypatch.setattr(anchor, "os", ShortOs())

        with pytest.raises(AnchorError, match="written only in part"):
            append(path, log[0])

        assert read(path).checkpoints == ()

    def test_a_link_or_a_directory_is_refused(
        self, tmp_path: Path, path: str, log: list[SignedCheckpoint]
    ) -> None:
        """Nothing is written through the link, nor through a name with NUL."""
        os.symlink(tmp_path / "elsewhere", path)

        for bad, match in (
            (path, "is a symbolic link"),
            (str(tmp_path), "is a directory"),
            (f"{path}/x", "cannot be used"),
            ("a\0b", "null byte"),
        ):
            with pytest.raises(AnchorError, match=match):
                append(bad, log[0])
        assert os.listdir(tmp_path) == ["anchor.jsonl"]


def fill(path: str, signed: SignedCheckpoint) -> None:
    """Tell *path* more than any FIFO holds."""
    for _ in range(10_000):
        append(path, signed)


class WriteOnlyOs:
    """Opens nothing for reading, as for a user who may only write."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise PermissionError(errno.EACCES, "permission denied")
        return os.open(path, flags, mode)


class ShortOs:
    """Writes half of what it is given, as the last space of a disk takes it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data[: len(data) // 2])


class TestRead:
    """What is no checkpoint is named by its line."""

    def test_bad_lines_are_named(self, path: str, log: list[SignedCheckpoint]) -> None:
        """Each by its number with a reason; the others are read all the same."""
        append(path, log[0])
        good = Path(path).read_bytes().rstrip(b"\n")
        lines = [
            b"",
            good,
            b"remember the milk",
            good.replace(b"anchor/1", b"anchor/2"),
            good.replace(b'"note"', b'"nota"'),
            good.replace(b"\\n1024\\n", b"\\n01024\\n"),
            good.replace(b"toolrt/", "törlt/".encode()),
            b"\xff" + good,
            good[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b"[]",
            good[:-1] + b',"more":1}',
        ]
        Path(path).write_bytes(b"\n".join(lines))

        found = read(path)

        form = "is no JSON object of toolrt.anchor/1"
        assert found.checkpoints == (log[0], log[0])
        assert found.bad_lines == (
            BadLine(3, form),
            BadLine(4, form),
            BadLine(5, form),
            BadLine(6, "the line of the size is malformed"),
            BadLine(7, "the note is not ASCII"),
            BadLine(8, form),
            BadLine(9, form),
            BadLine(10, form),
        )
        assert str(found.bad_lines[0]) == f"line 3 of the anchor: {form}"

    def test_an_empty_anchor_holds_nothing(self, path: str) -> None:
        """It was told nothing, which is not the same as having none."""
        Path(path).touch()

        assert read(path) == anchor.Anchored((), ())

    def test_only_a_file_is_read(self, tmp_path: Path, path: str) -> None:
        """A FIFO is not waited for."""
        os.mkfifo(path)

        for bad, match in (
            (path, "not a regular file"),
            (str(tmp_path), "not a regular file"),
            (f"{path}.none", "no such file"),
            ("a\0b", "null byte"),
        ):
            with pytest.raises(AnchorError, match=match):
                read(bad)


Log = list[SignedCheckpoint]
CUT = "the store ends at event 2600: cut off, or an older copy"
OTHER = "the store does not hold it: written anew, or an older copy"


def cut_off(log: Log) -> int:
    """Take the newest away: an older copy, or truncation."""
    del log[3:]
    return 2600


def keep_the_checkpoints_only(log: Log) -> int:
    """Take events away, and leave their checkpoints."""
    return 2600


def write_anew(log: Log) -> int:
    """Write everything anew with the store's own key."""
    other = SealSimulator()
    for size in (1024, 2048, 3072, 4096):
        other.add(size, root=bytes(32))
    log[:] = other.log
    return 4096


def go_on_from_an_older_copy(log: Log) -> int:
    """Put the store back to the second checkpoint, and make others after it."""
    other = SealSimulator()
    other.log = log[:2]
    other.add(3072)
    log[:] = other.log
    return 5000


def strip(log: Log) -> int:
    """Take all checkpoints away."""
    log.clear()
    return 4096


def resign(log: Log) -> int:
    """Replace one with a note that differs in one fact."""
    log[4] = resigned(log[4], seed(1), at_us=5)
    return 4096


class TestCompare:
    """A store that went back on what it said is found."""

    def test_a_store_that_went_on_agrees(self, log: Log) -> None:
        """With more events, more checkpoints, and whatever the anchor was not told."""
        assert compare(log, log, 4096) == ()
        assert compare(log[:4], log, 9999) == ()
        assert compare(log[3:], log, 4096) == ()
        assert compare([log[4], log[0], log[0]], log, 4096) == ()
        assert compare([], log, 4096) == compare([], [], 0) == ()

    @pytest.mark.parametrize(
        ("attack", "expected"),
        [
            pytest.param(cut_off, [(3072, CUT, 2601), (4096, CUT, 2601)], id="cut off"),
            pytest.param(
                keep_the_checkpoints_only,
                [(3072, CUT, 2601), (4096, CUT, 2601)],
                id="events cut off",
            ),
            pytest.param(
                write_anew,
                [(size, OTHER, 1) for size in (1024, 2048, 2500, 3072, 4096)],
                id="written anew",
            ),
            pytest.param(
                go_on_from_an_older_copy,
                [(size, OTHER, 2049) for size in (2500, 3072, 4096)],
                id="an older copy that went on",
            ),
            pytest.param(
                strip,
                [(size, OTHER, 1) for size in (1024, 2048, 2500, 3072, 4096)],
                id="stripped",
            ),
            pytest.param(resign, [(4096, OTHER, 3073)], id="one fact"),
        ],
    )
    @pytest.mark.parametrize("order", [1, -1])
    def test_every_attack_is_named(
        self,
        log: Log,
        attack: Callable[[Log], int],
        expected: list[tuple[int, str, int]],
        order: int,
    ) -> None:
        """By the checkpoint that is missed and the first event in doubt."""
        anchored = list(log)[::order]
        newest_size = attack(log)

        found = compare(anchored, log, newest_size)

        assert [msgspec.structs.astuple(problem) for problem in found] == expected

    def test_another_key_is_found_by_what_the_note_names(self, log: Log) -> None:
        """The same facts signed by another key are another note."""
        stored = [resigned(log[0], seed(9), key=public_key(seed(9)))]

        (problem,) = compare(log[:1], stored, 1024)

        assert problem.size == 1024
