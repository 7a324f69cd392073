"""
The registry: packs, checked together once and then only read, and the way in for calls.

`RegistryBuilder` collects, ``build()`` checks in the order of ``toolrt.build``, and the
`Registry` that comes out is immutable. Calls go through ``toolrt.dispatch``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Self

from toolrt import build, dispatch
from toolrt.attempt import Attempt, Odd
from toolrt.audit.sinks import OnCall
from toolrt.call import (
    CallResult,
    Core,
    DispatchHook,
    Tool,
    ToolCall,
    require_tool,
)
from toolrt.capability import Authority
from toolrt.clock import Clock, SystemClock
from toolrt.context import DEFAULT_TIERS, Tier, TierLimits
from toolrt.cursor import KEY_BYTES, CursorIssuer
from toolrt.errors import SchemaPlanError
from toolrt.event import EventStore
from toolrt.gate import AllowAllGate, Gate
from toolrt.limits import Limiter, LimitingStore
from toolrt.metrics import Meter, ToolMetrics
from toolrt.middleware import Middleware
from toolrt.namespace import DEFAULT_NAMESPACE, ActorRef, Namespace
from toolrt.pack import (
    EdgeEndpointRule,
    HandlerDef,
    KindHook,
    NoteKindSpec,
    Pack,
    SchemaBackend,
    SchemaPlan,
    ValidationRule,
    Visibility,
)
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


class Registry:
    """
    Packs that fit together, ready for calls. Immutable and thread-safe.

    Made by `RegistryBuilder.build`. Packs, and everything read over all of them, come in
    load order.
    """

    def __init__(self, packs: Sequence[Pack], core: Core) -> None:
        self._packs = {pack.name: pack for pack in packs}
        # As they were checked: what a pack is given later is in no registry.
        self._handlers = {pack.name: pack.bound_handlers for pack in packs}
        self._core = core
        self._parent: Attempt | None = None

    def within(self, attempt: Attempt) -> Registry:
        """
        Return the registry as the handler of *attempt* sees it.

        Its calls are made for the same caller and actor, with at most the capabilities
        and the time that *attempt* has, pass the gate again, and carry its call id. Next
        to public tools they reach the sub-handlers of the handler's own pack.
        """
        inner = object.__new__(Registry)
        inner.__dict__.update(self.__dict__, _parent=attempt)
        return inner

    def metrics(self) -> tuple[ToolMetrics, ...]:
        """Return counters and latencies of all calls so far, by tool and outcome."""
        return self._core.meter.read()

    def run(self, call: ToolCall) -> CallResult:
        """Make *call*; what the pipeline decides is in the result, never raised."""
        return dispatch.run(self._core, self, call, self._parent).result()

    async def arun(self, call: ToolCall) -> CallResult:
        """Make *call* on the running event loop; like `run`."""
        attempt = await dispatch.arun(self._core, self, call, self._parent)
        return attempt.result()

    def dispatch(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        caller: str | None = None,
        actor: ActorRef | None = None,
        requested: Iterable[str] | None = None,
        proofs: Sequence[str] = (),
        dry_run: bool = False,
        timeout_s: float | None = None,
        cursor: str | None = None,
    ) -> Any:
        """
        Call *verb* (or a tool id) and return what the tool returned.

        Raises:
            ToolrtError: What the pipeline decided; see ``toolrt.errors``. The error's
                ``call_id`` names the record.
        """
        more = (actor, requested, proofs, dry_run, timeout_s, cursor)
        if more == _NO_MORE and self._parent is None:
            tool = self._core.names.get(verb)
            way = None if tool is None else tool.direct.get(caller)
            if way is not None:
                value = way(params)
                if type(value) is not Odd:
                    return value
                if value.attempt is not None:
                    return _value_of(dispatch.finish_odd(value))
        call = ToolCall(
            verb,
            params,
            caller,
            actor,
            None if requested is None else tuple(requested),
            tuple(proofs),
            dry_run,
            timeout_s,
            cursor,
        )
        return _value_of(dispatch.run(self._core, self, call, self._parent))

    async def adispatch(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        caller: str | None = None,
        actor: ActorRef | None = None,
        requested: Iterable[str] | None = None,
        proofs: Sequence[str] = (),
        dry_run: bool = False,
        timeout_s: float | None = None,
        cursor: str | None = None,
    ) -> Any:
        """Call *verb* on the running event loop; like `dispatch`."""
        more = (actor, requested, proofs, dry_run, timeout_s, cursor)
        if more == _NO_MORE and self._parent is None:
            tool = self._core.names.get(verb)
            way = None if tool is None else tool.direct.get(caller)
            if way is not None:
                value = way(params)
                if type(value) is not Odd:
                    return value
                if value.attempt is not None:
                    return _value_of(await dispatch.afinish_odd(value))
        call = ToolCall(
            verb,
            params,
            caller,
            actor,
            None if requested is None else tuple(requested),
            tuple(proofs),
            dry_run,
            timeout_s,
            cursor,
        )
        return _value_of(await dispatch.arun(self._core, self, call, self._parent))

    def packs(self) -> tuple[Pack, ...]:
        """Return the packs, in load order."""
        return tuple(self._packs.values())

    def tool(self, name: str) -> Tool:
        """
        Return the public tool that *name* (verb or tool id) names.

        Raises:
            ToolNotFoundError: There is none; it suggests names that are near.
        """
        return require_tool(self._core, name)

    def pack_names(self) -> tuple[str, ...]:
        """Return the names of the packs."""
        return tuple(self._packs)

    def pack_requires(self, name: str) -> tuple[str, ...] | None:
        """Return what the pack requires, or None for an unknown pack."""
        return None if name not in self._packs else self._packs[name].requires

    def pack_note_kinds(self, name: str) -> tuple[str, ...] | None:
        """Return the pack's note kinds, or None for an unknown pack."""
        return None if name not in self._packs else self._packs[name].note_kinds

    def pack_entity_kinds(self, name: str) -> tuple[str, ...] | None:
        """Return the pack's entity kinds, or None for an unknown pack."""
        return None if name not in self._packs else self._packs[name].entity_kinds

    def pack_handlers(self, name: str) -> tuple[HandlerDef, ...] | None:
        """Return the pack's handlers, or None for an unknown pack."""
        if name not in self._handlers:
            return None
        return tuple(bound.definition for bound in self._handlers[name])

    def all_verbs(self) -> tuple[HandlerDef, ...]:
        """Return the public handlers."""
        return tuple(handler for _, handler in self.all_verbs_with_packs())

    def all_verbs_with_packs(self) -> tuple[tuple[str, HandlerDef], ...]:
        """Return ``(pack name, handler)`` for every public handler."""
        return tuple(
            pair
            for pair in self.all_handlers_with_packs()
            if pair[1].visibility is Visibility.VERB
        )

    def all_handlers_with_packs(self) -> tuple[tuple[str, HandlerDef], ...]:
        """Return ``(pack name, handler)`` for every handler."""
        return tuple(
            (name, bound.definition)
            for name, handlers in self._handlers.items()
            for bound in handlers
        )

    def all_note_kinds(self) -> tuple[str, ...]:
        """Return every note kind once, first seen first."""
        return tuple(dict.fromkeys(kind for p in self.packs() for kind in p.note_kinds))

    def all_entity_kinds(self) -> tuple[str, ...]:
        """Return every entity kind once, first seen first."""
        return tuple(
            dict.fromkeys(kind for p in self.packs() for kind in p.entity_kinds)
        )

    def all_edge_rules(self) -> tuple[EdgeEndpointRule, ...]:
        """Return every edge rule, duplicates kept."""
        return tuple(rule for pack in self.packs() for rule in pack.edge_rules)

    def all_note_kind_specs(self) -> tuple[NoteKindSpec, ...]:
        """Return every note kind spec."""
        return tuple(spec for pack in self.packs() for spec in pack.note_kind_specs)

    def all_validation_rules(self) -> tuple[ValidationRule, ...]:
        """Return every validation rule."""
        return tuple(rule for pack in self.packs() for rule in pack.validation_rules)

    def all_schema_plans(self) -> tuple[SchemaPlan, ...]:
        """Return one schema plan a pack, empty ones included."""
        return tuple(pack.schema_plan for pack in self.packs())

    def apply_schema_plans(self, backend: SchemaBackend) -> None:
        """
        Apply every pack's schema plan to *backend*, in load order.

        Args:
            backend: A database connection, such as of ``sqlite3``: ``execute(sql)``.

        Raises:
            SchemaPlanError: A statement failed; it names the pack. Plans before it stay.
        """
        for plan in self.all_schema_plans():
            for statement in plan.statements:
                try:
                    backend.execute(statement)
                except (
                    Exception
                ) as exc:  # whatever the backend raises has a pack's name
                    raise SchemaPlanError(plan.pack, statement, str(exc)) from exc

    def find_kind_hook(self, kind: str) -> KindHook | None:
        """Return the hook of the first pack that owns *kind* and has one."""
        for pack in self.packs():
            if kind in pack.note_kinds or kind in pack.entity_kinds:
                hook = pack.kind_hook(kind)
                if hook is not None:
                    return hook
        return None


#: What `Registry.dispatch` is given beyond verb, arguments and caller, by default.
_NO_MORE: Final = (None, None, (), False, None, None)


def _require_schemas(tools: Iterable[Tool]) -> None:
    for tool in tools:
        if not tool.bound.has_sure_schemas:
            tool.require_schemas()


def _value_of(attempt: Attempt) -> Any:
    if attempt.error is not None:
        raise attempt.error
    return attempt.value
