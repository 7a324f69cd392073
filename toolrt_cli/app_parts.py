"""What the Typer commands share: how a group is made, what each command works with."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from toolrt_cli.streams import Streams, open_streams
from toolrt_cli.wiring import Session, open_session

EPILOG: Final = "Global options work before and after the command: toolrt help options"

Filters = Annotated[
    list[str] | None, typer.Argument(help="FIELD=VALUE; see toolrt help filters")
]
Since = Annotated[
    str | None, typer.Option("-S", "--since", help="From this time on, such as 7d")
]
Until = Annotated[str | None, typer.Option("-U", "--until", help="Up to this time")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Keep this reason with the record")
]


def group(text: str) -> typer.Typer:
    """Return a group of commands; *text* is its help."""
    return typer.Typer(
        help=text,
        add_completion=False,  # Typer's own installer edits rc files
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def streams(ctx: typer.Context) -> Streams:
    """Return the streams of the command."""
    return open_streams(ctx.obj, os.environ)


def session(ctx: typer.Context) -> Session:
    """
    Return the session of the command.

    Raises:
        ConfigError: The config is invalid or not trusted.
    """
    return open_session(ctx.obj, os.environ)
