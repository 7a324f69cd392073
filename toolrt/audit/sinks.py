"""
Sinks: where CallEvents go beside the store, and what a full one does.

A sink never raises into a call, but for one that is marked required. What queues and
writes is in ``toolrt.audit.queue_sink``, imported where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.errors import SinkUnavailableError

#: How many events a queueing sink holds unless told otherwise.
DEFAULT_AUDIT_QUEUE_CAPACITY: Final = 1024


class Drop(msgspec.Struct, frozen=True):
    """A full queue drops the event and counts it: the call goes first."""


class Block(msgspec.Struct, frozen=True):
    """A full queue makes the call wait for room; after `timeout` seconds it drops."""

    #: None: wait for ever.
    timeout: float | None = 10.0

    def __post_init__(self) -> None:
        if self.timeout is not None and not 0 <= self.timeout < math.inf:
            raise ValueError(f"timeout: expected 0 or more seconds, got {self.timeout}")


class Fallback(msgspec.Struct, frozen=True):
    """What a full queue, or one that nobody drains, cannot take goes to `sink`."""

    sink: OnCall

    def __post_init__(self) -> None:
        if not callable(getattr(self.sink, "on_call", None)):
            got = type(self.sink).__name__
            raise TypeError(f"expected a sink with a method on_call, got {got}")


BackpressureStrategy = Drop | Block | Fallback


class EndedCall(msgspec.Struct, frozen=True, gc=False):
    """
    A call that succeeded, whose CallEvent is made where it is written.

    ``make`` is given when the call ended, in Unix microseconds, and how many nanoseconds
    it took.
    """

    make: Callable[[int, int], CallEvent]
    ended_us: int
    elapsed_ns: int

    def event(self) -> CallEvent:
        """Return the event; each one made has an id of its own, so make one."""
        return self.make(self.ended_us, self.elapsed_ns)


class OnCall(Protocol):
    """All that a sink must have."""

    def on_call(self, event: CallEvent, /) -> None:
        """Take *event*."""


class AuditSink:
    """
    Receives the CallEvent of every finished call, on the thread of the call.

    A base with defaults; any object with a method ``on_call`` is a sink too and counts
    as having them. A sink with a method ``on_record(event, details)`` is given that
    instead, with the CallDetails of the call.
    """

    #: What the sink does with an event when it is full.
    backpressure: BackpressureStrategy = Drop()

    def on_call(self, event: CallEvent, /) -> None:
        """Take *event*."""
        raise NotImplementedError

    def drops(self) -> int:
        """Return how many events were dropped."""
        return 0

    def close(self) -> None:
        """Write out what is held; nothing is taken after that."""

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the sink."""
        self.close()


class SinkStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of the events that a queueing sink was given, at one moment.

    accepted = written + failed + depth, and every event given was accepted, dropped or
    diverted.
    """

    accepted: int
    written: int
    dropped: int
    #: Handed to the fallback.
    diverted: int
    #: Accepted, and then not written: the writer raised, or did not end in time.
    failed: int
    #: How many wait or are being written.
    depth: int
    #: The largest `depth` so far.
    peak: int


class SinkWriter(Protocol):
    """
    What stands behind a `toolrt.QueueSink`; called by one thread at a time.

    A writer with a method ``write_records(pairs)`` is given pairs of event and details
    there instead; the details are None where the sink was given none.
    """

    def write(self, events: Sequence[CallEvent], /) -> object:
        """Write *events*, all of them; raise if that is not possible."""


class PartialWriteError(OSError):
    """A writer wrote `written` events of a batch, and for the rest it has a reason."""

    def __init__(self, written: int, reason: BaseException) -> None:
        super().__init__(*reason.args)
        self.written = written
        self.reason = reason


def deliver(sink: OnCall, event: CallEvent, details: Any) -> bool:
    """
    Hand *event* to *sink*; what the sink raises is its own loss, logged here.

    Returns:
        Whether the sink took it without raising.

    Raises:
        SinkUnavailableError: The sink is required and could not take the event.
    """
    on_record = getattr(sink, "on_record", None)
    try:
        if on_record is None:
            sink.on_call(event)
        else:
            on_record(event, details)
    except SinkUnavailableError:
        raise
    except Exception as exc:  # noqa: BLE001 - one sink's fault must not reach the call or another sink
        log_fault(sink, exc)
        return False
    return True


def log_fault(sink: OnCall, exc: Exception) -> None:
    """Log *exc*, which *sink* raised."""
    import logging

    logger = logging.getLogger(__name__)
    logger.error("sink %r raised", type(sink).__name__, exc_info=exc)
