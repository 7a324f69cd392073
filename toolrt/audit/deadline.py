"""Deadlines that may be none at all."""

from __future__ import annotations

import time


def deadline_in(timeout: float | None) -> float | None:
    """Return the moment that is *timeout* seconds away; None stands for never."""
    return None if timeout is None else time.monotonic() + timeout


def seconds_left(deadline: float | None) -> float | None:
    """Return how long it is to *deadline*, at least 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
