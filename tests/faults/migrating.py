"""Kills the migration of a store at one of its statements after the other."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolrt_store import SqliteEventStore, database, sqlite

COMPLETED = 0


def killed_at(statement: int, path: Path) -> int:
    """Migrate the store at *path* in a child that is killed there; return its status."""
    pid = os.fork()
    if pid == 0:
        _kill_at(statement)
        SqliteEventStore.open(path).close()
        os._exit(COMPLETED)
    return os.waitpid(pid, 0)[1]


def _kill_at(statement: int) -> None:
    connect: Callable[..., sqlite.Connection] = database._connect
    seen = 0

    def count(sql: str) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(*args: Any) -> sqlite.Connection:
        connection = connect(*args)
        connection.set_trace_callback(count)
        return connection

    database._connect = counting  # type: ignore[assignment]


def state_of(path: Path) -> str:
    """Return the schema of the store, and how many events it holds, opened anew."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        connection = sqlite.connect(f"file:{path}?mode=ro", uri=True)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        with SqliteEventStore.open(path) as store:
            events = len(store.query_events().items)
            intact = store.verify().is_intact
        os.write(writing, f"{version} {events} {intact}".encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as said:
        return said.read()


def main(golden: str, directory: str, stride: str) -> None:
    """Go on until the migration is through; say the state after each kill."""
    statement, status = 0, -1
    while status != COMPLETED:
        statement += int(stride)
        path = Path(directory) / f"{statement}.db"
        shutil.copy(golden, path)
        path.chmod(0o600)
        status = killed_at(statement, path)
        sys.stdout.write(f"{state_of(path)}\n")
        sys.stdout.flush()
        for leftover in Path(directory).glob(f"{statement}.db*"):
            leftover.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
