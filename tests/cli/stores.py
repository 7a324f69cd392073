"""Stores for tests of the commands that verify and keep them."""

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from toolrt import CallEvent, Event, Success
from toolrt.clock import new_ulid, rfc3339
from toolrt_store import SqliteEventStore

DAY_US = 24 * 3600 * 1_000_000
#: What a store that was never opened before is when a command looks for it.
DEFAULT = Path("toolrt") / "audit.db"


def store_path() -> Path:
    """Return where the store of the test's home is."""
    return Path(os.environ["XDG_STATE_HOME"]) / DEFAULT


def call(at_us: int) -> Event:
    """Return the call event of a call that ended at *at_us*."""
    record = CallEvent(
        rfc3339(at_us), new_ulid(at_us), "std:echo.say", 1, Success(), "hot"
    )
    return Event.from_call(record, namespace="local", actor="os:ann")


def fill(path: Path, ages_days: Sequence[float]) -> None:
    """Append one call for each of *ages_days* to the store at *path*."""
    now_us = time.time_ns() // 1000
    with SqliteEventStore.open(path) as store:
        store.append_events([call(now_us - round(age * DAY_US)) for age in ages_days])


def forge(path: Path) -> None:
    """Let every record say that another tool was called, as SQLite lets anybody."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "UPDATE names SET text = 'std:fs.read' WHERE text = 'std:echo.say'"
        )
    connection.close()
