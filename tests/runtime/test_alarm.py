"""The interval timer that ends handlers."""

import asyncio
import signal
import threading
import time

import pytest

from toolrt import (
    Pack,
    RegistryBuilder,
    ToolCall,
    ToolError,
    ToolFailedError,
    ToolTimeoutError,
)
from toolrt.alarm import alarm


def test_a_block_that_takes_too_long_is_ended() -> None:
    """The error says the deadline and the tool; the old handler is back after it."""
    before = signal.getsignal(signal.SIGALRM)

    late = pytest.raises(ToolTimeoutError, match=r"x ran past its deadline of 0\.05 s")
    with late, alarm(0.05, "x"):
        time.sleep(30)

    assert signal.getsignal(signal.SIGALRM) is before


def test_a_block_that_ends_in_time_leaves_no_timer() -> None:
    """Nothing rings later."""
    with alarm(60, "x"):
        pass

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_handler_may_ask_for_a_thread_of_its_own() -> None:
    """deadline="thread": a late one is left behind, a quick one is like any other."""
    pack, go_on = Pack("p"), threading.Event()

    @pack.handler("wait", timeout=0.05, deadline="thread")
    def wait() -> None:
        go_on.wait(30)

    @pack.handler("quick", deadline="thread")
    def quick() -> str:
        return threading.current_thread().name

    @pack.handler("fail", deadline="thread")
    def fail() -> None:
        raise ToolError("NO")

    registry = RegistryBuilder().register(pack).with_alarm().build()

    assert isinstance(registry.run(ToolCall("wait")).error, ToolTimeoutError)
    assert registry.dispatch("quick") == "p:quick"
    assert asyncio.run(registry.adispatch("quick")) == "p:quick"
    with pytest.raises(ToolFailedError, match="NO"):
        registry.dispatch("fail")
    go_on.set()


def test_a_handler_that_sleeps_is_ended_where_it_is_asked_for() -> None:
    """with_alarm ends it; the call is TIMEOUT long before the handler would end."""
    ended = threading.Event()
    pack = Pack("p")

    @pack.handler("sleep", timeout=0.05)
    def sleep() -> None:
        time.sleep(30)
        ended.set()

    result = (
        RegistryBuilder().register(pack).with_alarm().build().run(ToolCall("sleep"))
    )

    assert isinstance(result.error, ToolTimeoutError)
    assert not ended.is_set()
