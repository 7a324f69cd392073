"""Opening the audit store to read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore, StoreMissingError


@contextmanager
def open_to_read(session: Session) -> Iterator[SqliteEventStore | None]:
    """Open the store of *session* to read it; None where nothing was recorded yet."""
    try:
        store = SqliteEventStore.open(session.store_path, read_only=True)
    except StoreMissingError:
        yield None
        return
    with store:
        yield store
