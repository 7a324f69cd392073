"""
Between admission and the handler: stage 9, the secrets, and the context of the call.

What fails here fails like the handler itself: it is recorded and passes the middleware.
"""

from __future__ import annotations

from typing import Any, Final

from toolrt.attempt import Attempt
from toolrt.call import Tool
from toolrt.context import CallContext
from toolrt.namespace import mint_token
from toolrt.secrets import BrokerError, SecretBundle, TokenBroker

_SECOND_NS: Final = 1_000_000_000


def prepare(attempt: Attempt, registry: Any) -> None:
    """
    Give *attempt* its secrets, its deadline and, if its handler takes one, its context.

    Args:
        registry: What the handler is given for calls of its own.

    Raises:
        BrokerError: A secret that the handler needs cannot be had.
    """
    tool = attempt.tool
    assert tool is not None
    if tool.definition.secrets and attempt.core.broker is not None:
        attempt.secrets = _resolve_secrets(attempt.core.broker, attempt, tool)
    now_ns = attempt.core.clock.monotonic_ns()
    if attempt.call.timeout_s is None and attempt.parent is None:
        attempt.timeout_s = tool.limits.timeout_s
        attempt.deadline_ns = now_ns + tool.timeout_ns
    else:
        attempt.timeout_s = timeout_s = _shortened(attempt, tool, now_ns)
        attempt.deadline_ns = now_ns + int(timeout_s * _SECOND_NS)
    if tool.bound.function is None:
        attempt.context = _context(attempt, tool, registry)


def _resolve_secrets(
    broker: TokenBroker, attempt: Attempt, tool: Tool
) -> SecretBundle | None:
    """9: what the handler names, and only that."""
    try:
        return broker.resolve(attempt.call.caller, tool.definition.secrets)
    except BrokerError:
        raise
    except Exception as exc:  # the plugin boundary: its text may hold a secret
        raise BrokerError("the broker failed") from exc


def _shortened(attempt: Attempt, tool: Tool, now_ns: int) -> float:
    """Return the deadline in seconds: the tool's own, the call's, the parent's rest."""
    timeout_s = tool.limits.timeout_s
    if attempt.call.timeout_s is not None:
        timeout_s = min(timeout_s, attempt.call.timeout_s)
    if attempt.parent is not None:
        assert attempt.parent.deadline_ns is not None
        left_ns = attempt.parent.deadline_ns - now_ns
        timeout_s = min(timeout_s, max(0.0, left_ns / _SECOND_NS))
    return timeout_s


def _context(attempt: Attempt, tool: Tool, registry: Any) -> CallContext:
    assert attempt.deadline_ns is not None
    return CallContext(
        call_id=attempt.call_id,
        caller=attempt.call.caller,
        tool_id=tool.tool_id,
        token=mint_token(attempt.namespace, attempt.standing.actor),
        capabilities=attempt.standing.granted,
        timeout_s=attempt.timeout_s,
        max_output_bytes=tool.limits.max_output_bytes,
        deadline_ns=attempt.deadline_ns,
        monotonic_ns=attempt.core.clock.monotonic_ns,
        secrets=attempt.secrets,
        cursor=attempt.cursor,
        registry=registry.within(attempt),
    )
