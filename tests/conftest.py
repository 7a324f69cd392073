"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """
    Let Ctrl-C end processes that tests start.

    A shell starts what runs in the background with SIGINT and SIGQUIT ignored, and every
    child inherits that.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else None
            signal.signal(number, default or signal.SIG_DFL)
