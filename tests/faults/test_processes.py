"""Real processes: killed, interrupted, late, and two at once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOLRT = [sys.executable, "-m", "toolrt_cli"]
#: Long enough that only a test which hangs waits for it to end.
SOON = 300


def start(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TOOLRT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def attempts() -> list[dict[str, Any]]:
    done = subprocess.run(
        [*TOOLRT, "audit", "query", "-n", "all", "-o", "jsonl"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_for(path: Path) -> str:
    """Return the text of a file that a tool writes once it runs."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return path.read_text().strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} was never written")


def left_of(find: Callable[[], list[str]]) -> list[str]:
    """Return the processes that *find* still finds when all should be gone."""
    deadline = time.monotonic() + 20  # a busy machine takes its time to bury the dead
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def command_of(pid: object) -> list[str]:
    """Return the command line of the process, or nothing if it does not run."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    line = data.replace(b"\0", b" ").decode(errors="replace").strip()
    return [line] if line else []


def running(words: str) -> list[str]:
    """Return the command lines of all processes that end with *words*."""
    pids = [entry.name for entry in Path("/proc").glob("[0-9]*")]
    return [one for pid in pids for one in command_of(pid) if one.endswith(words)]


@pytest.mark.slow
def test_an_attempt_that_is_killed_is_shown_as_unfinished(home: Path) -> None:
    """While the process lives it is running, after kill -9 interrupted, never success."""
    process = start("run", "cmd.hold", "file=started")
    tool = int(wait_for(home / "started"))
    (alive,) = attempts()

    process.kill()
    process.communicate()
    (killed,) = attempts()
    os.kill(tool, signal.SIGKILL)

    assert (alive["decision"], alive["outcome"]) == ("allow", "running")
    assert alive["duration_ms"] is None
    assert (killed["decision"], killed["outcome"]) == ("allow", "interrupted")
    assert killed["call_id"] == alive["call_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_tool_and_is_recorded(
    home: Path, number: signal.Signals, code: int
) -> None:
    """The exit code names the signal, a CallEvent says INTERRUPTED, no process stays."""
    process = start("run", "cmd.hold", "file=started")
    tool = int(wait_for(home / "started"))

    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)

    (attempt,) = attempts()
    assert process.returncode == code
    assert (attempt["outcome"], attempt["code"]) == ("execution_failed", "INTERRUPTED")
    assert "Traceback" not in out + err
    assert left_of(lambda: command_of(tool)) == []


@pytest.mark.slow
def test_a_tool_past_its_deadline_leaves_no_process(home: Path) -> None:
    """Children, grandchildren, a session of its own and one deaf to TERM: all gone."""
    process = start("run", "cmd.tree")
    process.communicate(timeout=SOON)

    (attempt,) = attempts()
    assert process.returncode == 124
    assert attempt["code"] == "TIMEOUT"
    sleeps = ("sleep 61", "sleep 62", "sleep 63")
    assert left_of(lambda: [one for words in sleeps for one in running(words)]) == []


@pytest.mark.slow
def test_two_shells_write_at_once(home: Path) -> None:
    """Every call is recorded, the sequence has no gap, nobody is told locked."""

    def rounds(name: str) -> "subprocess.Popen[str]":
        script = f"for i in 1 2 3 4 5 6; do {' '.join(TOOLRT)} run echo.say --as {name} || exit 1; done"
        return subprocess.Popen(
            ["sh", "-c", script],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    shells = [rounds("one"), rounds("two")]
    errors = [shell.communicate(timeout=SOON)[1] for shell in shells]

    found = attempts()
    assert errors == ["", ""]
    assert len(found) == 12
    assert {item["outcome"] for item in found} == {"success"}
    shown = subprocess.run(
        [sys.executable, "-c", READ_SEQUENCE, str(home / "state/toolrt/audit.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout) == list(range(1, 25))


READ_SEQUENCE = """
import json, sys
from toolrt import PageRequest
from toolrt_store import SqliteEventStore
with SqliteEventStore.open(sys.argv[1], read_only=True) as store:
    page = store.query_events(page=PageRequest(limit=1000))
print(json.dumps(sorted(event.seq for event in page.items)))
"""


@pytest.mark.slow
def test_a_full_disk_stops_the_tool(home: Path) -> None:
    """The gate event does not fit: exit 6, and the marker shows that nothing ran."""
    subprocess.run([*TOOLRT, "run", "echo.say"], check=True, capture_output=True)
    limited = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY));"
        "from toolrt_cli.main import main; sys.exit(main(sys.argv[1:]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", limited, "run", "cmd.mark", "file=marker"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 6
    assert "nothing was run" in done.stderr
    assert not (home / "marker").exists()
    assert [item["tool"] for item in attempts()] == ["std:echo.say"]


@pytest.mark.slow
def test_a_store_that_is_locked_past_the_deadline_stops_the_tool(home: Path) -> None:
    """Exit 6 and retryable, when another process holds the writing lock."""
    subprocess.run([*TOOLRT, "run", "echo.say"], check=True, capture_output=True)
    path = home / "config/toolrt/toolrt.toml"
    path.write_text(path.read_text() + '\n[store]\nlock_timeout = "100ms"\n')
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(home / "state/toolrt/audit.db.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    holder.stdout.readline()

    process = start("run", "cmd.mark", "file=marker", "-o", "json")
    _, err = process.communicate(timeout=SOON)
    holder.communicate("")

    assert process.returncode == 6
    assert json.loads(err)["error"]["retryable"] is True
    assert not (home / "marker").exists()


JAM = """
[store]
lock_timeout = "200ms"
[pack.cmd.handler."cmd.jam"]
command = ["sh", "jam.sh", "{lock}"]
timeout = "60s"
[pack.cmd.handler."cmd.jam".args]
lock = { type = "string" }
"""


@pytest.mark.slow
def test_a_record_that_cannot_be_finished_is_10_and_the_result_is_printed(
    home: Path,
) -> None:
    """The tool leaves a process that holds the writing lock: its CallEvent waits."""
    path = home / "config/toolrt/toolrt.toml"
    path.write_text(path.read_text() + JAM)
    (home / "hold.py").write_text(f"import os\nos.setsid()\n{HOLD_LOCK}")
    (home / "jam.sh").write_text(
        f'{sys.executable} hold.py "$1" <fifo >held 2>&1 &\n'
        "while ! grep -q held held; do sleep 0.02; done; echo done\n"
    )
    os.mkfifo(home / "fifo")
    keep_open = os.open(home / "fifo", os.O_RDWR)

    lock = home / "state/toolrt/audit.db.lock"
    process = start("run", "cmd.jam", f"lock={lock}")
    out, err = process.communicate(timeout=SOON)
    os.close(keep_open)  # the holder reads the end of its input, and ends

    assert (process.returncode, out) == (10, "done\n")
    assert "the tool ran, its record waits in the spool" in err
    assert [item["outcome"] for item in attempts()] == ["interrupted"]


HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "rb")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
