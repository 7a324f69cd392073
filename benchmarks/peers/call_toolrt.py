"""One call through toolrt's pipeline: gate, capabilities, schema; ``sink``: and queued."""

import sys
import tempfile
from pathlib import Path

from peers.told import tell
from pipeline import registry

from toolrt import Block, JsonLinesAuditSink

with tempfile.TemporaryDirectory() as home:
    sink = None
    if sys.argv[1:] == ["sink"]:
        path = str(Path(home) / "calls.jsonl")
        sink = JsonLinesAuditSink.file(path, capacity=16_384, backpressure=Block(None))
    made = registry(sink)

    def work(count: int) -> None:
        for _ in range(count):
            made.dispatch("double", {"number": 2}, caller="alice")

    tell(work, 10_000)
    if sink is not None:
        sink.close(None)
