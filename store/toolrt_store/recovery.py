"""
What an open for writing makes good: records that wait in the spool, attempts left open.

The spool comes first: a record in it may be the end of an attempt whose process is gone.
"""

from __future__ import annotations

import time
from typing import Any

from toolrt.event import Event
from toolrt_store import errors, interrupted
from toolrt_store.parts import Parts
from toolrt_store.query import id_condition
from toolrt_store.retention import finish_pruning


def is_end_of_attempt(event: Event) -> bool:
    """Return whether *event* is the end of a call that a process of the store ran."""
    return (
        event.kind == "call"
        and event.details is not None
        and event.details.process is not None
    )


def recover(parts: Parts) -> None:
    """Replay the spool, end interrupted attempts, finish a pruning that was killed."""
    if parts.guard.has_spooled:
        replay(parts)
    _sweep(parts)
    finish_pruning(parts.connection, parts.writer, parts.lock_timeout_s)


def replay(parts: Parts) -> None:
    """
    Store what waits in the spool, each record once.

    A record that no store can keep stays there, and keeps no other from being stored.

    Raises:
        StoreError: They could not be stored; they stay in the spool.
    """
    with parts.writer.locked(parts.lock_timeout_s):
        found = parts.guard.spooled()
        # By id: who is killed between two tries leaves a record twice.
        missing = {
            event.id: event for _, event in found if not _is_stored(parts, event)
        }
        refused = _store(parts, list(missing.values()))
        parts.guard.clear([slot for slot, event in found if event.id not in refused])


def _store(parts: Parts, events: list[Event]) -> set[str]:
    """Store *events*, and return the ids of those that cannot be."""
    if not events:
        return set()
    try:
        parts.writer.transact(lambda: _append(parts, events))
    except (errors.IdentityConflictError, errors.UnstorableEventError):
        if len(events) == 1:
            return {events[0].id}
        return {id_ for one in events for id_ in _store(parts, [one])}
    return set()


def _append(parts: Parts, events: list[Event]) -> None:
    parts.writer.places.leave(parts.writer.appender.append(events))


def _is_stored(parts: Parts, event: Event) -> bool:
    if event.call_id is None:
        return False  # its id would be that of any other such event
    condition = id_condition(event.id)
    sql = f"SELECT 1 FROM events AS e WHERE {condition.sql}"  # noqa: S608 - of constants
    row: Any = parts.connection.execute(sql, condition.values).fetchone()
    return row is not None


def _sweep(parts: Parts) -> None:
    connection, writer = parts.connection, parts.writer
    live = parts.liveness.live_slots()
    dead = interrupted.dead_processes(connection, live)
    if not dead:
        return
    if not interrupted.open_gates(connection, dead):
        # No commit of its own for a mark.
        writer.postponed.append(lambda: interrupted.mark_swept(connection, dead))
        return
    writer.change(
        parts.lock_timeout_s,
        lambda: interrupted.end_attempts(
            connection,
            writer.appender,
            parts.dictionary,
            parts.sets,
            # Others may have swept meanwhile. Not asked anew who is dead: this process
            # has come in with this transaction, and `live` does not know it.
            dead=[one for one in dead if one in set(interrupted.unswept(connection))],
            now_us=time.time_ns() // 1000,
        ),
    )
