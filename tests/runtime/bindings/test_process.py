from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeVar

import pytest

from toolrt.bindings import process
from toolrt.bindings.process import MAX_STDERR_BYTES, Finished, run_process

#: Deadlines to try one after the other: on a busy machine a tool may not have begun its
#: work when the first of them passes.
DEADLINES = (0.4, 2.0, 10.0, 30.0)

T = TypeVar("T")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take as long as it likes to bury the dead."""
    monkeypatch.setattr(process, "_LAST_WAIT_S", 60.0)


def run(
    *argv: str,
    stdin: bytes | None = None,
    timeout_s: float = 60.0,
    max_output_bytes: int = 1 << 20,
    cwd: str | None = None,
) -> Finished:
    return run_process(
        argv,
        env={"PATH": os.defpath},
        cwd=cwd,
        stdin=stdin,
        timeout_s=timeout_s,
        max_output_bytes=max_output_bytes,
    )


def sh(script: str, *args: str, timeout_s: float = 60.0) -> Finished:
    return run("/bin/sh", "-c", script, "sh", *args, timeout_s=timeout_s)


def late(script: str, notes: Path) -> Finished:
    """Run *script* past a deadline at which it has written to its file ``$1``."""
    return until_noted(
        notes, lambda deadline_s: sh(script, str(notes), timeout_s=deadline_s)
    )


def until_noted(notes: Path, attempt: Callable[[float], T]) -> T:
    """Return what *attempt* does with the first deadline at which *notes* is written."""
    for deadline_s in DEADLINES:
        found = attempt(deadline_s)
        if notes.exists() and notes.read_text():
            return found
    raise AssertionError("the tool never came to note its process")


def is_running(pid: int) -> bool:
    """Return whether *pid* runs; a zombie that waits for its parent does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        if not Path("/proc/self/stat").exists():
            return True
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):  # it ended, maybe meanwhile
        return False


def survivors(pids: Path) -> list[int]:
    """Return the processes that noted themselves in *pids* and still run."""
    noted = [int(line) for line in pids.read_text().split()]
    assert noted, "the tool never came to note its process"
    return [pid for pid in noted if is_running(pid)]


class TestOutcome:
    def test_status_and_both_outputs_are_kept_apart(self) -> None:
        """A run gives the exit status, stdout and stderr."""
        finished = sh("echo out; echo err >&2; exit 3")

        assert finished == Finished(3, b"out\n", b"err\n", False, False)

    def test_death_by_signal_is_a_negative_status(self) -> None:
        """A process that a signal ended has that signal's number, negative."""
        assert sh("kill -9 $$").returncode == -signal.SIGKILL

    def test_no_input_is_an_empty_input(self) -> None:
        """A tool that reads stdin though none was given sees its end at once."""
        assert run("/bin/cat").stdout == b""

    def test_input_larger_than_any_pipe_comes_back_whole(self) -> None:
        """Input and output that both exceed the pipes do not block each other."""
        data = bytes(range(256)) * 4096

        finished = run("/bin/cat", stdin=data, max_output_bytes=len(data))

        assert finished.stdout == data
        assert not finished.overflow

    def test_tool_that_ignores_its_input_succeeds(self) -> None:
        """Input that nobody reads is no failure."""
        assert run("/bin/sh", "-c", "exit 0", stdin=b"x" * 500_000).returncode == 0

    def test_long_stderr_is_cut_and_does_not_block(self) -> None:
        """The first 64 KiB of stderr are kept, the rest is read and thrown away."""
        finished = sh("head -c 300000 /dev/zero >&2; echo done")

        assert finished.stdout == b"done\n"
        assert len(finished.stderr) == MAX_STDERR_BYTES
        assert not finished.overflow

    def test_output_of_exactly_the_cap_is_no_overflow(self) -> None:
        """The cap is the last size that passes."""
        finished = run("/bin/sh", "-c", "printf 12345", max_output_bytes=5)

        assert (finished.stdout, finished.overflow) == (b"12345", False)

    def test_working_directory_is_the_one_given(self, tmp_path: Path) -> None:
        """The process starts in *cwd*."""
        finished = run("/bin/sh", "-c", "pwd -P", cwd=str(tmp_path))

        assert finished.stdout.decode().strip() == str(tmp_path.resolve())

    @pytest.mark.parametrize(
        ("mode", "error"), [(None, FileNotFoundError), (0o644, PermissionError)]
    )
    def test_what_cannot_be_started_is_an_os_error(
        self, tmp_path: Path, mode: int | None, error: type[OSError]
    ) -> None:
        """A missing or a not executable file is told as the system tells it."""
        tool = tmp_path / "tool"
        if mode is not None:
            tool.write_text("#!/bin/sh\n")
            tool.chmod(mode)

        with pytest.raises(error):
            run(str(tool))


class TestIsolation:
    def test_no_descriptor_but_the_standard_ones_is_passed_on(self) -> None:
        """Even an inheritable descriptor of this process stays here."""
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        try:
            finished = sh(
                "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21;"
                " do [ -e /dev/fd/$n ] && echo $n; done; exit 0"
            )
        finally:
            os.close(reader)
            os.close(writer)

        assert finished.stdout.split() == [b"0", b"1", b"2"]

    def test_environment_is_the_one_given_and_nothing_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A variable of this process does not reach the tool."""
        monkeypatch.setenv("SECRET_TOKEN", "s3cret")

        finished = run("/usr/bin/env")

        assert b"SECRET_TOKEN" not in finished.stdout
        assert b"PATH=" in finished.stdout

    def test_files_of_a_tool_are_its_owners_only(self, tmp_path: Path) -> None:
        """The umask of a tool is 077."""
        sh('echo x > "$1"', str(tmp_path / "made"))

        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600

    def test_tool_leads_a_session_of_its_own(self) -> None:
        """A signal from the terminal does not reach the tool by itself."""
        code = "import os; print(os.getsid(0) == os.getpid())"

        assert run(sys.executable, "-I", "-c", code).stdout == b"True\n"


#: Tools that do not want to end; each notes its processes in the file ``$1``.
HOSTILE = {
    "hangs": 'echo $$ >> "$1"; sleep 100',
    "forks a child that hangs": 'sleep 100 & echo $! $$ >> "$1"; wait',
    "closes its outputs and hangs": 'echo $$ >> "$1"; exec >&- 2>&- <&-; sleep 100',
    "stops itself": 'echo $$ >> "$1"; kill -STOP $$; sleep 100',
}


class TestDeadline:
    @pytest.mark.slow
    @pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
    def test_nothing_is_left_after_the_deadline(
        self, script: str, tmp_path: Path
    ) -> None:
        """A run past its deadline says so and leaves no process of its group."""
        finished = late(script, tmp_path / "pids")

        assert finished.timed_out
        assert survivors(tmp_path / "pids") == []

    @pytest.mark.slow
    def test_who_ignores_term_is_killed(self, tmp_path: Path) -> None:
        """SIGKILL comes after SIGTERM, for the children too."""
        script = "trap '' TERM; sleep 100 & echo $! $$ >> \"$1\"; wait; sleep 100"

        finished = late(script, tmp_path / "pids")

        assert finished.timed_out
        assert survivors(tmp_path / "pids") == []

    @pytest.mark.slow
    def test_term_leaves_time_to_clean_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tool that handles SIGTERM finishes its handler, its output still read."""
        monkeypatch.setattr(process, "GRACE_S", 60.0)
        script = (
            "trap 'head -c 200000 /dev/zero; echo bye > \"$1.bye\"; exit 7' TERM;"
            ' echo $$ >> "$1"; sleep 100 & wait'
        )

        finished = late(script, tmp_path / "pids")

        assert (finished.timed_out, finished.returncode) == (True, 7)
        assert (tmp_path / "pids.bye").read_text() == "bye\n"

    def test_output_before_the_deadline_is_kept(self, tmp_path: Path) -> None:
        """What a tool wrote before its time ran out is in the result."""
        script = 'echo first; echo $$ >> "$1"; sleep 100'

        assert late(script, tmp_path / "pids").stdout == b"first\n"


class TestLeftBehind:
    def test_child_that_keeps_the_pipe_open_does_not_hang_the_run(
        self, tmp_path: Path
    ) -> None:
        """A tool that exits is done, and what it left in its group is ended."""
        finished = sh('sleep 100 & echo $! >> "$1"; echo hi', str(tmp_path / "pids"))

        assert finished == Finished(0, b"hi\n", b"", False, False)
        assert survivors(tmp_path / "pids") == []

    def test_child_that_closed_its_outputs_is_ended_with_the_group(
        self, tmp_path: Path
    ) -> None:
        """A quiet background process in the group does not outlive the run."""
        script = 'sleep 100 >/dev/null 2>&1 & echo $! >> "$1"'

        finished = sh(script, str(tmp_path / "pids"))

        assert finished.returncode == 0
        assert survivors(tmp_path / "pids") == []

    @pytest.mark.slow
    def test_child_that_never_stops_writing_is_given_up(self, tmp_path: Path) -> None:
        """A pipe that outlives its tool is read for a short while only."""
        script = '(while :; do echo more; sleep 0.03; done) & echo $! >> "$1"; echo hi'

        finished = sh(script, str(tmp_path / "pids"))

        assert b"hi\n" in finished.stdout
        assert not finished.timed_out
        assert survivors(tmp_path / "pids") == []

    @pytest.mark.slow
    def test_child_that_floods_stderr_is_given_up(self, tmp_path: Path) -> None:
        """What is thrown away does not keep a run going either."""
        script = 'cat /dev/zero >&2 & echo $! >> "$1"; echo hi'

        finished = sh(script, str(tmp_path / "pids"))

        assert (finished.stdout, finished.timed_out) == (b"hi\n", False)
        assert survivors(tmp_path / "pids") == []

    def test_flood_is_cut_at_the_cap_and_ended(self, tmp_path: Path) -> None:
        """A tool that writes without end is stopped once the cap is passed."""
        script = 'echo $$ >> "$1"; exec cat /dev/zero'
        argv = ("/bin/sh", "-c", script, "sh", str(tmp_path / "pids"))

        finished = run(*argv, max_output_bytes=100_000)

        assert (len(finished.stdout), finished.overflow) == (100_000, True)
        assert not finished.timed_out
        assert survivors(tmp_path / "pids") == []


class Interrupted(KeyboardInterrupt):
    """What the handler below raises."""


@pytest.fixture
def interrupted_by_usr1() -> Iterator[None]:
    """Make SIGUSR1 interrupt this process as Ctrl-C would."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


# A signal that raises in the middle of open() leaves the file to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("interrupted_by_usr1")
class TestInterrupt:
    def test_interrupt_ends_the_group_and_goes_on(self, tmp_path: Path) -> None:
        """Ctrl-C while a tool runs ends it with its children and is raised again."""
        script = 'sleep 100 & echo $! $$ >> "$1"; kill -USR1 $PPID; wait'

        with pytest.raises(Interrupted):
            sh(script, str(tmp_path / "pids"))

        assert survivors(tmp_path / "pids") == []

    @pytest.mark.slow
    def test_interrupt_while_a_process_starts_loses_nothing(
        self, tmp_path: Path
    ) -> None:
        """A signal that comes before the process is known still ends it."""
        for n in range(20):
            with pytest.raises(Interrupted):
                sh(
                    'echo $$ >> "$1"; kill -USR1 $PPID; exec sleep 100',
                    str(tmp_path / f"{n}"),
                )

            assert survivors(tmp_path / f"{n}") == []

    def test_handlers_are_the_same_after_a_run(self) -> None:
        """What is held back while a process starts is put back."""
        before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
        sh("exit 0")

        assert before == (
            signal.getsignal(signal.SIGUSR1),
            signal.getsignal(signal.SIGINT),
        )

    def test_second_interrupt_ends_the_grace(self, tmp_path: Path) -> None:
        """Ctrl-C again while a tool is asked to end kills it at once."""
        script = (
            "trap 'kill -USR1 $PPID' TERM; echo $$ >> \"$1\"; kill -USR1 $PPID;"
            " while :; do sleep 100 & wait; done"
        )

        with pytest.raises(Interrupted):
            sh(script, str(tmp_path / "pids"))

        assert survivors(tmp_path / "pids") == []


ADOPTING = """
import os, sys
from toolrt.bindings import process
from toolrt.bindings.process import adopt_orphans, run_process
process._LAST_WAIT_S = 60.0
bystander = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "100"])
adopted = adopt_orphans()
finished = run_process(
    ["/bin/sh", "-c", sys.argv[1], "sh", sys.argv[2]], env={"PATH": os.defpath},
    cwd=None, stdin=None, timeout_s=float(sys.argv[3]), max_output_bytes=1000,
)
print(adopted, finished.timed_out)
print("bystander", os.waitpid(bystander, os.WNOHANG) == (0, 0))
os.kill(bystander, 9)
os.waitpid(bystander, 0)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child left")
"""

#: The end of a script that waits for what it started to begin.
UNTIL_NOTED = ' while [ ! -s "$1" ]; do sleep 0.02; done'

ESCAPES = {
    "setsid": 'setsid sleep 100 & echo $! >> "$1"; sleep 100',
    "double fork": '(setsid sh -c \'echo $$ >> "$1"; sleep 100\' sh "$1" &); sleep 100',
    "double fork that ignores TERM": (
        '(setsid sh -c \'trap "" TERM; echo $$ >> "$1"; sleep 100; sleep 100\' sh'
        ' "$1" &); sleep 100'
    ),
}


@on_linux
@pytest.mark.slow
class TestOrphans:
    @staticmethod
    def adopting(script: str, pids: Path, timeout_s: float) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", ADOPTING, script, str(pids), str(timeout_s)],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.splitlines()

    @pytest.mark.parametrize("script", ESCAPES.values(), ids=ESCAPES.keys())
    def test_who_left_the_group_is_ended_at_the_deadline(
        self, script: str, tmp_path: Path
    ) -> None:
        """With orphans adopted, a new session is no way out; older children stay."""
        pids = tmp_path / "pids"

        told = until_noted(pids, lambda late_s: self.adopting(script, pids, late_s))

        assert told == ["True True", "bystander True", "no child left"]
        assert survivors(tmp_path / "pids") == []

    def test_who_holds_the_pipe_of_a_finished_tool_is_ended(
        self, tmp_path: Path
    ) -> None:
        """A process in a session of its own that keeps stdout open is no daemon."""
        script = '(setsid sh -c \'echo $$ >> "$1"; sleep 100\' sh "$1" &);'

        told = self.adopting(script + UNTIL_NOTED, tmp_path / "pids", 60)

        assert told == ["True False", "bystander True", "no child left"]
        assert survivors(tmp_path / "pids") == []

    def test_daemon_of_a_tool_that_succeeds_is_left_alone(self, tmp_path: Path) -> None:
        """A tool may start a service: nothing was cut short."""
        script = (
            '(setsid sh -c \'echo $$ >> "$1"; exec sleep 100\' sh "$1"'
            " >/dev/null 2>&1 </dev/null &);"
        )

        self.adopting(script + UNTIL_NOTED, tmp_path / "pids", 60)

        (pid,) = survivors(tmp_path / "pids")
        os.kill(pid, signal.SIGKILL)
