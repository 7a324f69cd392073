"""Kills processes that write to a store, and keeps what they had been told is stored."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time

from toolrt_store import SqliteEventStore

from ..store.samples import call_event, details, gate_event

#: So long after it began at the most, or began to write, a process is killed.
_MOST_S = 0.03


def write_until_killed(path: str, first: int, told: int) -> None:
    """Append attempts, and tell of each event once it is stored."""
    with SqliteEventStore.open(path) as store:
        own = details(process=store.process)
        number = first
        while True:
            for event in (
                gate_event(number, details=own),
                call_event(number, details=own),
            ):
                store.append_event(event)
                os.write(told, f"{event.id}\n".encode())
            number += 1


def kill_one(path: str, first: int, after_s: float, *, is_writing: bool) -> bytes:
    """
    Start a writer, kill it after that time, and return what it told.

    Args:
        is_writing: The time counts from its first word, however slow the machine is;
            else from its start, and it may be killed before it has written at all.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            write_until_killed(path, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    told = os.read(reading, 65_536) if is_writing else b""
    deadline = time.monotonic() + after_s
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([reading], [], [], left)
        if ready:
            found = os.read(reading, 65_536)
            if not found:
                break  # it ended by itself, which its status tells
            told += found
    os.kill(pid, signal.SIGKILL)
    while found := os.read(reading, 65_536):
        told += found
    os.close(reading)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), told[-200:]
    return told[: told.rfind(b"\n") + 1]


def main(path: str, kills: int, seed: int) -> None:
    """Kill so many writers; what they told goes to standard output."""
    chance = random.Random(seed)
    for number in range(kills):
        first, after_s = 1 + number * 10_000, chance.uniform(0, _MOST_S)
        told = kill_one(path, first, after_s, is_writing=number % 2 == 0)
        sys.stdout.buffer.write(told)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
