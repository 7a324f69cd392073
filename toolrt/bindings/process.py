"""
One process run to its end, and nothing left of it: sessions, signals, pipes, orphans.

Everything that is particular to POSIX processes lives here. The module is imported by
the first command tool that runs, not at start-up: what it imports costs 10 ms.

A run ends in one of four ways: the process exits, its deadline passes, it writes more
than it may, or the caller is interrupted. Whichever it is, its whole process group is
ended with it: SIGTERM, `GRACE_S` for those who are still there, SIGKILL.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Self

import msgspec

#: Between SIGTERM and SIGKILL.
GRACE_S: Final = 2.0
MAX_STDERR_BYTES: Final = 64 * 1024
#: Silence after which a pipe that outlives its process is given up, and the most that
#: is waited for it altogether.
_SILENCE_S: Final = 0.1
_LINGER_S: Final = 1.0
#: After SIGKILL, until the system has ended and reaped everything.
_LAST_WAIT_S: Final = 0.4
_POLL_S: Final = 0.02
_CHUNK_BYTES: Final = 1 << 16
#: The signals that a program may turn into an exception.
_HANDLED: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM,
    signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class Finished(msgspec.Struct, frozen=True):
    """
    How a process ended.

    ``returncode`` is negative for a signal. ``stdout`` holds at most the cap, ``stderr``
    the first `MAX_STDERR_BYTES`; ``overflow`` tells that there was more of stdout.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    overflow: bool


def run_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None,
    stdin: bytes | None,
    timeout_s: float,
    max_output_bytes: int,
) -> Finished:
    """
    Run *argv* in a session of its own until it ends or is ended.

    Nothing of its process group is left when this returns or raises, and nothing of
    what left the group either, where the run was cut short and `adopt_orphans` is on.

    Args:
        argv: The executable, as an absolute path, and its arguments. No shell is asked.

        env: The whole environment.

        max_output_bytes: How much of stdout is taken.

    Raises:
        OSError: It could not be started.
    """
    deadline = time.monotonic() + timeout_s
    bystanders = _children() if _adoption.is_on else frozenset()
    cut_short, timed_out, process = True, False, None
    with _Pipes(max_output_bytes) as pipes, _HeldSignals() as held:
        try:
            process = _start(argv, env, cwd, has_input=stdin is not None)
            pipes.attach(process, stdin or b"")
            held.release()
            timed_out = _attend(process, pipes, deadline)
            # Who still holds a pipe of a finished tool is no daemon, only left behind.
            cut_short = timed_out or pipes.overflow or pipes.is_open
        finally:  # also on KeyboardInterrupt and SystemExit, which then go on
            if process is not None:
                has_orphans = cut_short and _adoption.is_on
                _Ending(process, bystanders if has_orphans else None).carry_out(pipes)
    status = process.returncode
    return Finished(
        returncode=-signal.SIGKILL if status is None else status,
        stdout=bytes(pipes.stdout),
        stderr=bytes(pipes.stderr),
        timed_out=timed_out,
        overflow=pipes.overflow,
    )


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, has_input: bool
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - no shell, and what runs is the caller's choice
        argv,
        stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=cwd,
        env=env,
        start_new_session=True,
        umask=0o077,
    )


def adopt_orphans() -> bool:
    """
    Make this process the parent of all that its tools leave behind; return whether it is.

    Then a run that is cut short also ends what has left its process group. It holds for
    the whole process and cannot be undone, so it is for a program that runs one tool at
    a time, and only Linux has it.
    """
    if sys.platform != "linux" or not (_TASKS / str(os.getpid()) / "children").exists():
        return False
    import ctypes

    libc = ctypes.CDLL(None)
    _adoption.is_on = libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    return _adoption.is_on


class _Adoption:
    """Whether this process is a subreaper: a state of the process, hence of the module."""

    is_on = False


_adoption: Final = _Adoption()
_PR_SET_CHILD_SUBREAPER: Final = 36
_TASKS: Final = Path("/proc/self/task")


class _HeldSignals:
    """
    Holds back what signal handlers raise, until it is released or left.

    An exception while a process is being started would lose track of it.
    """

    def __enter__(self) -> Self:
        self._came: list[int] = []
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in _HANDLED:
                if callable(handler := signal.getsignal(number)):
                    self._handlers[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _hold(self, number: int, _frame: object) -> None:
        self._came.append(number)

    def release(self) -> None:
        """Put the handlers back, and deliver what came."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())
        while self._came:
            signal.raise_signal(self._came.pop())


def _attend(process: subprocess.Popen[bytes], pipes: _Pipes, deadline: float) -> bool:
    """Move data until the process is done; return whether its time ran out before."""
    with _ExitNotice(process.pid, pipes.selector) as notice:
        while process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            pipes.move(left if notice.fd >= 0 else min(left, _POLL_S))
            if pipes.overflow:
                return False
    # Another process may hold the pipes: what is in them is taken, what may come is not.
    until = min(deadline, time.monotonic() + _LINGER_S)
    while pipes.is_open and not pipes.overflow:
        left = max(0.0, until - time.monotonic())
        if not pipes.move(min(left, _SILENCE_S)) or not left:
            break
    return False


class _ExitNotice:
    """Wakes a selector when a process exits, where it can (Linux); else ``fd`` is -1."""

    def __init__(self, pid: int, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self.fd = -1
        if sys.platform == "linux":
            try:
                self.fd = os.pidfd_open(pid)
            except OSError:  # an older kernel: the caller polls
                return
            selector.register(self.fd, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            self._selector.unregister(self.fd)
            os.close(self.fd)


class _Pipes:
    """
    The three pipes of one process; what is over a cap is read and thrown away.

    `stdout` and `stderr` stay readable after the pipes are closed.
    """

    def __init__(self, max_output_bytes: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.overflow = False
        self._max_output_bytes = max_output_bytes
        self._unsent = memoryview(b"")
        self._stdin: IO[bytes] | None = None
        self._outputs: list[IO[bytes]] = []

    def attach(self, process: subprocess.Popen[bytes], stdin: bytes) -> None:
        """Take over the pipes of *process*, which is to read *stdin*."""
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin = process.stdin
        self._outputs = [process.stdout, process.stderr]
        self.selector.register(process.stdout, selectors.EVENT_READ, self.stdout)
        self.selector.register(process.stderr, selectors.EVENT_READ, self.stderr)
        if self._stdin is not None:
            self._unsent = memoryview(stdin)
            os.set_blocking(self._stdin.fileno(), False)
            self.selector.register(self._stdin, selectors.EVENT_WRITE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._stdin, *self._outputs):
            if pipe is not None:
                pipe.close()
        self.selector.close()

    @property
    def is_open(self) -> bool:
        """Whether the process, or one that it started, can still write."""
        return any(not pipe.closed for pipe in self._outputs)

    def move(self, timeout_s: float) -> bool:
        """Wait for at most *timeout_s* for data to move; return whether any did."""
        moved = False
        for key, _ in self.selector.select(timeout_s):
            if key.fileobj is self._stdin:
                self._feed(self._stdin)
            elif key.data is not None:
                self._take(key)
                moved = True
        return moved

    def _feed(self, pipe: IO[bytes]) -> None:
        try:
            sent = os.write(pipe.fileno(), self._unsent[:_CHUNK_BYTES])
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:  # a tool need not read all that it is given
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._close(pipe)

    def _take(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, _CHUNK_BYTES)
        if not chunk:
            self._close(key.fileobj)  # type: ignore[arg-type]  # registered as a pipe
            return
        buffer: bytearray = key.data
        is_stdout = buffer is self.stdout
        room = (self._max_output_bytes if is_stdout else MAX_STDERR_BYTES) - len(buffer)
        buffer += chunk[:room]
        if is_stdout and len(chunk) > room:
            self.overflow = True

    def _close(self, pipe: IO[bytes]) -> None:
        self.selector.unregister(pipe)
        pipe.close()


class _Ending:
    """
    The end of one process, of its group and, unless *bystanders* is None, of orphans.

    *bystanders* are the children that this process had before: they are left alone.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], bystanders: frozenset[int] | None
    ) -> None:
        self._process = process
        self._bystanders = bystanders
        self._told: set[int] = set()

    def carry_out(self, pipes: _Pipes) -> None:
        """Send SIGTERM, read on so that nobody blocks while it is heeded, SIGKILL."""
        try:
            _send(-self._process.pid, signal.SIGTERM)
            until = time.monotonic() + GRACE_S
            while not self._is_over(signal.SIGTERM) and time.monotonic() < until:
                pipes.move(_POLL_S)
        finally:  # a second interrupt ends the grace and nothing else
            until = time.monotonic() + _LAST_WAIT_S
            while not self._is_over(signal.SIGKILL) and time.monotonic() < until:
                _send(-self._process.pid, signal.SIGKILL)
                time.sleep(_POLL_S / 4)
        pipes.move(0)  # what was written meanwhile, and nobody had the time to read

    def _is_over(self, number: signal.Signals) -> bool:
        """Reap what has ended; send *number* to orphans that came to light."""
        has_ended = self._process.poll() is not None
        if has_ended:
            _reap(-self._process.pid)
        orphans = self._orphans()
        for pid in orphans:
            if number == signal.SIGKILL or pid not in self._told:
                self._told.add(pid)
                _send(pid, number)
            _reap(pid)
        return has_ended and not orphans and not _has_living(self._process.pid)

    def _orphans(self) -> frozenset[int]:
        if self._bystanders is None:
            return frozenset()
        return _children() - self._bystanders - {self._process.pid}


def _send(pid: int, number: int) -> bool:
    """Signal *pid*, a group if it is negative; return whether there was one to signal."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS: a group of zombies
        return False
    return True


def _reap(pid: int) -> None:
    """Collect *pid*, or all of a group if it is negative, as far as it has ended."""
    try:
        while os.waitpid(pid, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _has_living(group: int) -> bool:
    """Return whether a process of *group* runs; one not yet reaped does not."""
    if not _send(-group, 0):
        return False
    if sys.platform != "linux":
        return True
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text()
            # What follows the name, which is in brackets.
            state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
        except (OSError, ValueError):  # it ended meanwhile
            continue
        if its_group == str(group) and state not in "ZX":
            return True
    return False


def _children() -> frozenset[int]:
    """Return the processes whose parent this is, those that have ended included."""
    found: set[int] = set()
    for task in _TASKS.iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:  # a thread that ended meanwhile
            continue
    return frozenset(found)
