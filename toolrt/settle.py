"""
The second half of the pipeline: what a handler did becomes an outcome and a record.

Stage 10 ends here (a result may be late, too large or no JSON), stage 11, the middleware,
sees what the caller is to see, and stage 12 is here:
the CallEvent goes to the store, which is the record, then to the sinks, which are copies.
What comes before is in ``toolrt.admit``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

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
from toolrt.call import EventView, Tool
from toolrt.clock import rfc3339
from toolrt.context import PaginatedResult
from toolrt.cursor import CursorTooLargeError
from toolrt.errors import (
    ArgFault,
    AuditUnavailableError,
    CapabilityDeniedError,
    InvalidArgsError,
    InvalidInputError,
    PackDefinitionError,
    RateLimitedError,
    RecordLostError,
    SinkUnavailableError,
    ToolError,
    ToolFailedError,
    ToolNotFoundError,
    ToolrtError,
    ToolTimeoutError,
)
from toolrt.event import CallDetails, Event
from toolrt.middleware import (
    ErrorView,
    MiddlewareCall,
    MiddlewareError,
    run_errors,
    run_results,
)
from toolrt.secrets import BrokerError

_SUCCESS: Final = Success()
_OUTSIDE: Final = "warm"  # the tier on the record of a call that found no tool


def settle(attempt: Attempt, value: Any, error: ToolrtError | None = None) -> Attempt:
    """Take *attempt* to its end and return it: release, judge the value, record (12)."""
    core, tool, standing = attempt.core, attempt.tool, attempt.standing
    ended_ns = core.clock.monotonic_ns()
    if attempt.counted and tool is not None:
        core.limiter.release(attempt.tool_id, tool.definition.max_concurrent)
    if error is None and attempt.deadline_ns is not None:
        value, error = _judge(attempt, value, ended_ns)
    outcome = _SUCCESS if error is None else _outcome_of(error)
    if outcome is None:
        _count_refusal(attempt)
    else:
        duration_ms = (ended_ns - attempt.started_ns) // 1_000_000
        # Names that nobody declared would make the counters grow without end.
        kind = "success" if outcome is _SUCCESS else outcome.kind
        core.meter.count("" if tool is None else tool.tool_id, kind, duration_ms)
        event = CallEvent(
            rfc3339(core.clock.now_us()),
            attempt.call_id,
            attempt.tool_id,
            duration_ms,
            outcome,
            _OUTSIDE if tool is None else tool.definition.tier,
            caller_id=attempt.call.caller,
            granted_capabilities=standing.capabilities,
            dry_run=attempt.call.dry_run,
            secrets_resolved=attempt.secrets is not None,
            cursor_page=_page_told(attempt) if attempt.args_hash else None,
            capability_provenance=standing.provenance,
        )
        attempt.outcome, attempt.event = outcome, event
        if core.store_calls or core.sinks:
            error = _record(attempt, event, error)
    if error is not None:
        attempt.error = error
        if not isinstance(error, AuditUnavailableError):
            error.call_id = attempt.call_id  # which names what is recorded
    attempt.value = value
    attempt.has_ended = True
    return attempt


def _judge(
    attempt: Attempt, value: Any, ended_ns: int
) -> tuple[Any, ToolrtError | None]:
    """Return what becomes of the *value* of a handler: itself, or why it is refused."""
    core, tool = attempt.core, attempt.tool
    assert tool is not None
    assert attempt.deadline_ns is not None
    error: ToolrtError | None
    try:
        if isinstance(value, PaginatedResult):
            value, attempt.next_cursor = _page_of(attempt, value)
        if ended_ns >= attempt.deadline_ns:
            error = ToolTimeoutError(attempt.timeout_s, tool_id=attempt.tool_id)
        else:
            error = _refusal_of(value, tool)
        if error is None and core.middlewares:
            value = run_results(core.middlewares, _middleware_call(attempt), value)
    except ToolrtError as exc:
        error = exc
    if error is not None:
        attempt.next_cursor = None
        return None, _seen_through_middleware(attempt, error)
    return value, None


def _page_of(attempt: Attempt, value: PaginatedResult) -> tuple[Any, str | None]:
    """Return the value of a page, and the cursor that leads on from it."""
    assert attempt.tool is not None
    if not attempt.tool.definition.paginates:
        text = "the handler returned a page and does not paginate"
        raise ToolFailedError("INTERNAL", tool_id=attempt.tool_id, text=text)
    if value.next_state is None:
        return value.value, None
    cursor = attempt.core.cursors.issue(
        tool_id=attempt.tool_id,
        caller=attempt.call.caller,
        args_digest=attempt.args_hash,
        page=_page(attempt) + 1,
        state=value.next_state,
        now_us=attempt.core.clock.now_us(),
    )
    return value.value, cursor


def _page_told(attempt: Attempt) -> int | None:
    """Return the number of the page, where there is one before or after it."""
    if attempt.next_cursor is None and attempt.cursor is None:
        return None
    return _page(attempt)


def _page(attempt: Attempt) -> int:
    return 1 if attempt.cursor is None else attempt.cursor.page


def _middleware_call(attempt: Attempt) -> MiddlewareCall:
    assert attempt.tool is not None
    return MiddlewareCall(
        attempt.tool_id, attempt.call.caller, attempt.call_id, attempt.tool.definition
    )


def _seen_through_middleware(attempt: Attempt, error: ToolrtError) -> ToolrtError:
    """11: return *error*, of stage 9 or 10, with what the middlewares let be seen."""
    middlewares = attempt.core.middlewares
    if not middlewares or isinstance(error, MiddlewareError):
        return error
    call = _middleware_call(attempt)
    try:
        if isinstance(error, ToolFailedError) and isinstance(
            error.__cause__, ToolError
        ):
            told = run_results(
                middlewares,
                call,
                {
                    "code": error.code,
                    "message": error.text,
                    "retryable": error.retryable,
                },
            )
            error.text = str(told.get("message", "")) if isinstance(told, dict) else ""
        elif isinstance(error, InvalidArgsError):
            faults = msgspec.to_builtins(error.faults)
            view = run_errors(middlewares, call, ErrorView(str(error), faults))
            seen = msgspec.convert(view.details, tuple[ArgFault, ...])
            return InvalidArgsError(seen, tool_id=attempt.tool_id)
        elif isinstance(error, ToolFailedError):
            error.text = run_errors(middlewares, call, ErrorView(error.text)).message
        elif isinstance(error, BrokerError):
            view = run_errors(middlewares, call, ErrorView(error.problem))
            return BrokerError(view.message, secret=error.secret)
    except MiddlewareError as exc:
        return exc
    except msgspec.ValidationError as exc:
        failed = MiddlewareError("on_error", attempt.tool_id)
        failed.__cause__ = exc
        return failed
    return error


def _count_refusal(attempt: Attempt) -> None:
    refused = "denied" if attempt.decision == "deny" else "error"
    tool_id = "" if attempt.tool is None else attempt.tool_id
    attempt.core.meter.count(tool_id, refused, 0)


def _refusal_of(value: Any, tool: Tool) -> ToolFailedError | None:
    """Return why a returned *value* is refused: it is too large or no JSON."""
    try:
        size = len(CANONICAL.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        text = f"the tool returned something that is no JSON: {exc}"
        return ToolFailedError("INTERNAL", tool_id=tool.tool_id, text=text)
    if size > tool.limits.max_output_bytes:
        limit = tool.limits.max_output_bytes
        text = f"the result takes {size} bytes, the limit is {limit}"
        return ToolFailedError("OUTPUT_LIMIT", tool_id=tool.tool_id, text=text)
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
        case BrokerError():
            return ExecutionFailed(error.code, error.retryable)
        case PackDefinitionError() | MiddlewareError() | CursorTooLargeError():
            return ExecutionFailed("INTERNAL", retryable=False)
        case _:  # denied, gate unavailable, no record: no CallEvent
            return None


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
        try:
            deliver(sink, event, details)
        except SinkUnavailableError as exc:
            error = _without_record(attempt, exc, error)
    return error


def _without_record(
    attempt: Attempt, exc: Exception, error: ToolrtError | None
) -> ToolrtError:
    """Return what to tell where the CallEvent could not be stored because of *exc*."""
    if isinstance(error, RecordLostError) or (
        attempt.deadline_ns is None and error is not None  # refused: the refusal stands
    ):
        error.add_note(f"the record of its end cannot be written: {exc}")
        return error
    told: ToolrtError = RecordLostError(str(exc), failure=error)
    if attempt.deadline_ns is None:  # a dry run
        told = AuditUnavailableError(str(exc))
    told.__cause__ = exc
    return told


def _stored(attempt: Attempt, event: CallEvent, details: CallDetails) -> Event:
    return Event.from_call(
        event,
        namespace=str(attempt.namespace),
        actor=str(attempt.standing.actor),
        details=details,
    )


def view_of(attempt: Attempt) -> EventView:
    """Return what the dispatch hook sees of a successful call."""
    assert attempt.details is not None
    assert attempt.event is not None
    return EventView(_stored(attempt, attempt.event, attempt.details))


def settle_failure(attempt: Attempt, exc: BaseException) -> Attempt:
    """Settle what other people's code raised; an interrupt is raised again."""
    failure = _failure_of(attempt, exc)
    if attempt.tool is not None and attempt.params is not None:
        failure = _seen_through_middleware(attempt, failure)
    settle(attempt, None, failure)
    if _is_interrupt(exc):
        raise exc
    return attempt


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
    if isinstance(exc, ToolTimeoutError | BrokerError):
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
        failure = ToolFailedError("INTERNAL", tool_id=tool_id, text=_told(exc))
    failure.__cause__ = exc
    return failure


def _told(exc: BaseException) -> str:
    name = type(exc).__name__
    try:
        return f"{name}: {exc}"
    except Exception:  # noqa: BLE001 - the plugin boundary: its text is code of others too
        return name
