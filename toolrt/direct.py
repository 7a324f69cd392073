"""
The whole pipeline in one flat function, for a call that only its arguments can refuse.

Once it is known who asks (``toolrt.standing``), most calls of a program need no decision
any more: the gate always allows, nothing is missing, and the handler takes only its
arguments. Such a call takes a third of the time here. What is not so ordinary, before or
after the handler, is left to the stages of ``toolrt.admit`` and ``toolrt.settle``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from toolrt.asking import INFO, gate_logger
from toolrt.attempt import CANONICAL, PLAIN, Attempt, Odd
from toolrt.audit.call_event import CallEvent, Success
from toolrt.audit.sinks import EndedCall, Fallback, OnCall, log_fault
from toolrt.call import Core, DirectWay, Standing, Tool, ToolCall
from toolrt.clock import new_ulid, rfc3339
from toolrt.errors import PackDefinitionError, RateLimitedError
from toolrt.gate import Allow
from toolrt.schema import with_defaults

_SUCCESS: Final = Success()
_DECODE: Final = msgspec.json.Decoder().decode


_LONG_WAY: Final = Odd()
#: What arguments, a schema or a limit may raise, and raise again when asked again.
_FOUND_AGAIN: Final = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    PackDefinitionError,
    RateLimitedError,
)


def direct_way(
    core: Core, tool: Tool, standing: Standing, caller: str | None
) -> DirectWay | None:
    """Return what makes plain calls of *tool* for *caller*; None if more may be needed."""
    function = tool.bound.function
    if function is None or not _is_ordinary(core, tool, standing):
        return None
    # What a function closes over it reads in a third of the time of an attribute.
    read = tool.reader()
    is_checked = read is not None
    encode, decode = CANONICAL.encode, read or _DECODE
    is_heard = gate_logger().isEnabledFor
    now_us, monotonic_ns = core.clock.now_us, core.clock.monotonic_ns
    defaults, timeout_ns = tool.defaults, tool.timeout_ns
    max_bytes = tool.limits.max_output_bytes
    limits, limiter = standing.limits, core.limiter
    count = core.meter.counter(tool.tool_id, "success")
    sink: Any = core.sinks[0] if core.sinks else None
    put, details = None if sink is None else sink.ended_calls(), standing.details
    attempt = _attempts(core, tool, standing, caller)
    event = _events(tool, standing, caller)

    def call(params: Any) -> Any:  # noqa: PLR0912 - flat on purpose, see above
        if type(params) is not dict or is_heard(INFO):
            return _LONG_WAY
        started_ns = monotonic_ns()
        if defaults:
            params = with_defaults(defaults, params)
        try:
            own = decode(encode(params))
            if own != params:
                return _LONG_WAY
            if not is_checked and ("namespace" in own or tool.check(own)):
                return _LONG_WAY
            if limits is not None:
                limiter.admit(limits, started_ns)
        except _FOUND_AGAIN:
            return _LONG_WAY  # which says so
        except BaseException as exc:  # noqa: BLE001 - such as a signal's: it comes only once
            return Odd(attempt(None, started_ns, counted=False), error=exc)
        try:
            value = function(**own)
        except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
            return Odd(attempt(own, started_ns), error=exc)
        elapsed_ns = monotonic_ns() - started_ns
        if type(value) not in PLAIN:  # there may be something to be awaited
            return Odd(attempt(own, started_ns), value)
        if limits is not None:
            limiter.release(limits.tool_id, limits.max_concurrent)
        try:
            if len(encode(value)) > max_bytes or elapsed_ns >= timeout_ns:
                return Odd(attempt(own, started_ns, counted=False), value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Odd(attempt(own, started_ns, counted=False), value)
        count(elapsed_ns // 1_000_000)
        if put is not None:
            try:
                put(EndedCall(event, now_us(), elapsed_ns), details)
            except Exception as exc:  # noqa: BLE001 - as `deliver` does, which takes 0.1 us
                log_fault(sink, exc)
        return value

    return call


def _events(
    tool: Tool, standing: Standing, caller: str | None
) -> Callable[[int, int], CallEvent]:
    """Return what makes the events of calls that succeeded, see `EndedCall`."""

    def event(ended_us: int, elapsed_ns: int) -> CallEvent:
        return CallEvent(
            rfc3339(ended_us),
            new_ulid(ended_us - elapsed_ns // 1000),
            tool.tool_id,
            elapsed_ns // 1_000_000,
            _SUCCESS,
            tool.definition.tier,
            caller_id=caller,
            granted_capabilities=standing.capabilities,
            capability_provenance=standing.provenance,
        )

    return event


def _attempts(
    core: Core, tool: Tool, standing: Standing, caller: str | None
) -> Callable[..., Attempt]:
    """Return what makes, of arguments and a start, the attempt that the stages made."""
    has_limits = standing.limits is not None

    def attempt(params: Any, started_ns: int, *, counted: bool = has_limits) -> Attempt:
        started_us = (
            core.clock.now_us() - (core.clock.monotonic_ns() - started_ns) // 1000
        )
        return Attempt(
            core=core,
            call=ToolCall(tool.verb, params, caller),
            call_id=new_ulid(started_us),
            started_us=started_us,
            started_ns=started_ns,
            tool=tool,
            tool_id=tool.tool_id,
            namespace=core.namespace,
            standing=standing,
            params=params,
            details=standing.details,
            decision="allow",
            limits=standing.limits,
            counted=counted,
            timeout_s=tool.limits.timeout_s,
            deadline_ns=started_ns + tool.timeout_ns,
        )

    return attempt


def _is_ordinary(core: Core, tool: Tool, standing: Standing) -> bool:
    """Return whether nothing but the arguments decides on a call, and on its record."""
    definition, bound = tool.definition, tool.bound
    return (
        type(standing.decision) is Allow
        and not standing.missing
        and standing.granted.refusal is None
        and core.store is None
        and not core.middlewares
        and core.hook is None
        and not (core.has_alarm and tool.can_hang)
        and not (definition.secrets and core.broker is not None)
        and not definition.paginates
        and definition.deadline != "thread"
        and not bound.is_async
        and not tool.takes_namespace
        and _takes_ended_calls(core.sinks)
    )


def _takes_ended_calls(sinks: tuple[OnCall, ...]) -> bool:
    """Return whether *sinks* let a call's event be made on another thread, or are none."""
    if not sinks:
        return True
    sink: Any = sinks[0]
    # One event is for all sinks of a call, and one that is required, be it behind a
    # fallback, may fail the call. What stands in front of a sink is not that sink.
    return (
        len(sinks) == 1
        and hasattr(type(sink), "ended_calls")
        and not getattr(sink, "required", True)
        and not isinstance(getattr(sink, "backpressure", None), Fallback)
    )
