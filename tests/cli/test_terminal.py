"""What a stream can show: the precedence of flag, environment and stream."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from toolrt_cli.terminal import Terminal, look


class FakeTty(io.StringIO):
    """A stream in memory that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def pseudo_terminal() -> Iterator[TextIO]:
    """A real terminal of 0 columns, as one over a serial line is."""
    leader, follower = os.openpty()
    with open(follower, "w", encoding="utf-8") as stream:
        yield stream
    os.close(leader)


@pytest.mark.parametrize(
    ("environ", "flag", "is_tty", "colour"),
    [
        pytest.param({}, None, True, True, id="terminal"),
        pytest.param({}, None, False, False, id="pipe"),
        pytest.param({}, "auto", True, True, id="auto asks the stream"),
        pytest.param({"NO_COLOR": "1"}, "always", False, True, id="flag always wins"),
        pytest.param({"FORCE_COLOR": "1"}, "never", True, False, id="flag never wins"),
        pytest.param({"NO_COLOR": "1"}, None, True, False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": "1"}, "auto", True, False, id="auto keeps NO_COLOR"),
        pytest.param({"NO_COLOR": "0"}, None, True, False, id="NO_COLOR of any value"),
        pytest.param({"NO_COLOR": ""}, None, True, True, id="empty NO_COLOR"),
        pytest.param(
            {"NO_COLOR": "1", "FORCE_COLOR": "1"}, None, True, False, id="NO over FORCE"
        ),
        pytest.param({"FORCE_COLOR": "1"}, None, False, True, id="FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": "0"}, None, False, False, id="FORCE_COLOR=0"),
        pytest.param({"FORCE_COLOR": ""}, None, False, False, id="empty FORCE_COLOR"),
        pytest.param({"CLICOLOR_FORCE": "1"}, None, False, True, id="CLICOLOR_FORCE"),
        pytest.param(
            {"FORCE_COLOR": "1", "CLICOLOR": "0", "TERM": "dumb"},
            None,
            False,
            True,
            id="FORCE over CLICOLOR and TERM",
        ),
        pytest.param({"CLICOLOR": "0"}, None, True, False, id="CLICOLOR=0"),
        pytest.param({"CLICOLOR": "1"}, None, False, False, id="CLICOLOR=1 on a pipe"),
        pytest.param({"TERM": "dumb"}, None, True, False, id="dumb terminal"),
    ],
)
def test_colour(
    environ: dict[str, str], flag: str | None, is_tty: bool, colour: bool
) -> None:
    """The first that speaks decides: flag, NO_COLOR, FORCE, CLICOLOR, TERM, stream."""
    stream = FakeTty() if is_tty else io.StringIO()

    terminal = look(stream, environ, flag)

    assert (terminal.is_tty, terminal.colour) == (is_tty, colour)


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        pytest.param("132", 132, id="a number"),
        pytest.param("0", 80, id="zero"),
        pytest.param("", 80, id="empty"),
        pytest.param("-5", 80, id="negative"),
        pytest.param("wide", 80, id="no number"),
        pytest.param("1" * 5000, 80, id="absurd"),
        pytest.param("٣", 80, id="digit that is not ASCII"),
    ],
)
def test_columns(columns: str, width: int) -> None:
    """COLUMNS sets the width where it is a number of columns."""
    assert look(io.StringIO(), {"COLUMNS": columns}).width == width


def test_closed_stream_is_no_terminal() -> None:
    """A stream that was closed shows nothing, which is no error."""
    stream = io.StringIO()
    stream.close()

    assert look(stream, {}) == Terminal()


def test_terminal_of_no_columns_has_the_usual_width(pseudo_terminal: TextIO) -> None:
    """A terminal that does not know its width gets 80 columns."""
    assert look(pseudo_terminal, {}).width == 80


def test_terminal_tells_its_width(pseudo_terminal: TextIO) -> None:
    """The width is the terminal's own, and COLUMNS goes before it."""
    import termios

    termios.tcsetwinsize(pseudo_terminal.fileno(), (24, 101))

    assert look(pseudo_terminal, {}).width == 101
    assert look(pseudo_terminal, {"COLUMNS": "60"}).width == 60
