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
from toolrt.secrets import BrokerError, SecretBundle

_SECOND_NS: Final = 1_000_000_000


def prepare(attempt: Attempt, registry: Any) -> None:
    """
    Give *attempt* its secrets and its context.

    Args:
        registry: What the handler is given for calls of its own.

    Raises:
        BrokerError: A secret that the handler needs cannot be had.
    """
    assert attempt.tool is not None
    attempt.secrets = _resolve_secrets(attempt, attempt.tool)
    attempt.context = _context(attempt, attempt.tool, registry)


def _resolve_secrets(attempt: Attempt, tool: Tool) -> SecretBundle | None:
    """9: what the handler names, and only that."""
    broker, names = attempt.core.broker, tool.definition.secrets
    if broker is None or not names:
        return None
    try:
        return broker.resolve(attempt.call.caller, names)
    except BrokerError:
        raise
    except Exception as exc:  # the plugin boundary: its text may hold a secret
        raise BrokerError("the broker failed") from exc


def _context(attempt: Attempt, tool: Tool, registry: Any) -> CallContext:
    timeout_s = tool.limits.timeout_s
    if attempt.call.timeout_s is not None:
        timeout_s = min(timeout_s, attempt.call.timeout_s)
    if attempt.parent is not None and attempt.parent.context is not None:
        timeout_s = min(timeout_s, attempt.parent.context.remaining())
    clock = attempt.core.clock
    return CallContext(
        call_id=attempt.call_id,
        caller=attempt.call.caller,
        tool_id=tool.tool_id,
        token=mint_token(attempt.namespace, attempt.actor),
        capabilities=attempt.granted,
        timeout_s=timeout_s,
        max_output_bytes=tool.limits.max_output_bytes,
        deadline_ns=clock.monotonic_ns() + int(timeout_s * _SECOND_NS),
        monotonic_ns=clock.monotonic_ns,
        secrets=attempt.secrets,
        cursor=attempt.cursor,
        registry=registry.within(attempt),
    )
