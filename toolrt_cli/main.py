"""
The way in: from argv to an exit code.

``toolrt run``, ``--version`` and ``__complete`` (what TAB asks) are answered before Typer
is imported; everything else goes through the Typer application. Every error becomes a
message and a code here and nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# Not even typing is imported here: it would double the time of --version.


def entry() -> None:
    """Run toolrt as a program: the console script."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command line and return its exit code.

    Args:
        argv: The words after the program's name; ``sys.argv[1:]`` by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--version"], ["-V"]):
        from toolrt_cli.version import VERSION

        sys.stdout.write(f"toolrt {VERSION}\n")
        return 0
    return _guarded(words)


def _guarded(words: list[str]) -> int:
    """Run *words* and turn whatever ends it into an exit code."""
    from toolrt.errors import ToolrtError
    from toolrt_cli.exit_codes import Exit, exit_code
    from toolrt_cli.grammar import Globals, split_command
    from toolrt_cli.problems import InternalError, report
    from toolrt_cli.signals import Terminated, catch_sigterm
    from toolrt_cli.streams import open_streams

    # Known before anything can fail: how to show what fails.
    settings = Globals(output="json" if _wants_json(words) else None)
    is_run = False
    try:
        with catch_sigterm():
            settings, rest = split_command(words)
            is_run = rest[:1] == ["run"]
            code = _command(rest, settings)
            sys.stdout.flush()
            return code
    except ToolrtError as exc:
        asked = Globals(output="json") if _wants_json(words) else settings
        report(exc, open_streams(asked, os.environ))
        return exit_code(exc)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Terminated:
        return Exit.TERMINATED
    except BrokenPipeError:
        _silence_stdout()
        return Exit.BROKEN_PIPE if is_run else Exit.OK
    except Exception as exc:  # a bug of toolrt or of the system: said, never hidden
        if os.environ.get("TOOLRT_DEBUG"):
            raise
        asked = Globals(output="json") if _wants_json(words) else settings
        report(InternalError(exc), open_streams(asked, os.environ))
        return Exit.FAILED


def _command(rest: list[str], settings: object) -> int:
    from toolrt_cli.grammar import Globals, split_globals

    assert isinstance(settings, Globals)
    if rest[:1] == ["run"]:
        from toolrt_cli.commands.run import run_command

        return run_command(rest[1:], settings, os.environ)
    if rest[:1] == ["__complete"]:
        from toolrt_cli.commands.complete import complete

        return complete(rest[1:], settings, os.environ)
    from toolrt_cli.app import run_app

    settings, left = split_globals(rest, settings)
    return run_app(left, settings)


def _wants_json(words: Sequence[str]) -> bool:
    """Whether errors are to be JSON, told without parsing: parsing may be what fails."""
    pairs = zip(words, [*words, ""][1:], strict=True)
    return any(
        word in ("--json", "--output=json", "--output=jsonl")
        or (word in ("-o", "--output") and value in ("json", "jsonl"))
        for word, value in pairs
    )


def _silence_stdout() -> None:
    # The interpreter flushes stdout once more at exit; give it somewhere to go.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
