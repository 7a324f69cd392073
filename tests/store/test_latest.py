"""The latest time on record: what a clock set back does not undo."""

import pytest

from toolrt_store import SqliteEventStore
from toolrt_store.blocks import BLOCK

from .samples import NOON_US, gate_event

LATE = 10 * BLOCK


def test_an_empty_store_has_none(store: SqliteEventStore) -> None:
    """Nothing was ever recorded."""
    assert store.latest_us() is None


@pytest.mark.parametrize("after", [3, BLOCK + 3], ids=["last block", "full block"])
def test_the_latest_is_found_wherever_it_stands(
    store: SqliteEventStore, after: int
) -> None:
    """Events of an earlier time behind it, few or a whole block, do not hide it."""
    store.append_event(gate_event(LATE))
    store.append_events([gate_event(number) for number in range(1, after)])

    assert store.coverage().last_us == NOON_US + after - 1
    assert store.latest_us() == NOON_US + LATE
