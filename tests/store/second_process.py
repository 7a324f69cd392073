"""A process that does to a store what it is told, line by line; see `Second`."""

from __future__ import annotations

import sys
from pathlib import Path

from toolrt_store import SqliteEventStore

from .samples import details, gate_event, start_python

_MAIN = """
import sys
from tests.store.second_process import serve
serve(sys.argv[1])
"""


class Second:
    """Another process with the store at *path* open."""

    def __init__(self, path: Path) -> None:
        self._process = start_python(_MAIN, path)
        self.name = self._said()

    def gate(self, number: int) -> None:
        """Let it store the gate event of call *number*; it has when this returns."""
        self._tell(f"gate {number}")

    def attempts(self, first: int, last: int) -> None:
        """Let it store whole attempts, in one commit."""
        self._tell(f"attempts {first} {last}")

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._said() == "done"

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def serve(path: str) -> None:
    """Do what standard input says, and say when it is done."""
    from .tampering import attempt

    with SqliteEventStore.open(path) as store:
        _say(store.process)
        for line in sys.stdin:
            what, *numbers = line.split()
            if what == "gate":
                told = details(process=store.process)
                store.append_event(gate_event(int(numbers[0]), details=told))
            else:
                first, last = map(int, numbers)
                store.append_events(
                    [e for n in range(first, last) for e in attempt(n, store.process)]
                )
            _say("done")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
