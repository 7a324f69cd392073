"""
The second half of the pipeline: what a handler did becomes an outcome and a record.

Stage 10 ends here (a result may be late, too large or no JSON), and stage 12 is here:
the CallEvent goes to the store, which is the record, then to the sinks, which are copies.
What comes before is in ``toolrt.admit``.
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
    AuditUnavailableError,
    CapabilityDeniedError,
    InvalidArgsError,
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
    """Take an attempt to its end: release, judge the value, record (12)."""
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
    _count(attempt, outcome, event)
    if error is not None and not isinstance(error, AuditUnavailableError):
        error.call_id = attempt.call_id  # which names what is recorded
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


def _count(attempt: Attempt, outcome: Outcome | None, event: CallEvent | None) -> None:
    refused = "denied" if attempt.decision == "deny" else "error"
    attempt.core.meter.count(
        # Names that nobody declared would make the counters grow without end.
        attempt.tool_id if attempt.tool else "",
        refused if outcome is None else outcome.kind,
        0 if event is None else event.duration_ms,
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
        return ToolFailedError("INTERNAL", tool_id=attempt.tool_id, text=text)
    if size > limit:
        text = f"the result takes {size} bytes, the limit is {limit}"
        return ToolFailedError("OUTPUT_LIMIT", tool_id=attempt.tool_id, text=text)
    return None


def _outcome_of(error: ToolrtError) -> Outcome | None:
    """Return what the CallEvent says of *error*; None where there is to be none."""
    match error:
        case ToolFailedError():
            return ExecutionFailed(error.code, error.retryable)
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
            error = _without_record(attempt, exc, error)
    for sink in core.sinks:
        deliver(sink, event, details)
    return error


def _without_record(
    attempt: Attempt, exc: Exception, error: ToolrtError | None
) -> ToolrtError:
    """Return what to tell where the CallEvent could not be stored because of *exc*."""
    if attempt.context is None and error is not None:  # refused: the refusal stands
        error.add_note(f"the record of its end cannot be written: {exc}")
        return error
    told: ToolrtError = RecordLostError(str(exc), failure=error)
    if attempt.context is None:  # a dry run
        told = AuditUnavailableError(str(exc))
    told.__cause__ = exc
    return told


def _stored(attempt: Attempt, event: CallEvent, details: CallDetails) -> Event:
    return Event.from_call(
        event,
        namespace=str(attempt.namespace),
        actor=str(attempt.actor),
        details=details,
    )


def view_of(attempt: Attempt, result: CallResult) -> EventView:
    """Return what the dispatch hook sees of a successful call."""
    assert attempt.details is not None
    assert result.event is not None
    return EventView(_stored(attempt, result.event, attempt.details))


def settle_failure(attempt: Attempt, exc: BaseException) -> CallResult:
    """Settle what other people's code raised; an interrupt is raised again."""
    result = settle(attempt, None, _failure_of(attempt, exc))
    if _is_interrupt(exc):
        raise exc
    return result


def _failure_of_sub_call(exc: ToolrtError, tool_id: str) -> ToolFailedError:
    if isinstance(exc, ToolFailedError):
        return ToolFailedError(exc.code, exc.retryable, tool_id=tool_id, text=exc.text)
    return ToolFailedError(
        exc.code.upper(), exc.retryable, tool_id=tool_id, text=str(exc)
    )


def _is_interrupt(exc: BaseException) -> bool:
    """Return whether *exc* is no tool's to raise: Ctrl-C, a signal, a cancelled task."""
    return not isinstance(exc, Exception | SystemExit)


def _failure_of(attempt: Attempt, exc: BaseException) -> ToolrtError:
    """Return *exc*, raised by a handler, as the caller and the record may see it."""
    tool_id = attempt.tool_id
    failure: ToolFailedError
    if isinstance(exc, ToolrtError) and exc.call_id is not None:
        # A call that the handler made and did not answer for: its failure is this one's.
        failure = _failure_of_sub_call(exc, tool_id)
        failure.__cause__ = exc
        return failure
    if isinstance(exc, ToolTimeoutError):
        return exc
    if isinstance(exc, InvalidArgsError):
        return InvalidArgsError(exc.faults, tool_id=tool_id)
    if isinstance(exc, ToolError):
        failure = ToolFailedError(
            exc.code, exc.retryable, tool_id=tool_id, text=exc.message
        )
    elif _is_interrupt(exc):
        failure = ToolFailedError("INTERRUPTED", tool_id=tool_id)
    else:
        text = f"{type(exc).__name__}: {exc}"
        failure = ToolFailedError("INTERNAL", tool_id=tool_id, text=text)
    failure.__cause__ = exc
    return failure
