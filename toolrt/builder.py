"""
The way to a registry: packs and policy are collected, checked together, and built.

The checks and their order are those of ``toolrt.build``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal, Self

from toolrt import build
from toolrt.audit.sinks import OnCall
from toolrt.call import Core, DispatchHook, Tool
from toolrt.capability import Authority
from toolrt.clock import Clock, SystemClock
from toolrt.context import DEFAULT_TIERS, Tier, TierLimits
from toolrt.cursor import KEY_BYTES, CursorIssuer
from toolrt.event import EventStore
from toolrt.gate import AllowAllGate, Gate
from toolrt.limits import Limiter, LimitingStore
from toolrt.metrics import Meter
from toolrt.middleware import Middleware
from toolrt.namespace import DEFAULT_NAMESPACE, Namespace
from toolrt.pack import Pack, Visibility
from toolrt.registry import Registry
from toolrt.secrets import TokenBroker


class RegistryBuilder:
    """Collects packs and policy; every setter returns the builder, the last call wins."""

    def __init__(self) -> None:
        self._packs: list[Pack] = []
        self._gate: Gate = AllowAllGate()
        self._gate_on_error: Literal["deny", "allow"] = "deny"
        self._namespace = DEFAULT_NAMESPACE
        self._store: EventStore | None = None
        self._store_calls = False
        self._sinks: list[OnCall] = []
        self._authority = Authority()
        self._hook: DispatchHook | None = None
        self._tiers: dict[Tier, TierLimits] = dict(DEFAULT_TIERS)
        self._clock: Clock = SystemClock()
        self._policy: str | None = None
        self._broker: TokenBroker | None = None
        self._cursors: CursorIssuer | None = None
        self._middlewares: list[Middleware] = []
        self._has_alarm = False

    def register(self, pack: Pack) -> Self:
        """Add *pack*."""
        self._packs.append(pack)
        return self

    def with_gate(
        self, gate: Gate, *, on_error: Literal["deny", "allow"] = "deny"
    ) -> Self:
        """
        Ask *gate* before every call.

        Args:
            on_error: What a gate that fails amounts to.

        Raises:
            ValueError: *on_error* is neither.
        """
        if on_error not in ("deny", "allow"):
            raise ValueError(f"on_error is deny or allow, not {on_error!r}")
        self._gate = gate
        self._gate_on_error = on_error
        return self

    def with_default_namespace(self, namespace: str) -> Self:
        """Use *namespace* for calls that name none."""
        self._namespace = namespace
        return self

    def with_event_store(self, store: EventStore, *, calls: bool = False) -> Self:
        """
        Commit the gate event of every call to *store* before anything runs.

        Args:
            calls: Also commit the CallEvent, before the result is returned.
        """
        self._store = store
        self._store_calls = calls
        return self

    def with_audit_sink(self, sink: OnCall) -> Self:
        """Give every CallEvent to *sink* as well; call it again for another sink."""
        self._sinks.append(sink)
        return self

    def with_authority(self, authority: Authority) -> Self:
        """Resolve capabilities with *authority*; without one nothing is granted."""
        self._authority = authority
        return self

    def with_dispatch_hook(self, hook: DispatchHook) -> Self:
        """Call *hook* after every success."""
        self._hook = hook
        return self

    def with_token_broker(self, broker: TokenBroker) -> Self:
        """Get the secrets that handlers name from *broker*; without one, none."""
        self._broker = broker
        return self

    def with_cursor_issuer(self, issuer: CursorIssuer) -> Self:
        """
        Issue and read the cursors of paginating handlers with *issuer*.

        Without one a key is made with the registry: cursors are good within it alone.
        """
        self._cursors = issuer
        return self

    def with_middleware(self, middleware: Middleware) -> Self:
        """Let *middleware* change what callers see; call it again for the next one."""
        self._middlewares.append(middleware)
        return self

    def with_tiers(self, tiers: Mapping[Tier, TierLimits]) -> Self:
        """Replace the limits of the tiers that *tiers* names."""
        self._tiers.update(tiers)
        return self

    def with_clock(self, clock: Clock) -> Self:
        """Take time from *clock*."""
        self._clock = clock
        return self

    def with_policy(self, digest: str) -> Self:
        """Record *digest*, the SHA-256 of the configuration, with every call."""
        self._policy = digest
        return self

    def with_alarm(self) -> Self:
        """
        End sync handlers at their deadline by an interval timer (SIGALRM).

        For a program whose calls are all made on its main thread; elsewhere a handler
        has to look at ``ctx.remaining()``, and a late result is refused.
        """
        self._has_alarm = True
        return self

    def build(self) -> Registry:
        """
        Check everything and return the registry.

        Raises:
            InvalidNamespaceError: The default namespace does not parse.
            RegistryError: The packs do not fit together; see ``toolrt.build``.
            InvalidInputError: A note kind has two owners.
        """
        namespace = Namespace.parse(self._namespace)
        packs = build.order_packs(self._packs)
        build.check_note_kinds(packs)
        public = build.public_handlers(packs)
        build.check_tables(packs)
        build.check_edge_rules(packs)
        tools = {
            verb: Tool(pack, bound, self._tiers)
            for verb, (pack, bound) in public.items()
        }
        sub_handlers = {
            (pack.name, bound.definition.name): Tool(pack, bound, self._tiers)
            for pack in packs
            for bound in pack.bound_handlers
            if bound.definition.visibility is Visibility.SUBHANDLER
        }
        _require_schemas((*tools.values(), *sub_handlers.values()))
        core = Core(
            tools=tools,
            names=tools | {tool.tool_id: tool for tool in tools.values()},
            sub_handlers=sub_handlers,
            gate=self._gate,
            gate_impl=str(getattr(self._gate, "impl_name", type(self._gate).__name__)),
            gate_on_error=self._gate_on_error,
            namespace=namespace,
            store=self._store,
            store_calls=self._store_calls,
            sinks=tuple(self._sinks),
            authority=self._authority,
            hook=self._hook,
            clock=self._clock,
            limiter=Limiter(),
            meter=Meter(),
            broker=self._broker,
            cursors=self._cursors or CursorIssuer(os.urandom(KEY_BYTES)),
            middlewares=tuple(self._middlewares),
            policy=self._policy,
            limiting_store=_limiting(self._store) if self._store_calls else None,
            has_alarm=self._has_alarm,
        )
        return Registry(packs, core)


def _limiting(store: object) -> LimitingStore | None:
    """Return *store* if it decides on limits, which takes that it sees calls end."""
    return store if isinstance(store, LimitingStore) else None


def _require_schemas(tools: Iterable[Tool]) -> None:
    for tool in tools:
        if not tool.bound.has_sure_schemas:
            tool.require_schemas()
