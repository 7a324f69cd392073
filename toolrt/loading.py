"""Packs that live in Python packages: found by ``module:attr`` or by entry point."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import msgspec

from toolrt import build
from toolrt.errors import PackLoadError
from toolrt.pack import Pack

ENTRY_POINT_GROUP: Final = "toolrt.packs"


def load_object(name: str) -> Any:
    """
    Return the object that *name*, as ``module:attr``, names.

    Raises:
        PackLoadError: The module cannot be imported or has no such attribute.
    """
    module_name, _, attribute = name.partition(":")
    try:
        found = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as exc:  # the plugin boundary: it may raise anything
        raise PackLoadError(name, f"{type(exc).__name__}: {exc}") from exc
    return found


class FoundPack(msgspec.Struct, frozen=True):
    """A pack that an installed distribution offers; nothing of it is imported."""

    name: str
    #: ``module:attr``.
    target: str
    distribution: str | None = None


def discover_packs() -> tuple[FoundPack, ...]:
    """Return the packs that entry points of ``toolrt.packs`` offer, by name."""
    from importlib.metadata import entry_points

    found = {
        FoundPack(point.name, point.value, point.dist.name if point.dist else None)
        for point in entry_points(group=ENTRY_POINT_GROUP)
    }
    return tuple(sorted(found, key=lambda pack: (pack.name, pack.target)))


def load_packs(names: Sequence[str]) -> tuple[Pack, ...]:
    """
    Return the packs that *names* name, in that order; none is added by itself.

    Raises:
        PackLoadError: One is not installed or cannot be imported.
        PackRedeclaredError: Two carry one name.
        MissingPackDependencyError: One that is required is not among them.
        MissingPackDependenciesError: Several are not.
    """
    packs = tuple(load_pack(name) for name in names)
    build.require_complete(packs)
    return packs


def load_pack(name: str) -> Pack:
    """
    Return the pack that *name* names, as ``module:attr`` or as an entry point.

    What is found is a `Pack`, or a callable without parameters that returns one.

    Raises:
        PackLoadError: It is not installed, cannot be imported or is no pack.
    """
    found = load_object(name) if ":" in name else _from_entry_point(name)
    if not isinstance(found, Pack) and callable(found):
        try:
            found = found()
        except (Exception, SystemExit) as exc:  # the plugin boundary
            raise PackLoadError(name, f"{type(exc).__name__}: {exc}") from exc
    if not isinstance(found, Pack):
        raise PackLoadError(name, f"expected a Pack, got {type(found).__name__}")
    found.source = found.source or name
    return found


def _from_entry_point(name: str) -> Any:
    # Imported here: it takes a third of a start, and few packs come this way.
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return load_object(point.value)
    raise PackLoadError(
        name, f"not installed: no entry point of that name in {ENTRY_POINT_GROUP!r}"
    )
