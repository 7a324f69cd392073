"""Sinks against full disks, closed pipes, slow writers, other processes and kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from toolrt import Block, CallEvent, Drop, Fallback, JsonLinesAuditSink, QueueSink
from toolrt.testing import MemorySink

from ..runtime.audit.writers import event

pytestmark = pytest.mark.slow

PROGRAM = """
import os, resource, sys
from toolrt import *
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def event(number):
    return CallEvent("2026-01-01T00:00:00+00:00", f"{name}-{number}", "t", 1, Success(),
                     "warm", caller_id="x" * 300)
"""


def start(code: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ids_of(path: Path) -> list[str]:
    """Return the call ids of the lines of *path*, all of which are events."""
    lines = path.read_bytes().splitlines()
    return [str(json.loads(line)["call_id"]) for line in lines]


def test_a_full_disk_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """/dev/full takes nothing: everything failed, said once, and nobody was held."""
    with JsonLinesAuditSink.file("/dev/full") as sink:
        for number in range(10):
            sink.on_call(event(number))
            sink.flush()

    assert (sink.stats().accepted, sink.stats().failed) == (10, 10)
    assert caplog.text.count("No space left on device") == 1


def test_a_file_at_its_size_limit_recovers(tmp_path: Path) -> None:
    """A line that the limit cuts fails and is closed off once there is room."""
    path = tmp_path / "calls.jsonl"
    code = """
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1200, hard))
with JsonLinesAuditSink.file(path) as sink:
    for number in range(4):
        sink.on_call(event(number))
        sink.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    sink.on_call(event(4))
print(sink.stats().written, sink.stats().failed)
"""
    out, err = start(code, str(path), "a", "0").communicate(timeout=300)

    assert out.split() == ["3", "2"]
    assert err.count("File too large") == 1
    first, second, torn, last = path.read_bytes().splitlines()
    assert [json.loads(one)["call_id"] for one in (first, second, last)] == [
        "a-0",
        "a-1",
        "a-4",
    ]
    assert torn.startswith(b'{"ts"')
    assert not torn.endswith(b"}")


def test_a_closed_pipe_is_counted() -> None:
    """The reader of the output went away: no signal, no exception in a call."""
    code = """
sink = JsonLinesAuditSink.stdout()
sys.stdin.readline()
for number in range(100):
    sink.on_call(event(number))
sink.close()
print(sink.stats().failed, file=sys.stderr)
os._exit(0)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code, "", "", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(b"go\n", timeout=300)

    assert b"Broken pipe" in err
    assert err.splitlines()[-1] == b"100"


def test_a_full_pipe_keeps_neither_a_call_nor_the_end(tmp_path: Path) -> None:
    """A reader that does not read: calls drop at their deadline, the exit at its own."""
    code = """
import toolrt.audit.queue_sink
toolrt.audit.queue_sink._CLOSE_S = 0.2
sink = JsonLinesAuditSink.file(path, capacity=400, backpressure=Block(0.01))
for number in range(1000):
    sink.on_call(event(number))
    if sink.drops():
        break
print(sink.drops(), flush=True)
"""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    process = start(code, str(path), "a", "0")
    out, err = process.communicate(timeout=300)
    os.close(reader)

    assert (process.returncode, out) == (0, "1\n")
    assert "events unwritten" in err


class Slow:
    """Takes 2 ms a batch, as a disk might."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []

    def write(self, events: Sequence[CallEvent]) -> None:
        threading.Event().wait(0.002)
        self.events += events


@pytest.mark.parametrize(
    "strategy",
    [Drop(), Block(10.0), Fallback(MemorySink())],
    ids=lambda s: type(s).__name__,
)
def test_a_burst_against_a_slow_writer(strategy: Drop | Block | Fallback) -> None:
    """200 events, room for 4: drops are exact, Block loses none, Fallback neither."""
    writer = Slow()
    with QueueSink(writer, 4, strategy) as sink:
        for number in range(200):
            sink.on_call(event(number))

    stats = sink.stats()
    assert stats.written == len(writer.events)
    assert stats.written + stats.dropped + stats.diverted == 200
    if isinstance(strategy, Drop):
        assert stats.dropped > 0
    else:
        assert stats.dropped == 0
    if isinstance(strategy, Fallback):
        assert isinstance(strategy.sink, MemorySink)
        assert len(strategy.sink.events) == stats.diverted > 0


@pytest.mark.parametrize("rotation", ["None", "200_000"])
def test_eight_processes_append_to_one_file(tmp_path: Path, rotation: str) -> None:
    """Every line is whole and there once, also where the file is rotated under way."""
    path = tmp_path / "calls.jsonl"
    code = f"""
with JsonLinesAuditSink.file(path, backpressure=Block(), rotate_bytes={rotation}) as s:
    for number in range(count):
        s.on_call(event(number))
assert s.stats().written == count
"""
    running = [start(code, str(path), f"w{n}", "1000") for n in range(8)]
    for process in running:
        _, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")

    files = list(tmp_path.iterdir())
    found = Counter(one for file in files for one in ids_of(file))
    assert found == Counter({f"w{n}-{i}": 1 for n in range(8) for i in range(1000)})
    assert (len(files) > 1) == (rotation != "None")


def wait_until_larger(path: Path, size: int) -> None:
    """Wait until *path* has more than *size* bytes."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_size > size:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{path} never grew")


def test_a_start_after_kill_9_has_a_clean_line(tmp_path: Path) -> None:
    """Whatever the kill cut is on a line of its own, and all else reads."""
    path = tmp_path / "calls.jsonl"
    code = """
sink = JsonLinesAuditSink.file(path, capacity=20_000, backpressure=Block(None))
for number in range(count):
    sink.on_call(event(number))
"""
    for run in range(5):
        size = path.stat().st_size if path.exists() else 0
        process = start(code, str(path), f"k{run}", str(10**9))
        wait_until_larger(path, size)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with JsonLinesAuditSink.file(str(path)) as sink:
        sink.on_call(event(1, "last"))

    *lines, last = path.read_bytes().splitlines()
    torn = [line for line in lines if not line.endswith(b"}")]
    whole = [json.loads(line)["call_id"] for line in lines if line.endswith(b"}")]
    assert json.loads(last)["call_id"] == "last-1"
    assert len(torn) <= 5
    for run in range(5):
        own = [int(one.split("-")[1]) for one in whole if one.startswith(f"k{run}-")]
        assert own == list(range(len(own)))
