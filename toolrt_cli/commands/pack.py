"""``toolrt pack``: what is loaded, from where, and what each tool takes and needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from toolrt import Pack, Registry
from toolrt.pack import BoundHandler, Visibility
from toolrt.schema import signature
from toolrt_cli.exit_codes import Exit
from toolrt_cli.output import Column, emit_document, emit_list
from toolrt_cli.packs import name_broken
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.run_help import tool_help
from toolrt_cli.streams import Streams
from toolrt_cli.wiring import Session, authority, open_registry

_PACK_COLUMNS: Final = [
    Column("pack", "PACK"),
    Column("version", "VERSION"),
    Column("handlers", "HANDLERS", right=True),
    Column("status", "STATUS"),
    Column("source", "SOURCE", fold=True),
    Column("error", "ERROR", fold=True),
]
_HANDLER_COLUMNS: Final = [
    Column("pack", "PACK"),
    Column("version", "VERSION"),
    Column("verb", "VERB"),
    Column("signature", "SIGNATURE", fold=True),
    Column("capabilities", "CAPABILITY"),
    Column("effect", "EFFECT"),
    Column("visibility", "VISIBILITY"),
    Column("source", "SOURCE", fold=True),
]


def list_command(session: Session, streams: Streams) -> int:
    """Print one row a pack; a broken pack is a row, not a crash."""
    items = [_pack_item(pack) for pack in session.packs]
    items += [
        {
            "pack": broken.name,
            "version": None,
            "handlers": None,
            "requires": [],
            "status": "broken",
            "source": broken.listed,
            "error": broken.problem,
        }
        for broken in session.broken
    ]
    _emit(streams, "packs", items, _PACK_COLUMNS, "pack")
    name_broken(session.broken, streams)
    return Exit.OK


def handlers_command(
    session: Session, streams: Streams, pack: str | None, *, all_: bool
) -> int:
    """
    Print one row a handler: public verbs, with *all_* the others too.

    Raises:
        NotFoundError: *pack* is not loaded.
        RegistryError: The packs do not fit together.
    """
    registry = open_registry(session, None)
    if pack is not None and pack not in registry.pack_names():
        raise NotFoundError("pack", pack, near_names(pack, registry.pack_names()))
    items = [
        _handler_item(owner, bound)
        for owner, bound in _handlers(registry)
        if (pack is None or owner.name == pack) and (all_ or _is_shown(bound))
    ]
    _emit(streams, "handlers", items, _HANDLER_COLUMNS, "verb")
    name_broken(session.broken, streams)
    return Exit.OK


def show_command(session: Session, streams: Streams, name: str) -> int:
    """
    Print everything about one tool, and who is granted what it needs.

    Raises:
        ToolNotFoundError: No public tool is called *name*.
        RegistryError: The packs do not fit together.
    """
    registry = open_registry(session, None)
    tool = registry.tool(name)
    owner = next(pack for pack in registry.packs() if pack.name == tool.pack)
    callers = _callers_of(session, tool.required)
    document = {
        **_handler_item(owner, tool.bound),
        "input_schema": tool.definition.input_schema,
        "timeout_s": tool.limits.timeout_s,
        "max_output": tool.limits.max_output_bytes,
        "max_concurrent": tool.definition.max_concurrent,
        "rate_limit_per_min": tool.definition.rate_limit_per_min,
        "errors": tool.definition.errors,
        "callers": callers,
    }

    def show() -> None:
        from toolrt_cli.escape import escape

        streams.out.write(tool_help(tool))
        streams.out.write(f"\n  from          {escape(str(document['source']))}\n")
        who = ", ".join(callers) if callers else "nobody is granted what it needs"
        streams.out.write(f"  callers       {escape(who)}\n")

    fmt = streams.settings.output
    emit_document(streams.out, "handler", document, fmt, streams.out_terminal, show)
    return Exit.OK


def _handlers(registry: Registry) -> Iterable[tuple[Pack, BoundHandler]]:
    return ((pack, bound) for pack in registry.packs() for bound in pack.bound_handlers)


def _is_shown(bound: BoundHandler) -> bool:
    definition = bound.definition
    return definition.visibility is Visibility.VERB and not definition.hidden


def _pack_item(pack: Pack) -> dict[str, Any]:
    return {
        "pack": pack.name,
        "version": pack.version,
        "handlers": len(pack.handlers),
        "requires": pack.requires,
        "status": "ok",
        "source": pack.source,
        "error": None,
    }


def _handler_item(pack: Pack, bound: BoundHandler) -> dict[str, Any]:
    definition = bound.definition
    return {
        "verb": definition.name,
        "pack": pack.name,
        "version": pack.version,
        "tool": f"{pack.name}:{definition.name}",
        "signature": signature(definition.name, definition.input_schema),
        "description": definition.description,
        "capabilities": definition.capabilities,
        "effect": definition.effect,
        "tier": definition.tier,
        "visibility": definition.visibility.value,
        "source": bound.source or pack.source,
    }


def _callers_of(session: Session, required: frozenset[str]) -> list[str]:
    """Return the callers of the config that are granted all of *required*."""
    resolved = authority(session)
    return [
        caller
        for caller in session.config.config.callers
        if required.issubset(resolved.resolve(caller, required).granted)
    ]


def _emit(
    streams: Streams,
    schema: str,
    items: list[dict[str, Any]],
    columns: list[Column],
    name_key: str,
) -> None:
    emit_list(
        streams.out,
        schema=schema,
        items=items,
        columns=columns,
        name_key=name_key,
        meta={"count": len(items)},
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
