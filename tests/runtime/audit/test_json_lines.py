"""JSON lines: what a file holds after writes, cuts, moves and refusals."""

from __future__ import annotations

import fcntl
import io
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt import Block, CallEvent, JsonLinesAuditSink, SinkOpenError, ToolrtError
from toolrt.audit.line_file import LineFile, probe

from .writers import event


def numbers(text: bytes) -> list[str]:
    """Return the call ids of *text*, every line of which is an event."""
    return [CallEvent.from_json(line).call_id for line in text.splitlines()]


def write(path: Path, *events: CallEvent, **options: Any) -> JsonLinesAuditSink:
    with JsonLinesAuditSink.file(str(path), **options) as sink:
        for one in events:
            sink.on_call(one)
            assert sink.flush()
    return sink


class TestFileObjects:
    """Anything with write is a file."""

    @pytest.mark.parametrize("make", [io.BytesIO, io.StringIO])
    def test_bytes_and_text(self, make: Callable[[], Any]) -> None:
        """Each event is a line, as on the wire; the file stays open."""
        out = make()
        with JsonLinesAuditSink(out) as sink:
            sink.on_call(event(1))
            sink.on_call(event(2))

        text = out.getvalue()
        data = text if isinstance(text, bytes) else text.encode()
        assert data == b"".join(event(n).to_json() + b"\n" for n in (1, 2))

    def test_short_writes_are_finished(self) -> None:
        """A file that takes seven bytes at a time gets every line whole."""

        class Narrow:
            data = b""

            def write(self, data: bytes) -> int:
                self.data += data[:7]
                return len(data[:7])

        out = Narrow()
        with JsonLinesAuditSink(out) as sink:
            sink.on_call(event(1))

        assert numbers(out.data) == ["p-1"]

    def test_a_cut_line_is_closed_off(self) -> None:
        """What was cut failed; the next event begins on a line of its own."""

        class Cut:
            data = b""
            limit = 5

            def write(self, data: bytes) -> int:
                if not self.limit:
                    raise OSError(28, "no space")
                taken = data[: self.limit]
                self.limit -= len(taken)
                self.data += taken
                return len(taken)

        out = Cut()
        with JsonLinesAuditSink(out) as sink:
            sink.on_call(event(1))
            sink.flush()
            out.limit = 1000
            sink.on_call(event(2))

        cut, rest = out.data.split(b"\n", 1)
        assert cut == event(1).to_json()[:5]
        assert numbers(rest) == ["p-2"]
        assert (sink.stats().written, sink.stats().failed) == (1, 1)

    def test_the_buffer_of_a_file_is_passed_by(self) -> None:
        """A failed write must not come again out of the file's own buffer."""
        with open("/dev/full", "wb") as out, JsonLinesAuditSink(out) as sink:
            sink.on_call(event())

        assert sink.stats().failed == 1

    def test_a_full_pipe_that_does_not_block_fails(self) -> None:
        """The write is counted as failed, not taken for done."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with open(writer, "wb", buffering=0) as out, JsonLinesAuditSink(out) as sink:
            for number in range(2000):
                sink.on_call(event(number))
                sink.flush()
        os.close(reader)

        assert sink.stats().failed > 0
        assert isinstance(sink.last_error, BlockingIOError)

    def test_a_file_that_takes_nothing_fails(self) -> None:
        """It is not asked for ever."""

        class Deaf:
            def write(self, data: bytes) -> int:
                return 0

        with JsonLinesAuditSink(Deaf()) as sink:
            sink.on_call(event())

        assert "nothing was written" in str(sink.last_error)

    def test_an_event_that_is_no_utf_8_is_escaped(self) -> None:
        """Half a surrogate pair in a name must not keep a call off the file."""
        out = io.BytesIO()
        with JsonLinesAuditSink(out) as sink:
            sink.on_call(event().replace(caller_id="x\udcff"))

        assert json.loads(out.getvalue())["caller_id"] == "x\udcff"

    def test_an_event_that_no_line_can_hold_fails_alone(self) -> None:
        """The others of its batch are written."""
        out = io.BytesIO()
        sink = JsonLinesAuditSink(out)
        with sink._lock:  # so that all are in one batch
            sink.on_call(event(1))
            sink.on_call(event(2).replace(caller_id=object()))
            sink.on_call(event(3))
        sink.close()

        assert numbers(out.getvalue()) == ["p-1", "p-3"]
        assert (sink.stats().written, sink.stats().failed) == (2, 1)

    def test_what_is_no_file_is_refused(self) -> None:
        """It has to have write."""
        with pytest.raises(TypeError, match="a file to write to, got int"):
            JsonLinesAuditSink(3)

    def test_the_standard_streams(self, capsys: pytest.CaptureFixture[str]) -> None:
        """They take the options of the class."""
        with (
            JsonLinesAuditSink.stdout(capacity=2, backpressure=Block()) as out,
            JsonLinesAuditSink.stderr() as err,
        ):
            out.on_call(event(1))
            err.on_call(event(2))

        said = capsys.readouterr()
        assert numbers(said.out.encode()) == ["p-1"]
        assert numbers(said.err.encode()) == ["p-2"]
        assert (out.name, err.name, out.capacity) == ("stdout", "stderr", 2)


class TestFiles:
    """A file by its path."""

    def test_a_file_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        """Mode 0600; what is there is kept."""
        path = tmp_path / "calls.jsonl"
        write(path, event(1))
        write(path, event(2))

        assert numbers(path.read_bytes()) == ["p-1", "p-2"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_torn_tail_is_closed_off(self, tmp_path: Path) -> None:
        """What a crash left of a line does not spoil the next one."""
        path = tmp_path / "calls.jsonl"
        path.write_bytes(event(1).to_json() + b'\n{"ts":"20')
        write(path, event(2), event(3))

        first, torn, *rest = path.read_bytes().splitlines()
        assert torn == b'{"ts":"20'
        assert numbers(b"\n".join([first, *rest])) == ["p-1", "p-2", "p-3"]

    def test_a_file_that_was_moved_is_made_again(self, tmp_path: Path) -> None:
        """Others may rotate it; nothing goes into a file without a name."""
        path = tmp_path / "calls.jsonl"
        with JsonLinesAuditSink.file(str(path)) as sink:
            sink.on_call(event(1))
            sink.flush()
            path.rename(tmp_path / "old")
            sink.on_call(event(2))
            sink.flush()
            path.unlink()
            sink.on_call(event(3))

        assert numbers((tmp_path / "old").read_bytes()) == ["p-1"]
        assert numbers(path.read_bytes()) == ["p-3"]

    def test_reopen_opens_the_name_anew(self, tmp_path: Path) -> None:
        """What is no file of its own, such as a FIFO, is not watched for moves."""
        path = tmp_path / "calls.jsonl"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with JsonLinesAuditSink.file(str(path)) as sink:
            path.unlink()
            sink.on_call(event(1))
            sink.flush()
            assert not path.exists()
            sink.reopen()
            sink.on_call(event(2))
        os.close(reader)

        assert numbers(path.read_bytes()) == ["p-2"]

    def test_a_name_that_cannot_be_opened_again_fails_until_it_can(
        self, tmp_path: Path
    ) -> None:
        """A link in the file's place is not followed."""
        path, other = tmp_path / "calls.jsonl", tmp_path / "other"
        other.write_text("")
        with JsonLinesAuditSink.file(str(path)) as sink:
            path.unlink()
            path.symlink_to(other)
            sink.on_call(event(1))
            sink.flush()
            assert "symbolic link" in str(sink.last_error)
            path.unlink()
            sink.on_call(event(2))

        assert numbers(path.read_bytes()) == ["p-2"]
        assert other.read_text() == ""
        assert (sink.stats().written, sink.stats().failed) == (1, 1)

    def test_a_file_is_rotated_by_size(self, tmp_path: Path) -> None:
        """No line is lost or cut, and the highest number is the newest."""
        path = tmp_path / "calls.jsonl"
        line = len(event(1).to_json()) + 1
        (tmp_path / "calls.jsonl.9").write_text("")
        write(path, *(event(n) for n in range(5)), rotate_bytes=2 * line)

        assert numbers((tmp_path / "calls.jsonl.10").read_bytes()) == ["p-0", "p-1"]
        assert numbers((tmp_path / "calls.jsonl.11").read_bytes()) == ["p-2", "p-3"]
        assert numbers(path.read_bytes()) == ["p-4"]

    def test_a_batch_is_spread_over_rotated_files(self, tmp_path: Path) -> None:
        """A line that is larger than the limit has a file to itself."""
        path = tmp_path / "calls.jsonl"
        sink = JsonLinesAuditSink.file(str(path), rotate_bytes=1)
        with sink._lock:  # so that all are in one batch
            for number in range(4):
                sink.on_call(event(number))
        sink.close()

        files = [tmp_path / f"calls.jsonl.{n}" for n in (1, 2, 3)]
        found = [numbers(one.read_bytes()) for one in [*files, path]]
        assert found == [["p-0"], ["p-1"], ["p-2"], ["p-3"]]

    def test_two_that_rotate_lose_nothing(self, tmp_path: Path) -> None:
        """Whoever comes second finds the file moved and goes on with the new one."""
        path = tmp_path / "calls.jsonl"
        line = len(event(1).to_json()) + 1
        first = JsonLinesAuditSink.file(str(path), rotate_bytes=2 * line)
        second = JsonLinesAuditSink.file(str(path), rotate_bytes=2 * line)
        for number in range(9):
            sink = (first, second)[number % 2]
            sink.on_call(event(number))
            sink.flush()
        first.close()
        second.close()

        files = sorted(tmp_path.iterdir(), key=lambda one: (len(one.name), one.name))
        found = [numbers(one.read_bytes()) for one in files]
        assert found == [["p-8"], *([f"p-{n}", f"p-{n + 1}"] for n in (0, 2, 4, 6))]


def test_a_file_is_not_rotated_twice(tmp_path: Path) -> None:
    """Of two that find it full at one time, the second leaves the new file in place."""
    path = tmp_path / "x"
    first, second = LineFile(str(path)), LineFile(str(path))
    first.write(b"one\n")
    first._rotate()
    second._rotate()
    second.write(b"two\n")
    first.close()
    second.close()

    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "x": "two\n",
        "x.1": "one\n",
    }


def test_a_file_that_is_locked_grows_on(tmp_path: Path) -> None:
    """Whoever holds a lock on the file keeps no record from it."""
    path = tmp_path / "x"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        file = LineFile(str(path), rotate_bytes=1)
        for line in (b"one\n", b"two\n"):
            assert file.write(line) == 4
        file.close()

    assert path.read_text() == "one\ntwo\n"


def _link(path: Path) -> None:
    path.symlink_to("elsewhere")


def _second_name(path: Path) -> None:
    (path.parent / "first").write_text("")
    os.link(path.parent / "first", path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(_link, "it is a symbolic link", id="link"),
        pytest.param(_second_name, "hard links", id="hard link"),
        pytest.param(Path.mkdir, "Is a directory", id="directory"),
        pytest.param(os.mkfifo, "a FIFO that nobody reads", id="fifo"),
        pytest.param(_socket, "it is a socket", id="socket"),
    ],
)
def test_what_is_no_file_to_append_to_is_refused(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    """At once and with a reason, by the sink and by the probe."""
    path = tmp_path / "x"
    make(path)

    for attempt in (JsonLinesAuditSink.file, probe):
        with pytest.raises(SinkOpenError, match=why) as caught:
            attempt(str(path))
        assert isinstance(caught.value, ToolrtError)
        assert isinstance(caught.value, OSError)


def test_a_probe_makes_nothing(tmp_path: Path) -> None:
    """It tells a file that could be made from one that could not."""
    probe(str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []

    with pytest.raises(SinkOpenError, match=r"there is no directory .*/no"):
        probe(str(tmp_path / "no" / "new"))
    with pytest.raises(SinkOpenError, match="null"):
        probe("a\0b")


def test_a_fifo_with_a_reader_is_written(tmp_path: Path) -> None:
    """A reader that goes away is an error; the next reader gets what comes then."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with JsonLinesAuditSink.file(str(path)) as sink:
        sink.on_call(event(1))
        sink.flush()
        assert numbers(os.read(reader, 4096)) == ["p-1"]
        os.close(reader)
        sink.on_call(event(2))
        sink.flush()
        assert isinstance(sink.last_error, BrokenPipeError)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        sink.on_call(event(3))
    found = numbers(os.read(reader, 4096))
    os.close(reader)

    assert found == ["p-3"]


def test_a_line_file_closes_off_what_it_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a line that was cut nothing counts; it is written again on its own."""
    file = LineFile(str(tmp_path / "x"))
    really = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: really(fd, data[:6]))

    assert file.write(b"one\ntwo\n") == 4
    monkeypatch.setattr(os, "write", lambda fd, data: really(fd, data[:1]))
    assert file.write(b"two\n") == 0
    monkeypatch.undo()
    assert file.write(b"two\n") == 4
    file.close()
    assert (tmp_path / "x").read_text() == "one\ntw\ntwo\n"


def test_a_file_that_may_not_be_read_is_appended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its tail is torn stays unknown then."""
    path = tmp_path / "x"
    path.write_text("torn")
    really = os.open

    def refuse(name: str, flags: int, *mode: int) -> int:
        if not flags & os.O_WRONLY:
            raise PermissionError
        return really(name, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    file = LineFile(str(path))
    file.write(b"line\n")
    file.close()

    assert path.read_text() == "tornline\n"


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    """A file must hold a byte."""
    with pytest.raises(ValueError, match="rotate_bytes: expected 1 or more, got 0"):
        JsonLinesAuditSink.file(str(tmp_path / "x"), rotate_bytes=0)
