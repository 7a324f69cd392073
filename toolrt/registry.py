"""
The registry: packs that fit together, only read, and the way in for calls.

`toolrt.RegistryBuilder` makes it. Calls go through ``toolrt.dispatch``, and the most
ordinary ones through ``toolrt.direct``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from toolrt import dispatch
from toolrt.attempt import Attempt, Odd
from toolrt.call import CallResult, Core, Tool, ToolCall, require_tool
from toolrt.errors import SchemaPlanError
from toolrt.metrics import ToolMetrics
from toolrt.namespace import ActorRef
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

#: What `dispatch` and `adispatch` are given beyond verb, arguments and caller, by default.
#: Both compare with it and look the direct way up in place: it is the hottest path.
_NO_MORE: Final = (None, None, (), False, None, None)


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


def _value_of(attempt: Attempt) -> Any:
    if attempt.error is not None:
        raise attempt.error
    return attempt.value
