"""
The way in: from argv to an exit code.

``toolrt run``, ``--version`` and ``__complete`` (what TAB asks) are answered before Typer
is imported; everything else goes through the Typer application. Every error becomes a
message and a code here and nowhere else.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

# Neither typing nor collections.abc is imported here: --version would take half as long
# again.


def entry() -> None:
    """Run toolrt as a program: the console script."""
    try:
        _fill_standard_descriptors()
        _buffer_stdout()
        _speak_any_text()
        code = main()
    except KeyboardInterrupt:  # before main could see to it
        code = 130
    sys.exit(code)


def _fill_standard_descriptors() -> None:
    """
    Put /dev/null in the place of a standard stream that is closed.

    Otherwise the next file that is opened, the store, would get its number, and what is
    written to standard output would land in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    # None where Python found the stream closed.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for good
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _buffer_stdout() -> None:
    """
    Give standard output a buffer where PYTHONUNBUFFERED took it away.

    Without one Python loses what a pipe does not take at once, and says nothing.
    """
    raw = sys.stdout.buffer
    if not hasattr(raw, "raw"):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(1, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115


def _speak_any_text() -> None:
    """
    Let the standard streams take any text, whatever the locale says.

    A result that ASCII does not have is written escaped: it is there, and the call that
    made it has run. What is read is UTF-8, as every file is.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8")


def main(argv: list[str] | tuple[str, ...] | None = None) -> int:
    """
    Run one command line and return its exit code.

    Args:
        argv: The words after the program's name; ``sys.argv[1:]`` by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["--version"], ["-V"]):
        from toolrt_cli.version import VERSION

        sys.stdout.write(f"toolrt {VERSION}\n")
        return 0
    if "__complete" in words:
        from toolrt_cli.remembered import recall

        answer = recall(words)
        if answer is not None and _is_printed(answer):
            return 0
    return _guarded(words)


def _is_printed(text: str) -> bool:
    """Print *text*; where that fails, what goes on from there fails too and says so."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _guarded(words: list[str]) -> int:
    """Run *words* and turn whatever ends it into an exit code."""
    from toolrt_cli.signals import Terminated, catch_termination, hold_signals

    with hold_signals():
        from toolrt.errors import ToolrtError
        from toolrt_cli.exit_codes import Exit, exit_code
        from toolrt_cli.grammar import Globals, split_command
        from toolrt_cli.problems import (
            InternalError,
            OutputError,
            StoppedError,
            report,
        )
        from toolrt_cli.streams import open_streams, silence

    # Known before anything can fail: how to show what fails.
    settings = Globals(output="json" if _wants_json(words) else None)
    is_run = False
    try:
        with catch_termination():
            settings, rest = split_command(words)
            is_run = rest[:1] == ["run"]
            code = _command(rest, settings, words)
            sys.stdout.flush()
            return code
    except ToolrtError as exc:
        asked = Globals(output="json") if _wants_json(words) else settings
        report(exc, open_streams(asked, os.environ))
        return exit_code(exc)
    except (KeyboardInterrupt, Terminated) as exc:
        is_term = isinstance(exc, Terminated)
        if _wants_json(words):
            streams = open_streams(Globals(output="json"), os.environ)
            report(StoppedError(is_term=is_term), streams)
        return Exit.TERMINATED if is_term else Exit.INTERRUPTED
    except BrokenPipeError:
        silence(sys.stdout)
        return Exit.BROKEN_PIPE if is_run else Exit.OK
    except Exception as exc:  # a bug of toolrt or of the system: said, never hidden
        if os.environ.get("TOOLRT_DEBUG"):
            raise
        asked = Globals(output="json") if _wants_json(words) else settings
        error: ToolrtError = InternalError(exc)
        if _is_of_stdout(exc):
            error = OutputError(exc)
            silence(sys.stdout)
        report(error, open_streams(asked, os.environ))
        return Exit.FAILED


def _is_of_stdout(exc: Exception) -> bool:
    """Whether *exc* is a full disk or the like behind standard output."""
    # An error about a file that was opened by name says which.
    return isinstance(exc, OSError) and exc.filename is None and exc.errno is not None


def _command(rest: list[str], settings: object, words: list[str]) -> int:
    from toolrt_cli.grammar import Globals, split_globals
    from toolrt_cli.signals import hold_signals

    assert isinstance(settings, Globals)
    if rest[:1] in (["--version"], ["-V"]):
        return main(rest)
    if rest[:1] == ["run"]:
        with hold_signals():
            from toolrt_cli.commands.run import run_command

        return run_command(rest[1:], settings, os.environ)
    if rest[:1] == ["__complete"]:
        with hold_signals():
            from toolrt_cli.commands.complete import complete

        return complete(rest[1:], settings, os.environ, typed=words)
    with hold_signals():
        from toolrt_cli.app import run_app

    settings, left = split_globals(rest, settings)
    return run_app(left, settings)


def _wants_json(words: list[str]) -> bool:
    """Whether errors are to be JSON, told without parsing: parsing may be what fails."""
    pairs = zip(words, [*words, ""][1:], strict=True)
    return any(
        word in ("--json", "--output=json", "--output=jsonl")
        or (word in ("-o", "--output") and value in ("json", "jsonl"))
        for word, value in pairs
    )
