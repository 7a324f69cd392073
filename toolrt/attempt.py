"""One call on its way through the pipeline, and what the record needs of it."""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec

from toolrt.call import Core, Tool, ToolCall
from toolrt.capability import NO_CAPABILITIES, CapabilitySet
from toolrt.context import CallContext
from toolrt.cursor import CursorState
from toolrt.errors import RateLimitedError
from toolrt.event import CallDetails
from toolrt.gate import Decision
from toolrt.limits import CallLimits
from toolrt.namespace import ActorRef, Namespace
from toolrt.secrets import SecretBundle

#: Writes JSON that is equal for equal values: keys are sorted.
CANONICAL: Final = msgspec.json.Encoder(order="sorted")
_DIGEST_BYTES: Final = 16


class Attempt(msgspec.Struct, kw_only=True):
    """One call on its way; `admit` fills it in, `settle` reads it."""

    core: Core
    call: ToolCall
    call_id: str
    started_ns: int
    actor: ActorRef
    tool: Tool | None
    tool_id: str
    namespace: Namespace
    #: The attempt whose handler made this call.
    parent: Attempt | None = None
    params: Any = None
    granted: CapabilitySet = NO_CAPABILITIES
    details: CallDetails | None = None
    decision: Decision | None = None
    limits: CallLimits | None = None
    #: Set by a store that decides on limits; stage 6 raises it.
    over_limit: RateLimitedError | None = None
    #: True while the call counts as in flight in this process.
    counted: bool = False
    #: Of a paginating tool: the page that goes on, and what its cursors are bound to.
    cursor: CursorState | None = None
    args_hash: bytes = b""
    secrets: SecretBundle | None = None
    #: Set when the handler is about to run.
    context: CallContext | None = None

    @property
    def timeout_s(self) -> float:
        """The whole deadline of the handler, in seconds."""
        assert self.context is not None
        return self.context.timeout_s

    @property
    def needs_thread(self) -> bool:
        """Whether the handler asks for a thread of its own."""
        return self.tool is not None and self.tool.definition.deadline == "thread"

    @property
    def needs_alarm(self) -> bool:
        """Whether a timer has to end the handler, which does not end itself."""
        bound = self.tool and self.tool.bound
        return bool(
            self.core.has_alarm
            and self.parent is None  # its timer runs already
            and bound
            and not bound.is_async
            and not bound.ends_itself
            and bound.definition.deadline != "thread"
        )

    @property
    def is_late(self) -> bool:
        """Whether the deadline of the handler has passed."""
        return self.context is not None and self.context.remaining() <= 0


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
        actor=str(attempt.actor),
        caller=call.caller,
        pack=None if tool is None else tool.pack,
        effect=None if tool is None else tool.definition.effect,
        args_digest=digest,
        grants=attempt.granted,
        policy=core.policy,
        # Only a call whose end is stored too can be in flight or interrupted.
        process=getattr(core.store, "process", None) if core.store_calls else None,
        parent_call_id=None if attempt.parent is None else attempt.parent.call_id,
        reason=None if call.reason is None else storable(call.reason),
        labels={storable(str(k)): storable(str(v)) for k, v in call.labels.items()},
    )
