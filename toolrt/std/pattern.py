"""Path patterns: ``*`` and ``?`` inside one name, ``**`` over any directories."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

from toolrt.errors import ToolError

#: How far into a pattern a path has come; empty when it can no longer match.
States = frozenset[int]


class PathPattern:
    """
    A pattern that is matched one name at a time, while a directory is walked.

    Immutable. The work for each name is linear in the length of the pattern, however
    many ``**`` it has.

    Raises:
        ToolError: ``BAD_PATTERN``: it is empty, absolute or goes up.
    """

    def __init__(self, text: str) -> None:
        names = [name for name in text.split("/") if name not in ("", ".")]
        if not names or text.startswith("/") or ".." in names:
            raise ToolError(
                "BAD_PATTERN", f"{text!r}: a pattern is relative, without '..'"
            )
        self._steps = tuple(_step(name) for name in names)
        self.start: States = self._settled({0})

    def advance(self, states: States, name: str) -> States:
        """Return the states after the next *name* of a path."""
        after = set()
        for at in states:
            if at == len(self._steps):
                continue
            step = self._steps[at]
            if step is None:
                after.add(at)
            elif step(name):
                after.add(at + 1)
        return self._settled(after)

    def is_match(self, states: States) -> bool:
        """Return whether a path that ends here matches."""
        return len(self._steps) in states

    def _settled(self, states: set[int]) -> States:
        """Return *states* with those that ``**`` reaches by matching nothing."""
        for at in sorted(states):
            reached = at
            while reached < len(self._steps) and self._steps[reached] is None:
                reached += 1
                states.add(reached)
        return frozenset(states)


def _step(name: str) -> Callable[[str], object] | None:
    return None if name == "**" else re.compile(translate(name)).match
