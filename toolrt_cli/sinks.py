"""From the ``[[sink]]`` tables to open sinks, and what became of a call's records."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import msgspec

from toolrt import (
    AuditUnavailableError,
    BackpressureStrategy,
    Block,
    CallResult,
    Drop,
    Fallback,
    RecordLostError,
    SinkError,
    SinkOpenError,
    ToolrtError,
)
from toolrt_cli.config import ConfigError, Fault, LoadedConfig, model
from toolrt_cli.config.faults import Path
from toolrt_cli.config.sinks import target_of

if TYPE_CHECKING:  # imported where a sink is configured
    from toolrt import JsonLinesAuditSink

#: How long the end of a command waits for all its sinks together.
CLOSE_S = 5.0


class Sinks:
    """
    The open sinks of one command.

    Leaving ``with`` writes out what they hold, within `CLOSE_S` seconds.
    """

    def __init__(self, config: LoadedConfig, state_dir: str) -> None:
        """
        Open the sinks that *config* names.

        Args:
            state_dir: Where their counters are kept.

        Raises:
            ConfigError: Some cannot be opened; it names each.
        """
        self._config = config
        self._state_dir = state_dir
        self._tables = config.config.sink
        self._targets = {
            target_of(table.kind, table.path): index
            for index, table in enumerate(self._tables)
        }
        self._by_table: dict[int, JsonLinesAuditSink | None] = {}
        self._all: list[JsonLinesAuditSink] = []  # fallbacks before what they serve
        self._written_to: list[str] = []  # by each of them
        self._streams: list[BinaryIO] = []
        self._faults: list[Fault] = []
        for index in range(len(self._tables)):
            self._open(index)
        if self._faults:
            self.close()
            raise ConfigError(self._faults)

    @property
    def direct(self) -> list[JsonLinesAuditSink]:
        """Those that get every event: a fallback gets what is diverted to it."""
        behind = {id(one) for sink in self._all for one in list(_chain(sink))[1:]}
        return [sink for sink in self._all if id(sink) not in behind]

    def __enter__(self) -> Self:
        """Return the sinks."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Write out what the sinks hold, and close them."""
        self.close()

    def close(self) -> None:
        """Write out what the sinks hold, and close them."""
        if not self._all:
            return
        from toolrt.audit.tee import close_all

        close_all(self._all[::-1], CLOSE_S)
        for stream in self._streams:
            stream.close()
        self._count()

    def _count(self) -> None:
        from toolrt_cli import sink_counters

        ended = {
            target: (
                sink.stats(),
                None if sink.last_error is None else str(sink.last_error),
            )
            for target, sink in zip(self._written_to, self._all, strict=True)
        }
        now_us = time.time_ns() // 1000
        sink_counters.add(self._state_dir, ended, now_us)

    def _open(self, index: int) -> JsonLinesAuditSink | None:
        """Return the sink of a table, opened once, with its fallback before it."""
        if index in self._by_table:
            return self._by_table[index]
        table = self._tables[index]
        fallback = self._fallback(index, table) if table.fallback else None
        name = table.path or table.kind
        options: dict[str, Any] = {"required": table.required}
        if table.rotate_bytes is not None:
            options["rotate_bytes"] = table.rotate_bytes
        self._by_table[index] = self._made(
            target_of(table.kind, table.path),
            name,
            ("sink", index, "path"),
            capacity=table.capacity,
            backpressure=_strategy(table, fallback),
            **options,
        )
        return self._by_table[index]

    def _fallback(self, index: int, table: model.Sink) -> JsonLinesAuditSink | None:
        """Return the sink that ``fallback`` names, or a new one over that file."""
        assert table.fallback is not None
        target = target_of(table.fallback)
        if target in self._targets:
            return self._open(self._targets[target])  # that is no loop was checked
        return self._made(
            target,
            table.fallback,
            ("sink", index, "fallback"),
            capacity=table.capacity,
            backpressure=Block(
                table.timeout
            ),  # the last to ask: it takes it, or says so
        )

    def _made(
        self, target: tuple[str, str], name: str, at: Path, **options: Any
    ) -> JsonLinesAuditSink | None:
        """Return a new sink over *target*; note a fault if it cannot be opened."""
        from toolrt import JsonLinesAuditSink

        kind, stream = target
        if kind == "stream":
            # A copy: while a tool runs, standard output is standard error.
            number = os.dup(1 if stream == "stdout" else 2)
            self._streams.append(open(number, "wb", buffering=0))  # noqa: SIM115
            sink = JsonLinesAuditSink(self._streams[-1], name=name, **options)
        else:
            path = self._config.resolve(name)
            try:
                sink = JsonLinesAuditSink.file(path, name=name, **options)
            except SinkOpenError as exc:
                self._faults.append(_fault(self._config, exc, at))
                return None
        sink.on_trouble = _keep_quiet
        self._all.append(sink)
        self._written_to.append(counted_as(self._config, target))
        return sink

    def losses(self) -> list[str]:
        """Return in words what each closed sink has lost, if that is no error."""
        told = {id(one) for sink in self._all if sink.required for one in _chain(sink)}
        rest = [sink for sink in self._all if id(sink) not in told]
        return [f"sink {sink.name}: {lost}" for sink in rest if (lost := _lost(sink))]

    def judged(self, result: CallResult) -> CallResult:
        """Return *result*, with an error if a required sink has lost a record."""
        for sink in self._all:
            lost = [text for one in _chain(sink) if (text := _lost(one))]
            if sink.required and lost:
                result = _without_record(result, SinkError(sink.name, lost[0]))
        return result


def counted_as(config: LoadedConfig, target: tuple[str, str]) -> str:
    """Return the name that a sink over *target* is counted under."""
    kind, name = target
    return name if kind == "stream" else config.resolve(name)


def _keep_quiet(message: str) -> None:
    """Say nothing: what a sink has lost is said at the end."""


def _chain(sink: JsonLinesAuditSink) -> Iterator[JsonLinesAuditSink]:
    """Yield *sink* and what stands behind it."""
    yield sink
    if isinstance(sink.backpressure, Fallback):
        yield from _chain(cast("JsonLinesAuditSink", sink.backpressure.sink))


def _lost(sink: JsonLinesAuditSink) -> str:
    stats = sink.stats()
    count = stats.dropped + stats.failed
    if not count:
        return ""
    sent = stats.accepted + stats.dropped + stats.diverted
    reason = f": {sink.last_error}" if stats.failed and sink.last_error else ""
    return f"{count} of {sent} records not written{reason}"


def _without_record(result: CallResult, cause: SinkError) -> CallResult:
    """Return *result* as `toolrt.Registry.run` does where a record cannot be stored."""
    error = result.error
    told: ToolrtError
    if result.event is None:  # nothing to record
        return result
    if isinstance(error, RecordLostError | AuditUnavailableError):
        return result  # said already
    if result.event.dry_run:
        told = AuditUnavailableError(str(cause))
    elif result.outcome is not None and result.outcome.kind in (
        "success",
        "execution_failed",
    ):
        told = RecordLostError(str(cause), failure=error)
    else:  # refused: the refusal stands
        assert error is not None
        error.add_note(f"the record of its end cannot be written: {cause}")
        return result
    told.__cause__ = cause
    told.call_id = result.call_id
    return msgspec.structs.replace(result, ok=False, error=told)


def _strategy(
    table: model.Sink, fallback: JsonLinesAuditSink | None
) -> BackpressureStrategy:
    if fallback is not None:
        return Fallback(fallback)
    if table.backpressure == "block" or (table.required and not table.backpressure):
        return Block(table.timeout)
    return Drop()


def check_sinks(config: LoadedConfig) -> None:
    """
    Raise if a sink of *config* could not be opened; make no file.

    Raises:
        ConfigError: It names each.
    """
    if not config.config.sink:
        return
    from toolrt.audit.line_file import probe

    faults = []
    for index, table in enumerate(config.config.sink):
        for key, name in (("path", table.path), ("fallback", table.fallback)):
            is_file = key == "path" or target_of(name or "")[0] == "file"
            if name is not None and is_file:
                try:
                    probe(config.resolve(name))
                except SinkOpenError as exc:
                    faults.append(_fault(config, exc, ("sink", index, key)))
    if faults:
        raise ConfigError(faults)


def _fault(config: LoadedConfig, exc: SinkOpenError, at: Path) -> Fault:
    return config.fault(f"cannot be opened: {exc.problem}", *at)
