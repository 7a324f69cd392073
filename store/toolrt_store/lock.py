"""
The writing lock: one ``flock`` that every writer of a store holds while it writes.

SQLite's own lock is polled with sleeps; this one is waited for in the kernel's queue.
The wait itself happens on a thread so that the caller can have a deadline: a blocking
``flock`` cannot be called off.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from toolrt_store import errors
from toolrt_store.files import open_beside


class WriteLock:
    """
    The lock of one store object, on ``<db>.lock``.

    Not re-entrant and not for two threads at once: the store's mutex is held around it.
    Two objects in one process exclude each other as two processes do.
    """

    def __init__(self, db_path: str, *, group: str | None = None) -> None:
        self._db_path = db_path
        self._path = lock_path(db_path)
        self._fd = open_beside(self._path, os.O_RDWR | os.O_CREAT, group=group)
        self._waiter: _Waiter | None = None

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[None]:
        """
        Hold the lock for the body of the ``with`` block.

        Raises:
            StoreLockedError: It was not free within *timeout_s* seconds.
            StoreUnavailableError: It cannot be locked at all.
        """
        self.acquire(timeout_s)
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout_s: float) -> None:
        """Take the lock. Raises like `hold`."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(timeout_s)
        except OSError as error:
            raise errors.from_os(self._db_path, error) from error

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up the descriptor, and with it a lock that is still held."""
        os.close(self._fd)

    def _wait(self, timeout_s: float) -> None:
        began = time.monotonic()
        waiter = self._waiter
        # A thread that an earlier deadline left in the queue keeps its place there.
        if waiter is None or not waiter.resume():
            waiter = self._waiter = _Waiter(self._path)
            waiter.start()
        if not waiter.wait(timeout_s):
            raise errors.StoreLockedError(
                self._db_path, round(time.monotonic() - began, 3)
            )
        self._waiter = None
        os.close(self._fd)
        self._fd = waiter.fd


class _Waiter(threading.Thread):
    """
    Stands in the kernel's queue on a descriptor of its own.

    Once the lock is granted, ``fd`` belongs to whoever waits; where nobody waits any
    more the lock goes back at once.
    """

    def __init__(self, path: str) -> None:
        super().__init__(name="toolrt-store-lock", daemon=True)
        self.fd = open_beside(path, os.O_RDWR | os.O_CREAT)
        self._mutex = threading.Lock()
        self._granted = threading.Event()
        self._wanted = True
        self._over = False

    def run(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        with self._mutex:
            self._over = True
            if self._wanted:
                self._granted.set()
            else:
                os.close(self.fd)

    def wait(self, timeout_s: float) -> bool:
        """Return whether the lock was granted; if not, nobody waits any more."""
        try:
            self._granted.wait(timeout_s)
        except BaseException:
            # KeyboardInterrupt: a grant that nobody takes must go back.
            if self._stop_waiting():
                os.close(self.fd)
            raise
        return self._stop_waiting()

    def _stop_waiting(self) -> bool:
        with self._mutex:
            self._wanted = False
            return self._granted.is_set()

    def resume(self) -> bool:
        """Wait again; False if the thread has given the lock back meanwhile."""
        with self._mutex:
            self._wanted = not self._over
            return self._wanted


def lock_path(db_path: str) -> str:
    """Return the path of the lock file of the store at *db_path*."""
    return f"{db_path}.lock"
