"""Packs that live in Python packages: found by ``module:attr`` or by entry point."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import msgspec

from toolrt import build
from toolrt.errors import PackLoadError, PacksNotLoadedError, UnknownPackError
from toolrt.pack import Pack

ENTRY_POINT_GROUP: Final = "toolrt.packs"
BUILT_IN_PACK: Final = "std"


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


class LoadedPacks(msgspec.Struct, frozen=True):
    """What became of a list of names: the packs that are there, and every failure."""

    packs: tuple[Pack, ...]
    failures: tuple[PackLoadError, ...] = ()


def try_load_packs(names: Sequence[str]) -> LoadedPacks:
    """
    Load every pack of *names* that can be loaded, in that order.

    One that cannot takes no other with it. Whether the packs fit together, as what they
    require and a name given twice, is for the registry's build to say.
    """
    packs: list[Pack] = []
    failures: list[PackLoadError] = []
    for name in names:
        try:
            packs.append(load_pack(name))
        except PackLoadError as exc:
            failures.append(exc)
    return LoadedPacks(tuple(packs), tuple(failures))


def load_packs(names: Sequence[str]) -> tuple[Pack, ...]:
    """
    Return the packs that *names* name, in that order; none is added by itself.

    Every name is tried. `try_load_packs` returns what it raises, with the packs that
    could be loaded.

    Raises:
        UnknownPackError: One is not installed.
        PackLoadError: One cannot be imported or is no pack.
        PacksNotLoadedError: Several could not be loaded.
        PackRedeclaredError: Two carry one name.
        MissingPackDependencyError: One that is required is not among them.
        MissingPackDependenciesError: Several are not.
    """
    loaded = try_load_packs(names)
    if len(loaded.failures) == 1:
        raise loaded.failures[0]
    if loaded.failures:
        raise PacksNotLoadedError(loaded.failures)
    build.require_complete(loaded.packs)
    return loaded.packs


def load_pack(name: str) -> Pack:
    """
    Return the pack that *name* names: ``std``, ``module:attr`` or an entry point.

    What is found is a `Pack`, or a callable without parameters that returns one.

    Raises:
        UnknownPackError: It is not installed.
        PackLoadError: It cannot be imported or is no pack.
    """
    if name == BUILT_IN_PACK:
        from toolrt.std import std_pack

        return std_pack()
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

    points = entry_points(group=ENTRY_POINT_GROUP)
    target = next((point.value for point in points if point.name == name), None)
    if target is None:
        offered = {BUILT_IN_PACK, *(point.name for point in points)}
        raise UnknownPackError(name, sorted(offered))
    try:
        return load_object(target)
    except PackLoadError as exc:  # of the name that was asked for
        raise PackLoadError(name, exc.problem) from exc.__cause__
