"""The sink that stores CallEvents: batches behind a bounded queue, a commit each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from toolrt.audit.call_event import CallEvent
from toolrt.audit.sinks import BackpressureStrategy, Block, PartialWriteError
from toolrt.errors import IdentityConflictError, UnstorableEventError
from toolrt.event import BatchWriteSummary, CallDetails

if TYPE_CHECKING:
    from toolrt.audit.queue_sink import QueueSink

#: A record is not to be lost: a full queue holds its caller up.
BLOCK: Final = Block()
_Pair = tuple[CallEvent, CallDetails | None]


class CallStore(Protocol):
    """What a writer of CallEvents needs of a store."""

    def append_calls(self, calls: Sequence[_Pair]) -> BatchWriteSummary:
        """Store *calls*, all or none."""


class StoreWriter:
    """Writes batches of CallEvents to a store; stands behind a `toolrt.QueueSink`."""

    def __init__(self, store: CallStore) -> None:
        self._store = store

    def write(self, events: Sequence[CallEvent]) -> None:
        """Store *events*. Raises like `write_records`."""
        self.write_records([(event, None) for event in events])

    def write_records(self, pairs: Sequence[_Pair]) -> None:
        """
        Store the events of *pairs* with their details, in one commit.

        Raises:
            PartialWriteError: Some are stored already, or cannot be; the others are.
            StoreError: None could be stored.
        """
        try:
            self._store.append_calls(pairs)
        except (IdentityConflictError, UnstorableEventError) as error:
            if len(pairs) == 1:
                raise
            # One of them is at fault, and the others are not to be lost with it.
            raise PartialWriteError(self._write_each(pairs), error) from error

    def _write_each(self, pairs: Sequence[_Pair]) -> int:
        written = 0
        for pair in pairs:
            try:
                self._store.append_calls([pair])
            except (IdentityConflictError, UnstorableEventError):
                continue
            written += 1
        return written


def make_sink(
    store: CallStore, capacity: int, backpressure: BackpressureStrategy
) -> QueueSink:
    """Return the sink that stores CallEvents in *store*."""
    from toolrt.audit.queue_sink import QueueSink

    return QueueSink(StoreWriter(store), capacity, backpressure, name="store")
