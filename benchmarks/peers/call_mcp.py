"""The MCP SDK: its tool manager with an async or a sync tool, its server."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import (  # type: ignore[import-not-found]
    Context,
    MCPServer,
)
from mcp.server.mcpserver.tools import (  # type: ignore[import-not-found]
    ToolManager,
)
from peers.told import double


async def adouble(number: int) -> int:
    """Return *number* twice."""
    return 2 * number


def called(what: str) -> Callable[[], Awaitable[Any]]:
    """Return what makes one call of the kind *what*."""
    arguments = {"number": 2}
    if what == "server":
        server = MCPServer("bench")
        server.tool(name="double")(adouble)
        return lambda: server.call_tool("double", arguments)
    manager = ToolManager()
    manager.add_tool(adouble if what == "async" else double, name="double")
    context = Context()
    return lambda: manager.call_tool("double", arguments, context)


async def main(what: str, units: int) -> None:
    """Call, on a loop that runs already."""
    call = called(what)
    loop = asyncio.get_running_loop()
    await call()
    began = loop.time()
    for _ in range(units):
        await call()
    taken = (loop.time() - began) / units
    sys.stdout.write(f'{{"seconds": {taken:.9f}}}\n')


asyncio.run(main(sys.argv[1], 2_000))
