"""CallEvents as JSON lines: one line an event, one write a batch."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.audit.line_file import LineFile
from toolrt.audit.queue_sink import QueueSink
from toolrt.audit.sinks import (
    DEFAULT_AUDIT_QUEUE_CAPACITY,
    BackpressureStrategy,
    Drop,
    PartialWriteError,
)

_ENCODER: Final = msgspec.json.Encoder()
_DROP: Final = Drop()


class JsonLinesAuditSink(QueueSink):
    """
    Writes events as JSON lines to *fileobj*, binary or text, which stays open.

    What is written to an object of the io module passes by its buffer, so a write that
    failed is not tried again behind the sink's back.
    """

    def __init__(
        self,
        fileobj: Any,
        *,
        capacity: int = DEFAULT_AUDIT_QUEUE_CAPACITY,
        backpressure: BackpressureStrategy = _DROP,
        required: bool = False,
        name: str | None = None,
    ) -> None:
        """Return a sink over *fileobj*; see `toolrt.QueueSink` for the rest."""
        file = fileobj if isinstance(fileobj, LineFile) else None
        put = _put_into(fileobj) if file is None else file.write
        self._file: LineFile | None = None  # a new sink has nothing to open again
        named = name or str(getattr(fileobj, "name", type(fileobj).__name__))
        super().__init__(
            _LineWriter(put), capacity, backpressure, required=required, name=named
        )
        self._file = file

    @classmethod
    def file(
        cls,
        path: str,
        *,
        capacity: int = DEFAULT_AUDIT_QUEUE_CAPACITY,
        backpressure: BackpressureStrategy = _DROP,
        required: bool = False,
        name: str | None = None,
        rotate_bytes: int | None = None,
    ) -> Self:
        """
        Return a sink that appends to the file *path*, which other processes may share.

        Args:
            path: Made with mode 0600 if it is not there; a regular file, a FIFO that
                somebody reads or a device, and no link.

            rotate_bytes: Before a line would make the file larger, it is moved to *path*
                with the next free number added, such as ``calls.jsonl.1``. None: never.

        Raises:
            SinkOpenError: *path* cannot be opened, or is nothing to append to.
        """
        if rotate_bytes is not None and rotate_bytes < 1:
            raise ValueError(f"rotate_bytes: expected 1 or more, got {rotate_bytes}")
        return cls(
            LineFile(path, rotate_bytes=rotate_bytes),
            capacity=capacity,
            backpressure=backpressure,
            required=required,
            name=name or path,
        )

    @classmethod
    def stdout(cls, **options: Any) -> Self:
        """Return a sink over standard output; *options* are those of the class."""
        return cls(sys.stdout, **{"name": "stdout", **options})

    @classmethod
    def stderr(cls, **options: Any) -> Self:
        """Return a sink over standard error; *options* are those of the class."""
        return cls(sys.stderr, **{"name": "stderr", **options})

    def reopen(self) -> None:
        """
        Open the file anew before the next batch; for a handler of SIGHUP, say.

        A file that was moved or removed is opened again without being asked.
        """
        if self._file is not None:
            self._file.reopen()

    def _start_anew(self) -> None:
        super()._start_anew()
        self.reopen()  # in a fork: locks belong to the description that both share

    def _end_writer(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as exc:  # some file systems tell of a failed write only here
                self._tell_failing(exc)


class _Put(Protocol):
    def __call__(self, data: bytes, /) -> int:
        """Write *data*, or a part that is followed by the rest; return its length."""


class _LineWriter:
    """Encodes batches, and sees each line written, cut or not begun."""

    def __init__(self, put: _Put) -> None:
        self._put = put
        self._lead = b""

    def write(self, events: Sequence[CallEvent]) -> None:
        """
        Write *events*, a line each.

        Raises:
            PartialWriteError: Not all of them could be encoded, or written.
        """
        lines, problem = _encode(events)
        data = self._lead + lines
        done = 0
        try:
            while done < len(data):
                done += self._put(data[done:] if done else data)
        except Exception as exc:  # noqa: BLE001 - whatever a file raises, the lines count
            problem = exc
        if done:
            self._lead = b"" if data.endswith(b"\n", 0, done) else b"\n"
        if problem is not None:
            skipped = len(data) - len(lines)
            written = data.count(b"\n", skipped, max(skipped, done))
            raise PartialWriteError(written, problem) from problem


def _encode(events: Sequence[CallEvent]) -> tuple[bytes, Exception | None]:
    """Return the lines of *events*, without those that no line can hold, and why."""
    try:
        return _ENCODER.encode_lines(events), None
    except Exception:  # noqa: BLE001 - one event must not take its batch down
        lines = []
        problem = None
        for event in events:
            try:
                lines.append(_encode_one(event) + b"\n")
            except Exception as exc:  # noqa: BLE001 - as above
                problem = exc
        return b"".join(lines), problem


def _encode_one(event: CallEvent) -> bytes:
    try:
        return _ENCODER.encode(event)
    except (
        UnicodeEncodeError
    ):  # half a surrogate pair, from an argument that is no UTF-8
        return json.dumps(msgspec.to_builtins(event), separators=(",", ":")).encode()


def _put_into(fileobj: Any) -> _Put:
    """Return what writes bytes to *fileobj* at once."""
    if isinstance(fileobj, io.TextIOWrapper):
        fileobj.flush()
        return _put_into(fileobj.buffer)
    raw = getattr(fileobj, "raw", None)
    if isinstance(fileobj, io.BufferedWriter | io.BufferedRandom) and raw is not None:
        fileobj.flush()
        return _put_into(raw)
    if not callable(getattr(fileobj, "write", None)):
        raise TypeError(f"expected a file to write to, got {type(fileobj).__name__}")
    is_text = isinstance(fileobj, io.TextIOBase)
    is_raw = isinstance(fileobj, io.RawIOBase)
    flush: Callable[[], object] | None = getattr(fileobj, "flush", None)

    def put(data: bytes) -> int:
        count = fileobj.write(data.decode() if is_text else data)
        if count is None and is_raw:
            raise BlockingIOError(errno.EAGAIN, "the write would block")
        if count == 0:  # to try again would be to try for ever
            raise OSError(errno.EIO, "nothing was written")
        if flush is not None:
            flush()
        return count if isinstance(count, int) and not is_text else len(data)

    return put
