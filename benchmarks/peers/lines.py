"""What is logged: the fields of one CallEvent, so often; every line has to be there."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNT = 50_000
FIELDS: dict[str, Any] = {
    "ts": "2026-01-01T00:00:00.000000+00:00",
    "call_id": "01KDVEXAMPLE0000000000000A",
    "tool_id": "std:fs.read",
    "caller_id": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "granted_capabilities": ["fs:read", "fs:write", "net:fetch"],
    "duration_ms": 12,
    "outcome": {"kind": "success"},
    "tier": "warm",
    "dry_run": False,
    "schema_version": 3,
    "secrets_resolved": False,
    "capability_provenance": [
        {
            "cap": "fs:read",
            "source": {
                "kind": "ucan_chain",
                "issuer_did": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
                "chain_depth": 1,
            },
        }
    ],
}


def tell_lines(log: Callable[[str, int], object]) -> None:
    """
    Print the seconds that *log* takes for one line, to the last byte.

    It is given a path and how many lines to write there.
    """
    with tempfile.TemporaryDirectory() as home:
        path = str(Path(home) / "log.jsonl")
        began = time.perf_counter()
        log(path, COUNT)
        seconds = (time.perf_counter() - began) / COUNT
        with open(path, "rb") as file:
            written = sum(1 for line in file if json.loads(line))
    if written != COUNT:
        raise RuntimeError(f"{written} lines of {COUNT}")
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")
