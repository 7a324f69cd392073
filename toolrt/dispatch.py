"""
The pipeline: one call from its name to its record.

Two plain functions, ``admit`` and ``settle``, do all of it but stages 9 and 10, the
secrets and the handler, which is called by `run` or awaited by `arun`, and the dispatch
hook after a success.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from toolrt.admit import admit
from toolrt.alarm import alarm
from toolrt.attempt import PLAIN, Attempt, Odd
from toolrt.call import Core, DispatchHook, ToolCall
from toolrt.errors import ToolTimeoutError
from toolrt.prepare import prepare
from toolrt.settle import settle, settle_failure, view_of


def run(
    core: Core, registry: Any, call: ToolCall, parent: Attempt | None = None
) -> Attempt:
    """Make *call* on this thread; *parent* is the attempt whose handler makes it."""
    attempt = admit(core, call, parent)
    if attempt.has_ended:
        return attempt
    tool = attempt.tool
    assert tool is not None
    try:
        prepare(attempt, registry)
        if tool.definition.deadline == "thread":
            value = on_thread(lambda: _call_handler(attempt), attempt)
        elif core.has_alarm and tool.can_hang and parent is None:
            with alarm(attempt.timeout_s, attempt.tool_id):
                value = _call_handler(attempt)
        else:
            value = tool.bound.call(attempt.params, attempt.context)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return settle_failure(attempt, exc)
    return finish(attempt, value)


def finish(attempt: Attempt, value: Any) -> Attempt:
    """Take *attempt*, whose handler returned *value*, to its end on this thread."""
    try:
        if type(value) not in PLAIN and _is_awaitable(value):
            value = _run_bounded(value, attempt)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return settle_failure(attempt, exc)
    settle(attempt, value)
    hook = attempt.core.hook
    if hook is not None and attempt.error is None:
        told = _tell_hook(hook, attempt)
        if told is not None:
            told.close()  # an async hook is for the async path
    return attempt


def finish_odd(odd: Odd) -> Attempt:
    """Take what the direct way had to leave, *odd*, to its end on this thread."""
    assert odd.attempt is not None
    if odd.error is not None:
        return settle_failure(odd.attempt, odd.error)
    return finish(odd.attempt, odd.value)


async def arun(
    core: Core, registry: Any, call: ToolCall, parent: Attempt | None = None
) -> Attempt:
    """Make *call* on the running event loop; like `run`."""
    attempt = admit(core, call, parent)
    if attempt.has_ended:
        return attempt
    tool = attempt.tool
    assert tool is not None
    try:
        prepare(attempt, registry)
        if tool.definition.deadline == "thread":
            import asyncio

            value = await asyncio.to_thread(
                on_thread, lambda: _call_handler(attempt), attempt
            )
        else:
            value = tool.bound.call(attempt.params, attempt.context)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return settle_failure(attempt, exc)
    return await afinish(attempt, value)


async def afinish(attempt: Attempt, value: Any) -> Attempt:
    """Take *attempt* to its end on the running event loop; like `finish`."""
    try:
        if type(value) not in PLAIN and _is_awaitable(value):
            value = await _bounded(value, attempt)
    except BaseException as exc:  # noqa: BLE001 - the plugin boundary: every end is recorded
        return settle_failure(attempt, exc)
    settle(attempt, value)
    hook = attempt.core.hook
    if hook is not None and attempt.error is None:
        told = _tell_hook(hook, attempt)
        if told is not None:
            try:
                await told
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - the call has succeeded: its observer's fault is logged
                _log_hook(exc)
    return attempt


async def afinish_odd(odd: Odd) -> Attempt:
    """Take *odd* to its end on the running event loop; like `finish_odd`."""
    assert odd.attempt is not None
    if odd.error is not None:
        return settle_failure(odd.attempt, odd.error)
    return await afinish(odd.attempt, odd.value)


def on_thread(call: Callable[[], Any], attempt: Attempt) -> Any:
    """
    Return what *call* returns on a thread of its own, if it does so in time.

    A thread cannot be ended: one that is late is left behind, and its result is lost.
    """
    import threading

    ended: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            ended.append((call(), None))
        except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
            ended.append((None, exc))

    thread = threading.Thread(target=work, name=attempt.tool_id, daemon=True)
    thread.start()
    thread.join(attempt.timeout_s)
    if not ended:
        raise ToolTimeoutError(attempt.timeout_s, tool_id=attempt.tool_id)
    value, raised = ended[0]
    if raised is not None:
        raise raised
    return value


def _call_handler(attempt: Attempt) -> Any:
    assert attempt.tool is not None
    return attempt.tool.bound.call(attempt.params, attempt.context)


def _run_bounded(value: Any, attempt: Attempt) -> Any:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_bounded(value, attempt))
    value.close()
    raise RuntimeError("inside a running loop an async handler needs adispatch")


async def _bounded(value: Awaitable[Any], attempt: Attempt) -> Any:
    """Await *value* until the deadline of *attempt*."""
    import asyncio

    deadline = asyncio.timeout(attempt.timeout_s)
    try:
        async with deadline:
            return await value
    except TimeoutError as exc:
        if not deadline.expired():  # the tool's own
            raise
        raise ToolTimeoutError(attempt.timeout_s, tool_id=attempt.tool_id) from exc


def _tell_hook(hook: DispatchHook, attempt: Attempt) -> Any:
    """Tell *hook* of a success; return what is to be awaited, if anything is."""
    try:
        told = hook.on_dispatch(view_of(attempt))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - the call has succeeded: its observer's fault is logged
        _log_hook(exc)
        return None
    return told if type(told) not in PLAIN and _is_awaitable(told) else None


def _is_awaitable(value: object) -> bool:
    from inspect import isawaitable  # a start has no use for it: 4 ms

    return isawaitable(value)


def _log_hook(exc: BaseException) -> None:
    import logging

    logging.getLogger(__name__).error("the dispatch hook raised", exc_info=exc)
