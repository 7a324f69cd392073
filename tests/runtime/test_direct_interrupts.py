"""A plain call in one function: what handlers, signals and limits do to it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from toolrt import (
    Pack,
    QueueSink,
    RateLimitedError,
    ToolCall,
    ToolFailedError,
    ToolrtError,
    ToolTimeoutError,
)

from .direct_calls import (
    Kept,
    ended,
    made,
    nothing,
)


def test_the_handler_gets_arguments_of_its_own() -> None:
    """It may change them as it likes."""
    pack = Pack("p")

    @pack.handler("spoil", input_schema={"type": "object"})
    def spoil(**given: Any) -> int:
        given["list"].append(1)
        return len(given["list"])

    registry = made(pack=pack).build()
    params = {"list": [1]}

    assert [registry.dispatch("spoil", params, caller="a") for _ in range(3)] == [2] * 3
    assert params == {"list": [1]}


def test_defaults_that_are_lists_are_not_shared() -> None:
    """Each call has its own."""
    pack = Pack("p")

    @pack.handler("grow")
    def grow(items: list[int] = []) -> int:  # noqa: B006
        items.append(1)
        return len(items)

    registry = made(pack=pack).build()

    assert [registry.dispatch("grow", {}, caller="a") for _ in range(3)] == [1] * 3


def test_an_interrupt_is_recorded_and_goes_on() -> None:
    """Ctrl-C inside a handler."""
    pack, writer = Pack("p"), Kept()

    @pack.handler("stop", max_concurrent=1)
    def stop(now: bool) -> None:
        if now:
            raise KeyboardInterrupt

    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("stop", {"now": False}, caller="a")
        for _ in range(3):  # the call is counted out each time
            with pytest.raises(KeyboardInterrupt):
                registry.dispatch("stop", {"now": True}, caller="a")

    assert [event.outcome.kind for event in writer.events[1:]] == [
        "execution_failed"
    ] * 3


class MuteError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("is_direct", [True, False])
def test_an_exception_without_a_text_is_recorded_too(is_direct: bool) -> None:
    """By its type; and the call is counted out."""
    pack, writer = Pack("p"), Kept()

    @pack.handler("x", max_concurrent=1)
    def x(fails: bool) -> None:
        if fails:
            raise MuteError

    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("x", {"fails": False}, caller="a")
        for _ in range(2):
            if not is_direct:
                registry.tool("x").direct.clear()
            with pytest.raises(ToolFailedError) as caught:
                registry.dispatch("x", {"fails": True}, caller="a")
            assert caught.value.text == "MuteError"
        registry.dispatch("x", {"fails": False}, caller="a")

    assert [event.outcome.kind for event in writer.events[1:3]] == [
        "execution_failed"
    ] * 2


class Interrupts(tzinfo):
    """A time zone that, first asked when its datetime is encoded, raises once."""

    def __init__(self, exc: BaseException) -> None:
        self.left = [exc]

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        if self.left:
            raise self.left.pop()
        return None

    def dst(self, dt: datetime | None, /) -> None:
        """Return nothing: it is not asked."""

    def tzname(self, dt: datetime | None, /) -> None:
        """Return nothing: it is not asked."""


def at(exc: BaseException) -> datetime:
    """Return a value, to encode which raises *exc*."""
    return datetime(2026, 1, 1, tzinfo=Interrupts(exc))


@pytest.mark.parametrize("is_direct", [True, False])
@pytest.mark.parametrize(
    "exc", [KeyboardInterrupt(), RuntimeError("no"), ToolTimeoutError(1.0)], ids=repr
)
def test_what_interrupts_the_reading_of_arguments_is_recorded(
    exc: BaseException, is_direct: bool
) -> None:
    """Ctrl-C, a timer of the caller's: it ends the call, and no handler runs."""
    pack, writer, ran = Pack("p"), Kept(), []
    pack.handler("x", input_schema={"type": "object"}, max_concurrent=1)(
        lambda **given: ran.append(given)
    )
    raised = KeyboardInterrupt if isinstance(exc, KeyboardInterrupt) else ToolrtError
    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        registry.dispatch("x", {}, caller="a")
        for _ in range(2):
            if not is_direct:
                registry.tool("x").direct.clear()
            with pytest.raises(raised) as caught:
                registry.dispatch("x", {"at": at(exc)}, caller="a")
            assert exc in (caught.value, caught.value.__cause__)
        registry.dispatch("x", {}, caller="a")

    assert len(ran) == 2
    assert [event.outcome.kind == "success" for event in writer.events] == [
        *(True, False, False, True),
    ]


@pytest.mark.parametrize("is_direct", [True, False])
def test_what_interrupts_the_look_at_a_result_leaves_no_call_in_flight(
    is_direct: bool,
) -> None:
    """The handler has ended: its place is free again."""
    pack = Pack("p")

    @pack.handler("x", max_concurrent=1)
    def x(stops: bool) -> Any:
        return [at(KeyboardInterrupt())] if stops else None

    registry = made(pack=pack).build()
    registry.dispatch("x", {"stops": False}, caller="a")
    if not is_direct:
        registry.tool("x").direct.clear()
    with pytest.raises(KeyboardInterrupt):
        registry.dispatch("x", {"stops": True}, caller="a")

    assert registry.dispatch("x", {"stops": False}, caller="a") is None


@pytest.mark.parametrize("is_direct", [True, False])
def test_what_is_to_be_awaited_is_in_flight_until_it_ends(is_direct: bool) -> None:
    """Though the handler has returned."""
    pack = Pack("p")
    pack.handler("x", max_concurrent=1)(lambda: _later_than(running))
    registry = made(pack=pack).build()

    async def twice() -> list[Any]:
        calls = [registry.adispatch("x", {}, caller="a") for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    running: list[int] = []
    asyncio.run(registry.adispatch("x", {}, caller="a"))
    if not is_direct:
        registry.tool("x").direct.clear()
    first, second = asyncio.run(twice())

    assert first == "later"
    assert type(second) is RateLimitedError
    assert running == [1, 1]


async def _later_than(running: list[int]) -> str:
    running.append(1)
    await asyncio.sleep(0)
    return "later"


def test_limits_hold_over_both_ways() -> None:
    """Calls in flight are counted together, and counted out however they end."""
    pack = Pack("p")
    inside, most, lock = 0, 0, threading.Lock()

    @pack.handler("x", max_concurrent=2)
    def x(fails: bool) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.001)
        with lock:
            inside -= 1
        if fails:
            raise ValueError

    registry = made(pack=pack).build()
    registry.dispatch("x", {"fails": False}, caller="a")

    def call(number: int) -> str:
        fails = {"fails": number % 3 == 0}
        if number % 2:
            kind: type = ended(lambda: registry.dispatch("x", fails, caller="a"))[0]
            return kind.__name__
        result = registry.run(ToolCall("x", fails, "a"))
        return "NoneType" if result.ok else type(result.error).__name__

    with ThreadPoolExecutor(8) as threads:
        endings = list(threads.map(call, range(400)))

    assert set(endings) == {"NoneType", "ToolFailedError", "RateLimitedError"}
    assert most == 2
    registry.dispatch("x", {"fails": False}, caller="a")
    assert sum(metric.count for metric in registry.metrics()) == 402


def test_a_rate_limit_refuses_the_call_after_the_last() -> None:
    """And the refusal is recorded."""
    pack, writer = Pack("p"), Kept()
    pack.handler("x", rate_limit_per_min=3)(nothing)
    with QueueSink(writer) as sink:
        registry = made(sink, pack=pack).build()
        endings = [
            ended(lambda: registry.dispatch("x", {}, caller="a")) for _ in range(5)
        ]

    assert [ending[0].__name__ for ending in endings] == [
        *["NoneType"] * 3,
        *["RateLimitedError"] * 2,
    ]
    assert [event.outcome.kind for event in writer.events[3:]] == ["rate_limited"] * 2
