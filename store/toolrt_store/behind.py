"""
One piece of work at a time on another thread, for what releases the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


class Behind:
    """
    Runs work behind the caller's back, piece after piece, and brings back what it raised.

    For one thread to use. The thread behind is started with the first piece.
    """

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Wait for the piece before, then start *work*. Raises what that one raised."""
        self.wait()
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(1, "toolrt-store-insert")
        started = threading.Event()

        def run() -> None:
            started.set()
            work()

        self._under_way = self._executor.submit(run)
        # Else the work would begin when its caller next lets go of the interpreter, which
        # is when it waits for it.
        started.wait()

    def wait(self) -> None:
        """Wait until nothing is under way. Raises what the last piece raised."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def close(self) -> None:
        """End the thread."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
