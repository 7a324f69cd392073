"""
Redaction: the free texts of an event go, their digests stay in the chain.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from toolrt.event import Event
from toolrt_store import sqlite
from toolrt_store.dictionary import cut
from toolrt_store.rows import text_digest
from toolrt_store.system import system_event

if TYPE_CHECKING:
    from toolrt_store.parts import Parts

_TEXTS: Final = "SELECT field, salt, text FROM texts WHERE seq = ? AND text IS NOT NULL"
# secure_delete overwrites the bytes in the page with zeros.
_REDACT: Final = """
UPDATE texts SET digest = ?, salt = NULL, text = NULL WHERE seq = ? AND field = ?
"""


def redact_texts(connection: sqlite.Connection, seq: int) -> int:
    """Remove the free texts of the event at *seq*; return how many there were."""
    found = connection.execute(_TEXTS, (seq,)).fetchall()
    connection.execute("PRAGMA secure_delete = ON")
    for field, salt, text in found:
        connection.execute(_REDACT, (text_digest(salt, text), seq, field))
    return len(found)


def redact(parts: Parts, event: Event, reason: str | None) -> int:
    """
    Remove the free texts of *event*, a stored one; return how many there were.

    Raises:
        StoreError: It could not be done.
    """
    seq = event.seq
    assert seq is not None
    count = 0

    def change() -> None:
        nonlocal count
        count = redact_texts(parts.connection, seq)
        told = system_event(
            "redacted",
            time.time_ns() // 1000,
            event=cut(event.id),
            seq=seq,
            reason=None if reason is None else cut(reason),
        )
        parts.writer.appender.append([told])

    with parts.writer.locked(parts.lock_timeout_s):
        parts.writer.transact(change)
        # The log still has the page as it was.
        parts.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        parts.guard.note(parts.writer.appender.data_version)
    return count
