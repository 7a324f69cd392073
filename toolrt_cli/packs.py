"""
The packs that a config lists: the built-in one, its own tables of commands, and others'.

A pack that cannot be loaded is told and takes no other with it, save those that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from toolrt import (
    CallContext,
    HandlerDef,
    Pack,
    PackLoadError,
    ToolrtError,
    UnknownPackError,
)
from toolrt.loading import BUILT_IN_PACK, load_pack
from toolrt.pack import Binding
from toolrt.std import StdSettings, std_pack
from toolrt_cli.config import LoadedConfig, model
from toolrt_cli.streams import Streams, prints_to_stderr
from toolrt_cli.version import VERSION

_BYTES_DEFAULT: Final = StdSettings().max_bytes


class BrokenPack(msgspec.Struct, frozen=True):
    """A pack that the config lists and that could not be loaded."""

    #: The pack's own name; as it is listed, where nobody can tell.
    name: str
    listed: str
    error: ToolrtError

    @property
    def problem(self) -> str:
        """What is wrong, in words that go with the name."""
        error = self.error
        return error.problem if isinstance(error, PackLoadError) else str(error)


def load_listed(
    config: LoadedConfig,
) -> tuple[tuple[Pack, ...], tuple[BrokenPack, ...]]:
    """Return the packs that could be loaded, in the order of the list, and the others."""
    found: dict[str, Pack] = {}
    broken: list[BrokenPack] = []
    for name in config.config.runtime.packs:
        try:
            found[name] = _load_one(config, name)
        except ToolrtError as exc:
            broken.append(BrokenPack(name, name, exc))
    # What requires a broken pack is broken with it. Which name a pack would have had is
    # not known of one that could not be imported, so nothing else can be missing then.
    while broken and (lost := tuple(_lacking(found))):
        broken += lost
        for one in lost:
            del found[one.listed]
    return tuple(found.values()), tuple(broken)


def need_no_module(config: LoadedConfig) -> bool:
    """Whether the config and toolrt itself say all about the packs that are listed."""
    own = {BUILT_IN_PACK, *config.config.pack}
    return own.issuperset(config.config.runtime.packs)


def name_broken(broken: Iterable[BrokenPack], streams: Streams) -> None:
    """Remark on each pack that could not be loaded."""
    for one in broken:
        streams.remark(f"pack {one.name} is not loaded: {one.problem}")


def _lacking(found: Mapping[str, Pack]) -> Iterator[BrokenPack]:
    """Yield each pack that requires one that is not there."""
    names = {pack.name for pack in found.values()}
    for listed, pack in found.items():
        missing = next((name for name in pack.requires if name not in names), None)
        if missing is not None:
            problem = f"requires {missing!r}, which could not be loaded"
            yield BrokenPack(pack.name, listed, PackLoadError(pack.name, problem))


def _load_one(config: LoadedConfig, name: str) -> Pack:
    table = config.config.pack.get(name)
    if table is not None:
        return _command_pack(config, name, table)
    if name == BUILT_IN_PACK:
        return std_pack(_std_settings(config), version=VERSION)
    try:
        with prints_to_stderr():
            return load_pack(name)
    except UnknownPackError as exc:  # here a table of the config is a pack as well
        available = {*exc.available, *config.config.pack}
        raise UnknownPackError(name, sorted(available)) from exc


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
        source=place_of(config, "pack", name),
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
            secrets=handler.secrets,
        )
        pack.bind(
            _definition(verb, handler),
            _adopting(bind_command(spec)),
            ends_itself=True,
            source=place_of(config, "pack", name, "handler", verb),
            # `config validate` names what is wrong with them, at its place.
            has_sure_schemas=True,
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


def place_of(config: LoadedConfig, *path: str) -> str:
    """Return where *path* stands, as ``file:line``."""
    at = config.position(*path)
    return f"{config.path}:{at.line}" if at else str(config.path)
