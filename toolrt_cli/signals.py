"""SIGTERM and SIGHUP as an exception, so that a call they end is still recorded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """The process was asked to end. No Exception: nothing may swallow it."""


@contextmanager
def hold_signals() -> Iterator[None]:
    """
    Let signals that end the process wait until this is left, as imports need it.

    One in the middle of an import leaves a class half made, or crashes the interpreter.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *_ENDING))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def catch_termination() -> Iterator[None]:
    """Raise `Terminated` on the main thread when SIGTERM or SIGHUP comes."""
    try:
        before = {number: signal.signal(number, _raise) for number in _ENDING}
    except ValueError:  # not on the main thread: a library's caller has its own ways
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# SIGHUP: the terminal is gone. Without a handler the tool would outlive us.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def _raise(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
