"""``[store]``: each of its settings holds where the store is written to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

WriteConfig = Callable[[str], Path]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param('reserve = "9999TiB"', "less than the reserve", id="reserve"),
        pytest.param('group = "no-such-group"', "there is no group", id="group"),
    ],
)
def test_a_setting_of_the_store_stops_a_call(
    cli: Cli, config: WriteConfig, line: str, problem: str
) -> None:
    """Without room to spare, or the group to share with, nothing runs."""
    config(f"[store]\n{line}\n")

    ran = cli("run", "echo.say")

    assert ran.code == 6
    assert problem in ran.err
