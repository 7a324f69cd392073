"""What one output stream can show: is it a terminal, may it have colour, how wide is it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, TextIO

import msgspec

COLOR_FLAGS: Final = ("auto", "always", "never")
_DEFAULT_WIDTH: Final = 80
_MAX_WIDTH: Final = 10_000


class Terminal(msgspec.Struct, frozen=True):
    """What is known of one stream; taken once, before anything is written to it."""

    is_tty: bool = False
    #: Whether text may carry SGR colours. It may on a pipe, if someone forces it.
    colour: bool = False
    #: Columns of a line.
    width: int = _DEFAULT_WIDTH


def look(
    stream: TextIO, environ: Mapping[str, str], color_flag: str | None = None
) -> Terminal:
    """
    Ask *stream* and *environ* what the stream can show.

    Args:
        color_flag: The value of ``--color``; None if it was not given.
    """
    is_tty = _is_tty(stream)
    return Terminal(
        is_tty=is_tty,
        colour=_has_colour(environ, color_flag, is_tty=is_tty),
        width=_columns(environ)
        or (_stream_width(stream) if is_tty else 0)
        # A terminal over a serial line reports 0 columns.
        or _DEFAULT_WIDTH,
    )


def _has_colour(
    environ: Mapping[str, str], color_flag: str | None, *, is_tty: bool
) -> bool:
    if color_flag in ("always", "never"):
        return color_flag == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in _FORCING):
        return True
    if environ.get("CLICOLOR") == "0" or environ.get("TERM") == "dumb":
        return False
    return is_tty


_FORCING: Final = ("FORCE_COLOR", "CLICOLOR_FORCE")


def _columns(environ: Mapping[str, str]) -> int:
    text = environ.get("COLUMNS", "")
    if not (text.isascii() and text.isdigit() and len(text) < len(str(_MAX_WIDTH))):
        return 0
    return int(text)


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # the stream is closed
        return False


def _stream_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # a stream in memory that claims to be a terminal
        return 0
