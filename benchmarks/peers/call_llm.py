"""The tool loop of llm, over a model of our own that needs no network."""

from collections.abc import Iterator
from typing import Any

import llm  # type: ignore[import-not-found]
from peers.told import double, tell


class Silent(llm.Model):  # type: ignore[misc]
    """A model that says nothing and may be given tools."""

    model_id = "silent"
    supports_tools = True

    def execute(self, *_given: Any, **_more: Any) -> Iterator[str]:
        """Answer at once."""
        yield "done"


response = Silent().prompt("double two", tools=[double])
response.text()


def work(count: int) -> None:
    """Execute so many calls that the model asked for, one after the other."""
    for _ in range(count):
        asked = llm.ToolCall(name="double", arguments={"number": 2}, tool_call_id="1")
        (found,) = response.execute_tool_calls(tool_calls_list=[asked])
        assert found.output == "4"


tell(work, 5_000)
