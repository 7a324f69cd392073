"""
A bounded queue in front of a writer, drained by one thread.

A put takes one lock, looks at one bound and appends; everything rare (no thread yet, a
thread that sleeps, a full queue, a closed sink) sets that bound so that the put has to
look further. The drain polls, because waking a thread costs the call 5 to 40 us; after a
second of silence it sleeps until it is woken.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from toolrt.audit.call_event import CallEvent
from toolrt.audit.deadline import deadline_in, seconds_left
from toolrt.audit.sinks import (
    DEFAULT_AUDIT_QUEUE_CAPACITY,
    AuditSink,
    BackpressureStrategy,
    Block,
    Drop,
    EndedCall,
    Fallback,
    PartialWriteError,
    SinkStats,
    SinkWriter,
    deliver,
)
from toolrt.errors import SinkUnavailableError

_LARGEST_BATCH: Final = 16_384
_POLL_S: Final = 0.002
_POLLS_BEFORE_SLEEP: Final = 500
_CLOSE_S: Final = 5.0
_DROP: Final = Drop()


class QueueSink(AuditSink):
    """
    Queues events for *writer*, which one thread of the sink's own calls with batches.

    At most *capacity* events wait or are being written. Safe to use from many threads.
    `close`, leaving ``with`` and the end of the interpreter write out what waits. In a
    child after ``os.fork`` the sink starts anew, empty and with counters at zero, since
    what waits is the parent's to write; a child that ends by ``os._exit`` closes it first.
    """

    def __init__(
        self,
        writer: SinkWriter,
        capacity: int = DEFAULT_AUDIT_QUEUE_CAPACITY,
        backpressure: BackpressureStrategy = _DROP,
        *,
        required: bool = False,
        name: str | None = None,
    ) -> None:
        """
        Return a sink over *writer*.

        Args:
            required: `on_call` raises where `Block` waited to its deadline in vain.

            name: How messages name the sink; by default the type of *writer*.
        """
        _check(capacity, backpressure)
        self.backpressure = backpressure
        self.capacity = capacity
        self.required = required
        self.name = name or type(writer).__name__
        #: Gets one line when the sink begins to fail, recovers or gives up.
        self.on_trouble: Callable[[str], None] = self._log
        #: Why the last batch that failed did so.
        self.last_error: BaseException | None = None
        self._write_pairs = getattr(writer, "write_records", None)
        self._write_events = writer.write if self._write_pairs is None else None
        self._wait_s = backpressure.timeout if isinstance(backpressure, Block) else 0.0
        self._half = (capacity + 1) // 2
        self._has_ended_calls = False
        self._is_failing = False
        self._has_warned = False
        self._is_closed = False
        self._start_anew()
        _SINKS.add(self)

    def _start_anew(self) -> None:
        """Be a queue that is empty and has no thread: new, or in a forked process."""
        # Reentrant: a put may be interrupted by a signal handler that puts.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)  # waited for by the drain
        self._progress = threading.Condition(self._lock)  # waited for by all others
        self._thread: threading.Thread | None = None
        self._is_dead = False
        self._is_asleep = False
        self._is_given_up = False
        self._queue: list[Any] = []
        self._taken = 0  # by the drain, and not yet settled
        self._written = self._dropped = self._diverted = self._failed = self._peak = 0
        # Up to which length of the queue a put need not look further.
        self._room = 0

    def on_call(self, event: CallEvent, /) -> None:
        """
        Queue *event*; if the queue is full, do what `backpressure` says.

        Raises:
            SinkUnavailableError: `Block` waited to its deadline, and the sink is
                required.
        """
        item = event if self._write_pairs is None else (event, None)
        with self._lock:
            queue = self._queue
            if len(queue) < self._room:
                queue.append(item)
                return
        self._admit(item, event, None)

    def on_record(self, event: CallEvent | EndedCall, details: Any) -> None:
        """Queue *event*, with *details* if the writer takes them; see `on_call`."""
        item = event if self._write_pairs is None else (event, details)
        with self._lock:
            queue = self._queue
            if len(queue) < self._room:
                queue.append(item)
                return
        self._admit(item, event, details)

    def ended_calls(self) -> Callable[[EndedCall, Any], None]:
        """Return what queues calls that have ended, as `on_record` does events."""
        if type(self).on_record is not QueueSink.on_record:  # it is to see events
            return lambda call, details: self.on_record(call.event(), details)
        # To look through batches for them takes a tenth of what writing them does.
        self._has_ended_calls = True
        return self.on_record

    def _admit(self, item: Any, event: CallEvent | EndedCall, details: Any) -> None:
        """Take what the short way of `on_call` could not."""
        if isinstance(self.backpressure, Block):
            self._warn_in_loop()
        if self._put(item):
            return
        if isinstance(self.backpressure, Fallback) and not self._is_closed:
            self._divert(self.backpressure, _made(event), details)
        elif self.required and isinstance(self.backpressure, Block):
            waited = f"no room within {self._wait_s:g} s" if self._wait_s else "no room"
            problem = "closed" if self._is_closed else waited
            raise SinkUnavailableError(self.name, problem)

    def _put(self, item: Any) -> bool:
        """Queue *item* as soon as there is room; else count it, unless it diverts."""
        deadline = deadline_in(self._wait_s)
        with self._lock:
            try:
                while not self._is_closed and self._has_drain():
                    room = self.capacity - self._taken
                    if len(self._queue) < room:
                        self._queue.append(item)
                        if self._is_asleep or len(self._queue) > self._half:
                            self._room = room
                            self._work.notify()
                        return True
                    self._work.notify()
                    left = seconds_left(deadline)
                    if left == 0:
                        break
                    self._progress.wait(left)
            except BaseException:  # an interrupt while waiting: the event is lost
                self._dropped += 1
                raise
            if self._is_closed or not isinstance(self.backpressure, Fallback):
                self._dropped += 1
        return False

    def _divert(self, backpressure: Fallback, event: CallEvent, details: Any) -> None:
        was_taken = False
        try:
            was_taken = deliver(backpressure.sink, event, details)
        finally:
            with self._lock:
                self._diverted += was_taken
                self._dropped += not was_taken

    def _warn_in_loop(self) -> None:
        if self._has_warned:
            return
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:
            self._has_warned = True
            self.on_trouble(
                "a full queue blocks this thread, which runs an asyncio loop"
            )

    def drops(self) -> int:
        """Return how many events were dropped."""
        return self._dropped

    def stats(self) -> SinkStats:
        """Return the counters of this moment; they agree with each other."""
        with self._lock:
            depth = self._note_peak()
            return SinkStats(
                accepted=self._written + self._failed + depth,
                written=self._written,
                dropped=self._dropped,
                diverted=self._diverted,
                failed=self._failed,
                depth=depth,
                peak=self._peak,
            )

    def _note_peak(self) -> int:
        # Depth grows between two settlings only, so looking before each one is enough.
        depth = len(self._queue) + self._taken
        self._peak = max(self._peak, depth)
        return depth

    def flush(self, timeout: float | None = _CLOSE_S) -> bool:
        """Wait until what was accepted so far is settled; return whether it is."""
        deadline = deadline_in(timeout)
        with self._lock:
            target = self._written + self._failed + self._note_peak()
            while self._written + self._failed < target:
                self._work.notify()
                left = seconds_left(deadline)
                if left == 0:
                    return False
                self._progress.wait(left)
        return True

    def close(self, timeout: float | None = _CLOSE_S) -> None:
        """
        Take no more events and write out what waits, for at most *timeout* seconds.

        What is left then counts as failed. Closing again does nothing. What a fallback
        still holds is written out as well; the fallback stays open.
        """
        deadline = deadline_in(timeout)
        with self._lock:
            was_closed = self._is_closed
            self._is_closed = True
            self._room = 0
            self._work.notify()
            self._progress.notify_all()
            thread = None if self._is_given_up else self._thread
            if self._thread is None and not was_closed:
                self._end_writer()
        if thread is not None and thread is not threading.current_thread():
            try:
                thread.join(seconds_left(deadline))
            finally:  # an interrupt ends the wait as well
                if thread.is_alive():
                    self._give_up()
        if isinstance(self.backpressure, Fallback) and not was_closed:
            flush = getattr(self.backpressure.sink, "flush", None)
            if flush is not None:
                flush(seconds_left(deadline))

    def _give_up(self) -> None:
        with self._lock:
            if self._is_given_up:
                return
            self._is_given_up = True
            lost = self._fail_the_rest()
        if lost:
            self.on_trouble(f"closed with {lost} events unwritten")

    def _fail_the_rest(self) -> int:
        depth = self._note_peak()
        self._failed += depth
        self._queue = []
        self._taken = 0
        self._progress.notify_all()
        return depth

    # The thread.

    def _has_drain(self) -> bool:
        """Return whether events are being drained; start the thread if there is none."""
        if self._thread is None:
            thread = threading.Thread(
                target=self._drain, name=f"toolrt-sink {self.name}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as exc:  # no more threads, or the interpreter ends
                self._tell_failing(exc)
                return False
            self._thread = thread
            self._room = self._half
        return not self._is_dead

    def _drain(self) -> None:
        # Signals are for the main thread; macOS gives them to any that lets them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # Half the queue at once: calls that wait can fill one half while the other is
        # being written.
        size = min(self._half, _LARGEST_BATCH)
        try:
            while batch := self._take():
                for start in range(0, len(batch), size):
                    part = batch[start : start + size]
                    self._settle(len(part), *self._write(part))
                    if self._is_given_up:
                        return
                batch = part = []  # ended calls lead to their registry
        except BaseException as exc:  # noqa: BLE001 - such as SystemExit: it ends the thread
            with self._lock:
                self._is_dead = True
                self._room = 0
                self.last_error = exc
                self._fail_the_rest()
            self.on_trouble(f"its thread has ended: {exc!r}")
        finally:
            self._end_writer()

    def _take(self) -> list[Any]:
        """Wait for events and take them all; none once the sink is closed and empty."""
        polls = 0
        with self._lock:
            while not self._queue and not self._is_closed:
                if polls < _POLLS_BEFORE_SLEEP:
                    # A put that finds the queue half full wakes the drain early.
                    self._room = self._half
                    self._work.wait(_POLL_S)
                    polls += 1
                else:
                    self._room = 0
                    self._is_asleep = True
                    self._work.wait()
                    self._is_asleep = False
            batch, self._queue = self._queue, []
            self._taken = len(batch)
            self._room = 0 if self._is_closed else self.capacity - len(batch)
        return batch

    def _write(self, batch: Sequence[Any]) -> tuple[int, BaseException | None]:
        """Return how many of *batch* were written, and why not all were."""
        try:
            if self._write_events is not None:
                made = list(map(_made, batch)) if self._has_ended_calls else batch
                self._write_events(made)
            else:
                assert self._write_pairs is not None
                self._write_pairs([(_made(event), told) for event, told in batch])
        except PartialWriteError as exc:
            return exc.written, exc.reason
        except Exception as exc:  # noqa: BLE001 - whatever a writer raises is counted
            return 0, exc
        return len(batch), None

    def _settle(self, size: int, written: int, error: BaseException | None) -> None:
        # Said first: who waits for the batch then finds out why it failed.
        if error is not None:
            self._tell_failing(error)
        elif self._is_failing:
            self._is_failing = False
            self.on_trouble("writes again")
        with self._lock:
            if self._is_given_up:  # counted as failed already
                return
            self._note_peak()
            self._taken -= size
            self._written += written
            self._failed += size - written
            if not self._is_closed:
                self._room = self.capacity - self._taken
            self._progress.notify_all()

    def _tell_failing(self, error: BaseException) -> None:
        self.last_error = error
        if not self._is_failing:
            self._is_failing = True
            self.on_trouble(f"cannot write: {str(error) or type(error).__name__}")

    def _log(self, message: str) -> None:
        import logging  # a fifth of a start, and rarely needed

        logging.getLogger(__name__).warning("sink %s: %s", self.name, message)

    def _end_writer(self) -> None:
        """Do what is to be done once nothing is written any more."""


def _made(event: CallEvent | EndedCall) -> CallEvent:
    return event.event() if isinstance(event, EndedCall) else event


def _check(capacity: Any, backpressure: Any) -> None:
    if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
        raise ValueError(f"capacity: expected an integer from 1, got {capacity!r}")
    if not isinstance(backpressure, Drop | Block | Fallback):
        got = type(backpressure).__name__
        raise TypeError(f"expected Drop, Block or Fallback, got {got}")


# The sinks there are: the end of the interpreter and a fork have to know.
_SINKS: Final[weakref.WeakSet[QueueSink]] = weakref.WeakSet()


def _close_at_exit() -> None:
    deadline = deadline_in(_CLOSE_S)
    for sink in list(_SINKS):
        sink.close(seconds_left(deadline))


def _start_anew_in_child() -> None:
    for sink in list(_SINKS):
        sink._start_anew()


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_start_anew_in_child)
