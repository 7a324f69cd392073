"""``sys.info``: the kind of machine, and nothing that tells which one it is."""

from __future__ import annotations

import os
import sys
from typing import Any


def info() -> dict[str, Any]:
    """Return system, release, machine, Python version and processor count."""
    uname = os.uname()  # the platform module costs 10 ms to import
    return {
        "system": uname.sysname,
        "release": uname.release,
        "machine": uname.machine,
        "python": ".".join(map(str, sys.version_info[:3])),
        "cpus": os.cpu_count() or 1,
    }
