"""What goes into a call and what comes out, and what the pipeline reads between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from toolrt.audit.call_event import CallEvent, CapProvenance, Outcome
from toolrt.audit.sinks import OnCall
from toolrt.capability import NO_CAPABILITIES, Authority, CapabilitySet
from toolrt.clock import Clock
from toolrt.context import Tier, TierLimits
from toolrt.cursor import CursorIssuer
from toolrt.errors import (
    ArgFault,
    PackDefinitionError,
    ToolNotFoundError,
    ToolrtError,
)
from toolrt.event import CallDetails, Event, EventStore
from toolrt.gate import Allow, Decision, Deny, Gate
from toolrt.limits import CallLimits, Limiter, LimitingStore, Window, per_minute
from toolrt.metrics import Meter
from toolrt.middleware import Middleware
from toolrt.namespace import ActorRef, Namespace
from toolrt.pack import BoundHandler, Pack
from toolrt.schema import Check, Reader, compile_check, compile_reader, defaults_of
from toolrt.secrets import TokenBroker


class ToolCall(msgspec.Struct, frozen=True):
    """
    One call to be made.

    ``tool`` is a verb or a tool id. ``requested`` None means what the tool needs.
    ``timeout_s`` can only shorten the tool's own deadline. ``reason`` and ``labels`` are
    the operator's words for the record.
    """

    tool: str
    params: Mapping[str, Any] | None = None
    caller: str | None = None
    actor: ActorRef | None = None
    requested: tuple[str, ...] | None = None
    proofs: tuple[str, ...] = ()
    dry_run: bool = False
    timeout_s: float | None = None
    cursor: str | None = None
    source: str | None = None
    session_id: str | None = None
    reason: str | None = None
    labels: Mapping[str, str] = {}


class CallResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a call.

    ``error`` is None exactly if ``ok``. ``outcome`` and ``event`` are None where the
    gate refused: the gate event is the record then. After a `RecordLostError` ``value``
    still holds what the tool returned.
    """

    ok: bool
    value: Any = None
    error: ToolrtError | None = None
    outcome: Outcome | None = None
    call_id: str
    tool_id: str
    decision: Decision | None = None
    event: CallEvent | None = None
    next_cursor: str | None = None


class EventView(msgspec.Struct, frozen=True):
    """What a dispatch hook sees of a successful call."""

    event: Event
    observations: tuple[Any, ...] = ()


class DispatchHook(Protocol):
    """Observes successful calls; what it raises is logged."""

    def on_dispatch(self, view: EventView, /) -> Any:
        """Look at *view*. May be ``async``: awaited on the async path only."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    What holds for a caller of a tool before the arguments are looked at.

    ``capabilities``, ``provenance`` and ``missing`` follow from ``granted``, and
    ``limits`` from ``decision``, which is None if the gate has to be asked each time.
    ``details`` is None where they differ from call to call.
    """

    actor: ActorRef
    granted: CapabilitySet = NO_CAPABILITIES
    capabilities: tuple[str, ...] = ()
    provenance: tuple[CapProvenance, ...] | None = None
    missing: tuple[str, ...] = ()
    decision: Allow | Deny | None = None
    limits: CallLimits | None = None
    details: CallDetails | None = None


#: Makes one call with the arguments it is given, see ``toolrt.direct``.
DirectWay = Callable[[Any], Any]


class Tool:
    """One public handler with everything about it that no call can change."""

    __slots__ = (
        "_reader",
        "bound",
        "can_hang",
        "check",
        "defaults",
        "definition",
        "direct",
        "limits",
        "pack",
        "required",
        "standings",
        "takes_namespace",
        "timeout_ns",
        "tool_id",
        "verb",
    )

    def __init__(
        self, pack: Pack, bound: BoundHandler, tiers: Mapping[Tier, TierLimits]
    ) -> None:
        definition = bound.definition
        tier = tiers[definition.tier]
        self.pack = pack.name
        self.bound = bound
        self.definition = definition
        self.verb = definition.name
        self.tool_id = f"{pack.name}:{definition.name}"
        self.required = frozenset(definition.capabilities)
        self.limits = TierLimits(
            definition.timeout or tier.timeout_s,
            definition.max_output or tier.max_output_bytes,
        )
        self.timeout_ns = int(self.limits.timeout_s * 1e9)
        self.takes_namespace = "namespace" in definition.input_schema.get(
            "properties", ()
        )
        self.defaults = defaults_of(definition.input_schema)
        #: Whether only a timer can end the handler at its deadline.
        self.can_hang = (
            not bound.is_async
            and not bound.ends_itself
            and definition.deadline != "thread"
        )
        #: The check of arguments. The first one compiles it, and may raise
        #: `PackDefinitionError`: the handler's ``input_schema`` is no JSON Schema.
        self.check: Check = self._first_check
        self._reader: Reader | None = None
        #: By caller; filled by `toolrt.standing`.
        self.standings: dict[str | None, Standing] = {}
        self.direct: dict[str | None, DirectWay] = {}

    def reader(self) -> Reader | None:
        """Return what reads and so checks arguments; see `compile_reader`."""
        if self._reader is None:
            self._reader = compile_reader(self.definition.input_schema)
        return self._reader

    def _first_check(self, value: Any) -> tuple[ArgFault, ...]:
        self.check = self._compiled("input_schema", self.definition.input_schema)
        return self.check(value)

    def require_schemas(self) -> None:
        """
        Raise if the handler has schemas that are none.

        Raises:
            PackDefinitionError: It names the handler, the schema and the place in it.
        """
        self.check = self._compiled("input_schema", self.definition.input_schema)
        if self.definition.output_schema is not None:
            self._compiled("output_schema", self.definition.output_schema)

    def _compiled(self, field: str, schema: Mapping[str, Any]) -> Check:
        try:
            return compile_check(schema)
        except ValueError as exc:
            problem = f"{field}: {exc}"
            raise PackDefinitionError(self.pack, problem, handler=self.verb) from exc

    def windows(self, caller: str | None) -> tuple[Window, ...]:
        """Return the windows of time that limit *caller*'s calls."""
        rate = self.definition.rate_limit_per_min
        return () if rate is None else (per_minute(self.tool_id, caller, rate),)


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """What every call of one registry shares; immutable but for the limiter's counts."""

    tools: Mapping[str, Tool]
    #: By verb and by tool id, which no verb can be: it holds a colon.
    names: Mapping[str, Tool]
    #: By pack and name.
    sub_handlers: Mapping[tuple[str, str], Tool]
    gate: Gate
    gate_impl: str
    gate_on_error: Literal["deny", "allow"]
    namespace: Namespace
    store: EventStore | None
    store_calls: bool
    sinks: tuple[OnCall, ...]
    authority: Authority
    hook: DispatchHook | None
    clock: Clock
    limiter: Limiter
    meter: Meter
    broker: TokenBroker | None
    cursors: CursorIssuer
    middlewares: tuple[Middleware, ...]
    policy: str | None
    #: The store, if it decides on limits over all processes that share it.
    limiting_store: LimitingStore | None = None
    #: Whether an interval timer enforces the deadlines of sync handlers.
    has_alarm: bool = False


def require_tool(core: Core, name: str) -> Tool:
    """
    Return the public tool that *name* names.

    Raises:
        ToolNotFoundError: There is none.
    """
    tool = core.names.get(name)
    if tool is None:
        raise not_found(core, name)
    return tool


def not_found(core: Core, name: str) -> ToolNotFoundError:
    """Return the error for *name*, with at most three names that are near."""
    import difflib

    shown = [v for v, tool in core.tools.items() if not tool.definition.hidden]
    verb = name.rpartition(":")[2].lower()
    near = [v for v in shown if verb in v.split(".")]
    near += difflib.get_close_matches(verb, shown, n=3, cutoff=0.6)
    return ToolNotFoundError(name, list(dict.fromkeys(near))[:3], shown)
