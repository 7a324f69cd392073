"""
Free texts: why a gate denied, what was wrong with arguments, the operator's words.

They stand apart from the events so that one can be redacted: the chain holds the digest
of a salt and the text, and that digest stays when both go.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from toolrt_store import sqlite
from toolrt_store.rows import LABELS, REASON, REDACTED, SHARED, TEXTS

_SEQ, _GATE, _FLAGS, _GATE_FLAGS = 0, 3, 10, 20
_BATCH: Final = 500


def read_texts(
    connection: sqlite.Connection, rows: Sequence[Sequence[Any]]
) -> dict[int, dict[int, str]]:
    """
    Return the free texts of *rows*, which hold SELECTED, by sequence and field.

    A call event that shares the details of its gate event has its reason and labels.
    """
    own = [row[_SEQ] for row in rows if row[_FLAGS] & TEXTS]
    shared = {
        row[_SEQ]: row[_GATE]
        for row in rows
        if row[_FLAGS] & SHARED and row[_GATE_FLAGS] & TEXTS
    }
    found = _texts_of(connection, sorted({*own, *shared.values()}))
    texts = {seq: found[seq] for seq in own if seq in found}
    for seq, gate in shared.items():
        of_gate = found.get(gate, {})
        inherited = {f: t for f, t in of_gate.items() if f in (REASON, LABELS)}
        texts[seq] = inherited | texts.get(seq, {})
    return texts


def _texts_of(
    connection: sqlite.Connection, seqs: Sequence[int]
) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    for start in range(0, len(seqs), _BATCH):
        some = seqs[start : start + _BATCH]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT seq, field, text FROM texts WHERE seq IN ({marks})"
        for seq, field, text in connection.execute(sql, tuple(some)):
            found.setdefault(seq, {})[field] = REDACTED if text is None else text
    return found
