"""A store's sink under a steady load while the main thread computes all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from figures import Pair

from toolrt.audit.call_event import CallEvent
from toolrt.event import CallDetails
from toolrt_store import SqliteEventStore

#: Events a second: over the 30,000 that are asked for by more than one batch may hold.
GIVEN = 31_000
_PART = 600
_KNOWN = 10_000
_ALONE_S = 2.0
_SETTLING_S = 2.0
_MEASURED_S = 4.0

Record = tuple[CallEvent, CallDetails]


class Busy(NamedTuple):
    """Events stored a second and given; counts a second, and those of a thread alone."""

    stored: Pair
    counted: Pair


def feed_and_count(
    store: SqliteEventStore, waiting: Sequence[Record], *, own_process: bool
) -> Busy:
    """Return what is stored of *waiting*, given at `GIVEN` a second, and at what cost."""
    once = _spin(_ALONE_S)
    sink = store.sink(capacity=65_536, own_process=own_process)
    for event, told in waiting[:_KNOWN]:  # the names in them are looked up once
        sink.on_record(event, told)
    sink.flush(60.0)

    def feed() -> None:
        began = time.perf_counter()
        for number in range(_KNOWN, len(waiting), _PART):
            for event, told in waiting[number : number + _PART]:
                sink.on_record(event, told)
            due = began + (number - _KNOWN + _PART) / GIVEN
            time.sleep(max(0.0, due - time.perf_counter()))

    feeder = threading.Thread(target=feed)
    feeder.start()
    _spin(_SETTLING_S)  # until the batches have the size that this load gives them
    before = sink.stats().written
    counted = _spin(_MEASURED_S)
    stored = (sink.stats().written - before) / _MEASURED_S
    feeder.join()
    sink.close(60.0)
    # Whatever else ran beside one of them: a thread that is alone is not slower.
    alone = max(once, _spin(_ALONE_S))
    return Busy((stored, GIVEN), (counted, alone))


def _spin(seconds: float) -> float:
    """Return how far a thread counts in a second, over so many of them."""
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(1_000):
            count += 1
    return count / seconds
