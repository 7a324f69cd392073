"""
Who is asking: what a caller is granted of a tool, and what the gate always says to it.

Of a call that tells no more of who asks than its caller, all of that follows from the
registry, which is immutable: it is found once for each caller of a tool, and remembered.
Found anew, it is more than half of what a call costs.
"""

from __future__ import annotations

from typing import Final

import msgspec

from toolrt.asking import limits_under, request_of, requested_by, vetted
from toolrt.attempt import Attempt, details_of
from toolrt.call import Standing, Tool, ToolCall
from toolrt.capability import Authority
from toolrt.gate import Allow, Deny, settled_decision

# Callers are named from outside: what is remembered of them is bounded.
_MOST_CALLERS: Final = 1024


def names_only_a_caller(call: ToolCall) -> bool:
    """Return whether nothing but its caller tells who makes *call*, and why."""
    return (
        call.actor is None
        and call.requested is None
        and not call.proofs
        and call.session_id is None
        and call.reason is None
        and not call.labels
    )


def find_standing(attempt: Attempt) -> Standing:
    """Return what *attempt* is granted, and all else that follows from who asks."""
    core, call, tool = attempt.core, attempt.call, attempt.tool
    asked = (call.caller, requested_by(attempt), call.proofs)
    at = attempt.started_us // 1_000_000
    if call.proofs and isinstance(core.authority, Authority):
        # A delegation may be bound to arguments.
        granted = core.authority.resolve(*asked, at, attempt.params)
    else:
        granted = core.authority.resolve(*asked, at)
    if attempt.parent is not None:  # at most what the calling handler has
        granted = granted.within(attempt.parent.standing.capabilities)
    capabilities = granted.granted
    required: frozenset[str] = frozenset() if tool is None else tool.required
    return Standing(
        actor=attempt.standing.actor,
        granted=granted,
        capabilities=capabilities,
        provenance=granted.provenance or None,
        missing=tuple(sorted(required.difference(capabilities))),
    )


def remember_standing(attempt: Attempt, tool: Tool) -> None:
    """
    Keep the standing of *attempt* for each later call that names only its caller.

    Nothing is kept where an authority of another kind might decide otherwise next time.
    """
    core = attempt.core
    if (
        type(core.authority) is not Authority
        or attempt.parent is not None
        or attempt.namespace is not core.namespace
        or not names_only_a_caller(attempt.call)
    ):
        return
    decision = _settled(attempt)
    standing = msgspec.structs.replace(
        attempt.standing,
        decision=decision,
        limits=limits_under(decision, attempt) if isinstance(decision, Allow) else None,
        # With a store they hold the digest of the arguments.
        details=details_of(attempt) if core.store is None else None,
    )
    if len(tool.standings) >= _MOST_CALLERS:
        tool.standings.clear()
        tool.direct.clear()
    caller = attempt.call.caller
    tool.standings[caller] = attempt.standing = standing
    if core.store is None:  # else a call waits for its commit, and not for these stages
        from toolrt.direct import direct_way

        try:
            way = direct_way(core, tool, standing, caller)
        except (TypeError, RecursionError):  # a schema that is none, or too deep here
            way = None
        if way is not None:
            tool.direct[caller] = way


def _settled(attempt: Attempt) -> Allow | Deny | None:
    try:
        return vetted(settled_decision(attempt.core.gate, request_of(attempt)))
    except Exception:  # noqa: BLE001 - a rule that cannot be read: the gate says so each time
        return None
