"""What holds of every sink."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt import (
    AuditSink,
    Block,
    CallEvent,
    Drop,
    Fallback,
    JsonLinesAuditSink,
    QueueSink,
    SinkUnavailableError,
    TeeSink,
)
from toolrt.testing import MemorySink
from toolrt_store import SqliteEventStore

from ..dispatch_bench import Bench
from .writers import Held, Kept, Pairs, event, ids


def memory(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    sink = MemorySink()
    return sink, lambda: ids(sink.events)


def queue(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    writer = Kept()
    return QueueSink(writer), lambda: ids(writer.events)


def queue_of_pairs(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    writer = Pairs()
    sink = QueueSink(writer, 2, Block(None))
    return sink, lambda: ids([one for one, _ in writer.pairs])


def json_lines(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    path = tmp_path / "calls.jsonl"

    def written() -> list[str]:
        lines = path.read_bytes().splitlines()
        return ids([CallEvent.from_json(line) for line in lines])

    return JsonLinesAuditSink.file(str(path)), written


def tee(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    memory_sink, writer = MemorySink(), Kept()
    sink = TeeSink([memory_sink, QueueSink(writer)])

    def written() -> list[str]:
        assert writer.events == memory_sink.events
        return ids(writer.events)

    return sink, written


def store(
    tmp_path: Path, *, own_process: bool = False
) -> tuple[Any, Callable[[], list[str]]]:
    opened = SqliteEventStore.open(tmp_path / "state" / "audit.db")

    def written() -> list[str]:
        items = opened.query_events().items
        return [str(one.call_id) for one in reversed(items)]

    return opened.sink(own_process=own_process), written


def store_process(tmp_path: Path) -> tuple[Any, Callable[[], list[str]]]:
    return store(tmp_path, own_process=True)


KINDS = [memory, queue, queue_of_pairs, json_lines, tee, store, store_process]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_sink_keeps_what_it_is_given(tmp_path: Path, make: Any) -> None:
    """In order, without a drop; it may be closed more than once."""
    sink, written = make(tmp_path)
    for number in range(10):
        sink.on_call(event(number))
    sink.close()
    sink.close()

    assert written() == [f"p-{n}" for n in range(10)]
    assert sink.drops() == 0


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_sink_serves_a_registry(tmp_path: Path, make: Any) -> None:
    """A call that ends is a record in each of them."""
    bench, (sink, written) = Bench(), make(tmp_path)
    bench.builder.with_audit_sink(sink)
    result = bench.add()
    sink.close()

    assert written() == [result.call_id]


def test_the_base_has_the_defaults() -> None:
    """A sink that says nothing of backpressure drops, and has dropped nothing."""

    class Bare(AuditSink):
        def on_call(self, event: CallEvent, /) -> None: ...

    with Bare() as sink:
        assert (sink.backpressure, sink.drops()) == (Drop(), 0)
    with pytest.raises(NotImplementedError):
        AuditSink().on_call(event())


def test_sinks_tell_their_strategy() -> None:
    """As given."""
    for strategy in (Drop(), Block(), Block(None), Fallback(MemorySink())):
        sink = JsonLinesAuditSink(io.BytesIO(), backpressure=strategy)
        assert sink.backpressure is strategy
        sink.close()


class Broken:
    """Raises whatever it is asked."""

    def on_call(self, event: CallEvent, /) -> None:
        raise OSError("broken")

    def close(self) -> None:
        raise OSError("broken")


class TestTee:
    """Several sinks as one."""

    def test_a_broken_sink_does_not_matter_to_the_others(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither in a call nor at the close; a bare object is welcome."""
        kept, writer = MemorySink(), Kept()
        with TeeSink([Broken(), kept, QueueSink(writer)]) as sink:
            sink.on_record(event(1), "details")

        assert writer.events == kept.events == [event(1)]
        assert kept.details == ["details"]
        assert "sink 'Broken' raised in close" in caplog.text

    def test_a_required_sink_is_heard_after_all_have_the_event(self) -> None:
        """Its refusal comes out of the tee."""
        held, kept = Held(), MemorySink()
        required = QueueSink(held, 1, Block(0), required=True)
        sink = TeeSink([required, kept])
        sink.on_call(event(1))

        with pytest.raises(SinkUnavailableError):
            sink.on_call(event(2))
        assert (len(kept.events), sink.drops()) == (2, 1)
        held.let_go.set()
        sink.close()

    def test_only_sinks_can_be_joined(self) -> None:
        """A bug of the caller is told at once."""
        with pytest.raises(TypeError, match="on_call, got int"):
            TeeSink([3])  # type: ignore[list-item]


def test_a_call_tells_that_a_required_sink_lost_its_record() -> None:
    """The tool has run: the error says that, and a refusal stays one."""
    held, bench = Held(), Bench()
    sink = QueueSink(held, 1, Block(0), required=True, name="calls")
    bench.builder.with_audit_sink(sink)
    first, second = bench.add(), bench.add()
    refused = bench.run("note.add", {"title": "t"}, caller="nobody")

    assert first.ok
    assert (second.error and second.error.code) == "record_lost"
    assert "sink calls: no room" in str(second.error)
    assert (refused.error and refused.error.code) == "capability_denied"
    assert "sink calls" in refused.error.__notes__[0] if refused.error else False
    held.let_go.set()
    sink.close()


def test_a_record_that_is_lost_twice_is_one_loss() -> None:
    """Where store and sink fail, the second is a note on the first."""
    held, bench = Held(), Bench(fail_on=("call",))
    sink = QueueSink(held, 1, Block(0), required=True)
    sink.on_call(event())
    bench.builder.with_audit_sink(sink)
    result = bench.add()

    assert result.error is not None
    assert result.error.code == "record_lost"
    assert "sink Held" in result.error.__notes__[0]
    held.let_go.set()
    sink.close()
