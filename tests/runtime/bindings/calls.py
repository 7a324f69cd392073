"""The context of one call, for tests that run a handler without a pipeline."""

from __future__ import annotations

import time

from toolrt.capability import CapabilitySet
from toolrt.context import CallContext
from toolrt.namespace import ActorRef, Namespace, mint_token
from toolrt.secrets import SecretBundle


def context(
    *,
    timeout_s: float = 20.0,
    max_output_bytes: int = 1 << 20,
    secrets: SecretBundle | None = None,
) -> CallContext:
    """Return a context whose deadline is *timeout_s* from now."""
    return CallContext(
        call_id="01J0000000000000000000000A",
        caller=None,
        tool_id="pack:verb",
        token=mint_token(Namespace.local(), ActorRef.anonymous()),
        capabilities=CapabilitySet(),
        timeout_s=timeout_s,
        max_output_bytes=max_output_bytes,
        deadline_ns=time.monotonic_ns() + int(timeout_s * 1e9),
        monotonic_ns=time.monotonic_ns,
        secrets=secrets,
    )
