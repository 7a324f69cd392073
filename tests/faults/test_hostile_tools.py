"""Tools that do all they can not to end: each is ended, recorded, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from . import hostile
from .hostile import DEADLINE_S, GONE_S, TRAITS, Report, make_tool, marked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's subreaper"),
]

SEED = int(os.environ.get("TOOLRT_HOSTILE_SEED", "3"))
COUNT = int(os.environ.get("TOOLRT_HOSTILE", "30"))
#: They mostly wait; 500 tools get more of them.
WORKERS = 2 + COUNT // 50


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark that no other process carries; whoever still does at the end is killed."""
    mark = uuid.uuid4().hex
    yield mark
    for pid in marked(mark):
        os.kill(pid, signal.SIGKILL)


def start_worker(
    mark: str,
    indexes: Sequence[int],
    *,
    adopt: bool = True,
    deadline_s: float = DEADLINE_S,
    gone_s: float = GONE_S,
) -> subprocess.Popen[str]:
    task = {
        "seed": SEED,
        "mark": mark,
        "adopt": adopt,
        "deadline_s": deadline_s,
        "gone_s": gone_s,
        "indexes": list(indexes),
    }
    return subprocess.Popen(
        [sys.executable, hostile.__file__, json.dumps(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reports_of(worker: subprocess.Popen[str]) -> list[Report]:
    out, err = worker.communicate()
    assert (worker.returncode, err) == (0, "")
    return [msgspec.json.decode(line, type=Report) for line in out.splitlines()]


def survived(mark: str, index: int) -> Report:
    """Return the report of a tool that is not adopted, once it had the time to fork."""
    for deadline_s in (DEADLINE_S, 2.0, 10.0, 30.0):
        worker = start_worker(
            mark, [index], adopt=False, deadline_s=deadline_s, gone_s=1.0
        )
        (report,) = reports_of(worker)
        if report.left:
            return report
    raise AssertionError("nothing was left")


def index_of(name: str) -> int:
    return [trait.name for trait in TRAITS].index(name)


def test_hostile_tools_are_ended_recorded_and_leave_nothing(
    mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has one CallEvent, a hanging one says TIMEOUT, and no process is left."""
    started = time.monotonic()

    workers = [start_worker(mark, range(n, COUNT, WORKERS)) for n in range(WORKERS)]
    reports = [report for worker in workers for report in reports_of(worker)]

    faults = {f"{r.index} {r.name}": r.faults for r in reports if r.faults}
    seconds = time.monotonic() - started
    with capsys.disabled():
        sys.stdout.write(
            f"\nhostile seed={SEED} n={len(reports)} failures={len(faults)}"
            f" seconds={seconds:.1f}\n"
        )
    assert sorted(report.index for report in reports) == list(range(COUNT))
    assert faults == {}


def test_a_survivor_is_found_where_orphans_are_not_adopted(mark: str) -> None:
    """The checker sees who left the group of a tool in a session of its own."""
    report = survived(mark, index_of("double fork"))

    assert report.outcomes == ("execution_failed/TIMEOUT",)
    assert any("sleep 60" in line for line in report.left)
    assert report.faults == [f"left {report.left}"]
    assert marked(mark)


@pytest.mark.parametrize("index", [0, 5, 40, 499])
def test_a_tool_is_the_same_for_the_same_seed(index: int) -> None:
    """A failure can be run again: seed and index are all that a tool is made of."""
    assert make_tool(7, index) == make_tool(7, index)


def test_traits_come_alone_first_and_then_in_pairs() -> None:
    """Even a short run meets every way to be hostile."""
    tools = [make_tool(SEED, index) for index in range(len(TRAITS) + 200)]

    assert [tool.name for tool in tools[: len(TRAITS)]] == [t.name for t in TRAITS]
    assert all(" + " in tool.name for tool in tools[len(TRAITS) :])
    assert any(not tool.hangs for tool in tools[len(TRAITS) :])
