"""
Packs: named sets of handlers, and everything else that a pack declares.

A pack is built once, by decorator or by subclass, and then only read. What is declared
is checked here as far as one pack alone can tell; what needs several packs is checked
by the registry's build.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from toolrt.context import CallContext, Tier
from toolrt.errors import PackDefinitionError
from toolrt.namespace import NamespaceToken
from toolrt.schema import ANYTHING

Effect = Literal["read", "write", "destructive"]
#: Runs a handler: the arguments by name, then the context of the call.
Binding = Callable[[dict[str, Any], CallContext], Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_PACK_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_VERB_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*")
MAX_NAME_CHARS: Final = 64


class Visibility(StrEnum):
    """Whether a handler is public or serves only its own pack."""

    VERB = "verb"
    SUBHANDLER = "subhandler"


class VerbCategory(StrEnum):
    """What kind of speech act a verb is (Searle); told to people, never enforced."""

    ASSERTIVE = "Assertive"
    DIRECTIVE = "Directive"
    COMMISSIVE = "Commissive"
    DECLARATION = "Declaration"


class HandlerDef(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a pack declares of one handler.

    ``capabilities`` are exact strings, all needed; ``max_concurrent`` 0 is no limit;
    ``timeout`` is in seconds and wins over the tier's; ``max_output`` is in bytes.
    ``errors`` names the codes it fails with; ``secrets`` what it needs from the broker.
    """

    name: str
    description: str = ""
    visibility: Visibility = Visibility.VERB
    category: VerbCategory = VerbCategory.ASSERTIVE
    input_schema: Mapping[str, Any] = msgspec.field(default_factory=lambda: ANYTHING)
    output_schema: Mapping[str, Any] | None = None
    capabilities: tuple[str, ...] = ()
    effect: Effect = "read"
    tier: Tier = "warm"
    max_concurrent: int = 0
    rate_limit_per_min: int | None = None
    timeout: float | None = None
    max_output: int | None = None
    hidden: bool = False
    paginates: bool = False
    #: ``thread`` runs the handler on a thread of its own, which is left behind at the
    #: deadline: for code that never looks at the clock, where there is no timer.
    deadline: Literal["cooperative", "thread"] = "cooperative"
    errors: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class BoundHandler(msgspec.Struct, frozen=True):
    """A declared handler, the code behind it and where that is written down."""

    definition: HandlerDef
    #: As `Binding`; the context is None where it is not taken.
    call: Callable[[dict[str, Any], Any], Any]
    is_async: bool = False
    #: Whether the code itself ends at the deadline, as a command tool does.
    ends_itself: bool = False
    #: ``file:line``, or ``""`` where it has none.
    source: str = ""
    #: Whether its schemas are right by construction; others are checked at a build.
    has_sure_schemas: bool = False
    #: What ``call`` calls with the arguments and nothing more: its context may be None.
    function: Callable[..., Any] | None = None


class EndpointKind(msgspec.Struct, frozen=True):
    """One end of an edge: a note or an entity of one kind."""

    substrate: Literal["note", "entity"]
    kind: str

    @classmethod
    def note(cls, kind: str) -> EndpointKind:
        """Return the endpoint for notes of *kind*."""
        return cls("note", kind)

    @classmethod
    def entity(cls, kind: str) -> EndpointKind:
        """Return the endpoint for entities of *kind*."""
        return cls("entity", kind)


class EdgeEndpointRule(msgspec.Struct, frozen=True):
    """An edge that a pack allows: *relation* from *source* to *target*."""

    relation: str
    source: EndpointKind
    target: EndpointKind


class NoteLifecycleSpec(msgspec.Struct, frozen=True):
    """The states of a note kind, kept in *field*; ``*`` in a transition is any state."""

    field: str
    initial: str
    terminal: tuple[str, ...] = ()
    transitions: tuple[tuple[str, str], ...] = ()


class NoteKindSpec(msgspec.Struct, frozen=True):
    """A note kind that a pack owns, its other names and its lifecycle."""

    kind: str
    aliases: tuple[str, ...] = ()
    lifecycle: NoteLifecycleSpec | None = None


class SchemaPlan(msgspec.Struct, frozen=True):
    """Idempotent DDL statements for the tables that a pack owns."""

    pack: str = ""
    statements: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to apply."""
        return not self.statements


class SchemaBackend(Protocol):
    """Where schema plans are applied: a database connection."""

    def execute(self, sql: str, /) -> Any:
        """Execute one statement."""


class ValidationRule(msgspec.Struct, frozen=True):
    """A check that a pack contributes; its id is ``<pack>/<rule>``."""

    id: str
    severity: Literal["info", "warning", "error"]
    description: str
    check: Callable[[Any], Sequence[Any]]


class KindHook(Protocol):
    """Specialises the creation of one kind that a pack owns."""

    def prepare_create(self, registry: Any, args: dict[str, Any]) -> None:
        """Fill in *args* before the write; to raise aborts it."""

    def after_create(self, registry: Any, id: str, args: Mapping[str, Any]) -> None:
        """Act on a finished write; what is raised is logged."""


class Pack:
    """
    A named set of handlers with its declarations.

    Use it as it is, with the `handler` decorator, or subclass it and override
    `dispatch`. Register it with one registry or several; it holds no state of calls.

    Raises:
        PackDefinitionError: The name or a declaration breaks a rule.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        version: str = "",
        source: str = "",
        requires: Sequence[str] = (),
        note_kinds: Sequence[str] = (),
        entity_kinds: Sequence[str] = (),
        edge_rules: Sequence[EdgeEndpointRule] = (),
        note_kind_specs: Sequence[NoteKindSpec] = (),
        schema_plan: SchemaPlan | None = None,
        validation_rules: Sequence[ValidationRule] = (),
        kind_hooks: Mapping[str, KindHook] | None = None,
        handlers: Sequence[HandlerDef] = (),
    ) -> None:
        if not _PACK_NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
            raise PackDefinitionError(name, "a name is [a-z][a-z0-9_-]*, at most 64")
        self.name = name
        self.description = description
        self.version = version
        #: Where the pack comes from: ``built-in``, ``module:attr`` or ``file:line``.
        self.source = source
        self.requires = tuple(requires)
        self.note_kinds = tuple(note_kinds)
        self.entity_kinds = tuple(entity_kinds)
        self.edge_rules = tuple(edge_rules)
        self.note_kind_specs = tuple(note_kind_specs)
        plan = schema_plan or SchemaPlan()
        # A plan without a name is its pack's; an empty one stays as it is.
        self.schema_plan = plan if plan.is_empty else SchemaPlan(name, plan.statements)
        self.validation_rules = tuple(validation_rules)
        self._kind_hooks = dict(kind_hooks or {})
        self._handlers: list[BoundHandler] = []
        for rule in self.validation_rules:
            if not rule.id.startswith(f"{name}/"):
                problem = f"validation rule {rule.id!r} must begin with {name + '/'!r}"
                raise PackDefinitionError(name, problem)
        is_async = bool(type(self).dispatch.__code__.co_flags & _ASYNC_FLAG)
        for definition in handlers:
            binding = self._dispatch_binding(definition.name)
            self.bind(definition, binding, is_async=is_async)

    def handler(self, name: str, **declared: Any) -> Callable[[_Function], _Function]:
        """
        Return the decorator that makes a function the handler *name*.

        Args:
            name: The verb.

            declared: Fields of `HandlerDef`; ``input_schema`` and ``description`` come
                from the function unless they are given.

        Raises:
            PackDefinitionError: A field or the function's signature breaks a rule.
        """
        # Imports inspect, 4 ms: a start that declares no function has no use for it.
        from toolrt.bindings import native

        given = ("ctx", "cursor") if declared.get("paginates") else ("ctx",)

        def decorate(function: _Function) -> _Function:
            try:
                definition = HandlerDef(
                    name=name,
                    **{
                        "description": native.description(function),
                        **(
                            {}
                            if "input_schema" in declared
                            else {"input_schema": native.input_schema(function, given)}
                        ),
                        **{key: _frozen(value) for key, value in declared.items()},
                    },
                )
            except TypeError as exc:
                raise PackDefinitionError(self.name, str(exc), handler=name) from exc
            is_generated = not {"input_schema", "output_schema"} & declared.keys()
            code = function.__code__
            wanted = [name for name in given if native.takes(function, name)]
            self.bind(
                definition,
                _native_binding(function, wanted),
                is_async=bool(code.co_flags & _ASYNC_FLAG),
                source=f"{code.co_filename}:{code.co_firstlineno}",
                has_sure_schemas=is_generated and not native.has_keywords(function),
                function=None if wanted else function,
            )
            return function

        return decorate

    def bind(
        self,
        definition: HandlerDef,
        call: Binding,
        *,
        is_async: bool = False,
        ends_itself: bool = False,
        source: str = "",
        has_sure_schemas: bool = False,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """
        Add a handler whose code is *call*.

        Args:
            has_sure_schemas: That the schemas were checked elsewhere, so that no build
                need do it: the first check of a process costs several milliseconds.

            function: What *call* calls with the arguments and nothing more, if so: it
                may be called in its place, and *call* be given None for the context.

        Raises:
            PackDefinitionError: A field of *definition* breaks a rule.
        """
        definition = _checked(self.name, definition)
        bound = BoundHandler(
            definition,
            call,
            is_async,
            ends_itself,
            source,
            has_sure_schemas,
            function,
        )
        self._handlers.append(bound)

    @property
    def handlers(self) -> tuple[HandlerDef, ...]:
        """The declarations, in the order in which they were made."""
        return tuple(bound.definition for bound in self._handlers)

    @property
    def bound_handlers(self) -> tuple[BoundHandler, ...]:
        """The handlers with their code, in the order of `handlers`."""
        return tuple(self._handlers)

    def kind_hook(self, kind: str) -> KindHook | None:
        """Return the hook for *kind*, or None."""
        return self._kind_hooks.get(kind)

    def dispatch(
        self,
        verb: str,
        params: dict[str, Any],
        registry: Any,
        token: NamespaceToken,
    ) -> Any:
        """Run *verb*; for subclasses that declare ``handlers=`` without functions."""
        raise NotImplementedError

    def _dispatch_binding(self, verb: str) -> Binding:
        def call(params: dict[str, Any], ctx: CallContext) -> Any:
            return self.dispatch(verb, params, ctx.registry, ctx.token)

        return call


_ASYNC_FLAG: Final = 0x80  # inspect.CO_COROUTINE


def _native_binding(function: Callable[..., Any], wanted: Sequence[str]) -> Binding:
    if wanted == ["ctx"]:
        return lambda params, ctx: function(**params, ctx=ctx)
    if not wanted:
        return lambda params, _ctx: function(**params)

    def call(params: dict[str, Any], ctx: CallContext) -> Any:
        named = {"ctx": ctx, "cursor": ctx.cursor}
        return function(**params, **{name: named[name] for name in wanted})

    return call


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _checked(pack: str, definition: HandlerDef) -> HandlerDef:
    """Return *definition* with every field of its type, or raise what is wrong."""
    name, timeout = definition.name, definition.timeout

    def fail(problem: str) -> PackDefinitionError:
        return PackDefinitionError(pack, problem, handler=name)

    try:
        stated = msgspec.json.encode(definition)
        definition = msgspec.json.decode(stated, type=HandlerDef)
    except (TypeError, ValueError) as exc:
        raise fail(str(exc)) from exc
    if not _VERB_NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise fail("a verb is [a-z][a-z0-9_.-]*, at most 64 characters")
    if definition.max_concurrent < 0:
        raise fail("max_concurrent must not be negative")
    if timeout is not None and not 0 < timeout < inf:
        raise fail("timeout must be more than 0 seconds, and finite")
    rate = definition.rate_limit_per_min
    if rate is not None and rate < 1:
        raise fail("rate_limit_per_min must be at least 1")
    return definition
