"""Events to send, and writers that hold on, fail or keep what they get."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from toolrt import CallEvent, Success

#: Long enough that only a test which hangs waits for it to end.
SOON = 300.0


def event(number: int = 0, producer: str = "p") -> CallEvent:
    """Return an event that can be told from the others."""
    return CallEvent(
        "2026-01-01T00:00:00+00:00",
        f"{producer}-{number}",
        "std:echo.say",
        1,
        Success(),
        "warm",
    )


def ids(events: Sequence[CallEvent]) -> list[str]:
    return [one.call_id for one in events]


class Kept:
    """Keeps every batch."""

    def __init__(self) -> None:
        self.batches: list[list[CallEvent]] = []

    def write(self, events: Sequence[CallEvent]) -> None:
        self.batches.append(list(events))

    @property
    def events(self) -> list[CallEvent]:
        return [one for batch in self.batches for one in batch]


class Held(Kept):
    """Holds on to its first batch until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.let_go = threading.Event()

    def write(self, events: Sequence[CallEvent]) -> None:
        self.has_begun.set()
        assert self.let_go.wait(SOON)
        super().write(events)


class Failing(Kept):
    """Raises what it is told to, and keeps the batch where that is nothing."""

    def __init__(self, *faults: BaseException | None) -> None:
        super().__init__()
        self.faults = list(faults)

    def write(self, events: Sequence[CallEvent]) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        super().write(events)


class Pairs:
    """Takes events with their details."""

    def __init__(self) -> None:
        self.pairs: list[tuple[CallEvent, Any]] = []

    def write(self, events: Sequence[CallEvent]) -> None:
        raise AssertionError("events came without their details")

    def write_records(self, pairs: Sequence[tuple[CallEvent, Any]]) -> None:
        self.pairs += pairs
