"""A CallEvent of ordinary size, and threads that give it to a sink."""

from __future__ import annotations

import threading

from toolrt import CallEvent, CapProvenance, QueueSink, Success, UcanChain

_DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
EVENT = CallEvent(
    "2026-01-01T00:00:00.000000+00:00",
    "01KDVEXAMPLE0000000000000A",
    "std:fs.read",
    12,
    Success(),
    "warm",
    caller_id=_DID,
    granted_capabilities=("fs:read", "fs:write", "net:fetch"),
    capability_provenance=(CapProvenance("fs:read", UcanChain(_DID, 1)),),
)


def send(sink: QueueSink, count: int) -> None:
    """Give *sink* so many events from this thread."""
    on_call = sink.on_call
    for _ in range(count):
        on_call(EVENT)


def send_at_once(sink: QueueSink, count: int, producers: int) -> None:
    """Give *sink* so many events from each of *producers* threads, and wait for them."""
    if producers == 1:
        send(sink, count)
        return
    threads = [
        threading.Thread(target=send, args=(sink, count)) for _ in range(producers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
