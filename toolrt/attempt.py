"""One call on its way through the pipeline, and what the record needs of it."""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec

from toolrt.audit.call_event import CallEvent, Outcome
from toolrt.call import CallResult, Core, Standing, Tool, ToolCall
from toolrt.context import CallContext
from toolrt.cursor import CursorState
from toolrt.errors import RateLimitedError, ToolrtError
from toolrt.event import CallDetails
from toolrt.gate import Decision
from toolrt.limits import CallLimits
from toolrt.namespace import Namespace
from toolrt.secrets import SecretBundle

#: Writes JSON that is equal for equal values: keys are sorted.
CANONICAL: Final = msgspec.json.Encoder(order="sorted")
#: What a handler returns that is its result as it is: no page, nothing to be awaited.
#: To find that out in another way takes longer than the look-up.
PLAIN: Final = frozenset((dict, list, str, int, float, bool, type(None)))
_DIGEST_BYTES: Final = 16


class Attempt(msgspec.Struct, kw_only=True):
    """One call on its way; `admit` fills it in, `settle` reads it and ends it."""

    core: Core
    call: ToolCall
    call_id: str
    started_us: int
    started_ns: int
    tool: Tool | None
    tool_id: str
    namespace: Namespace
    standing: Standing
    #: The attempt whose handler made this call.
    parent: Attempt | None = None
    params: Any = None
    details: CallDetails | None = None
    decision: Decision | None = None
    limits: CallLimits | None = None
    #: Set by a store that decides on limits; stage 6 raises it.
    over_limit: RateLimitedError | None = None
    #: True while the call counts as in flight in this process.
    counted: bool = False
    #: Of a paginating tool, set before it runs: the page that goes on, and what cursors
    #: are bound to.
    cursor: CursorState | None = None
    args_hash: bytes = b""
    secrets: SecretBundle | None = None
    #: Set when the handler is about to run: its whole deadline in seconds, and the
    #: monotonic clock at its end.
    timeout_s: float = 0.0
    deadline_ns: int | None = None
    #: Of a handler that takes one.
    context: CallContext | None = None
    #: Set by `settle`.
    has_ended: bool = False
    value: Any = None
    error: ToolrtError | None = None
    outcome: Outcome | None = None
    event: CallEvent | None = None
    next_cursor: str | None = None

    def result(self) -> CallResult:
        """Return what became of the call, once it has ended."""
        return CallResult(
            ok=self.error is None,
            value=self.value,
            error=self.error,
            outcome=self.outcome,
            call_id=self.call_id,
            tool_id=self.tool_id,
            decision=self.decision,
            event=self.event,
            next_cursor=self.next_cursor,
        )


class Odd(msgspec.Struct, frozen=True):
    """
    A call that the direct way could not make: it is not as ordinary as it seemed.

    ``attempt`` is None if nothing has been done. Else its handler has returned ``value``,
    or ``error`` was raised: by it, or by what interrupted the reading of its arguments.
    """

    attempt: Attempt | None = None
    value: Any = None
    error: BaseException | None = None


def storable(text: str) -> str:
    """Return *text* with what no record can hold, NUL and lone surrogates, escaped."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def details_of(attempt: Attempt) -> CallDetails:
    """Return what the record needs of *attempt* beyond the wire event."""
    core, call, tool = attempt.core, attempt.call, attempt.tool
    digest = None
    # A store need not have a key of its own, nor a name for this process.
    key = getattr(core.store, "args_key", None)
    if key is not None:
        text = CANONICAL.encode(attempt.params)
        digest = hmac.digest(key, text, "sha256")[:_DIGEST_BYTES]
    return CallDetails(
        namespace=str(attempt.namespace),
        actor=str(attempt.standing.actor),
        caller=call.caller,
        pack=None if tool is None else tool.pack,
        effect=None if tool is None else tool.definition.effect,
        args_digest=digest,
        grants=attempt.standing.granted,
        policy=core.policy,
        # Only a call whose end is stored too can be in flight or interrupted.
        process=getattr(core.store, "process", None) if core.store_calls else None,
        parent_call_id=None if attempt.parent is None else attempt.parent.call_id,
        reason=None if call.reason is None else storable(call.reason),
        labels={storable(str(k)): storable(str(v)) for k, v in call.labels.items()},
    )
