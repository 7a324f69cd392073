"""Limits of one process."""

import threading
from collections.abc import Callable

import pytest

from toolrt import RateLimitedError
from toolrt.limits import CallLimits, Limiter, Window, per_minute

SECOND = 1_000_000_000


def test_calls_in_flight_are_counted_in_and_out() -> None:
    """The call that does not fit is refused; after a release it fits."""
    limiter = Limiter()
    limiter.admit(CallLimits("t", 1), 0)

    with pytest.raises(RateLimitedError, match="1 at once") as caught:
        limiter.admit(CallLimits("t", 1), 0)
    limiter.release("t", 1)
    limiter.admit(CallLimits("t", 1), 0)

    assert caught.value.retry_after_ms is None
    assert caught.value.retryable


def test_a_window_tells_when_it_has_room_again() -> None:
    """The time to retry is when the oldest call leaves the window, rounded up."""
    limiter = Limiter()
    window = per_minute("t", "alice", 2)
    limiter.admit(CallLimits("t", 0, (window,)), 0)
    limiter.admit(CallLimits("t", 0, (window,)), 10 * SECOND)

    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(CallLimits("t", 0, (window,)), 20 * SECOND + 1)

    assert caught.value.retry_after_ms == 40_000
    limiter.admit(CallLimits("t", 0, (window,)), 60 * SECOND)


def test_callers_have_windows_of_their_own() -> None:
    """One caller's calls do not use up another's."""
    limiter = Limiter()

    limiter.admit(CallLimits("t", 0, (per_minute("t", "alice", 1),)), 0)
    limiter.admit(CallLimits("t", 0, (per_minute("t", "bob", 1),)), 0)
    limiter.admit(CallLimits("t", 0, (per_minute("t", None, 1),)), 0)


def test_a_refused_call_is_not_counted() -> None:
    """Of two windows the one with room is left as it was."""
    limiter = Limiter()
    full = Window(("full",), 1, SECOND, "full")
    free = Window(("free",), 1, SECOND, "free")
    limiter.admit(CallLimits("t", 0, (full,)), 0)

    with pytest.raises(RateLimitedError, match="full"):
        limiter.admit(CallLimits("t", 5, (free, full)), 0)

    limiter.admit(CallLimits("t", 1, (free,)), 0)


def test_a_window_that_has_passed_counts_anew() -> None:
    """Nothing of it is left once its last call is old enough, and the next one counts."""
    limiter = Limiter()
    window = per_minute("t", "alice", 1)
    limiter.admit(CallLimits("t", 0, (window,)), 0)

    limiter.admit(CallLimits("t", 0, (window,)), 60 * SECOND)

    with pytest.raises(RateLimitedError):
        limiter.admit(CallLimits("t", 0, (window,)), 61 * SECOND)


class Interrupted(str):
    """A tool id at which, while it is looked up, something else happens once."""

    __slots__ = ("then",)
    then: list[Callable[[], object]]

    def __hash__(self) -> int:
        if self.then:
            self.then.pop()()
        return super().__hash__()


def test_a_signal_handler_may_make_a_call_while_one_is_counted_in() -> None:
    """On the same thread, which cannot wait for itself."""
    limiter = Limiter()
    tool_id = Interrupted("t")

    def handler() -> None:
        limiter.admit(CallLimits("t", 1), 0)
        limiter.release("t", 1)

    tool_id.then = [handler]
    thread = threading.Thread(
        target=lambda: limiter.admit(CallLimits(tool_id, 1), 0), daemon=True
    )
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
    with pytest.raises(RateLimitedError):
        limiter.admit(CallLimits("t", 1), 0)
