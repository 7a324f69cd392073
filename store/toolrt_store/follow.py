"""Following a store: its events as they are committed, by whichever process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from toolrt.event import Event

#: Reads the next events above a sequence number, oldest first; empty when none is.
ReadAfter = Callable[[int], Sequence[Event]]


def follow(
    read_after: ReadAfter,
    after_seq: int,
    *,
    poll_s: float,
    stop: Callable[[], bool] | None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """
    Yield every event above *after_seq*, in order, each once, and wait for more.

    Sequence numbers are given under the writing lock in the order of commits, so none
    below the last one seen can appear later. *stop* is asked before each read; once it
    is true, the iterator ends.
    """
    while stop is None or not stop():
        events = read_after(after_seq)
        for event in events:
            assert event.seq is not None
            after_seq = event.seq
            yield event
        if not events:
            sleep(poll_s)
