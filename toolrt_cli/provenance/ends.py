"""
What ends an access: the fewest sources without which nothing grants it any more.

An access has paths; each path needs all of its parts. To end the access every path has
to lose one part. Parts that stand on the same paths do the same, so they form a group,
and one of the group is enough.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

Part = TypeVar("Part", bound=Hashable)

#: So many ways are told; there may be more.
MOST: Final = 8


def ends(paths: Sequence[Sequence[Part]]) -> list[list[list[Part]]]:
    """
    Return the ways to end an access that *paths* give, those with the fewest removals.

    A way is a list of groups: one part of every group has to go. At most `MOST` ways;
    none where there is no path, or a path without a part that could go.
    """
    if not paths or not all(paths):
        return []
    groups = _groups(paths)
    every = frozenset(range(len(paths)))
    # A part that stands on fewer paths than another never does better.
    useful = [one for one in groups if not any(one < other for other in groups)]
    for size in range(1, len(paths) + 1):
        ways = list(islice(_covers(useful, every, size), MOST))
        if ways:
            return [[groups[one] for one in way] for way in ways]
    return []


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


def _covers(
    groups: Sequence[frozenset[int]], left: frozenset[int], size: int
) -> Iterator[list[frozenset[int]]]:
    """Yield every choice of *size* groups that together stand on all of *left*."""
    if not left:
        yield []
        return
    if not size or _apart(groups, left) > size:
        return
    first = min(left)
    tried: list[frozenset[int]] = []
    for group in groups:
        if first in group:
            rest = [one for one in groups if one not in tried]
            for more in _covers(rest, left - group, size - 1):
                yield [group, *more]
            tried.append(group)


def _apart(groups: Sequence[frozenset[int]], left: frozenset[int]) -> int:
    """Return how many of *left* share no group, so that each needs a removal."""
    count, open_ = 0, set(left)
    while open_:
        one = min(open_)
        open_ -= {one}.union(*(group for group in groups if one in group))
        count += 1
    return count
