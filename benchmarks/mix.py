"""
A realistic mix of events: 200 callers, 60 tools, 6 outcomes, 40 grant sets.

Attempts of a service under load: a gate event and, some calls later, its call event, as
the runtime makes them. One call in 30 is denied by the gate.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from toolrt.audit.call_event import (
    CallEvent,
    CapabilityDenied,
    ExecutionFailed,
    InvalidArgs,
    Outcome,
    RateLimited,
    Success,
    ToolNotFound,
)
from toolrt.capability import AllowRule, CapabilitySet, Grant
from toolrt.clock import rfc3339, ulid_text
from toolrt.event import CallDetails, Event
from toolrt.gate import AuditEvent
from toolrt.namespace import ActorRef

START_US: Final = 1_767_225_600_000_000
#: A call every millisecond: the density at which 10,000,000 events take some two hours.
STEP_US: Final = 1_000
IN_FLIGHT: Final = 4
TOOLS_OF_A_CALLER: Final = 8
CALLERS: Final = tuple(f"caller-{number:03}" for number in range(200))
TOOLS: Final = tuple(f"pack{number % 12}:noun{number}.verb" for number in range(60))
_OUTCOMES: Final[tuple[tuple[Outcome, int], ...]] = (
    (Success(), 86),
    (ExecutionFailed("EXIT_1", retryable=False), 5),
    (InvalidArgs("limit: must be integer"), 3),
    (CapabilityDenied(("net:fetch",)), 3),
    (RateLimited(1_500), 2),
    (ToolNotFound(), 1),
)
_EFFECTS: Final = ("read", "write", "destructive")
_TIERS: Final = ("hot", "warm", "cold")


def _grant_sets() -> tuple[CapabilitySet, ...]:
    found = []
    for number in range(40):
        rule = AllowRule(
            pattern=f"area{number}:*",
            file="/etc/toolrt/toolrt.toml",
            line=10 + number,
            column=17,
            config="ab" * 32,
        )
        names = [f"area{number}:{what}" for what in ("read", "write")[: 1 + number % 2]]
        found.append(CapabilitySet(tuple(Grant(name, rule) for name in names)))
    return tuple(found)


GRANT_SETS: Final = _grant_sets()


def attempts(process: str, *, seed: int = 1, first: int = 0) -> Iterator[list[Event]]:
    """Yield the events of one call after the other, without end: one event or two."""
    rng = random.Random(seed)
    outcomes = rng.choices(
        [outcome for outcome, _ in _OUTCOMES],
        [weight for _, weight in _OUTCOMES],
        k=10_007,
    )
    number = first
    while True:
        number += 1
        yield _attempt(number, process, rng, outcomes[number % len(outcomes)])


def _attempt(
    number: int, process: str, rng: random.Random, outcome: Outcome
) -> list[Event]:
    at_us = START_US + number * STEP_US
    who = rng.randrange(len(CALLERS))
    caller = CALLERS[who]
    # Each caller has a few tools of its own, and what a tool needs is granted.
    which = (who * 7 + int(rng.paretovariate(1.2)) % TOOLS_OF_A_CALLER) % len(TOOLS)
    tool, kind, granted = TOOLS[which], which % 3, GRANT_SETS[which % len(GRANT_SETS)]
    call_id = ulid_text((at_us // 1000) << 80 | rng.getrandbits(80))
    details = CallDetails(
        namespace="local",
        actor=f"os:{caller}",
        caller=caller,
        pack=tool.partition(":")[0],
        effect=_EFFECTS[kind],
        args_digest=rng.randbytes(16),
        grants=granted,
        policy="cd" * 32,
        process=process,
    )
    is_denied = number % 30 == 0
    gate = Event.from_audit(
        AuditEvent(
            timestamp=rfc3339(at_us + 40),
            actor=ActorRef.parse(details.actor),
            namespace="local",
            verb=tool.partition(":")[2],
            decision="deny" if is_denied else "allow",
            gate_impl="RuleGate",
            deny_reason="no shells in CI" if is_denied else None,
        ),
        call_id=call_id,
        tool_id=tool,
        caller_id=caller,
        details=details,
    )
    if is_denied:
        return [gate]
    duration_ms = int(rng.expovariate(0.05))
    event = CallEvent(
        rfc3339(at_us + 900 + duration_ms * 1000),
        call_id,
        tool,
        duration_ms,
        outcome,
        _TIERS[kind],
        caller_id=caller,
        granted_capabilities=granted.granted,
        capability_provenance=granted.provenance,
    )
    call = Event.from_call(
        event, namespace="local", actor=details.actor, details=details
    )
    return [gate, call]


def events(process: str, *, seed: int = 1, first: int = 0) -> Iterator[Event]:
    """Yield the events in the order in which they are committed."""
    flying: list[Event] = []
    for found in attempts(process, seed=seed, first=first):
        yield found[0]
        flying += found[1:]
        if len(flying) > IN_FLIGHT:
            yield flying.pop(0)
