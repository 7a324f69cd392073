"""Rows as a plain store would keep them: a column for each field, and the payload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peers.lines import FIELDS
from peers.told import tell

BATCH = 1_000
COUNT = 20_000
PRAGMAS = ("PRAGMA journal_mode = wal", "PRAGMA synchronous = full")


def row(number: int) -> dict[str, Any]:
    """Return the row of event *number*."""
    return {
        "id": f"01KDV{number:021}/call",
        "kind": "call",
        "namespace": "local",
        "verb": f"noun{number % 60}.verb",
        "tool_id": f"pack{number % 12}:noun{number % 60}.verb",
        "actor": f"os:caller-{number % 200:03}",
        "caller_id": f"caller-{number % 200:03}",
        "outcome": "success",
        "call_id": f"01KDV{number:021}",
        "duration_ms": number % 100,
        "created_at_us": 1_767_225_600_000_000 + number * 1_000,
        "substrate": "event",
        "tier": "warm",
        "payload": json.dumps(FIELDS),
    }


def tell_inserts(
    opened: Callable[[str], Callable[[list[dict[str, Any]]], object]],
) -> None:
    """
    Print the seconds of one row, in batches that are committed durably.

    *opened* is given the path of a database, and returns what inserts a batch.
    """
    with TemporaryDirectory() as home:
        insert = opened(str(Path(home) / "rows.db"))
        rows = [row(number) for number in range(COUNT + COUNT // 10)]

        def work(count: int) -> None:
            for _ in range(0, count, BATCH):
                insert(rows[-BATCH:])
                del rows[-BATCH:]

        tell(work, COUNT)
