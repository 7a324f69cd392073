"""What the policy said is on record beside the calls that were made under it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from toolrt_store import SqliteEventStore

from .conftest import Cli

CONFIG = """
[gate]
kind = "rules"
default = "allow"
[[gate.rule]]
decision = "deny"
verbs = ["shell.*"]
reason = "no shells"
[callers.alice]
capabilities = ["fs:*"]
"""


def test_every_gate_event_names_the_policy_in_force(
    cli: Cli, config: Callable[[str], Path]
) -> None:
    """One text for all calls under one config, another one once it is edited."""
    path = config(CONFIG)
    cli("run", "echo.say", "--as", "alice")
    cli("run", "echo.say", "--as", "alice")
    path.write_text(CONFIG.replace('"fs:*"', '"fs:read"'))
    cli("run", "echo.say", "--as", "alice")

    where = cli("audit", "path").out.strip()
    with SqliteEventStore.open(where, read_only=True) as store:
        events = [one for one in store.query_events().items if one.kind == "gate"]
        digests = [one.details.policy for one in events if one.details]
        said = [json.loads(store.policy(digest or "") or "") for digest in digests]

    assert digests[1] == digests[2] != digests[0]
    assert [one["capability"] for one in said[0]["callers"]["alice"]["grants"]] == [
        "fs:read"
    ]
    assert said[1]["callers"]["alice"]["grants"] == [
        {
            "capability": name,
            "column": 17,
            "kind": "rule",
            "line": 10,
            "pattern": "fs:*",
        }
        for name in ("fs:read", "fs:write")
    ]
    assert said[1]["gate"]["rules"][0]["reason"] == "no shells"
    assert said[1]["gate"]["rules"][0]["line"] == 5
