"""
The pipeline: one call from its name to its record.

Two plain functions, ``admit`` and ``settle``, do all of it but stage 10, the handler,
which is called by `run` or awaited by `arun`.
"""

from __future__ import annotations

from typing import Any

from toolrt.admit import admit
from toolrt.call import CallResult, Core, ToolCall
from toolrt.settle import settle, settle_failure


def run(core: Core, registry: Any, call: ToolCall) -> CallResult:
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
        return settle_failure(attempt, exc)
    return settle(attempt, value)


async def arun(core: Core, registry: Any, call: ToolCall) -> CallResult:
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
        return settle_failure(attempt, exc)
    return settle(attempt, value)


def _run_async(value: Any, timeout_s: float) -> Any:
    import asyncio

    async def bounded() -> Any:
        return await asyncio.wait_for(value, timeout_s)

    return asyncio.run(bounded())
