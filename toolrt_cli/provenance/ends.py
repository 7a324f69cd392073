"""
What ends an access: the fewest sources without which nothing grants it any more.

An access has paths; each path needs all of its parts. To end the access every path has
to lose one part. Parts that stand on the same paths do the same, so they form a group,
and one of the group is enough.

A rule is a path by itself, and chains that share a link share all that is before it. So
of two groups one contains the other's paths or they have none in common: what is left
once the smaller ones are dropped has to go whole, and nothing less is enough.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Part = TypeVar("Part", bound=Hashable)


def ends(paths: Sequence[Sequence[Part]]) -> list[list[Part]]:
    """
    Return the groups of parts of which one each has to go to end all *paths*.

    None where there is no path, or one without a part that could go.
    """
    if not paths or not all(paths):
        return []
    groups = _groups(paths)
    # A part that stands on fewer paths than another never does better.
    return [
        parts for on, parts in groups.items() if not any(on < other for other in groups)
    ]


def _groups(paths: Sequence[Sequence[Part]]) -> dict[frozenset[int], list[Part]]:
    """Return the parts by the paths on which they stand, in their order."""
    on: dict[Part, set[int]] = {}
    for index, path in enumerate(paths):
        for part in path:
            on.setdefault(part, set()).add(index)
    groups: dict[frozenset[int], list[Part]] = {}
    for part, indexes in on.items():
        groups.setdefault(frozenset(indexes), []).append(part)
    return groups
