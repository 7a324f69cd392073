"""
The process that stores the batches of a `toolrt_store.sink_process.ProcessSink`.

It talks to its parent over standard input, a socket, and ends when that ends: so it does
however the parent goes. What it was told in full by then is stored, what was cut short
is not.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from toolrt_store import errors
from toolrt_store.batch_wire import Answer, decode_batch, receive, send
from toolrt_store.parts import Opening
from toolrt_store.store import SqliteEventStore

#: Who ends all processes of a service at once still has the parent write out.
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A batch is many objects and no cycles: the garbage collector need not look so often.
_UNLOOKED: Final = 100_000
_OPENINGS: Final = msgspec.msgpack.Decoder(Opening)


def main(arguments: Sequence[str]) -> int:
    """Serve the parent until it is gone; return the exit code."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # The thread that started this process had all of them blocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()
    gc.set_threshold(_UNLOOKED)
    with socket.socket(fileno=0) as connection, suppress(OSError):
        body = receive(connection)
        if body is not None:
            serve(connection, _OPENINGS.decode(body))
    return 0


def serve(connection: socket.socket, opening: Opening) -> None:
    """
    Open the store and store each batch that comes.

    Raises:
        OSError: The parent is gone.
    """
    try:
        store = _open(opening)
    except errors.StoreError as error:
        _say(connection, Answer("refused", problem=error.problem))
        return
    with store:
        _say(connection, Answer("stored"))
        while (body := receive(connection)) is not None:
            _say(connection, _stored(store, body))


def _open(opening: Opening) -> SqliteEventStore:
    store = SqliteEventStore.open(
        opening.path,
        durability=opening.durability,
        lock_timeout_s=opening.lock_timeout_s,
        group=opening.group,
        reserve=opening.reserve,
        anchor=opening.anchor,
    )
    if store.store_id != opening.store_id:
        store.close()
        raise errors.StoreUnavailableError(opening.path, "another store stands here")
    store._require_writer().places.ends_others = True
    return store


def _stored(store: SqliteEventStore, body: bytes) -> Answer:
    try:
        store.append_calls(decode_batch(body))
    except errors.StoreLockedError:
        return Answer("locked")
    except (errors.StoreError, msgspec.MsgspecError, IndexError) as error:
        return Answer("refused", problem=str(error))
    seal = store.seal_problem
    return Answer(
        "stored",
        head=store._require_writer().appender.head.seq,
        seal_problem="" if seal is None else seal.problem,
    )


def _say(connection: socket.socket, answer: Answer) -> None:
    send(connection, msgspec.msgpack.encode(answer))
