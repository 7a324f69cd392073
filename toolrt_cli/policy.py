"""
What the policy in force says, as one JSON text that the store keeps beside the events.

An old call is explained from it, whatever the config says by then: who was granted what
by which line, which rules the gate had, which roots were trusted.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolrt import Authority
from toolrt_cli.config import LoadedConfig

SCHEMA: Final = "toolrt.policy/1"


def snapshot(config: LoadedConfig, authority: Authority) -> str:
    """Return the policy of *config*, its patterns expanded by *authority*, as JSON."""
    whole = config.config
    document = {
        "schema": SCHEMA,
        "config": {"path": config.path, "sha256": config.sha256},
        "gate": {
            "kind": whole.gate.kind,
            "default": whole.gate.default,
            "on_error": whole.gate.on_error,
            "rules": [
                msgspec.to_builtins(rule) | _place(config, "gate", "rule", index)
                for index, rule in enumerate(whole.gate.rule)
            ],
        },
        "callers": {
            name: {
                "actors": caller.actors,
                "actors_line": _place(config, "callers", name, "actors").get("line"),
                "did": caller.did,
                "grants": [
                    {
                        "capability": grant.capability,
                        **_without_config(msgspec.to_builtins(grant.source)),
                    }
                    for grant in authority.grants_of(name)
                ],
            }
            for name, caller in whole.callers.items()
        },
        "roots": [
            {"did": root.did, "capabilities": root.capabilities}
            | _place(config, "ucan", "root", index)
            for index, root in enumerate(whole.ucan.root)
        ],
    }
    return msgspec.json.encode(document, order="sorted").decode()


def _place(config: LoadedConfig, *path: str | int) -> dict[str, int]:
    at = config.position(*path)
    return {"line": at.line} if at else {}


def _without_config(source: dict[str, Any]) -> dict[str, Any]:
    # The same for all of them: stated once, above.
    return {
        key: value for key, value in source.items() if key not in ("config", "file")
    }
