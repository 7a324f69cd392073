"""
The checks that turn a list of packs into a registry, in the order of their report.

Pure functions over packs in registration order; none of them changes a pack.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from toolrt.errors import (
    CircularPackDependencyError,
    InvalidInputError,
    MissingPackDependenciesError,
    MissingPackDependencyError,
    PackRedeclaredError,
    SchemaCollisionError,
    UnknownKindError,
    VerbCollisionError,
)
from toolrt.pack import BoundHandler, Pack, Visibility


def order_packs(packs: Sequence[Pack]) -> tuple[Pack, ...]:
    """
    Return *packs* in load order: what a pack requires comes before it.

    Kahn's algorithm with a FIFO queue seeded in registration order, so that independent
    packs keep that order.

    Raises:
        PackRedeclaredError: Two packs carry one name.
        MissingPackDependencyError: One required pack is not there.
        MissingPackDependenciesError: Several are not there.
        CircularPackDependencyError: Packs require each other in a circle.
    """
    require_complete(packs)
    waiting = {pack.name: len(set(pack.requires)) for pack in packs}
    dependents: dict[str, list[Pack]] = {pack.name: [] for pack in packs}
    for pack in packs:
        for name in dict.fromkeys(pack.requires):
            dependents[name].append(pack)
    queue = deque(pack for pack in packs if not waiting[pack.name])
    ordered: list[Pack] = []
    while queue:
        pack = queue.popleft()
        ordered.append(pack)
        for dependent in dependents[pack.name]:
            waiting[dependent.name] -= 1
            if not waiting[dependent.name]:
                queue.append(dependent)
    if len(ordered) < len(packs):
        stuck = {pack.name: pack for pack in packs if waiting[pack.name]}
        raise CircularPackDependencyError(_first_cycle(stuck))
    return tuple(ordered)


def require_complete(packs: Sequence[Pack]) -> None:
    """
    Raise if a name is carried twice or a requirement is not among *packs*.

    Raises:
        PackRedeclaredError: Two packs carry one name.
        MissingPackDependencyError: One required pack is not there.
        MissingPackDependenciesError: Several are not there.
    """
    _require_dependencies(packs, _index_by_name(packs))


def _index_by_name(packs: Sequence[Pack]) -> dict[str, int]:
    index: dict[str, int] = {}
    for position, pack in enumerate(packs):
        if pack.name in index:
            raise PackRedeclaredError(pack.name, index[pack.name], position)
        index[pack.name] = position
    return index


def _require_dependencies(packs: Sequence[Pack], index: Mapping[str, int]) -> None:
    missing = [
        MissingPackDependencyError(pack.name, name)
        for pack in packs
        for name in dict.fromkeys(pack.requires)
        if name not in index
    ]
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise MissingPackDependenciesError(missing)


def _first_cycle(stuck: Mapping[str, Pack]) -> list[str]:
    """Return the cycle of the lowest pack that lies on one, closed with its name."""
    # There is one: packs that cannot be placed hold a cycle.
    return next(path for start in stuck if (path := _path_back(start, stuck)))


def _path_back(start: str, stuck: Mapping[str, Pack]) -> list[str]:
    """Return a path from *start* along ``requires`` back to it, or an empty list."""
    # Iterative: a chain of a thousand packs must not end in a RecursionError.
    trail, seen = [(start, iter(stuck[start].requires))], {start}
    while trail:
        step = next(trail[-1][1], None)
        if step is None:
            trail.pop()
        elif step == start:
            return [*(name for name, _ in trail), start]
        elif step in stuck and step not in seen:
            seen.add(step)
            trail.append((step, iter(stuck[step].requires)))
    return []


def check_note_kinds(packs: Sequence[Pack]) -> None:
    """
    Raise if a note kind has two owners.

    Raises:
        InvalidInputError: It names the kind and both packs.
    """
    owner: dict[str, str] = {}
    for pack in packs:
        for kind in pack.note_kinds:
            if kind in owner:
                raise InvalidInputError(
                    f"note kind {kind!r} is declared by pack {owner[kind]!r}"
                    f" and by pack {pack.name!r}"
                )
            owner[kind] = pack.name


def public_handlers(packs: Sequence[Pack]) -> dict[str, tuple[Pack, BoundHandler]]:
    """
    Return the owner and handler of each public verb.

    Raises:
        VerbCollisionError: Two public handlers carry one name.
    """
    public: dict[str, tuple[Pack, BoundHandler]] = {}
    for pack in packs:
        for bound in pack.bound_handlers:
            definition = bound.definition
            if definition.visibility is not Visibility.VERB:
                continue
            if definition.name in public:
                first = public[definition.name][0]
                raise VerbCollisionError(definition.name, first.name, pack.name)
            public[definition.name] = (pack, bound)
    return public


# A CREATE TABLE as SQLite writes it: bare or quoted name, with or without a schema.
_NAME = r"""(?:"(?:[^"]|"")+"|'(?:[^']|'')+'|`[^`]+`|\[[^\]]+\]|[^\s("'`\[.]+)"""
_CREATE_TABLE: Final = re.compile(
    rf"\bCREATE\s+(?:TEMP\s+|TEMPORARY\s+|VIRTUAL\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?:{_NAME}\s*\.\s*)?({_NAME})",
    re.IGNORECASE,
)


_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def check_tables(packs: Sequence[Pack]) -> None:
    """
    Raise if two packs' schema plans create one table.

    Raises:
        SchemaCollisionError: Names are compared without case, as SQLite does.
    """
    owner: dict[str, str] = {}
    for pack in packs:
        text = ";".join(pack.schema_plan.statements)
        for found in _CREATE_TABLE.finditer(_COMMENT.sub(" ", text)):
            table = found[1].strip("\"'`[]").lower()
            first = owner.setdefault(table, pack.name)
            if first != pack.name:
                raise SchemaCollisionError(table, first, pack.name)


def check_edge_rules(packs: Sequence[Pack]) -> None:
    """
    Raise if an edge rule names a kind that no pack declares.

    Raises:
        UnknownKindError: It names the pack, the relation and the kind.
    """
    known = {
        "note": {kind for pack in packs for kind in pack.note_kinds},
        "entity": {kind for pack in packs for kind in pack.entity_kinds},
    }
    for pack in packs:
        for rule in pack.edge_rules:
            for end in (rule.source, rule.target):
                if end.kind not in known[end.substrate]:
                    raise UnknownKindError(pack.name, rule.relation, end.kind)
