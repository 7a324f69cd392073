"""
A sink whose batches another process stores, so that this one keeps its interpreter.

To store an event takes some 9 us of Python, and each call of SQLite waits up to 5 ms to
have the interpreter's lock back where another thread is busy. Here a batch costs its
encoding, one write and one read. A batch is durable when it is answered. Without an
answer (the process died, hangs, or never came up) the store is asked what it has, and
what is missing is stored in this process.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.audit.deadline import deadline_in, seconds_left
from toolrt.audit.queue_sink import QueueSink
from toolrt.audit.sinks import BackpressureStrategy
from toolrt_store import database, errors, sqlite
from toolrt_store.batch_wire import Answer, Pair, encode_batch, receive, send
from toolrt_store.parts import Opening, Parts
from toolrt_store.python_child import boot, command
from toolrt_store.query import id_condition
from toolrt_store.recovery import replay
from toolrt_store.sink import CallStore, StoreWriter

_BOOT: Final = boot("toolrt_store.sink_child")
#: A process that is silent so long, beyond its wait for the writing lock, hangs.
_SILENCE_S: Final = 10.0
_END_S: Final = 2.0
_CLOSE_S: Final = 5.0
#: How long after a failure the next process is started.
_REST_S: Final = 60.0
_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)
_UNFIT: Final = (TypeError, ValueError, OverflowError, msgspec.MsgspecError)
#: No processes left, an interpreter that does not know where it is, or that ends.
_UNSTARTABLE: Final = (OSError, ValueError, TypeError, RuntimeError)
_SINCE: Final = "SELECT 1 FROM events AS e WHERE e.seq > ? AND "


class _GoneError(Exception):
    """The process has no answer, and will have none."""


class _Child:
    """
    The process that stores batches. `ask` is called by one thread, `kill` by any.

    ``head`` is the last event of the store, as the last answer told it.
    """

    def __init__(self, opening: Opening, inherited: Sequence[int], head: int) -> None:
        """Start it. Raises one of _UNSTARTABLE; then nothing is left of it."""
        self.head = head
        self._connection, its_end = socket.socketpair()
        try:
            with its_end:
                # Of the kernel: Python's own has several calls where one will do.
                limit = struct.pack("ll", int(opening.lock_timeout_s + _SILENCE_S), 0)
                for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                    self._connection.setsockopt(socket.SOL_SOCKET, option, limit)
                self._process = _start(its_end, inherited)
        except BaseException:
            self._connection.close()
            raise

    def ask(self, body: bytes) -> Answer:
        """
        Send a frame and return the answer to it.

        Raises:
            _GoneError: There is none; what became of the frame is in the store.
        """
        try:
            send(self._connection, body)
            answer = receive(self._connection)
            if answer is not None:
                return _ANSWERS.decode(answer)
        except BlockingIOError:
            raise _GoneError("it hangs") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise _GoneError(str(error)) from error
        raise _GoneError("it ended")

    def kill(self) -> None:
        """End it at once, even if it is stopped."""
        self._process.kill()

    def end(self, timeout_s: float) -> int:
        """Let it end by itself, kill it after *timeout_s*; return its exit code."""
        # Also where a forked process holds a copy of our end.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def abandon(self) -> None:
        """Have nothing of it any more: this process is a fork, and it is the parent's."""
        self._connection.close()
        self._process.returncode = 0  # it is not ours to wait for


def _start(its_end: socket.socket, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this interpreter, without a shell
        command(_BOOT),
        stdin=its_end.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        pass_fds=inherited,
        # Ctrl-C at a terminal is for the program, which then has its sinks write out.
        start_new_session=True,
    )


class ProcessWriter:
    """Writes batches through a process of its own; stands behind a `ProcessSink`."""

    def __init__(
        self,
        store: CallStore,
        opening: Opening,
        changing: Callable[[], AbstractContextManager[Parts]],
        tell: Callable[[str], None],
    ) -> None:
        self._here = StoreWriter(store)
        self._opening = opening
        self._changing = changing
        self._tell = tell
        self._child: _Child | None = None
        self._rests_until_s = 0.0
        self._has_told = False
        #: Why the last checkpoint was not written by the process.
        self.seal_problem: errors.StoreError | None = None

    def write(self, events: Sequence[CallEvent]) -> None:
        """Store *events*. Raises like `write_records`."""
        self.write_records([(event, None) for event in events])

    def write_records(self, pairs: Sequence[Pair]) -> None:
        """
        Store the events of *pairs*, like `StoreWriter.write_records`.

        Raises:
            PartialWriteError: Some are stored already, or cannot be; the others are.
            StoreError: None could be stored.
        """
        child = self._ready()
        try:
            body = None if child is None else encode_batch(pairs)
        except _UNFIT:
            body = None  # here it is found out what is wrong with it
        if child is None or body is None:
            self._here.write_records(pairs)
            return
        try:
            answer = child.ask(body)
        except _GoneError as gone:
            self._lose(child, gone)
            if not self._has_since(child.head, pairs):
                self._here.write_records(pairs)
            return
        self._heed(child, answer, pairs)

    def kill(self) -> None:
        """End the process at once; what it was given is stored in this one."""
        child = self._child
        if child is not None:
            self._rests_until_s = time.monotonic() + _REST_S
            child.kill()

    def end(self) -> None:
        """End the process: all that it was given is stored."""
        child, self._child = self._child, None
        if child is not None:
            child.end(_END_S)

    def abandon(self) -> None:
        """Start anew in a forked process."""
        child, self._child = self._child, None
        if child is not None:
            child.abandon()

    def _ready(self) -> _Child | None:
        """Return the process, started if need be; None if it is to be done without."""
        with self._changing() as parts:
            if parts.guard.has_spooled:
                with suppress(errors.StoreError):
                    replay(parts)
            # The calls are of this process, so it has to be known and alive there. And
            # what was put off comes before the events that speak of it.
            if self._child is None or parts.writer.owes():
                parts.writer.change(parts.lock_timeout_s, _nothing)
            head, inherited = parts.writer.appender.head.seq, parts.liveness.lent()
        if self._child is None and time.monotonic() >= self._rests_until_s:
            self._start(head, inherited)
        return self._child

    def _start(self, head: int, inherited: Sequence[int]) -> None:
        try:
            # Where `kill` finds it, before it is waited for.
            child = self._child = _Child(self._opening, inherited, head)
        except _UNSTARTABLE as error:
            self._rest(f"cannot be started: {error}")
            return
        try:
            answer = child.ask(msgspec.msgpack.encode(self._opening))
        except _GoneError as gone:
            self._lose(child, gone)
            return
        if answer.status != "stored":
            self._lose(child, _GoneError(answer.problem))
            return
        self._has_told = False

    def _lose(self, child: _Child, gone: _GoneError) -> None:
        self._child = None
        child.kill()
        code = child.end(_END_S)
        how = f", by signal {-code}" if code < 0 else f", exit code {code}"
        self._rest(f"is gone: {gone}{how}")

    def _rest(self, problem: str) -> None:
        self._rests_until_s = time.monotonic() + _REST_S
        if not self._has_told:
            self._has_told = True
            self._tell(f"its process {problem}; this one writes")

    def _has_since(self, head: int, pairs: Sequence[Pair]) -> bool:
        """Return whether the batch *pairs* was committed, above *head*."""
        with self._changing() as parts:
            try:
                # Of one commit all are there, or none.
                return all(_is_above(parts, head, event) for event, _ in pairs)
            except sqlite.Error as error:
                path, waited_s = parts.path, database.BUSY_TIMEOUT_S
                raise errors.from_sqlite(path, error, waited_s=waited_s) from error

    def _heed(self, child: _Child, answer: Answer, pairs: Sequence[Pair]) -> None:
        path, problem = self._opening.path, answer.seal_problem
        self.seal_problem = (
            errors.StoreUnavailableError(path, problem) if problem else None
        )
        match answer.status:
            case "stored":
                child.head = answer.head
            case "locked":
                raise errors.StoreLockedError(path, self._opening.lock_timeout_s)
            case "refused":
                # Tried again here: what it is about is found, and none suffers for it.
                self._here.write_records(pairs)


def _is_above(parts: Parts, seq: int, event: CallEvent) -> bool:
    condition = id_condition(f"{event.call_id}/call")
    values = (seq, *condition.values)
    return (
        parts.connection.execute(_SINCE + condition.sql, values).fetchone() is not None
    )


def _nothing() -> None:
    """Change nothing."""


class ProcessSink(QueueSink):
    """
    A `toolrt.QueueSink` over a `ProcessWriter`.

    `close` kills a process that has not done its part in half of the time; what waits is
    then stored by this one.
    """

    def __init__(
        self,
        store: CallStore,
        opening: Opening,
        changing: Callable[[], AbstractContextManager[Parts]],
        capacity: int,
        backpressure: BackpressureStrategy,
    ) -> None:
        self._other = ProcessWriter(store, opening, changing, self._tell)
        super().__init__(self._other, capacity, backpressure, name="store")

    @property
    def seal_problem(self) -> errors.StoreError | None:
        """Why the process did not write its last checkpoint, or told no anchor."""
        return self._other.seal_problem

    def close(self, timeout: float | None = _CLOSE_S) -> None:
        """Like `QueueSink.close`; the process is gone when this returns."""
        deadline = deadline_in(timeout)
        if self._thread is not threading.current_thread():
            half = None if timeout is None else timeout / 2
            if not self.flush(half):
                self._other.kill()
        try:
            super().close(seconds_left(deadline))
        finally:
            if self._thread is not None and self._thread.is_alive():
                self._other.kill()

    def _tell(self, problem: str) -> None:
        self.on_trouble(problem)

    def _start_anew(self) -> None:
        self._other.abandon()
        super()._start_anew()

    def _end_writer(self) -> None:
        self._other.end()
