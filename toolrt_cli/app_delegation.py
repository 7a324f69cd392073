"""The commands of identities and of delegation tokens; see `toolrt_cli.app`."""

from __future__ import annotations

from typing import Annotated

import typer

from toolrt_cli.app_parts import EPILOG, group, session, streams

identity = group("Keys by which delegation tokens name a caller.")
delegation = group("Tokens that hand capabilities on: made, looked at, ended.")

Proof = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The token that delegates them to the issuer"),
]


@identity.command("new", epilog=EPILOG)
def identity_new(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]
) -> int:
    """Make a key and print its DID; never over one that is there."""
    from toolrt_cli.commands.identity import new_command

    return new_command(streams(ctx), name)


@identity.command("list", epilog=EPILOG)
def identity_list(ctx: typer.Context) -> int:
    """List the identities, and whether their key files are sound."""
    from toolrt_cli.commands.identity import list_command

    return list_command(streams(ctx))


@identity.command("show", epilog=EPILOG)
def identity_show(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="IDENTITY")]
) -> int:
    """Show one identity; exit 5 if its key file is not sound."""
    from toolrt_cli.commands.identity import show_command

    return show_command(streams(ctx), name)


@delegation.command("issue", epilog=EPILOG)
def delegation_issue(
    ctx: typer.Context,
    issuer: Annotated[
        str, typer.Option("--from", metavar="IDENTITY", help="Who delegates")
    ],
    audience: Annotated[
        str,
        typer.Option(
            "--to", metavar="IDENTITY", help="Who may use it: an identity or a DID"
        ),
    ],
    cap: Annotated[
        list[str],
        typer.Option(metavar="CAPABILITY", help="Grant this; may be repeated"),
    ],
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="K=V", help="Only in calls with this argument; or k:=json"
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A time, or how long it counts [30d]"),
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A time, or in how long it begins [now]"),
    ] = None,
    proof: Proof = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write it to this new file, 0600")
    ] = None,
) -> int:
    """Make a token; refused if nobody would accept it."""
    from toolrt_cli.commands.issue import Options, issue_command

    options = Options(
        issuer=issuer,
        audience=audience,
        capabilities=tuple(cap),
        bindings=tuple(with_ or ()),
        expires=expires,
        not_before=not_before,
        proof=proof,
        out=out,
    )
    return issue_command(session(ctx), streams(ctx), options)


@delegation.command("inspect", epilog=EPILOG)
def delegation_inspect(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="A token, FILE or -")],
) -> int:
    """Show what a token says; nothing of it is verified."""
    from toolrt_cli.commands.delegation import inspect_command

    return inspect_command(streams(ctx), source)


@delegation.command("verify", epilog=EPILOG)
def delegation_verify(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE")],
    caller: Annotated[
        str | None,
        typer.Option("--as", metavar="CALLER", help="It has to be for this caller"),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="At this time [now]")
    ] = None,
) -> int:
    """Verify a token with every check of every link: exit 0 or 3."""
    from toolrt_cli.commands.delegation import verify_command

    return verify_command(session(ctx), streams(ctx), file, caller, at)


@delegation.command("revoke", epilog=EPILOG)
def delegation_revoke(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A digest, or a FILE with the token")
    ],
) -> int:
    """End a delegation and all that follows on it, for good."""
    from toolrt_cli.commands.delegation import revoke_command

    return revoke_command(session(ctx), streams(ctx), source)
