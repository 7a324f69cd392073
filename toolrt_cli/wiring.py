"""
From the configuration to a registry: the one place that joins runtime, store and CLI.

Nothing here decides on a call. It reads the config, builds packs, gate and authority from
it, and hands them to `toolrt.RegistryBuilder`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from toolrt import (
    DEFAULT_TIERS,
    ActorRef,
    AllowAllGate,
    AllowRule,
    AuditSink,
    Authority,
    Deny,
    Gate,
    GateRequest,
    GateRule,
    Grant,
    InvalidInputError,
    Pack,
    PackLoadError,
    Registry,
    RegistryBuilder,
    RegistryError,
    RuleGate,
    TierLimits,
    Tool,
    Visibility,
)
from toolrt.context import Tier
from toolrt.cursor import CursorIssuer, load_key
from toolrt.gate import Allow, glob
from toolrt.loading import load_object
from toolrt.middleware import RedactPaths
from toolrt.secrets import EnvTokenBroker, FileTokenBroker, TokenBroker
from toolrt_cli.config import ConfigError, Fault, LoadedConfig, model, open_config
from toolrt_cli.config.discover import Look, unseen
from toolrt_cli.config.places import user_config_dir, user_state_dir
from toolrt_cli.grammar import Globals, UsageError
from toolrt_cli.packs import BrokenPack, load_listed, place_of
from toolrt_cli.policy import snapshot
from toolrt_cli.streams import prints_to_stderr

if TYPE_CHECKING:
    from toolrt_store import SqliteEventStore

#: What stands for a path that the config hides.
_REDACTED: Final = "<redacted>"


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
        return os.path.abspath(chosen) if chosen else self.configured_store_path

    @property
    def configured_store_path(self) -> str:
        """The file that the config alone names, or that is the store by default."""
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


def open_session(
    settings: Globals, environ: Mapping[str, str], look: Look = unseen
) -> Session:
    """
    Load the config and the packs that it lists.

    Args:
        look: As for `open_config`.

    Raises:
        ConfigError: The config is invalid or not trusted.
    """
    config = open_config(flag=settings.config, environ=environ, cwd=cwd(), look=look)
    return session_over(config, settings, environ)


def session_over(
    config: LoadedConfig, settings: Globals, environ: Mapping[str, str]
) -> Session:
    """Return the session of a config that is loaded already."""
    packs, broken = load_listed(config)
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
    store: SqliteEventStore | None,
    over_gate: Callable[[Gate], Gate] | None = None,
    sinks: Iterable[AuditSink] = (),
    granting: Authority | None = None,
) -> Registry:
    """
    Return the registry of *session*; with a store, every call is recorded there.

    Args:
        over_gate: Makes the gate to be asked from the one that the config names.

        sinks: Get a copy of the record of every call.

        granting: Resolves what a caller is granted; by the allow-lists if None.

    Raises:
        ConfigError: The packs do not fit together, or there is no such gate.
        CursorKeyError: A loaded tool gives results in pages, and their key is unusable.
    """
    config = session.config.config
    gate = _gate(session)
    granted = authority(session) if granting is None else granting
    builder = (
        RegistryBuilder()
        .with_default_namespace(config.runtime.namespace)
        .with_gate(
            over_gate(gate) if over_gate else gate, on_error=config.gate.on_error
        )
        .with_authority(granted)
        .with_alarm()
        .with_tiers(_tiers(session.config))
    )
    if config.middleware.redact_paths:
        patterns = config.middleware.redact_paths
        builder.with_middleware(RedactPaths([(one, _REDACTED) for one in patterns]))
    if store is not None:
        builder.with_event_store(store, calls=True)
        builder.with_policy(store.keep_policy(snapshot(session.config, granted)))
        broker = _broker(session)
        if broker is not None:
            builder.with_token_broker(broker)
        # Only to make a call: to list or to help needs no key, and must not make one.
        if any(h.paginates for pack in session.packs for h in pack.handlers):
            builder.with_cursor_issuer(_cursor_issuer(session))
    for sink in sinks:
        builder.with_audit_sink(sink)
    return _built(session, builder)


def _built(session: Session, builder: RegistryBuilder) -> Registry:
    for pack in session.packs:
        builder.register(pack)
    try:
        return builder.build()
    except (RegistryError, InvalidInputError) as exc:
        fault = session.config.fault(str(exc), "runtime", "packs")
        raise ConfigError([fault]) from exc


def working_faults(session: Session) -> list[Fault]:
    """Return everything that stops a call although each key of the config is right."""
    from toolrt_cli.sinks import check_sinks

    faults: list[Fault] = []
    for require in (
        lambda: check_sinks(session.config),
        lambda: _gate(session),
        lambda: _built(session, RegistryBuilder()),
        lambda: _check_dids(session.config),
    ):
        try:
            require()
        except ConfigError as exc:
            faults += exc.faults
    return faults


def _check_dids(config: LoadedConfig) -> None:
    whole = config.config
    if whole.ucan.root or any(one.did for one in whole.callers.values()):
        from toolrt_cli.delegations import did_faults

        if faults := list(did_faults(config)):
            raise ConfigError(faults)


def find_tool(session: Session, name: str) -> Tool | None:
    """
    Return the public tool that *name* (verb or tool id) names, if a pack has it.

    For what has to be known before there can be a registry: whether the packs fit
    together is not asked.
    """
    for pack in session.packs:
        for bound in pack.bound_handlers:
            verb = bound.definition.name
            is_public = bound.definition.visibility is Visibility.VERB
            if is_public and name in (verb, f"{pack.name}:{verb}"):
                return Tool(pack, bound, {**DEFAULT_TIERS, **_tiers(session.config)})
    return None


def _broker(session: Session) -> TokenBroker | None:
    """Return the broker that the config names; it is asked at a call and not before."""
    table = session.config.config.secrets
    if table.broker == "env":
        return EnvTokenBroker(table.prefix or "", session.environ)
    if table.broker == "file":
        assert table.path is not None  # held by the checks of the config
        return FileTokenBroker(session.config.resolve(table.path))
    return None


def _cursor_issuer(session: Session) -> CursorIssuer:
    """Return the issuer whose key the processes of this user share."""
    path = os.path.join(user_state_dir(session.environ), "cursor.key")
    return CursorIssuer(load_key(environ=session.environ, path=path))


def _tiers(config: LoadedConfig) -> dict[Tier, TierLimits]:
    return {
        name: TierLimits(
            table.timeout or DEFAULT_TIERS[name].timeout_s,
            table.max_output or DEFAULT_TIERS[name].max_output_bytes,
        )
        for name, table in config.config.runtime.tiers.items()
    }


def authority(session: Session, callers: Iterable[str] | None = None) -> Authority:
    """Return the authority of the config's allow-lists, for *callers* or for all."""
    return Authority(allow_lists(session, callers))


def allow_lists(
    session: Session, callers: Iterable[str] | None = None
) -> dict[str, list[Grant]]:
    """Return what the config lists for *callers*, or for all, with its rules."""
    config = session.config
    names = config.config.callers if callers is None else callers
    declared = session.capabilities
    return {name: _grants(config, name, declared) for name in names}


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
        name: (caller.actors, place_of(config, "callers", name, "actors"))
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
