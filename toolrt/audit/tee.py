"""Several sinks as one, and the end of several sinks within one deadline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from toolrt.audit.call_event import CallEvent
from toolrt.audit.deadline import deadline_in, seconds_left
from toolrt.audit.queue_sink import QueueSink
from toolrt.audit.sinks import AuditSink, OnCall, deliver
from toolrt.errors import SinkUnavailableError

_CLOSE_S: Final = 5.0


class TeeSink(AuditSink):
    """Gives every event to each of *sinks*, whatever happens to the others."""

    def __init__(self, sinks: Iterable[OnCall]) -> None:
        self.sinks = tuple(sinks)
        for sink in self.sinks:
            if not callable(getattr(sink, "on_call", None)):
                got = type(sink).__name__
                raise TypeError(f"expected sinks with a method on_call, got {got}")

    def on_call(self, event: CallEvent, /) -> None:
        """
        Hand *event* to each sink, in order.

        Raises:
            SinkUnavailableError: A required sink could not take it; all had it by then.
        """
        self.on_record(event, None)

    def on_record(self, event: CallEvent, details: Any) -> None:
        """Hand *event* and *details* to each sink; see `on_call`."""
        unavailable = None
        for sink in self.sinks:
            try:
                deliver(sink, event, details)
            except SinkUnavailableError as exc:
                unavailable = unavailable or exc
        if unavailable is not None:
            raise unavailable

    def drops(self) -> int:
        """Return how many events the sinks dropped, together."""
        return sum(sink.drops() for sink in self.sinks if hasattr(sink, "drops"))

    def close(self, timeout: float | None = _CLOSE_S) -> None:
        """Close the sinks, within *timeout* seconds altogether."""
        close_all(self.sinks, timeout)


def close_all(sinks: Iterable[OnCall], timeout: float | None = _CLOSE_S) -> None:
    """Close *sinks*, in order, within *timeout* seconds altogether."""
    deadline = deadline_in(timeout)
    for sink in sinks:
        try:
            if isinstance(sink, QueueSink | TeeSink):
                sink.close(seconds_left(deadline))
            elif callable(close := getattr(sink, "close", None)):
                close()
        except Exception:  # one sink's fault must not keep another from closing
            import logging

            name = type(sink).__name__
            logging.getLogger(__name__).exception("sink %r raised in close", name)
