"""
The pipeline: one call from its name to its record.

Two plain functions, `admit` and `settle`; between them only the handler runs, called by
`run` or awaited by `arun`. The numbered comments are the stages, and their order decides
which failure is reported:

1 resolve, 2 namespace, 3 gate, 4 gate event durable, 5 capabilities, 6 limits,
7 arguments, 8 dry run, 10 handler, 12 CallEvent. A failure before stage 3 gates nothing;
one at stage 4 runs nothing; an unknown name is held back until stage 4 is done, so that
asking for it is recorded like any other call.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

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
from toolrt.audit.sinks import deliver
from toolrt.call import (
    CallResult,
    Core,
    EventView,
    Tool,
    ToolCall,
    find_tool,
    not_found,
)
from toolrt.capability import NO_CAPABILITIES, CapabilitySet
from toolrt.clock import new_ulid, rfc3339
from toolrt.context import CallContext
from toolrt.errors import (
    ArgFault,
    AuditUnavailableError,
    CapabilityDeniedError,
    GateReceipt,
    GateUnavailableError,
    InvalidArgsError,
    InvalidInputError,
    PackDefinitionError,
    PermissionDeniedError,
    RateLimitedError,
    RecordLostError,
    ToolError,
    ToolFailedError,
    ToolNotFoundError,
    ToolrtError,
    ToolTimeoutError,
)
from toolrt.event import CallDetails, Event
from toolrt.gate import (
    Allow,
    AuditEvent,
    Decision,
    Deny,
    GateContext,
    GateRequest,
    RateLimitObligation,
)
from toolrt.limits import Window
from toolrt.namespace import ActorRef, Namespace, mint_token
from toolrt.schema import with_defaults

if TYPE_CHECKING:
    from toolrt.registry import Registry

_CANONICAL: Final = msgspec.json.Encoder(order="sorted")
_DIGEST_BYTES: Final = 16
_SECOND_NS: Final = 1_000_000_000
_OUTSIDE: Final = "warm"  # the tier on the record of a call that found no tool


class Attempt(msgspec.Struct, kw_only=True):
    """One call on its way; `admit` fills it in, `settle` reads it."""

    core: Core
    call: ToolCall
    call_id: str
    started_ns: int
    actor: ActorRef
    tool: Tool | None
    tool_id: str
    namespace: Namespace
    params: Any = None
    granted: CapabilitySet = NO_CAPABILITIES
    details: CallDetails | None = None
    decision: Decision | None = None
    windows: tuple[Window, ...] = ()
    #: True while the call counts as in flight.
    counted: bool = False
    context: CallContext | None = None


def run(core: Core, registry: Registry, call: ToolCall) -> CallResult:
    """Make *call* on this thread."""
    attempt = admit(core, registry, call)
    if isinstance(attempt, CallResult):
        return attempt
    assert attempt.tool is not None
    assert attempt.context is not None
    try:
        value = attempt.tool.bound.call(attempt.params, attempt.context)
        if attempt.tool.bound.is_async:
            value = _run_async(value, attempt.context.timeout_s)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return _settle_failure(attempt, exc)
    return settle(attempt, value)


async def arun(core: Core, registry: Registry, call: ToolCall) -> CallResult:
    """Make *call* on the running event loop."""
    import asyncio

    attempt = admit(core, registry, call)
    if isinstance(attempt, CallResult):
        return attempt
    assert attempt.tool is not None
    assert attempt.context is not None
    try:
        value = attempt.tool.bound.call(attempt.params, attempt.context)
        if attempt.tool.bound.is_async:
            value = await asyncio.wait_for(value, attempt.context.timeout_s)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return _settle_failure(attempt, exc)
    return settle(attempt, value)


def _run_async(value: Any, timeout_s: float) -> Any:
    import asyncio

    async def bounded() -> Any:
        return await asyncio.wait_for(value, timeout_s)

    return asyncio.run(bounded())


def admit(core: Core, registry: Registry, call: ToolCall) -> Attempt | CallResult:
    """Take *call* through stages 1 to 8: the attempt to run, or its early end."""
    attempt = _begin(core, call)
    try:
        _place(attempt)
        _pass_gate(attempt)
        if attempt.tool is None:
            raise not_found(core, call.tool)
        _require_capabilities(attempt, attempt.tool)
        _count_in(attempt, attempt.tool)
        _require_valid(attempt, attempt.tool)
    except ToolrtError as exc:
        return settle(attempt, None, exc)
    if call.dry_run:  # 8
        return settle(
            attempt,
            {
                "dry_run": True,
                "tool_id": attempt.tool_id,
                "args_preview": attempt.params,
            },
        )
    _open_context(attempt, attempt.tool, registry)
    return attempt


def _begin(core: Core, call: ToolCall) -> Attempt:
    """1: resolve the name; an unknown one goes on as it was given."""
    tool = find_tool(core, call.tool)
    actor = call.actor
    if actor is None:
        actor = ActorRef("caller", call.caller) if call.caller else ActorRef.anonymous()
    return Attempt(
        core=core,
        call=call,
        call_id=new_ulid(core.clock.now_us()),
        started_ns=core.clock.monotonic_ns(),
        actor=actor,
        tool=tool,
        tool_id=call.tool if tool is None else tool.tool_id,
        namespace=core.namespace,
    )


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
        attempt.params = msgspec.json.decode(_CANONICAL.encode(params))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise InvalidInputError("arguments: must be JSON") from exc


def _pass_gate(attempt: Attempt) -> None:
    """3 and 4: ask the gate, commit its answer, and go on only if it allowed."""
    core, call, tool = attempt.core, attempt.call, attempt.tool
    requested = call.requested
    if requested is None:
        requested = () if tool is None else tool.definition.capabilities
    at_us = core.clock.now_us()
    attempt.granted = core.authority.resolve(
        call.caller, requested, call.proofs, at_us // 1_000_000
    )
    attempt.details = _details(attempt)
    request = _gate_request(attempt, requested, at_us)
    decision = _ask(core, request)
    if decision is None and core.gate_on_error == "allow":
        _warn("the gate could not decide on %s; configured to allow", request.verb)
        attempt.decision = "allow"
        return
    if decision is None:
        audit = AuditEvent.unavailable(request, core.gate_impl)
    else:
        audit = AuditEvent.from_check(request, decision, core.gate_impl)
    attempt.decision = audit.decision
    receipt = _commit_gate_event(attempt, audit)
    if decision is None:
        raise GateUnavailableError(request.verb, "the gate failed", receipt)
    if isinstance(decision, Deny):
        raise PermissionDeniedError(request.verb, decision.reason, receipt)
    attempt.windows = _obliged_windows(decision, request.verb, call.caller)


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
    args = msgspec.json.decode(_CANONICAL.encode(attempt.params))
    return GateRequest(attempt.actor, attempt.namespace, verb, args, context)


def _ask(core: Core, request: GateRequest) -> Allow | Deny | None:
    """Return the gate's decision, or None where it raised or gave something else."""
    try:
        decision: object = core.gate.check(request)
    except Exception:  # noqa: BLE001 - the plugin boundary: a broken gate refuses
        return None
    return decision if isinstance(decision, Allow | Deny) else None


def _commit_gate_event(attempt: Attempt, audit: AuditEvent) -> GateReceipt:
    event = Event.from_audit(
        audit,
        call_id=attempt.call_id,
        tool_id=attempt.tool_id,
        caller_id=attempt.call.caller,
        details=attempt.details,
    )
    _log_decision(audit)
    store = attempt.core.store
    if store is not None:
        try:
            store.append_event(event)
        except Exception as exc:  # whatever the store raises: no record, no run
            retryable = isinstance(exc, ToolrtError) and exc.retryable
            raise AuditUnavailableError(str(exc), retryable=retryable) from exc
    return GateReceipt(event.id, committed=store is not None)


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


def _details(attempt: Attempt) -> CallDetails:
    core, call, tool = attempt.core, attempt.call, attempt.tool
    digest = None
    if core.store is not None:
        text = _CANONICAL.encode(attempt.params)
        digest = hmac.digest(core.store.args_key, text, "sha256")[:_DIGEST_BYTES]
    return CallDetails(
        namespace=str(attempt.namespace),
        actor=str(attempt.actor),
        caller=call.caller,
        pack=None if tool is None else tool.pack,
        effect=None if tool is None else tool.definition.effect,
        args_digest=digest,
        grants=attempt.granted,
        policy=core.policy,
        # Only a call whose end is stored too can be in flight or interrupted.
        process=core.store.process if core.store and core.store_calls else None,
        reason=call.reason,
        labels=call.labels,
    )


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
    """5: every missing capability at once."""
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


def _count_in(attempt: Attempt, tool: Tool) -> None:
    """6: concurrency and rate, without waiting."""
    windows = (*tool.windows(attempt.call.caller), *attempt.windows)
    most = tool.definition.max_concurrent
    if most or windows:
        attempt.core.limiter.admit(tool.tool_id, most, windows, attempt.started_ns)
        attempt.counted = True


def _require_valid(attempt: Attempt, tool: Tool) -> None:
    """7: every fault of the arguments at once."""
    params = attempt.params
    if isinstance(params, dict) and not tool.takes_namespace:
        params.pop("namespace", None)
    faults: tuple[ArgFault, ...] = tool.check(params)
    if faults:
        raise InvalidArgsError(faults, tool_id=tool.tool_id)


def _open_context(attempt: Attempt, tool: Tool, registry: Registry) -> None:
    timeout_s = tool.limits.timeout_s
    if attempt.call.timeout_s is not None:
        timeout_s = min(timeout_s, attempt.call.timeout_s)
    clock = attempt.core.clock
    attempt.context = CallContext(
        call_id=attempt.call_id,
        caller=attempt.call.caller,
        tool_id=tool.tool_id,
        token=mint_token(attempt.namespace, attempt.actor),
        capabilities=attempt.granted,
        timeout_s=timeout_s,
        max_output_bytes=tool.limits.max_output_bytes,
        deadline_ns=clock.monotonic_ns() + int(timeout_s * _SECOND_NS),
        monotonic_ns=clock.monotonic_ns,
        registry=registry,
    )


def _settle_failure(attempt: Attempt, exc: BaseException) -> CallResult:
    """Settle a handler that raised; what must not be swallowed is raised again."""
    result = settle(attempt, None, _failure_of(attempt, exc))
    if not isinstance(exc, Exception):
        raise exc
    return result


def _failure_of(attempt: Attempt, exc: BaseException) -> ToolFailedError:
    """Return *exc*, raised by a handler, as the caller and the record may see it."""
    tool_id = attempt.tool_id
    failure: ToolFailedError
    if isinstance(exc, ToolTimeoutError):
        return exc
    if isinstance(exc, ToolError):
        failure = ToolFailedError(
            exc.tool_code, retryable=exc.retryable, tool_id=tool_id, text=exc.message
        )
    elif isinstance(exc, TimeoutError) and attempt.context and _is_late(attempt):
        failure = ToolTimeoutError(attempt.context.timeout_s, tool_id=tool_id)
    elif not isinstance(exc, Exception):  # Ctrl-C, SystemExit, task cancelled
        failure = ToolFailedError("INTERRUPTED", retryable=False, tool_id=tool_id)
    else:
        text = f"{type(exc).__name__}: {exc}"
        failure = ToolFailedError(
            "INTERNAL", retryable=False, tool_id=tool_id, text=text
        )
    failure.__cause__ = exc
    return failure


def _is_late(attempt: Attempt) -> bool:
    assert attempt.context is not None
    return attempt.context.remaining() <= 0


def settle(
    attempt: Attempt, value: Any, error: ToolrtError | None = None
) -> CallResult:
    """Take an attempt to its end: release, judge, record (12), tell the hook."""
    core = attempt.core
    if attempt.counted and attempt.tool is not None:
        core.limiter.release(attempt.tool_id, attempt.tool.definition.max_concurrent)
    if error is None and attempt.context is not None:
        error = _refusal_of(attempt, value)
        value = None if error else value
    outcome = Success() if error is None else _outcome_of(error)
    event = None
    if outcome is not None:
        event = _call_event(attempt, outcome)
        lost = _record(attempt, event)
        error = lost or error
    if error is not None:
        error.call_id = attempt.call_id
    elif core.hook is not None and event is not None and not attempt.call.dry_run:
        _tell_hook(attempt, event)
    return CallResult(
        ok=error is None,
        value=value,
        error=error,
        outcome=outcome,
        call_id=attempt.call_id,
        tool_id=attempt.tool_id,
        decision=attempt.decision,
        event=event,
    )


def _refusal_of(attempt: Attempt, value: Any) -> ToolFailedError | None:
    """Return why a returned *value* is refused: it is late, too large or no JSON."""
    assert attempt.context is not None
    limit = attempt.context.max_output_bytes
    if _is_late(attempt):
        return ToolTimeoutError(attempt.context.timeout_s, tool_id=attempt.tool_id)
    try:
        size = len(_CANONICAL.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        text = f"the tool returned something that is no JSON: {exc}"
        return ToolFailedError(
            "INTERNAL", retryable=False, tool_id=attempt.tool_id, text=text
        )
    if size > limit:
        text = f"the result takes {size} bytes, the limit is {limit}"
        return ToolFailedError(
            "OUTPUT_LIMIT", retryable=False, tool_id=attempt.tool_id, text=text
        )
    return None


def _outcome_of(error: ToolrtError) -> Outcome | None:
    """Return what the CallEvent says of *error*; None where there is to be none."""
    match error:
        case ToolFailedError():
            return ExecutionFailed(error.tool_code, error.retryable)
        case CapabilityDeniedError():
            return CapabilityDenied(error.missing)
        case RateLimitedError():
            return RateLimited(error.retry_after_ms)
        case ToolNotFoundError():
            return ToolNotFound()
        case InvalidInputError():
            return InvalidArgs(str(error))
        case PackDefinitionError():
            return ExecutionFailed("INTERNAL", retryable=False)
        case _:  # denied, gate unavailable, no record: no CallEvent
            return None


def _call_event(attempt: Attempt, outcome: Outcome) -> CallEvent:
    core, granted = attempt.core, attempt.granted
    elapsed_ns = core.clock.monotonic_ns() - attempt.started_ns
    tool = attempt.tool
    return CallEvent(
        rfc3339(core.clock.now_us()),
        attempt.call_id,
        attempt.tool_id,
        elapsed_ns // 1_000_000,
        outcome,
        _OUTSIDE if tool is None else tool.definition.tier,
        caller_id=attempt.call.caller,
        granted_capabilities=granted.granted,
        dry_run=attempt.call.dry_run,
        capability_provenance=granted.provenance or None,
    )


def _record(attempt: Attempt, event: CallEvent) -> RecordLostError | None:
    """12: the store first, it is the record; then the sinks, they are copies."""
    core = attempt.core
    details = attempt.details or _details(attempt)
    lost = None
    if core.store is not None and core.store_calls:
        try:
            core.store.append_event(_stored(attempt, event, details))
        except Exception as exc:  # noqa: BLE001 - whatever the store raises, the tool has run
            lost = RecordLostError(str(exc))
            lost.__cause__ = exc
    for sink in core.sinks:
        deliver(sink, event, details)
    return lost


def _stored(attempt: Attempt, event: CallEvent, details: CallDetails) -> Event:
    return Event.from_call(
        event,
        namespace=str(attempt.namespace),
        actor=str(attempt.actor),
        details=details,
    )


def _tell_hook(attempt: Attempt, event: CallEvent) -> None:
    assert attempt.core.hook is not None
    assert attempt.details is not None
    try:
        attempt.core.hook.on_dispatch(
            EventView(_stored(attempt, event, attempt.details))
        )
    except Exception:  # the call has succeeded; its observer's fault is logged
        import logging

        logging.getLogger(__name__).exception("the dispatch hook raised")
