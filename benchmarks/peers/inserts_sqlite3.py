"""The standard sqlite3: executemany, no index."""

import sqlite3
from collections.abc import Callable
from typing import Any

from peers.inserts import PRAGMAS, row, tell_inserts


def opened(path: str) -> Callable[[list[dict[str, Any]]], None]:
    """Return what inserts a batch into a new database."""
    connection = sqlite3.connect(path)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    names = list(row(0))
    connection.execute(f"CREATE TABLE events ({', '.join(names)})")
    marks = ", ".join(f":{name}" for name in names)

    def insert(rows: list[dict[str, Any]]) -> None:
        with connection:
            connection.executemany(f"INSERT INTO events VALUES ({marks})", rows)

    return insert


tell_inserts(opened)
