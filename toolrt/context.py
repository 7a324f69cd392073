"""What a handler is told of the call it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from toolrt.capability import CapabilitySet
from toolrt.cursor import CursorState
from toolrt.namespace import ActorRef, NamespaceToken
from toolrt.secrets import SecretBundle

Tier = Literal["hot", "warm", "cold"]


class TierLimits(msgspec.Struct, frozen=True):
    """The deadline, in seconds, and the output limit, in bytes, of one tier."""

    timeout_s: float
    max_output_bytes: int


DEFAULT_TIERS: Final[dict[Tier, TierLimits]] = {
    "hot": TierLimits(0.5, 64 * 1024),
    "warm": TierLimits(5.0, 1024 * 1024),
    "cold": TierLimits(60.0, 16 * 1024 * 1024),
}


class PaginatedResult(msgspec.Struct, frozen=True):
    """
    One page of a paginating handler.

    ``next_state`` is what the handler needs to go on, at most some 600 bytes; None on
    the last page.
    """

    value: Any
    next_state: bytes | None = None


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """
    One call as its handler sees it.

    ``timeout_s`` is the call's whole deadline in seconds; ``remaining()`` what is left
    of it. ``max_output_bytes`` bounds the JSON of the returned value.
    """

    call_id: str
    caller: str | None
    tool_id: str
    token: NamespaceToken
    capabilities: CapabilitySet
    timeout_s: float
    max_output_bytes: int
    deadline_ns: int
    monotonic_ns: Callable[[], int]
    #: What the handler's ``secrets`` name; None where there is no broker.
    secrets: SecretBundle | None = None
    #: Of a paginating handler: where the page before ended; None on the first page.
    cursor: CursorState | None = None
    #: For calls of the handler's own; see `toolrt.Registry.within`.
    registry: Any = None

    @property
    def actor(self) -> ActorRef:
        """The actor that the gate allowed."""
        return self.token.actor

    def remaining(self) -> float:
        """Return the seconds until the deadline, 0.0 when it has passed."""
        return max(0.0, (self.deadline_ns - self.monotonic_ns()) / 1e9)
