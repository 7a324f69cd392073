"""toolrt's store: indexed, chained, checkpointed."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from mix import events
from peers.inserts import BATCH, COUNT
from peers.told import tell

from toolrt_store import SqliteEventStore

with (
    TemporaryDirectory() as home,
    SqliteEventStore.open(Path(home) / "audit.db") as store,
):
    waiting = list(islice(events(store.process), COUNT + COUNT // 10))

    def work(count: int) -> None:
        for _ in range(0, count, BATCH):
            store.append_events(waiting[:BATCH])
            del waiting[:BATCH]

    tell(work, COUNT)
