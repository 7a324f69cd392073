"""A plain call in one function: how its record gets to the sink."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from toolrt import (
    Block,
    CallEvent,
    Drop,
    Fallback,
    QueueSink,
    RecordLostError,
)
from toolrt.testing import MemorySink

from .direct_calls import (
    Kept,
    KeptPairs,
    made,
    stable,
    warm,
)


class TestSinks:
    """What queues the record of such a call"""

    def test_a_writer_of_pairs_gets_the_details(self) -> None:
        """As a store's sink does."""
        writer = KeptPairs()
        with QueueSink(writer) as sink:
            registry = made(sink).build()
            warm(registry)
            registry.dispatch("add", {"left": 1}, caller="alice")

        first, last = writer.pairs[0], writer.pairs[-1]
        assert stable(last[0]) == stable(first[0])
        assert last[1] == first[1]
        assert last[1].caller == "alice"

    def test_a_fallback_gets_events(self) -> None:
        """A sink of any kind: it need not know what a queue holds."""
        memory, gate = MemorySink(), threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()
                super().write(events)

        writer = Stuck()
        with QueueSink(writer, 1, Fallback(memory)) as sink:
            registry = made(sink).build()
            warm(registry)
            for _ in range(3):
                registry.dispatch("add", {"left": 1}, caller="alice")
            gate.set()

        events = [*writer.events, *memory.events]
        assert len(memory.events) == 7
        assert {type(event) for event in events} == {CallEvent}
        assert len({event.call_id for event in events}) == 8

    def test_a_required_one_behind_a_fallback_fails_the_call(self) -> None:
        """A record that nobody took is the caller's to know of."""
        gate = threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()

        required = QueueSink(Stuck(), 1, Block(0), required=True)
        with required, QueueSink(Stuck(), 1, Fallback(required)) as sink:
            registry = made(sink).build()
            registry.dispatch("total", {"numbers": []}, caller="a")
            registry.dispatch("total", {"numbers": []}, caller="a")
            for _ in range(2):
                with pytest.raises(RecordLostError):
                    registry.dispatch("total", {"numbers": []}, caller="a")
            gate.set()

    def test_one_that_changes_events_is_given_events(self) -> None:
        """A subclass of one's own, or a sink in front of another."""

        class Masking(QueueSink):
            def on_record(self, event: Any, details: Any) -> None:
                super().on_record(event.replace(caller_id="masked"), details)

        class InFront:
            def __init__(self, sink: QueueSink) -> None:
                self.sink = sink

            def __getattr__(self, name: str) -> Any:
                return getattr(self.sink, name)

            def on_record(self, event: CallEvent, details: Any) -> None:
                self.sink.on_record(event.replace(caller_id="masked"), details)

        first, second = Kept(), Kept()
        with Masking(first) as masking, QueueSink(second) as behind:
            for sink in (masking, InFront(behind)):
                registry = made(sink).build()
                for _ in range(3):
                    registry.dispatch("total", {"numbers": []}, caller="a")

        for events in (first.events, second.events):
            assert [event.caller_id for event in events] == ["masked"] * 3

    def test_a_registry_that_nobody_uses_is_not_kept_by_its_last_events(self) -> None:
        """A sink may outlive many of them."""
        with QueueSink(Kept()) as sink:
            registry = made(sink).build()
            warm(registry)
            warm(registry)
            meter = weakref.ref(registry._core.meter)
            del registry
            sink.flush()
            for _ in range(1000):  # the thread lets go of it right after
                gc.collect()
                if meter() is None:
                    break
                threading.Event().wait(0.001)

            assert meter() is None

    def test_what_is_dropped_is_counted(self) -> None:
        """The call goes first."""
        gate = threading.Event()

        class Stuck(Kept):
            def write(self, events: Sequence[CallEvent], /) -> None:
                gate.wait()

        with QueueSink(Stuck(), 1, Drop()) as sink:
            registry = made(sink).build()
            warm(registry)
            registry.dispatch("add", {"left": 1}, caller="alice")
            gate.set()

        assert sink.drops() == 5

    def test_one_that_raises_is_logged_and_the_call_succeeds(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A sink's fault reaches no caller."""

        def loud(_message: str) -> None:
            raise RuntimeError("the operator's callback")

        with QueueSink(Kept(), 1, Block(0)) as sink:
            registry = made(sink).build()
            warm(registry)
        sink.on_trouble = loud
        sink.on_record = loud  # type: ignore[method-assign,assignment]
        again = made(sink).build()

        for _ in range(2):
            with caplog.at_level(logging.ERROR):
                assert again.dispatch("add", {"left": 1}, caller="alice") == 2
        assert again.tool("add").direct
        assert caplog.text.count("sink 'QueueSink' raised") == 2
