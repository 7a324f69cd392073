"""
Every error that toolrt raises on purpose, grouped by whose fault it is.

::

    ToolrtError
    ├── RegistryError                     the pack author
    │   ├── PackDefinitionError
    │   ├── PackLoadError
    │   │   ├── UnknownPackError
    │   │   └── PacksNotLoadedError
    │   ├── PackRedeclaredError
    │   ├── MissingPackDependencyError
    │   ├── MissingPackDependenciesError
    │   ├── CircularPackDependencyError
    │   ├── VerbCollisionError
    │   ├── SchemaCollisionError
    │   ├── UnknownKindError
    │   └── SchemaPlanError
    ├── InvalidInputError                 the caller
    │   ├── InvalidNamespaceError
    │   ├── ToolNotFoundError
    │   └── InvalidArgsError
    ├── PolicyError                       the policy said no
    │   ├── PermissionDeniedError
    │   ├── GateUnavailableError
    │   ├── CapabilityDeniedError
    │   │   └── DelegationRefusedError    by a token of the call
    │   ├── UcanError                     one token, or who it is for
    │   └── RateLimitedError
    ├── ToolError                         raised by a handler on purpose
    ├── ToolFailedError                   what the caller of that handler gets
    │   └── ToolTimeoutError
    ├── AuditUnavailableError             the record could not be made: nothing ran
    ├── RecordLostError                   the tool ran, its record could not be made
    ├── SinkError                         a sink
    │   ├── SinkOpenError
    │   └── SinkUnavailableError
    └── StoreError                        any event store
        ├── IdentityConflictError
        └── UnstorableEventError

``ConfigError`` (the operator's file) lives in ``toolrt_cli.config``, the other leaves of
`StoreError` in ``toolrt_store``. Misuse of the Python interface is
``TypeError`` or ``ValueError`` and never in the tree. Messages are built from the
attributes and hold no argument values.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class ToolrtError(Exception):
    """Base of every error that toolrt raises on purpose."""

    #: Stable name of the fault, for scripts; of a tool's failure the tool's own.
    code: str = "error"
    #: True if the same call may succeed later, unchanged.
    retryable: bool = False
    #: The call during which the error arose, if one had begun.
    call_id: str | None = None


class RegistryError(ToolrtError):
    """A set of packs cannot become a registry."""

    code = "registry"


class PackDefinitionError(RegistryError):
    """A pack or one of its handlers is declared wrongly."""

    code = "pack_definition"

    def __init__(self, pack: str, problem: str, *, handler: str | None = None) -> None:
        self.pack = pack
        self.handler = handler
        self.problem = problem
        where = f"pack {pack!r}" if handler is None else f"handler {pack}:{handler}"
        super().__init__(f"{where}: {problem}")


class PackLoadError(RegistryError):
    """A pack that was asked for by name could not be loaded."""

    code = "pack_load"

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"pack {name!r}: {problem}")


class UnknownPackError(PackLoadError):
    """No pack answers to a name; `available` holds those that are installed."""

    code = "unknown_pack"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        self.available = tuple(available)
        installed = ", ".join(self.available) or "none"
        super().__init__(name, f"not installed; installed packs: {installed}")


class PacksNotLoadedError(PackLoadError):
    """Several packs could not be loaded: all of them, in the order asked for."""

    def __init__(self, failures: Sequence[PackLoadError]) -> None:
        self.failures = tuple(failures)
        first = self.failures[0]
        super().__init__(first.name, first.problem)
        self.args = ("; ".join(str(one) for one in self.failures),)


class PackRedeclaredError(RegistryError):
    """Two packs carry one name; the indices count registrations from 0."""

    code = "pack_redeclared"

    def __init__(self, name: str, first_index: int, second_index: int) -> None:
        self.name = name
        self.first_index = first_index
        self.second_index = second_index
        super().__init__(
            f"pack {name!r} is registered twice, at {first_index} and {second_index}"
        )


class MissingPackDependencyError(RegistryError):
    """One pack requires one pack that is not registered."""

    code = "missing_pack_dependency"

    def __init__(self, from_pack: str, requires: str) -> None:
        self.from_pack = from_pack
        self.requires = requires
        super().__init__(f"pack {from_pack!r} requires {requires!r}, not registered")


class MissingPackDependenciesError(RegistryError):
    """Several required packs are not registered: all of them, in walk order."""

    code = "missing_pack_dependencies"

    def __init__(self, missing: Sequence[MissingPackDependencyError]) -> None:
        self.missing = tuple(missing)
        super().__init__("; ".join(str(one) for one in self.missing))


class CircularPackDependencyError(RegistryError):
    """Packs require each other in a circle, closed with its first name."""

    code = "circular_pack_dependency"

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = tuple(cycle)
        super().__init__("packs require each other: " + " -> ".join(self.cycle))


class VerbCollisionError(RegistryError):
    """Two packs offer one public verb."""

    code = "verb_collision"

    def __init__(self, verb: str, first_pack: str, second_pack: str) -> None:
        self.verb = verb
        self.first_pack = first_pack
        self.second_pack = second_pack
        super().__init__(
            f"verb {verb!r} is public in pack {first_pack!r} and in pack"
            f" {second_pack!r}: rename one or make it a sub-handler"
        )


class SchemaCollisionError(RegistryError):
    """Two packs claim one table."""

    code = "schema_collision"

    def __init__(self, table: str, first_pack: str, second_pack: str) -> None:
        self.table = table
        self.first_pack = first_pack
        self.second_pack = second_pack
        super().__init__(
            f"table {table!r} is claimed by pack {first_pack!r} and by {second_pack!r}"
        )


class UnknownKindError(RegistryError):
    """An edge rule names a kind that no pack declares."""

    code = "unknown_kind"

    def __init__(self, pack: str, relation: str, kind: str) -> None:
        self.pack = pack
        self.relation = relation
        self.kind = kind
        super().__init__(
            f"pack {pack!r}: edge rule {relation!r} names the unknown kind {kind!r}"
        )


class SchemaPlanError(RegistryError):
    """A pack's schema plan could not be applied; nothing of it was."""

    code = "schema_plan"

    def __init__(self, pack: str, statement: str, reason: str) -> None:
        self.pack = pack
        self.statement = statement
        self.reason = reason
        super().__init__(f"pack {pack!r}: its schema plan failed: {reason}")


class InvalidInputError(ToolrtError):
    """What the caller gave cannot be used."""

    code = "invalid_input"


class InvalidNamespaceError(InvalidInputError):
    """A namespace does not parse; `reason` names the first rule it breaks."""

    code = "invalid_namespace"

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        self.reason = reason
        super().__init__(f"invalid namespace: {reason}")


class ToolNotFoundError(InvalidInputError):
    """No tool answers to a name; `available` holds the public verbs."""

    code = "tool_not_found"

    def __init__(
        self, name: str, suggestions: Sequence[str], available: Sequence[str]
    ) -> None:
        self.name = name
        self.suggestions = tuple(suggestions)
        self.available = tuple(available)
        verbs = ", ".join(self.available) or "none"
        super().__init__(f"unknown tool {name!r}; public verbs: {verbs}")


class ArgFault(msgspec.Struct, frozen=True):
    """One argument that breaks the tool's schema."""

    #: Where, as ``a.b[0]``; empty for the whole object.
    path: str
    #: The rule that is broken, in words.
    rule: str
    #: The value given, as JSON text cut at 80 characters; None if it is missing.
    #: For the caller's eyes only: it never enters the audit record.
    value: str | None = None


class InvalidArgsError(InvalidInputError):
    """Arguments break the tool's schema: every fault, in path order."""

    code = "invalid_args"

    def __init__(self, faults: Sequence[ArgFault], *, tool_id: str = "") -> None:
        self.faults = tuple(faults)
        self.tool_id = tool_id
        super().__init__(
            "; ".join(f"{f.path or 'arguments'}: {f.rule}" for f in self.faults)
        )


class PolicyError(ToolrtError):
    """The policy refused the call; nothing ran."""

    code = "denied"


class GateReceipt(msgspec.Struct, frozen=True):
    """Where a refusal stands in the record."""

    event_id: str
    #: True if the gate event was stored.
    committed: bool


class PermissionDeniedError(PolicyError):
    """The gate denied the call; ``place`` is where the deciding rule stands."""

    code = "permission_denied"

    def __init__(
        self, verb: str, reason: str, receipt: GateReceipt, *, place: str | None = None
    ) -> None:
        self.verb = verb
        self.reason = reason
        self.receipt = receipt
        self.place = place
        super().__init__(f"the gate denied {verb}: {reason}")


class GateUnavailableError(PolicyError):
    """The gate raised or answered with no decision; the call was refused."""

    code = "gate_unavailable"

    def __init__(self, verb: str, reason: str, receipt: GateReceipt) -> None:
        self.verb = verb
        self.reason = reason
        self.receipt = receipt
        super().__init__(f"the gate could not decide on {verb}: {reason}")


class CapabilityDeniedError(PolicyError):
    """The caller lacks capabilities that the tool needs; all of them, sorted."""

    code = "capability_denied"

    def __init__(
        self,
        required: Sequence[str],
        granted: Sequence[str],
        missing: Sequence[str],
        *,
        caller: str | None = None,
        tool_id: str = "",
    ) -> None:
        self.required = tuple(required)
        self.granted = tuple(granted)
        self.missing = tuple(missing)
        self.caller = caller
        self.tool_id = tool_id
        who = "the caller" if caller is None else f"caller {caller!r}"
        super().__init__(f"{who} lacks {', '.join(self.missing)}, needed by {tool_id}")


class DelegationRefusedError(CapabilityDeniedError):
    """
    A delegation token of the call is refused, and with it all that was asked for.

    ``reason`` is one of ``toolrt.ucan.CODES``; ``token`` is the digest by which the
    token is known, None where none of them in particular is at fault.
    """

    code = "delegation_refused"

    def __init__(
        self,
        reason: str,
        token: str | None,
        required: Sequence[str],
        *,
        caller: str | None = None,
        tool_id: str = "",
    ) -> None:
        super().__init__(required, (), required, caller=caller, tool_id=tool_id)
        self.reason = reason
        self.token = token
        self.args = (f"{tool_id}: a delegation is refused: {reason}",)


class UcanError(PolicyError):
    """
    A delegation token is refused, or could not even be checked.

    ``code`` is one of ``toolrt.ucan.CODES``. ``link`` is the link at fault, root first
    from 0, where there is one to name. The message never holds a token.
    """

    def __init__(self, code: str, detail: str = "", *, link: int | None = None) -> None:
        self.code = code
        self.detail = detail
        self.link = link
        why = f"{code}: {detail}" if detail else code
        super().__init__(f"the delegation is refused: {why}")


class RateLimitedError(PolicyError):
    """A limit of the tool or an obligation of the gate is used up."""

    code = "rate_limited"
    retryable = True

    def __init__(self, retry_after_ms: int | None, *, limit: str = "") -> None:
        self.retry_after_ms = retry_after_ms
        self.limit = limit
        when = "" if retry_after_ms is None else f", retry after {retry_after_ms} ms"
        super().__init__(f"limit reached: {limit}{when}")


class ToolError(ToolrtError):
    """
    A handler's own failure, raised by pack code.

    Args:
        code: Stable upper-case name, such as ``NOT_FOUND``. It is recorded.

        message: For the caller's eyes. It is never recorded.

        retryable: Whether the same call may succeed later.
    """

    def __init__(self, code: str, message: str = "", retryable: bool = False) -> None:  # noqa: FBT001, FBT002 - packs write it by position
        self.code = code
        self.message = message
        self.retryable = retryable
        super().__init__(f"{code}: {message}" if message else code)


class ToolFailedError(ToolrtError):
    """
    The tool ran and failed.

    `code` and `retryable` are what the record says; `text` is the tool's own words, for
    the caller only.
    """

    def __init__(
        self,
        code: str,
        retryable: bool = False,  # noqa: FBT001, FBT002 - as in the design's table
        *,
        tool_id: str = "",
        text: str = "",
    ) -> None:
        self.code = code
        self.retryable = retryable
        self.tool_id = tool_id
        self.text = text
        super().__init__(f"{tool_id or 'the tool'} failed: {code}")


class ToolTimeoutError(ToolFailedError):
    """The tool was past its deadline, in seconds."""

    def __init__(self, timeout_s: float, *, tool_id: str = "") -> None:
        self.timeout_s = timeout_s
        super().__init__("TIMEOUT", retryable=True, tool_id=tool_id)
        self.args = (
            f"{tool_id or 'the tool'} ran past its deadline of {timeout_s:g} s",
        )


class AuditUnavailableError(ToolrtError):
    """The gate event could not be stored, so nothing ran."""

    code = "audit_unavailable"

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        self.reason = reason
        self.retryable = retryable
        super().__init__(f"the audit record cannot be written: {reason}")


class StoreError(ToolrtError):
    """A store could not do what it was asked; ``path`` names it."""

    code = "store"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"audit store {path}: {problem}")


class IdentityConflictError(StoreError):
    """An event with the id ``event_id`` is in the store already."""

    code = "identity_conflict"

    def __init__(self, path: str, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(path, f"event {event_id} is stored already")


class UnstorableEventError(StoreError):
    """An event holds what no store can keep, such as a name with NUL."""

    code = "unstorable_event"


class RecordLostError(ToolrtError):
    """The tool ran, whatever its outcome, but its CallEvent could not be stored."""

    code = "record_lost"

    def __init__(self, reason: str, *, failure: ToolrtError | None = None) -> None:
        self.reason = reason
        #: How the call itself ended, where it did not end well.
        self.failure = failure
        super().__init__(f"the tool ran, its record cannot be written: {reason}")


class SinkError(ToolrtError):
    """Base of what sinks raise; `sink` names the sink."""

    code = "sink"

    def __init__(self, sink: str, problem: str) -> None:
        self.sink = sink
        self.problem = problem
        super().__init__(f"sink {sink}: {problem}")


class SinkOpenError(SinkError, OSError):
    """The file of a sink cannot be opened, or is none to write to."""

    code = "sink_open"


class SinkUnavailableError(SinkError):
    """A sink that is required could not take an event within its deadline."""

    code = "sink_unavailable"
    retryable = True
