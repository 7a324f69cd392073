"""
The first half of the pipeline: from a call to an attempt that may run, or to its end.

The numbered comments are the stages, and their order decides which failure is reported:

1 resolve, 2 namespace, 3 gate, 4 gate event durable, 5 capabilities, 6 limits,
7 arguments, 8 dry run. A failure before stage 3 gates nothing; one at stage 4 runs
nothing; an unknown name is held back until stage 4 is done, so that asking for it is
recorded like any other call. What comes after is in ``toolrt.settle``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from math import inf
from typing import Any, Final

import msgspec

from toolrt.attempt import CANONICAL, Attempt, details_of, storable
from toolrt.call import CallResult, Core, Tool, ToolCall, find_tool, require_tool
from toolrt.clock import new_ulid, rfc3339
from toolrt.cursor import CursorInvalidError
from toolrt.errors import (
    ArgFault,
    AuditUnavailableError,
    CapabilityDeniedError,
    DelegationRefusedError,
    GateReceipt,
    GateUnavailableError,
    InvalidArgsError,
    InvalidInputError,
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
from toolrt.namespace import ActorRef, Namespace
from toolrt.schema import with_defaults
from toolrt.settle import settle, settle_failure

_SECOND_NS: Final = 1_000_000_000


def admit(
    core: Core, call: ToolCall, parent: Attempt | None = None
) -> Attempt | CallResult:
    """
    Take *call* through stages 1 to 8: the attempt to run, or its early end.

    Args:
        parent: The attempt whose handler makes this call.
    """
    attempt = _begin(core, call, parent)
    try:
        _require_storable(call)
        _require_time(call.timeout_s)
        _place(attempt)
        _pass_gate(attempt)
        tool = attempt.tool or require_tool(core, attempt.call.tool)
        _require_capabilities(attempt, tool)
        _require_room(attempt, tool)
        _require_valid(attempt, tool)
        _read_cursor(attempt, tool)
    except ToolrtError as exc:
        return settle(attempt, None, exc)
    except BaseException as exc:  # noqa: BLE001 - policy code of others may raise anything
        return settle_failure(attempt, exc)
    if call.dry_run:  # 8
        return settle(
            attempt,
            {
                "dry_run": True,
                "tool_id": attempt.tool_id,
                "args_preview": attempt.params,
            },
        )
    return attempt


def _begin(core: Core, call: ToolCall, parent: Attempt | None) -> Attempt:
    """1: resolve the name; an unknown one goes on as it was given."""
    if parent is not None:  # whatever the handler says, it calls as its own caller
        call = msgspec.structs.replace(
            call,
            caller=parent.call.caller,
            actor=parent.actor,
            source=parent.call.source,
            session_id=parent.call.session_id,
            proofs=parent.call.proofs,
        )
    tool = find_tool(core, call.tool) or _sub_handler(core, call.tool, parent)
    call = msgspec.structs.replace(
        call,
        tool=storable(call.tool),
        caller=None if call.caller is None else storable(call.caller),
    )
    if call.actor is not None:
        actor = ActorRef(storable(call.actor.kind), storable(call.actor.id))
    elif call.caller:
        actor = ActorRef("caller", call.caller)
    else:
        actor = ActorRef.anonymous()
    return Attempt(
        core=core,
        call=call,
        call_id=new_ulid(core.clock.now_us()),
        started_ns=core.clock.monotonic_ns(),
        actor=actor,
        tool=tool,
        tool_id=call.tool if tool is None else tool.tool_id,
        namespace=core.namespace if parent is None else parent.namespace,
        parent=parent,
    )


def _sub_handler(core: Core, name: str, parent: Attempt | None) -> Tool | None:
    """Return the sub-handler *name* of the pack whose handler makes the call."""
    if parent is None or parent.tool is None:
        return None
    own = parent.tool.pack
    return core.sub_handlers.get((own, name.removeprefix(f"{own}:")))


def _require_storable(call: ToolCall) -> None:
    """Refuse names that no record can hold as they are; the record escapes them."""
    for field in ("tool", "caller", "session_id", "reason"):
        text = getattr(call, field)
        if text is not None and storable(text) != text:
            raise InvalidInputError(f"{field}: must be UTF-8 text without NUL")
    if call.actor is not None and storable(str(call.actor)) != str(call.actor):
        raise InvalidInputError("actor: must be UTF-8 text without NUL")
    for text in (*call.labels.keys(), *call.labels.values()):
        if storable(str(text)) != text:
            raise InvalidInputError("labels: must be UTF-8 text without NUL")


def _require_time(timeout_s: Any) -> None:
    """Refuse a deadline that is none: zero, in the past, without end, no number."""
    if timeout_s is None:
        return
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s < inf:
        raise InvalidInputError("timeout_s: must be a positive, finite number")


def _place(attempt: Attempt) -> None:
    """2: read the namespace and take a private copy of the arguments."""
    params = attempt.call.params
    params = {} if params is None else params
    if isinstance(params, Mapping):
        named = params.get("namespace")
        if named is not None or "namespace" in params:
            if not isinstance(named, str):
                raise InvalidInputError("namespace: must be string")
            attempt.namespace = Namespace.parse(named)
        if attempt.tool is not None:
            params = with_defaults(attempt.tool.definition.input_schema, params)
    # The gate, the tool and the digest see one value that nobody else can change.
    try:
        attempt.params = msgspec.json.decode(CANONICAL.encode(params))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise InvalidInputError("arguments: must be JSON") from exc
    # NaN would have become null, a set a list, without a word.
    if attempt.params != params and not _is_same_json(attempt.params, params):
        raise InvalidInputError("arguments: must be JSON")


def _is_same_json(decoded: Any, given: Any) -> bool:
    """Return whether *given* is what JSON made of it, tuples being arrays."""
    if isinstance(decoded, dict) and isinstance(given, Mapping):
        return decoded.keys() == given.keys() and all(
            _is_same_json(value, given[key]) for key, value in decoded.items()
        )
    if isinstance(decoded, list) and isinstance(given, list | tuple):
        return len(decoded) == len(given) and all(map(_is_same_json, decoded, given))
    return bool(decoded == given)


def _pass_gate(attempt: Attempt) -> None:
    """3 and 4: ask the gate, commit its answer, and go on only if it allowed."""
    core, call, tool = attempt.core, attempt.call, attempt.tool
    requested = call.requested
    if requested is None:
        requested = () if tool is None else tool.definition.capabilities
    at_us = core.clock.now_us()
    granted = core.authority.resolve(
        call.caller, requested, call.proofs, at_us // 1_000_000, attempt.params
    )
    if attempt.parent is not None:  # at most what the calling handler has
        granted = granted.within(attempt.parent.granted.granted)
    attempt.granted = granted
    attempt.details = details_of(attempt)
    request = _gate_request(attempt, requested, at_us)
    decision, problem = _ask(core, request)
    if decision is None and core.gate_on_error == "allow":
        _warn("the gate could not decide on %s; configured to allow", request.verb)
        attempt.decision = "allow"
        attempt.limits = _limits(attempt, Allow(), request.verb)
        return
    if decision is None:
        audit = AuditEvent.unavailable(request, core.gate_impl, problem)
    else:
        audit = AuditEvent.from_check(request, decision, core.gate_impl)
    attempt.decision = audit.decision
    if isinstance(decision, Allow):
        attempt.limits = _limits(attempt, decision, request.verb)
    receipt = _commit_gate_event(attempt, audit)
    if decision is None:
        raise GateUnavailableError(request.verb, problem, receipt)
    if isinstance(decision, Deny):
        raise PermissionDeniedError(
            request.verb, decision.reason, receipt, place=decision.place
        )


def _gate_request(
    attempt: Attempt, requested: tuple[str, ...], at_us: int
) -> GateRequest:
    call, tool = attempt.call, attempt.tool
    context = GateContext(
        call_id=attempt.call_id,
        caller=call.caller,
        tool_id=attempt.tool_id,
        pack=None if tool is None else tool.pack,
        effect=None if tool is None else tool.definition.effect,
        requested=requested,
        source=call.source,
        session_id=call.session_id,
        timestamp=rfc3339(at_us),
    )
    verb = call.tool if tool is None else tool.verb
    # A copy of its own: a gate that writes into the arguments changes nothing.
    args = msgspec.json.decode(CANONICAL.encode(attempt.params))
    return GateRequest(attempt.actor, attempt.namespace, verb, args, context)


def _ask(core: Core, request: GateRequest) -> tuple[Allow | Deny | None, str]:
    """Return the gate's decision; or None and what was wrong, never in its own words."""
    try:
        decision: object = core.gate.check(request)
    except (Exception, SystemExit):  # noqa: BLE001 - the plugin boundary: a broken gate refuses
        return None, "GateError"
    if type(decision) is Allow and decision.obligations == ():
        return decision, ""
    if not isinstance(decision, Allow | Deny):
        return None, "InvalidDecision"
    try:  # what it holds has to be recorded: a reason that is text, known obligations
        stated = msgspec.json.encode(decision)
        known = msgspec.json.decode(stated, type=Allow | Deny)
    except (TypeError, ValueError, RecursionError):
        return None, "InvalidDecision"
    if isinstance(known, Deny):
        known = Deny(mask_secrets(known.reason), known.place)
    return known, ""


def _commit_gate_event(attempt: Attempt, audit: AuditEvent) -> GateReceipt:
    store = attempt.core.store
    _log_decision(audit)
    if store is not None:
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
    return GateReceipt(f"{attempt.call_id}/gate", committed=store is not None)


def _log_decision(audit: AuditEvent) -> None:
    # Where nobody has imported logging nobody listens: not importing it saves a fifth
    # of the start of `toolrt run`.
    logging = sys.modules.get("logging")
    if logging is not None:
        logger = logging.getLogger("toolrt.gate")
        if logger.isEnabledFor(logging.INFO):
            extra = {"audit_event": audit.to_json().decode()}
            logger.info("gate.check", extra=extra)


def _warn(message: str, *args: object) -> None:
    import logging

    logging.getLogger("toolrt.gate").warning(message, *args)


def _limits(attempt: Attempt, allow: Allow, verb: str) -> CallLimits | None:
    """Return what limits the call; None where nothing does, or stage 5 will refuse."""
    tool, caller = attempt.tool, attempt.call.caller
    granted = attempt.granted
    if granted.refusal or tool is None or tool.required.difference(granted.granted):
        return None
    windows = (*tool.windows(caller), *_obliged_windows(allow, verb, caller))
    most = tool.definition.max_concurrent
    return CallLimits(tool.tool_id, most, windows) if most or windows else None


def _obliged_windows(allow: Allow, verb: str, caller: str | None) -> tuple[Window, ...]:
    return tuple(
        Window(
            ("obligation", verb, caller or "", str(o.window_secs), str(o.max)),
            o.max,
            o.window_secs * _SECOND_NS,
            f"{verb}: {o.max} in {o.window_secs} s, by the gate",
        )
        for o in allow.obligations
        if isinstance(o, RateLimitObligation)
    )


def _require_capabilities(attempt: Attempt, tool: Tool) -> None:
    """5: every missing capability at once; all of them, where a token is refused."""
    refusal = attempt.granted.refusal
    if refusal is not None:
        raise DelegationRefusedError(
            refusal.code,
            refusal.token,
            sorted(tool.required),
            caller=attempt.call.caller,
            tool_id=tool.tool_id,
        )
    granted = attempt.granted.granted
    missing = sorted(tool.required.difference(granted))
    if missing:
        raise CapabilityDeniedError(
            sorted(tool.required),
            granted,
            missing,
            caller=attempt.call.caller,
            tool_id=tool.tool_id,
        )


def _require_room(attempt: Attempt, tool: Tool) -> None:
    """6: concurrency and rate, without waiting."""
    if attempt.over_limit is not None:
        raise attempt.over_limit
    if attempt.limits is not None:
        attempt.core.limiter.admit(attempt.limits, attempt.started_ns)
        attempt.counted = True


def _require_valid(attempt: Attempt, tool: Tool) -> None:
    """7: every fault of the arguments at once."""
    params = attempt.params
    if isinstance(params, dict) and not tool.takes_namespace:
        params.pop("namespace", None)
    faults: tuple[ArgFault, ...] = tool.check(params)
    if faults:
        raise InvalidArgsError(faults, tool_id=tool.tool_id)


def _read_cursor(attempt: Attempt, tool: Tool) -> None:
    """7, for a page that goes on: the cursor belongs to this tool, caller, arguments."""
    if not tool.definition.paginates:
        if attempt.call.cursor is not None:
            raise CursorInvalidError("tool")
        return
    attempt.args_hash = sha256(CANONICAL.encode(attempt.params)).digest()
    if attempt.call.cursor is not None:
        attempt.cursor = attempt.core.cursors.read(
            attempt.call.cursor,
            tool_id=tool.tool_id,
            caller=attempt.call.caller,
            args_digest=attempt.args_hash,
            now_us=attempt.core.clock.now_us(),
        )
