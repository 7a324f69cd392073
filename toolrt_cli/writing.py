"""Opening the audit store to write to it: the one place that reads ``[store]`` for it."""

from __future__ import annotations

from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore, StoreMissingError


def open_to_write(session: Session) -> SqliteEventStore:
    """
    Open the store of *session*, made if there is none, as ``[store]`` says.

    Raises:
        StoreError: It cannot be opened.
    """
    table = session.config.config.store
    return SqliteEventStore.open(
        session.store_path,
        durability=table.durability,
        lock_timeout_s=table.lock_timeout,
        group=table.group,
        reserve=table.reserve,
        anchor=anchor_of(session),
    )


def open_existing(session: Session) -> SqliteEventStore:
    """
    Open the store of *session* to write to it; never make one.

    Raises:
        StoreMissingError: There is none.
        StoreError: It cannot be opened.
    """
    from toolrt_store import files

    if not files.is_there(session.store_path):
        raise StoreMissingError(session.store_path)
    return open_to_write(session)


def anchor_of(session: Session) -> str | None:
    """
    Return the file that is told of the checkpoints of the store of *session*.

    None for another store than the config's own: an anchor serves one.
    """
    anchor = session.config.config.store.anchor
    if anchor is None or session.store_path != session.configured_store_path:
        return None
    return session.config.resolve(anchor)
