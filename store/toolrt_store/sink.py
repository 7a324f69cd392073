"""The sink that stores CallEvents, one commit each, on the thread of the call."""

from __future__ import annotations

from toolrt.audit.call_event import CallEvent
from toolrt.event import CallDetails, Event, EventStore
from toolrt.namespace import DEFAULT_NAMESPACE, ActorRef


class StoreSink:
    """
    Stores each CallEvent durably before it returns.

    Lives as long as its store, which it does not close.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def on_call(self, event: CallEvent) -> None:
        """
        Store *event*, in the default namespace, its actor the caller.

        Raises:
            StoreError: It could not be stored.
        """
        actor = (
            ActorRef.anonymous()
            if not event.caller_id
            else ActorRef("caller", event.caller_id)
        )
        self._store.append_event(
            Event.from_call(event, namespace=DEFAULT_NAMESPACE, actor=str(actor))
        )

    def on_record(self, event: CallEvent, details: CallDetails) -> None:
        """Store *event* with *details*. Raises like `on_call`."""
        self._store.append_event(
            Event.from_call(
                event,
                namespace=details.namespace,
                actor=details.actor,
                details=details,
            )
        )

    def drops(self) -> int:
        """Return 0: what cannot be stored raises."""
        return 0

    def close(self) -> None:
        """Do nothing: everything accepted is stored."""
