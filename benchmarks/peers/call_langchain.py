"""One invoke of a langchain-core tool."""

from langchain_core.tools import tool  # type: ignore[import-not-found]
from peers.told import double, tell

made = tool(double)


def work(count: int) -> None:
    """Invoke the tool."""
    for _ in range(count):
        made.invoke({"number": 2})


assert made.invoke({"number": 2}) == 4
tell(work, 2_000)
