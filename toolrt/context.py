"""What a handler is told of the call it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from toolrt.capability import CapabilitySet
from toolrt.namespace import NamespaceToken

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
    #: For sub-calls; the registry that runs this call.
    registry: Any = None

    def remaining(self) -> float:
        """Return the seconds until the deadline, 0.0 when it has passed."""
        return max(0.0, (self.deadline_ns - self.monotonic_ns()) / 1e9)
