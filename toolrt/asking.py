"""
Stages 3 and 4 of the pipeline: the gate is asked, and what it said is recorded.

A gate of somebody else's sees each call, with a copy of the arguments that is its own.
What a gate always says to a caller of a tool is known already (``toolrt.standing``), and
where neither a store nor a log wants to hear of it nothing is left to be done here.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Final

import msgspec

from toolrt.attempt import CANONICAL, Attempt
from toolrt.call import Core, Tool
from toolrt.clock import rfc3339
from toolrt.errors import (
    AuditUnavailableError,
    GateReceipt,
    GateUnavailableError,
    PermissionDeniedError,
    RateLimitedError,
    ToolrtError,
)
from toolrt.event import Event
from toolrt.gate import (
    Allow,
    AuditEvent,
    Deny,
    GateContext,
    GateRequest,
    RateLimitObligation,
    mask_secrets,
)
from toolrt.limits import CallLimits, Window

_SECOND_NS: Final = 1_000_000_000


def pass_gate(attempt: Attempt) -> None:
    """
    Ask the gate, commit its answer, and return only if it allowed.

    Raises:
        PermissionDeniedError: It did not.
        GateUnavailableError: It could not decide.
        AuditUnavailableError: Its answer could not be stored.
    """
    core, decision, problem = attempt.core, attempt.standing.decision, ""
    args = None
    if decision is None:
        # A copy of its own: a gate that writes into the arguments changes nothing.
        args = msgspec.json.decode(CANONICAL.encode(attempt.params))
    request = request_of(attempt, args)
    if decision is None:
        decision, problem = _ask(core, request)
    if decision is None and core.gate_on_error == "allow":
        _warn("the gate could not decide on %s; configured to allow", request.verb)
        attempt.decision = "allow"
        attempt.limits = limits_under(Allow(), attempt)
        return
    if isinstance(decision, Allow):
        attempt.decision = "allow"
        attempt.limits = limits_under(decision, attempt)
    else:
        attempt.decision = "gate_unavailable" if decision is None else "deny"
    logger = listener()
    if core.store is not None or logger is not None:
        if decision is None:
            audit = AuditEvent.unavailable(request, core.gate_impl, problem)
        else:
            audit = AuditEvent.from_check(request, decision, core.gate_impl)
        _record(attempt, audit, logger)
    if isinstance(decision, Allow):
        return
    receipt = GateReceipt(f"{attempt.call_id}/gate", committed=core.store is not None)
    if decision is None:
        raise GateUnavailableError(request.verb, problem, receipt)
    raise PermissionDeniedError(
        request.verb, decision.reason, receipt, place=decision.place
    )


def request_of(attempt: Attempt, args: Any = None) -> GateRequest:
    """Return what a gate is asked about *attempt*, with *args* for the arguments."""
    call, tool = attempt.call, attempt.tool
    context = GateContext(
        call_id=attempt.call_id,
        caller=call.caller,
        tool_id=attempt.tool_id,
        pack=None if tool is None else tool.pack,
        effect=None if tool is None else tool.definition.effect,
        requested=requested_by(attempt),
        source=call.source,
        session_id=call.session_id,
        timestamp=rfc3339(attempt.started_us),
    )
    verb = call.tool if tool is None else tool.verb
    return GateRequest(attempt.standing.actor, attempt.namespace, verb, args, context)


def requested_by(attempt: Attempt) -> tuple[str, ...]:
    """Return the capabilities that the call asks for; by default what the tool needs."""
    if attempt.call.requested is not None:
        return attempt.call.requested
    return () if attempt.tool is None else attempt.tool.definition.capabilities


def _ask(core: Core, request: GateRequest) -> tuple[Allow | Deny | None, str]:
    """Return the gate's decision; or None and what was wrong, never in its own words."""
    try:
        decision: object = core.gate.check(request)
    except (Exception, SystemExit):  # noqa: BLE001 - the plugin boundary: a broken gate refuses
        return None, "GateError"
    known = vetted(decision)
    return known, "" if known is not None else "InvalidDecision"


def vetted(decision: object) -> Allow | Deny | None:
    """Return *decision* as it can be recorded and shown; None if it is none."""
    if type(decision) is Allow and decision.obligations == ():
        return decision
    if not isinstance(decision, Allow | Deny):
        return None
    try:  # what it holds has to be recorded: a reason that is text, known obligations
        stated = msgspec.json.encode(decision)
        known = msgspec.json.decode(stated, type=Allow | Deny)
    except (TypeError, ValueError, RecursionError):
        return None
    if isinstance(known, Deny):
        known = Deny(mask_secrets(known.reason), known.place)
    return known


def _record(attempt: Attempt, audit: AuditEvent, logger: Any) -> None:
    """Log *audit* if there is a logger for it, and commit it if there is a store."""
    if logger is not None:
        logger.info("gate.check", extra={"audit_event": audit.to_json().decode()})
    store = attempt.core.store
    if store is None:
        return
    event = Event.from_audit(
        audit,
        call_id=attempt.call_id,
        tool_id=attempt.tool_id,
        caller_id=attempt.call.caller,
        details=attempt.details,
    )
    try:
        deciding = attempt.core.limiting_store
        if attempt.limits is None or deciding is None:
            store.append_event(event)
        else:
            deciding.append_event_within(event, attempt.limits)
            attempt.limits = None  # decided
    except RateLimitedError as exc:  # the event is stored; stage 6 tells of it
        attempt.over_limit = exc
    except Exception as exc:  # whatever the store raises: no record, no run
        retryable = isinstance(exc, ToolrtError) and exc.retryable
        raise AuditUnavailableError(str(exc), retryable=retryable) from exc


INFO: Final = 20  #: Of decisions; as in logging, which is not imported for it.


def listener() -> Any:
    """Return the logger of decisions if somebody wants to hear of them, else None."""
    # Where nobody has imported logging nobody listens: not importing it saves a fifth
    # of the start of `toolrt run`.
    if "logging" not in sys.modules:
        return None
    logger = gate_logger()
    return logger if logger.isEnabledFor(INFO) else None


# getLogger takes a lock and 0.3 us of each call.
@cache
def gate_logger() -> Any:
    """Return the logger of decisions."""
    import logging

    return logging.getLogger("toolrt.gate")


def _warn(message: str, *args: object) -> None:
    import logging

    logging.getLogger("toolrt.gate").warning(message, *args)


def limits_under(allow: Allow, attempt: Attempt) -> CallLimits | None:
    """Return what limits the call; None where nothing does, or stage 5 will refuse."""
    tool, caller = attempt.tool, attempt.call.caller
    standing = attempt.standing
    if tool is None or standing.missing or standing.granted.refusal is not None:
        return None
    windows = (*tool.windows(caller), *_obliged_windows(allow, tool, caller))
    most = tool.definition.max_concurrent
    return CallLimits(tool.tool_id, most, windows) if most or windows else None


def _obliged_windows(
    allow: Allow, tool: Tool, caller: str | None
) -> tuple[Window, ...]:
    return tuple(
        Window(
            ("obligation", tool.verb, caller or "", str(o.window_secs), str(o.max)),
            o.max,
            o.window_secs * _SECOND_NS,
            f"{tool.verb}: {o.max} in {o.window_secs} s, by the gate",
        )
        for o in allow.obligations
        if isinstance(o, RateLimitObligation)
    )
