"""
The second half of the pipeline: what a handler did becomes an outcome and a record.

Stage 10 ends here (a result may be late, too large or no JSON), and stage 12 is here:
the CallEvent goes to the store, which is the record, then to the sinks, which are copies,
and a success to the dispatch hook. What comes before is in ``toolrt.admit``.
"""

from __future__ import annotations

from typing import Any, Final

from toolrt.attempt import CANONICAL, Attempt, details_of
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
from toolrt.call import CallResult, EventView
from toolrt.clock import rfc3339
from toolrt.errors import (
    CapabilityDeniedError,
    InvalidInputError,
    PackDefinitionError,
    RateLimitedError,
    RecordLostError,
    ToolError,
    ToolFailedError,
    ToolNotFoundError,
    ToolrtError,
    ToolTimeoutError,
)
from toolrt.event import CallDetails, Event

_OUTSIDE: Final = "warm"  # the tier on the record of a call that found no tool


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
        error = _record(attempt, event, error)
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
    if attempt.is_late:
        return ToolTimeoutError(attempt.context.timeout_s, tool_id=attempt.tool_id)
    try:
        size = len(CANONICAL.encode(value))
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


def _record(
    attempt: Attempt, event: CallEvent, error: ToolrtError | None
) -> ToolrtError | None:
    """
    12: the store first, it is the record; then the sinks, they are copies.

    Returns what the caller is to be told: *error*, or that the record was lost.
    """
    core = attempt.core
    details = attempt.details or details_of(attempt)
    if core.store is not None and core.store_calls:
        try:
            core.store.append_event(_stored(attempt, event, details))
        except Exception as exc:  # noqa: BLE001 - whatever the store raises, the tool has run
            error = RecordLostError(str(exc), failure=error)
            error.__cause__ = exc
    for sink in core.sinks:
        deliver(sink, event, details)
    return error


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


def settle_failure(attempt: Attempt, exc: BaseException) -> CallResult:
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
    elif isinstance(exc, TimeoutError) and attempt.context and attempt.is_late:
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
