"""Events as the runtime makes them, with as little said as a test needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolrt.audit.call_event import CallEvent, Outcome, Success
from toolrt.capability import AllowRule, CapabilitySet, Grant
from toolrt.clock import rfc3339, ulid_text
from toolrt.event import CallDetails, Event
from toolrt.gate import AuditEvent, Decision
from toolrt.namespace import ActorRef

#: 2026-01-02T03:04:05.000006+00:00
NOON_US = 1_767_323_045_000_006
FS_RULE = AllowRule(
    pattern="fs:*", file="/etc/toolrt.toml", line=7, column=18, config="ab" * 32
)
FS_GRANTS = CapabilitySet((Grant("fs:read", FS_RULE),))


def call_id(number: int = 1) -> str:
    """Return a canonical ULID; its millisecond is *number* after NOON_US."""
    return ulid_text((NOON_US // 1000 + number) << 80 | number)


def details(**changes: Any) -> CallDetails:
    """Return the details of an ordinary call."""
    fields: dict[str, Any] = {
        "namespace": "local",
        "actor": "os:ann",
        "caller": "ci-bot",
        "pack": "std",
        "effect": "read",
        "args_digest": b"0123456789abcdef",
        "grants": FS_GRANTS,
        "policy": "cd" * 32,
    }
    return CallDetails(**(fields | changes))


def gate_event(
    number: int = 1,
    *,
    decision: Decision = "allow",
    verb: str = "fs.read",
    details: CallDetails | None = None,
    caller: str | None = "ci-bot",
    id_: str | None = None,
    **changes: Any,
) -> Event:
    """Return the gate event of call *number*."""
    audit_event = AuditEvent(
        timestamp=rfc3339(NOON_US + number),
        actor=ActorRef.parse(details.actor if details else "os:ann"),
        namespace=details.namespace if details else "local",
        verb=verb,
        decision=decision,
        gate_impl="RuleGate",
        **changes,
    )
    return Event.from_audit(
        audit_event,
        call_id=id_ or call_id(number),
        tool_id=f"std:{verb}",
        caller_id=caller,
        details=details,
    )


def call_event(
    number: int = 1,
    *,
    outcome: Outcome | None = None,
    verb: str = "fs.read",
    details: CallDetails | None = None,
    caller: str | None = "ci-bot",
    duration_ms: int = 3,
    id_: str | None = None,
) -> Event:
    """Return the call event of call *number*."""
    grants = details.grants if details else CapabilitySet()
    event = CallEvent(
        rfc3339(NOON_US + number),
        id_ or call_id(number),
        f"std:{verb}",
        duration_ms,
        outcome or Success(),
        "warm",
        caller_id=caller,
        granted_capabilities=grants.granted,
        capability_provenance=grants.provenance or None,
    )
    return Event.from_call(
        event,
        namespace=details.namespace if details else "local",
        actor=details.actor if details else "os:ann",
        details=details,
    )


def start_python(code: str, *args: object) -> subprocess.Popen[str]:
    """Start a real process that runs *code*; talk to it over its pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Wait for *processes*, all of which must succeed, and return what they said."""
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said
