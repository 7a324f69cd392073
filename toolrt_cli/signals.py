"""SIGTERM as an exception, so that a call it ends is still recorded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """The process was asked to end. No Exception: nothing may swallow it."""


@contextmanager
def catch_sigterm() -> Iterator[None]:
    """Raise `Terminated` on the main thread when SIGTERM comes, for the block."""
    try:
        before = signal.signal(signal.SIGTERM, _raise)
    except ValueError:  # not on the main thread: a library's caller has its own ways
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
