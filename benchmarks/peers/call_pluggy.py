"""One hook of pluggy with one implementation."""

from __future__ import annotations

import pluggy
from peers.told import tell

specified = pluggy.HookspecMarker("bench")
implements = pluggy.HookimplMarker("bench")


class Spec:
    """What a plug-in may implement."""

    @specified(firstresult=True)
    def double(self, number: int) -> int | None:
        """Return *number* twice."""


class Plugin:
    """The implementation."""

    @implements
    def double(self, number: int) -> int:
        """Return *number* twice."""
        return 2 * number


plugins = pluggy.PluginManager("bench")
plugins.add_hookspecs(Spec)
plugins.register(Plugin())


def work(count: int) -> None:
    """Call the hook."""
    for _ in range(count):
        plugins.hook.double(number=2)


assert plugins.hook.double(number=2) == 4
tell(work, 100_000)
