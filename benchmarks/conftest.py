"""What every benchmark gets: a place to put its figures, shown and saved at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from figures import Figure, Run, rows, save, text_table
from machine import machine

_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file for the figures."""
    parser.addoption("--figures", type=Path, help="write the figures there, as JSON")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[Figure], None]:
    """Keep a figure for the table at the end."""
    return request.config.stash.setdefault(_FIGURES, []).append


@pytest.hookimpl(trylast=True)  # below the times of each side
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print all figures in one table, and save them where they were asked for."""
    found = config.stash.get(_FIGURES, [])
    if not found or not config.getoption("--benchmark-enable"):
        return
    terminalreporter.section("figures, each beside the cheapest that does the work")
    terminalreporter.write_line(text_table(rows(found)))
    path: Path | None = config.getoption("--figures")
    if path is not None:
        save(path, Run(machine(), tuple(found)))
