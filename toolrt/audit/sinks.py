"""Sinks: where CallEvents go beside the store. A sink never raises into a call."""

from __future__ import annotations

from typing import Any, Final, Protocol

from toolrt.audit.call_event import CallEvent

#: How many events a queueing sink holds unless told otherwise.
DEFAULT_AUDIT_QUEUE_CAPACITY: Final = 1024


class AuditSink(Protocol):
    """
    Receives the CallEvent of every finished call, on the thread of the call.

    A sink with a method ``on_record(event, details)`` is given that instead, with the
    CallDetails of the call.
    """

    def on_call(self, event: CallEvent, /) -> None:
        """Take *event*."""


def deliver(sink: AuditSink, event: CallEvent, details: Any) -> None:
    """Hand *event* to *sink*; what the sink raises is its own loss, logged here."""
    on_record = getattr(sink, "on_record", None)
    try:
        if on_record is None:
            sink.on_call(event)
        else:
            on_record(event, details)
    except Exception:  # one sink's fault must not reach the call or another sink
        import logging

        logging.getLogger(__name__).exception("sink %r raised", type(sink).__name__)
