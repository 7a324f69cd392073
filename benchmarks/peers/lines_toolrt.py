"""toolrt's JSON lines sink, Block: nothing is lost."""

from peers.lines import tell_lines
from sending import send

from toolrt import Block, JsonLinesAuditSink


def log(path: str, count: int) -> None:
    """Give the sink *count* events and close it."""
    sink = JsonLinesAuditSink.file(path, backpressure=Block(None))
    send(sink, count)
    sink.close(None)


tell_lines(log)
