"""The Typer commands of ``toolrt audit``; the work is in ``toolrt_cli.commands``."""

from __future__ import annotations

from typing import Annotated

import typer

from toolrt_cli.app_parts import (
    EPILOG,
    Filters,
    Reason,
    Since,
    Until,
    Yes,
    group,
    session,
    streams,
)

audit = group("Follow, query, prove and keep what was recorded.")


@audit.command("tail", epilog=EPILOG)
def audit_tail(
    ctx: typer.Context,
    filters: Filters = None,
    limit: Annotated[
        str, typer.Option("-n", "--limit", help="How many, or all")
    ] = "10",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with those that come")
    ] = False,
    since: Since = None,
    until: Until = None,
    max_: Annotated[
        str | None, typer.Option("--max", metavar="N", help="Follow, end after so many")
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Follow, end when so long none came"),
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Follow for so long")
    ] = None,
    until_match: Annotated[
        str | None,
        typer.Option(metavar="FILTER", help="Follow, end after one that matches"),
    ] = None,
    cursor_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Go on where the last tail with it ended"),
    ] = None,
) -> int:
    """Print the last attempts, newest last."""
    from toolrt_cli.commands.tail import Ends, tail_command

    return tail_command(
        session(ctx),
        streams(ctx),
        filters or [],
        since=since,
        until=until,
        limit=limit,
        follow=follow,
        ends=Ends(max=max_, idle=idle, for_=for_, until_match=until_match),
        cursor_file=cursor_file,
    )


@audit.command("query", epilog=EPILOG)
def audit_query(
    ctx: typer.Context,
    filters: Filters = None,
    limit: Annotated[
        str, typer.Option("-n", "--limit", help="How many at most, or all")
    ] = "100",
    count: Annotated[bool, typer.Option("--count", help="Only how many")] = False,
    events: Annotated[
        bool, typer.Option("--events", help="The events, not the attempts")
    ] = False,
    by: Annotated[
        str | None, typer.Option(metavar="FIELD", help="How many for each value of it")
    ] = None,
    sql: Annotated[
        str | None, typer.Option(metavar="SELECT", help="Rows of a SELECT of your own")
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Exit 1 unless so many: '==0', '>=1'"),
    ] = None,
    since: Since = None,
    until: Until = None,
) -> int:
    """Print the attempts that match, newest first."""
    from toolrt_cli.commands.query import Question, query_command

    return query_command(
        session(ctx),
        streams(ctx),
        filters or [],
        since=since,
        until=until,
        question=Question(
            limit=limit, count=count, events=events, by=by, sql=sql, expect=expect
        ),
    )


@audit.command("show", epilog=EPILOG)
def audit_show(
    ctx: typer.Context,
    call_id: Annotated[
        str, typer.Argument(metavar="ID", help="A call id, its start, or @last")
    ],
) -> int:
    """Show everything about one attempt."""
    from toolrt_cli.commands.audit import show_command

    return show_command(session(ctx), streams(ctx), call_id)


@audit.command("stats", epilog=EPILOG)
def audit_stats(
    ctx: typer.Context,
    filters: Filters = None,
    since: Since = None,
    until: Until = None,
) -> int:
    """Print how much is recorded: by outcome, by decision, by day."""
    from toolrt_cli.commands.audit import stats_command

    return stats_command(
        session(ctx), streams(ctx), filters or [], since=since, until=until
    )


@audit.command("values", epilog=EPILOG)
def audit_values(
    ctx: typer.Context,
    field: Annotated[
        str,
        typer.Argument(metavar="actor|caller|capability|namespace|outcome|tool"),
    ],
) -> int:
    """Print the values that a field has, the most frequent first."""
    from toolrt_cli.commands.audit import values_command

    return values_command(session(ctx), streams(ctx), field)


@audit.command("path", epilog=EPILOG)
def audit_path(ctx: typer.Context) -> int:
    """Print the path of the store."""
    from toolrt_cli.commands.audit import path_command

    return path_command(session(ctx), streams(ctx))


@audit.command("verify", epilog=EPILOG)
def audit_verify(
    ctx: typer.Context,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Compare with the checkpoints kept there"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The public key of the first checkpoint"),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Verify this export, without any store"),
    ] = None,
) -> int:
    """Verify chain and checkpoints; exit 7 on any mismatch."""
    if export is not None:
        from toolrt_cli.commands.transfer import verify_export_command

        return verify_export_command(streams(ctx), export, anchor=anchor, key=key)
    from toolrt_cli.commands.verify import verify_command

    return verify_command(session(ctx), streams(ctx), anchor=anchor, key=key)


@audit.command("checkpoint", epilog=EPILOG)
def audit_checkpoint(
    ctx: typer.Context,
    rotate_key: Annotated[
        bool,
        typer.Option("--rotate-key", help="Make a new key, which signs from then on"),
    ] = False,
) -> int:
    """Sign a statement over all events, now."""
    from toolrt_cli.commands.keeping import checkpoint_command

    return checkpoint_command(session(ctx), streams(ctx), rotate=rotate_key)


@audit.command("backup", epilog=EPILOG)
def audit_backup(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="FILE", help="Where to; a new file")],
) -> int:
    """Copy the store as it is now, while calls go on."""
    from toolrt_cli.commands.keeping import backup_command

    return backup_command(session(ctx), streams(ctx), target)


@audit.command("restore", epilog=EPILOG)
def audit_restore(
    ctx: typer.Context,
    backup: Annotated[str, typer.Argument(metavar="FILE", help="The backup")],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Keep the store there is under another name"),
    ] = False,
) -> int:
    """Verify a backup and put a copy of it in the place of the store."""
    from toolrt_cli.commands.keeping import restore_command

    return restore_command(session(ctx), streams(ctx), backup, replace=replace)


@audit.command("prune", epilog=EPILOG)
def audit_prune(
    ctx: typer.Context,
    before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Remove what is older than this")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="TIME", help="How much is to stay: 180d")
    ] = None,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Only say what would go")
    ] = False,
) -> int:
    """Remove the oldest events, up to a signed checkpoint."""
    from toolrt_cli.commands.keeping import prune_command

    return prune_command(
        session(ctx),
        streams(ctx),
        before=before,
        keep=keep,
        reason=reason,
        yes=yes,
        dry_run=dry_run,
    )


@audit.command("redact", epilog=EPILOG)
def audit_redact(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="ID", help="A call id, its start, an event id")
    ],
    reason: Reason = None,
    yes: Yes = False,
) -> int:
    """Remove the free texts of a record for good; the chain stays intact."""
    from toolrt_cli.commands.keeping import redact_command

    return redact_command(session(ctx), streams(ctx), name, reason=reason, yes=yes)


@audit.command("export", epilog=EPILOG)
def audit_export(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILTERS", help="FIELD=VALUE, and a new file, or - to print"
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="jsonl|csv|sqlite", help="How it is written"),
    ] = None,
    since: Since = None,
    until: Until = None,
) -> int:
    """Write the events as lines that verify by themselves, or as a table."""
    from toolrt_cli.commands.transfer import export_command

    return export_command(
        session(ctx),
        streams(ctx),
        words or [],
        since=since,
        until=until,
        fmt=format_,
    )


@audit.command("import", epilog=EPILOG)
def audit_import(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines, or -")],
) -> int:
    """Store CallEvents, one JSON object a line, as call events."""
    from toolrt_cli.commands.transfer import import_command

    return import_command(session(ctx), streams(ctx), file)
