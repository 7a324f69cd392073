"""
Deadlines for handlers that do not look at the clock: an interval timer, SIGALRM.

For a program that makes its calls on the main thread, as the command line does. A signal
reaches Python code only there, and only one timer can run at a time.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from toolrt.errors import ToolTimeoutError


@contextmanager
def alarm(timeout_s: float, tool_id: str) -> Iterator[None]:
    """
    Raise `ToolTimeoutError` inside the block once *timeout_s* seconds have passed.

    Raises:
        ValueError: This is not the main thread.
    """

    def ring(_number: int, _frame: FrameType | None) -> NoReturn:
        raise ToolTimeoutError(timeout_s, tool_id=tool_id)

    before = signal.signal(signal.SIGALRM, ring)
    try:  # it may ring in any line of this, the last ones included
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
