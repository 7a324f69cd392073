"""
The tables of ``toolrt.toml`` as records, one for each table, one field for each key.

A value that is absent has the default written here. Durations are seconds and sizes are
bytes once loaded. What one key alone can tell is checked here, by type or constraint;
what needs several keys is checked in `toolrt_cli.config.meaning`. Unknown keys are
faults in every table.

Annotations are evaluated as they stand: as text, msgspec would evaluate each again at
the first use, 1 ms of every start.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from toolrt.context import Tier
from toolrt.gate import Obligation
from toolrt.namespace import DEFAULT_NAMESPACE
from toolrt.pack import Effect

if TYPE_CHECKING:  # what the values are, once loaded
    Duration: TypeAlias = float
    Timeout: TypeAlias = float
    Leeway: TypeAlias = float
    ByteSize: TypeAlias = int
    FreeSpace: TypeAlias = int
else:  # how they are written, and their bounds
    from toolrt_cli.config.quantities import (
        ByteSize,
        Duration,
        FreeSpace,
        Leeway,
        Timeout,
    )

Text = Annotated[str, Meta(min_length=1)]
#: ``[A-Za-z_][A-Za-z0-9_-]*``: an argument's name, as ``{name}`` in a command.
ArgName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*\Z")]
Did = Annotated[str, Meta(pattern=r"^did:key:z[1-9A-HJ-NP-Za-km-z]+\Z")]
#: ``kind:id``, neither empty.
Actor = Annotated[str, Meta(pattern=r"^[^:]+:[^\n]+\Z")]
GateKind = Annotated[str, Meta(pattern=r"^(allow-all|rules|python:[\w.]+:[\w.]+)\Z")]
#: An exit status other than 0, which is always success.
ExitStatus = Annotated[
    str, Meta(pattern=r"^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\Z")
]
#: ``ok``, or the code that the record shows, such as ``NOT_FOUND``.
ExitMeaning = Annotated[str, Meta(pattern=r"^(ok|[A-Z][A-Z0-9_]*)\Z")]
Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
JsonType = Literal["string", "integer", "number", "boolean", "array", "object"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables: immutable, unknown keys refused."""


class TierTable(_Table, frozen=True):
    """``[runtime.tiers.TIER]``: overrides of one tier's limits."""

    timeout: Timeout | None = None
    max_output: ByteSize | None = None


class Runtime(_Table, frozen=True):
    """``[runtime]``"""

    namespace: Text = DEFAULT_NAMESPACE
    #: ``std`` is not implied; a ``[pack.NAME]`` table loads only if listed.
    packs: tuple[Text, ...] = ("std",)
    #: None: ``os:<login name>``.
    default_caller: Text | None = None
    #: Effects that ask before a call.
    confirm: tuple[Effect, ...] = ("destructive",)
    tiers: dict[Tier, TierTable] = {}


class Store(_Table, frozen=True):
    """``[store]``"""

    #: None: in the user's state directory.
    path: Text | None = None
    durability: Literal["full", "normal"] = "full"
    #: None: keep all.
    retention: Duration | None = None
    #: The group that shares the store; None: the owner alone.
    group: Text | None = None
    lock_timeout: Duration = Duration(10)
    #: Free space that is kept on the store's file system.
    reserve: FreeSpace = FreeSpace(32 * 1024**2)
    #: A file that receives checkpoints.
    anchor: Text | None = None


class Rule(_Table, frozen=True):
    """``[[gate.rule]]``: lists hold globs; an absent list matches everything."""

    decision: Literal["allow", "deny"]
    reason: Text | None = None
    verbs: tuple[Text, ...] = ()
    tools: tuple[Text, ...] = ()
    packs: tuple[Text, ...] = ()
    effects: tuple[Text, ...] = ()
    callers: tuple[Text, ...] = ()
    actors: tuple[Text, ...] = ()
    namespaces: tuple[Text, ...] = ()
    #: JSON Pointer to the value, or the list of values, that must stand there.
    args: dict[str, Any] = {}
    obligations: tuple[Obligation, ...] = ()


class Gate(_Table, frozen=True):
    """``[gate]``"""

    kind: GateKind = "allow-all"
    default: Literal["allow", "deny"] = "allow"
    on_error: Literal["deny", "allow"] = "deny"
    rule: tuple[Rule, ...] = ()


class Caller(_Table, frozen=True):
    """``[callers."NAME"]``"""

    #: Exact, or patterns over what the loaded packs declare.
    capabilities: tuple[Text, ...] = ()
    #: Who may call under this name; None: any actor.
    actors: tuple[Actor, ...] | None = None
    did: Did | None = None
    #: Files that hold delegation tokens.
    proofs: tuple[Text, ...] = ()


class Root(_Table, frozen=True):
    """``[[ucan.root]]``: a trusted issuer; without capabilities it has no ceiling."""

    did: Did
    capabilities: tuple[Text, ...] | None = None


class Ucan(_Table, frozen=True):
    """``[ucan]``"""

    #: True: a chain counts without its key, and every event says so.
    bearer: bool = False
    max_depth: Annotated[int, Meta(ge=1, le=5)] = 5
    max_ttl: Timeout = Timeout(30 * 86_400)
    leeway: Leeway = Leeway(0)
    #: A file of revoked digests.
    revocations: Text | None = None
    root: tuple[Root, ...] = ()


class Sink(_Table, frozen=True):
    """``[[sink]]``: a copy of the CallEvents."""

    kind: Literal["jsonl", "stdout", "stderr"]
    #: The file of a ``jsonl`` sink.
    path: Text | None = None
    capacity: Count = 1024
    #: None: ``block`` if the sink is required, else ``drop``.
    backpressure: Literal["drop", "block", "fallback"] | None = None
    #: How long ``block`` waits.
    timeout: Timeout = Timeout(10)
    #: Takes what this sink cannot: the sink over that file, or ``stdout``, ``stderr``; a
    #: file that no sink is over gets one, which nothing else goes to.
    fallback: Text | None = None
    #: True: a call whose record the sink loses has failed.
    required: bool = False
    #: None: never rotated.
    rotate_bytes: ByteSize | None = None


class Arg(_Table, frozen=True, rename="camel"):
    """An argument of a command tool: a fragment of JSON Schema."""

    type: JsonType = "string"
    #: Absent: the argument is required.
    default: Any = UNSET
    description: str | None = None
    enum: Annotated[tuple[Any, ...], Meta(min_length=1)] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    pattern: Text | None = None
    min_length: CountOrNone | None = None
    max_length: CountOrNone | None = None
    items: "Arg | None" = None

    def json_schema(self) -> dict[str, Any]:
        """Return the fragment as JSON Schema."""
        found = {
            name: getattr(self, attribute)
            for attribute, name in zip(
                self.__struct_fields__, self.__struct_encode_fields__, strict=True
            )
        }
        given = {
            name: value
            for name, value in found.items()
            if value is not None and not isinstance(value, UnsetType)
        }
        if self.enum is not None:
            given["enum"] = list(self.enum)
        if self.items is not None:
            given["items"] = self.items.json_schema()
        return given


class Handler(_Table, frozen=True):
    """``[pack.NAME.handler.VERB]``: a command as a tool."""

    #: The argument vector; ``{name}`` stands for an argument.
    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    description: str = ""
    args: dict[ArgName, Arg] = {}
    capabilities: tuple[Text, ...] = ()
    effect: Effect = "read"
    tier: Tier = "warm"
    #: None: the tier's.
    timeout: Timeout | None = None
    output: Literal["text", "json", "ndjson", "lines"] = "text"
    #: None: the tier's.
    max_output: ByteSize | None = None
    #: 0: no limit.
    max_concurrent: CountOrNone = 0
    rate_limit_per_min: Count | None = None
    #: Names of environment variables that are let through.
    env: tuple[Text, ...] = ()
    #: The argument that is written to the command's standard input.
    stdin: ArgName | None = None
    cwd: Text | None = None
    #: What an exit status other than 0 means.
    exit_codes: dict[ExitStatus, ExitMeaning] = {}
    #: Arguments whose values may begin with a dash.
    allow_dash: tuple[ArgName, ...] = ()
    secrets: tuple[Text, ...] = ()

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the tool's arguments."""
        required = [
            n for n, arg in self.args.items() if isinstance(arg.default, UnsetType)
        ]
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: arg.json_schema() for name, arg in self.args.items()},
            "additionalProperties": False,
        }
        return {**schema, "required": required} if required else schema


class PackTable(_Table, frozen=True):
    """``[pack.NAME]``: a pack of command tools."""

    description: str = ""
    requires: tuple[Text, ...] = ()
    handler: dict[str, Handler] = {}


class Std(_Table, frozen=True):
    """``[std]``: limits of the built-in pack."""

    #: Directories that ``fs.*`` may touch; None: the working directory.
    roots: tuple[Text, ...] | None = None
    #: Whether ``http.fetch`` may reach private addresses.
    fetch_private: bool = False
    #: None: the tier's.
    max_bytes: ByteSize | None = None


class Secrets(_Table, frozen=True):
    """``[secrets]``"""

    broker: Literal["env", "file"] | None = None
    path: Text | None = None
    prefix: str | None = None


class Middleware(_Table, frozen=True):
    """``[middleware]``"""

    #: Patterns of paths that results must not show.
    redact_paths: tuple[Text, ...] = ()


class Config(_Table, frozen=True):
    """The whole file; ``Config()`` is the built-in default."""

    runtime: Runtime = Runtime()
    store: Store = Store()
    gate: Gate = Gate()
    callers: dict[Text, Caller] = {}
    ucan: Ucan = Ucan()
    sink: tuple[Sink, ...] = ()
    pack: dict[str, PackTable] = {}
    std: Std = Std()
    secrets: Secrets = Secrets()
    middleware: Middleware = Middleware()
