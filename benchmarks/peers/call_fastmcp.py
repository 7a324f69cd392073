"""One call of a tool of a FastMCP server, in process, async or sync."""

import asyncio
import sys

from fastmcp import FastMCP  # type: ignore[import-not-found]
from peers.told import double


async def adouble(number: int) -> int:
    """Return *number* twice."""
    return 2 * number


async def main(what: str, units: int) -> None:
    """Call, on a loop that runs already."""
    server = FastMCP("bench")
    server.tool(adouble if what == "async" else double, name="double")
    await server.call_tool("double", {"number": 2})
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(units):
        await server.call_tool("double", {"number": 2})
    taken = (loop.time() - began) / units
    sys.stdout.write(f'{{"seconds": {taken:.9f}}}\n')


asyncio.run(main(sys.argv[1], 1_000))
