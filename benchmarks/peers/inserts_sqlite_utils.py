"""sqlite-utils: insert_all, no index."""

from collections.abc import Callable
from typing import Any

from peers.inserts import BATCH, PRAGMAS, tell_inserts
from sqlite_utils import Database


def opened(path: str) -> Callable[[list[dict[str, Any]]], object]:
    """Return what inserts a batch into a new database."""
    db = Database(path, execute_plugins=False)
    for pragma in PRAGMAS:
        db.execute(pragma).fetchall()
    events: Any = db["events"]
    return lambda rows: events.insert_all(rows, batch_size=BATCH)


tell_inserts(opened)
