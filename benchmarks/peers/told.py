"""What every peer does: work a while to warm up, work, say how long a unit took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def tell(work: Callable[[int], object], units: int) -> None:
    """Print the seconds that one unit of *work* takes, as a line of JSON."""
    work(max(1, units // 10))
    began = time.perf_counter()
    work(units)
    seconds = (time.perf_counter() - began) / units
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")


def double(number: int) -> int:
    """Return *number* twice; the tool that every peer calls."""
    return 2 * number
