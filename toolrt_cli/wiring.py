"""
From the configuration to a registry: the one place that joins runtime, store and CLI.

Nothing here decides on a call. It reads the config, builds packs, gate and authority from
it, and hands them to `toolrt.RegistryBuilder`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt import (
    ActorRef,
    AllowAllGate,
    AllowRule,
    AuditSink,
    Authority,
    CallContext,
    Deny,
    Gate,
    GateRequest,
    GateRule,
    Grant,
    HandlerDef,
    InvalidInputError,
    Pack,
    PackLoadError,
    Registry,
    RegistryBuilder,
    RegistryError,
    RuleGate,
    TierLimits,
    ToolrtError,
)
from toolrt.cursor import CursorIssuer, load_key
from toolrt.event import EventStore
from toolrt.gate import Allow, glob
from toolrt.loading import load_object, load_pack
from toolrt.middleware import RedactPaths
from toolrt.pack import Binding
from toolrt.std import StdSettings, std_pack
from toolrt_cli.config import ConfigError, Fault, LoadedConfig, model, open_config
from toolrt_cli.config.places import user_config_dir, user_state_dir
from toolrt_cli.grammar import Globals, UsageError
from toolrt_cli.streams import Streams, prints_to_stderr
from toolrt_cli.version import VERSION

#: What stands for a path that the config hides.
_REDACTED: Final = "<redacted>"
_BYTES_DEFAULT: Final = StdSettings().max_bytes


class BrokenPack(msgspec.Struct, frozen=True):
    """A pack that the config lists and that could not be loaded."""

    name: str
    problem: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What one command works with: the config and the packs that it names."""

    settings: Globals
    environ: Mapping[str, str]
    config: LoadedConfig
    packs: tuple[Pack, ...]
    broken: tuple[BrokenPack, ...]
    actor: ActorRef

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Every capability that the loaded packs declare, sorted."""
        declared = {
            capability
            for pack in self.packs
            for handler in pack.handlers
            for capability in handler.capabilities
        }
        return tuple(sorted(declared))

    @property
    def default_caller(self) -> str:
        """The caller of a call that names none."""
        return (
            self.environ.get("TOOLRT_CALLER")
            or self.config.config.runtime.default_caller
            or str(self.actor)
        )

    @property
    def store_path(self) -> str:
        """The file of the audit store; it may not exist yet."""
        chosen = self.settings.store or self.environ.get("TOOLRT_STORE")
        if chosen:
            return os.path.abspath(chosen)
        named = self.config.config.store.path
        if named:
            return self.config.resolve(named)
        return os.path.join(user_state_dir(self.environ), "audit.db")

    @property
    def config_to_edit(self) -> str:
        """The file that an operator adds lines to: the one in force, or the user's."""
        return self.config.path or os.path.join(
            user_config_dir(self.environ), "toolrt.toml"
        )


def open_session(settings: Globals, environ: Mapping[str, str]) -> Session:
    """
    Load the config and the packs that it lists.

    Raises:
        ConfigError: The config is invalid or not trusted.
    """
    config = open_config(flag=settings.config, environ=environ, cwd=cwd())
    return session_over(config, settings, environ)


def session_over(
    config: LoadedConfig, settings: Globals, environ: Mapping[str, str]
) -> Session:
    """Return the session of a config that is loaded already."""
    packs, broken = _load_packs(config)
    return Session(
        settings=settings,
        environ=environ,
        config=config,
        packs=packs,
        broken=broken,
        actor=os_actor(),
    )


def cwd() -> str:
    """
    Return the working directory.

    Raises:
        UsageError: It was removed.
    """
    try:
        return os.getcwd()
    except FileNotFoundError as exc:
        raise UsageError("the working directory does not exist any more") from exc


def os_actor() -> ActorRef:
    """Return the actor behind this process: its login name, or the bare uid."""
    uid = os.getuid()
    try:
        return ActorRef("os", pwd.getpwuid(uid).pw_name)
    except KeyError:  # a uid without a name, as in many containers
        return ActorRef("os", str(uid))


def open_registry(
    session: Session,
    store: EventStore | None,
    over_gate: Callable[[Gate], Gate] | None = None,
    sinks: Iterable[AuditSink] = (),
) -> Registry:
    """
    Return the registry of *session*; with a store, every call is recorded there.

    Args:
        over_gate: Makes the gate to be asked from the one that the config names.

        sinks: Get a copy of the record of every call.

    Raises:
        ConfigError: The packs do not fit together, there is no such gate, or a pattern
            is wrong.
        CursorKeyError: A loaded tool gives results in pages, and their key is unusable.
    """
    config = session.config.config
    gate = _gate(session)
    builder = (
        RegistryBuilder()
        .with_default_namespace(config.runtime.namespace)
        .with_gate(
            over_gate(gate) if over_gate else gate, on_error=config.gate.on_error
        )
        .with_authority(authority(session))
        .with_alarm()
        .with_tiers(
            {
                name: _tier_limits(name, table)
                for name, table in config.runtime.tiers.items()
            }
        )
    )
    if session.config.sha256:
        builder.with_policy(session.config.sha256)
    if config.middleware.redact_paths:
        builder.with_middleware(_redaction(session.config))
    if store is not None:
        builder.with_event_store(store, calls=True)
        # Only to make a call: to list or to help needs no key, and must not make one.
        if any(h.paginates for pack in session.packs for h in pack.handlers):
            builder.with_cursor_issuer(_cursor_issuer(session))
    for sink in sinks:
        builder.with_audit_sink(sink)
    for pack in session.packs:
        builder.register(pack)
    try:
        return builder.build()
    except (RegistryError, InvalidInputError) as exc:
        fault = session.config.fault(str(exc), "runtime", "packs")
        raise ConfigError([fault]) from exc


def _redaction(config: LoadedConfig) -> RedactPaths:
    """Return what hides the paths that the config names, each pattern checked alone."""
    patterns = config.config.middleware.redact_paths
    for index, pattern in enumerate(patterns):
        try:
            RedactPaths([(pattern, _REDACTED)])
        except ValueError as exc:
            fault = config.fault(str(exc), "middleware", "redact_paths", index)
            raise ConfigError([fault]) from exc
    return RedactPaths([(pattern, _REDACTED) for pattern in patterns])


def _cursor_issuer(session: Session) -> CursorIssuer:
    """Return the issuer whose key the processes of this user share."""
    path = os.path.join(user_state_dir(session.environ), "cursor.key")
    return CursorIssuer(load_key(environ=session.environ, path=path))


def _tier_limits(name: Any, table: model.TierTable) -> TierLimits:
    from toolrt import DEFAULT_TIERS

    default: TierLimits = DEFAULT_TIERS[name]
    return TierLimits(
        table.timeout or default.timeout_s,
        table.max_output or default.max_output_bytes,
    )


def authority(session: Session, callers: Iterable[str] | None = None) -> Authority:
    """Return the authority of the config's allow-lists, for *callers* or for all."""
    config = session.config
    names = config.config.callers if callers is None else callers
    declared = session.capabilities
    return Authority({name: _grants(config, name, declared) for name in names})


def _grants(config: LoadedConfig, caller: str, declared: Sequence[str]) -> list[Grant]:
    """Expand the patterns of one caller over what the packs declare, here and once."""
    table = config.config.callers.get(caller)
    patterns = table.capabilities if table else ()
    grants = []
    for index, pattern in enumerate(patterns):
        rule = _rule(config, caller, index, pattern)
        if any(sign in pattern for sign in "*?["):
            names = [name for name in declared if glob(pattern).match(name)]
        else:
            names = [pattern]
        grants += [Grant(name, rule) for name in names]
    return grants


def _rule(config: LoadedConfig, caller: str, index: int, pattern: str) -> AllowRule:
    at = config.position("callers", caller, "capabilities", index)
    return AllowRule(
        pattern=pattern,
        file=config.path,
        line=at and at.line,
        column=at and at.column,
        config=config.sha256,
    )


class CallerGate:
    """
    Denies a call under the name of a caller whose ``actors`` leave the actor out.

    Everything else is for the gate behind it to decide.
    """

    def __init__(
        self, callers: Mapping[str, tuple[Sequence[str], str]], gate: Gate
    ) -> None:
        # For each caller its actors and the place that names them.
        self._callers = callers
        self._gate = gate
        self.impl_name = str(getattr(gate, "impl_name", type(gate).__name__))

    def check(self, request: GateRequest) -> Allow | Deny:
        """Return the decision on *request*."""
        caller = request.context.caller
        actors, place = self._callers.get(caller or "", (None, None))
        if actors is not None and str(request.actor) not in actors:
            return Deny(f"actor {request.actor} may not call as {caller}", place)
        return self._gate.check(request)


def _gate(session: Session) -> Gate:
    config = session.config
    table = config.config.gate
    gate: Gate
    if table.kind == "rules":
        rules = [_gate_rule(config, i, rule) for i, rule in enumerate(table.rule)]
        gate = RuleGate(rules, default=table.default)
    elif table.kind == "allow-all":
        gate = AllowAllGate()
    else:
        try:
            gate = _python_gate(table.kind.removeprefix("python:"))
        except PackLoadError as exc:
            raise ConfigError([config.fault(str(exc), "gate", "kind")]) from exc
    restricted = {
        name: (caller.actors, _place(config, "callers", name, "actors"))
        for name, caller in config.config.callers.items()
        if caller.actors is not None
    }
    return CallerGate(restricted, gate) if restricted else gate


def _python_gate(name: str) -> Gate:
    """
    Return the gate that *name*, as ``module:attr``, names: an object, or a class.

    Raises:
        PackLoadError: It cannot be imported or made, or it is no gate.
    """
    with prints_to_stderr():
        found = load_object(name)
        try:
            gate: Gate = found() if isinstance(found, type) else found
        except Exception as exc:  # the plugin boundary
            raise PackLoadError(name, f"{type(exc).__name__}: {exc}") from exc
    if not callable(getattr(gate, "check", None)):
        raise PackLoadError(name, "expected a gate with a method check")
    return gate


def _gate_rule(config: LoadedConfig, index: int, rule: model.Rule) -> GateRule:
    at = config.position("gate", "rule", index)
    fields = {name: getattr(rule, name) for name in rule.__struct_fields__}
    return GateRule(**fields, file=config.path, line=at and at.line)


def _load_packs(
    config: LoadedConfig,
) -> tuple[tuple[Pack, ...], tuple[BrokenPack, ...]]:
    packs: list[Pack] = []
    broken: list[BrokenPack] = []
    for name in config.config.runtime.packs:
        try:
            packs.append(_load_one(config, name))
        except ToolrtError as exc:
            broken.append(BrokenPack(name, str(exc)))
    # What requires a broken pack is broken with it; the others are not taken down.
    while True:
        lost = {pack.name for pack in broken}
        for pack in packs:
            missing = lost.intersection(pack.requires)
            if missing:
                packs.remove(pack)
                problem = f"requires {min(missing)!r}, which could not be loaded"
                broken.append(BrokenPack(pack.name, problem))
                break
        else:
            return tuple(packs), tuple(broken)


def _load_one(config: LoadedConfig, name: str) -> Pack:
    table = config.config.pack.get(name)
    if table is not None:
        return _command_pack(config, name, table)
    if name == "std":
        return std_pack(_std_settings(config), version=VERSION)
    with prints_to_stderr():
        return load_pack(name)


def _std_settings(config: LoadedConfig) -> StdSettings:
    table = config.config.std
    return StdSettings(
        roots=tuple(config.resolve(root) for root in table.roots or ()),
        max_bytes=table.max_bytes or _BYTES_DEFAULT,
        fetch_private=table.fetch_private,
    )


def _command_pack(config: LoadedConfig, name: str, table: model.PackTable) -> Pack:
    from toolrt.bindings.command import CommandSpec, bind_command

    pack = Pack(
        name,
        description=table.description,
        requires=table.requires,
        source=_place(config, "pack", name),
    )
    for verb, handler in table.handler.items():
        spec = CommandSpec(
            command=handler.command,
            output=handler.output,
            env=handler.env,
            stdin=handler.stdin,
            cwd=config.resolve(handler.cwd) if handler.cwd else None,
            exit_codes=handler.exit_codes,
            allow_dash=handler.allow_dash,
        )
        pack.bind(
            _definition(verb, handler),
            _adopting(bind_command(spec)),
            ends_itself=True,
            source=_place(config, "pack", name, "handler", verb),
        )
    return pack


def _adopting(command: Binding) -> Binding:
    """Return *command* for a process that makes one call: it ends what escapes."""

    def call(params: dict[str, Any], ctx: CallContext) -> Any:
        from toolrt.bindings.process import adopt_orphans

        adopt_orphans()
        return command(params, ctx)

    return call


def _definition(verb: str, handler: model.Handler) -> HandlerDef:
    return HandlerDef(
        name=verb,
        description=handler.description,
        input_schema=handler.input_schema(),
        capabilities=handler.capabilities,
        effect=handler.effect,
        tier=handler.tier,
        max_concurrent=handler.max_concurrent,
        rate_limit_per_min=handler.rate_limit_per_min,
        timeout=handler.timeout,
        max_output=handler.max_output,
        secrets=handler.secrets,
    )


def _place(config: LoadedConfig, *path: str) -> str:
    at = config.position(*path)
    return f"{config.path}:{at.line}" if at else str(config.path)


def name_broken(session: Session, streams: Streams) -> None:
    """Remark on each pack that could not be loaded."""
    for broken in session.broken:
        streams.remark(f"pack {broken.name} is not loaded: {broken.problem}")


def inert_settings(config: LoadedConfig) -> list[Fault]:
    """Return the settings that are valid and have no effect in this version."""
    whole = config.config
    given = [
        (("ucan",), whole.ucan != model.Ucan()),
        (("secrets",), whole.secrets != model.Secrets()),
        (("store", "retention"), whole.store.retention),
        (("store", "group"), whole.store.group),
        (("store", "anchor"), whole.store.anchor),
        *((("callers", name, "did"), one.did) for name, one in whole.callers.items()),
        *((("callers", name, "proofs"), c.proofs) for name, c in whole.callers.items()),
    ]
    return [
        config.fault("has no effect yet", *path) for path, is_given in given if is_given
    ]
