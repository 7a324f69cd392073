"""
Redaction: the free texts of an event go, their digests stay in the chain.
"""

from __future__ import annotations

from typing import Final

from toolrt_store import sqlite
from toolrt_store.rows import text_digest

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
