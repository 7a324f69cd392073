"""The deadline of a call, for tools that keep it themselves."""

from __future__ import annotations

from toolrt.context import CallContext
from toolrt.errors import ToolTimeoutError


def require_time(ctx: CallContext) -> float:
    """
    Return the seconds that are left of the call, more than none.

    Raises:
        ToolTimeoutError: The call's time was used up.
    """
    left_s = ctx.remaining()
    if left_s <= 0:
        raise ToolTimeoutError(ctx.timeout_s, tool_id=ctx.tool_id)
    return left_s
