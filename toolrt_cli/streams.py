"""The standard streams of one command and what each can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

import msgspec

from toolrt_cli.escape import escape
from toolrt_cli.grammar import Globals
from toolrt_cli.terminal import Terminal, look


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """Data goes to ``out``, everything else to ``err``."""

    out: TextIO
    err: TextIO
    out_terminal: Terminal
    err_terminal: Terminal
    settings: Globals

    def remark(self, text: str) -> None:
        """
        Write one line to standard error, for people.

        Not with ``--quiet``, and not in JSON mode, where an error is all that stands
        there: what a program is to know is in the document.
        """
        if not (self.settings.quiet or self.settings.is_json):
            self.out.flush()  # what is said about the data stands below the data
            self.err.write(escape(text) + "\n")


def open_streams(settings: Globals, environ: Mapping[str, str]) -> Streams:
    """Return the standard streams of this process."""
    return Streams(
        out=sys.stdout,
        err=sys.stderr,
        out_terminal=look(sys.stdout, environ, settings.color),
        err_terminal=look(sys.stderr, environ, settings.color),
        settings=settings,
    )


def silence(stream: TextIO) -> None:
    """Send what *stream* still holds nowhere: it is flushed once more at exit."""
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), stream.fileno())


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send what other people's code, or its children, print to standard error."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 1)
        os.close(saved)
