"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Make a run the same everywhere; called before any test is imported."""
    _repeat_examples()
    _heed_interrupts()


def _repeat_examples() -> None:
    """
    Let Hypothesis draw the same examples in every run, however slow the machine is.

    A failure is then one of the code, not of the day. What a test sets itself is set on
    top of this.
    """
    slowness = [HealthCheck.too_slow]
    settings.register_profile(
        "repeatable", derandomize=True, deadline=None, suppress_health_check=slowness
    )
    settings.load_profile("repeatable")


def _heed_interrupts() -> None:
    """
    Let Ctrl-C end processes that tests start.

    A shell starts what runs in the background with SIGINT and SIGQUIT ignored, and every
    child inherits that.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else None
            signal.signal(number, default or signal.SIG_DFL)
