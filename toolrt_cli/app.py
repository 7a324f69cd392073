"""
The Typer application: every command but ``run``, which needs no Typer.

Each function here only names parameters and hands them on; the work is in
``toolrt_cli.commands``. Global options are taken out before Typer sees the words.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from toolrt_cli.app_audit import audit
from toolrt_cli.app_parts import EPILOG, group, session, streams
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import GLOBAL, Globals, UsageError, help_lines

app = group("Run tools through a gate, keep the record, ask why.")
pack = group("What is loaded, from where, and what each tool takes and needs.")
provenance = group("Why a caller has a capability, or has not.")
config = group("Which configuration counts, and whether it is right.")
app.add_typer(pack, name="pack")
app.add_typer(audit, name="audit")
app.add_typer(provenance, name="provenance")
app.add_typer(config, name="config")

ConfigFile = Annotated[str | None, typer.Argument(help="The file; default: as found")]


def run_app(words: list[str], settings: Globals) -> int:
    """
    Run *words* through Typer and return the exit code.

    Raises:
        ToolrtError: What the command raised.
        UsageError: The words are no command line of toolrt.
    """
    if not words and settings.is_json:
        raise UsageError("there is no command")
    try:
        code = app(args=words, standalone_mode=False, prog_name="toolrt", obj=settings)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.Abort as exc:
        raise KeyboardInterrupt from exc
    except SystemExit as exc:
        # Typer ends the process itself in one case only: nobody reads stdout any more.
        raise BrokenPipeError from exc
    except typer.TyperException as exc:
        text = exc.format_message() if hasattr(exc, "format_message") else str(exc)
        if text.startswith("Usage: "):  # a group alone: Typer's error is its help
            if settings.is_json:
                raise UsageError("there is no command") from exc
            sys.stderr.write(text + "\n" + (_MORE_HELP if not words else ""))
            return Exit.USAGE
        raise UsageError(text.rstrip("."), next_step=_help_of(exc)) from exc
    if words in (["-h"], ["--help"]):
        sys.stdout.write(_MORE_HELP)
    return code if isinstance(code, int) else Exit.OK


_MORE_HELP = "\n".join(
    [
        "",
        "Global options, before or after the command:",
        *help_lines(GLOBAL),
        "  -V, --version         Print the version",
        "",
        "Topics: toolrt help environment, exit-codes, filters, options, time",
        "",
    ]
)


def _help_of(exc: typer.TyperException) -> str:
    context = getattr(exc, "ctx", None)
    return f"{context.command_path if context else 'toolrt'} --help"


@app.command(
    "run",
    epilog=EPILOG,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run(ctx: typer.Context) -> int:
    """Call a tool: toolrt run TOOL [name=value]..."""
    from toolrt_cli.commands.run import run_command

    return run_command(ctx.args, ctx.obj, os.environ)


@pack.command("list", epilog=EPILOG)
def pack_list(ctx: typer.Context) -> int:
    """List the packs; a broken one is a row."""
    from toolrt_cli.commands.pack import list_command

    return list_command(session(ctx), streams(ctx))


@pack.command("handlers", epilog=EPILOG)
def pack_handlers(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[PACK]")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Hidden tools and sub-handlers too")
    ] = False,
) -> int:
    """List the tools with signature, capability and effect."""
    from toolrt_cli.commands.pack import handlers_command

    return handlers_command(session(ctx), streams(ctx), name, all_=all_)


@pack.command("show", epilog=EPILOG)
def pack_show(
    ctx: typer.Context, tool: Annotated[str, typer.Argument(metavar="TOOL")]
) -> int:
    """Show everything about one tool, and who may call it."""
    from toolrt_cli.commands.pack import show_command

    return show_command(session(ctx), streams(ctx), tool)


@provenance.command("explain", epilog=EPILOG)
def provenance_explain(
    ctx: typer.Context,
    caller: Annotated[str, typer.Argument(metavar="CALLER")],
    capability: Annotated[str, typer.Argument(metavar="CAPABILITY")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="WHEN", help="As of then, from the record"),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="If this rule or token were gone"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("-S", "--since", help="With --without: calls from then on [30d]"),
    ] = None,
    proof: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Show this delegation token too"),
    ] = None,
) -> int:
    """Explain why a caller has a capability, or has not; -o dot and mermaid draw it."""
    from toolrt_cli.commands.provenance import Options, explain_command

    options = Options(
        at=at, without=tuple(without or ()), since=since, proofs=tuple(proof or ())
    )
    return explain_command(session(ctx), streams(ctx), caller, capability, options)


@provenance.command("can", epilog=EPILOG)
def provenance_can(
    ctx: typer.Context,
    caller: Annotated[str, typer.Argument(metavar="CALLER")],
    capability: Annotated[str, typer.Argument(metavar="CAPABILITY")],
) -> int:
    """Say whether a caller has a capability: exit 0 or 3; -q says it by that alone."""
    from toolrt_cli.commands.grants import can_command

    return can_command(session(ctx), streams(ctx), caller, capability)


@provenance.command("list", epilog=EPILOG)
def provenance_list(
    ctx: typer.Context, caller: Annotated[str, typer.Argument(metavar="CALLER")]
) -> int:
    """List what a caller is granted, by what, and how often it was used."""
    from toolrt_cli.commands.grants import list_command

    return list_command(session(ctx), streams(ctx), caller)


@provenance.command("who", epilog=EPILOG)
def provenance_who(
    ctx: typer.Context,
    capability: Annotated[str, typer.Argument(metavar="CAPABILITY")],
) -> int:
    """List who is granted a capability, by what, and how often they used it."""
    from toolrt_cli.commands.grants import who_command

    return who_command(session(ctx), streams(ctx), capability)


@provenance.command("unused", epilog=EPILOG)
def provenance_unused(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option("-S", "--since", help="By no call from this time on")
    ] = "90d",
) -> int:
    """List the grants of the config that no recorded call has used."""
    from toolrt_cli.commands.grants import unused_command

    return unused_command(session(ctx), streams(ctx), since)


@provenance.command("expiring", epilog=EPILOG)
def provenance_expiring(
    ctx: typer.Context,
    within: Annotated[
        str, typer.Option(metavar="TIME", help="Ending in less than this time")
    ] = "7d",
) -> int:
    """List delegation tokens that end soon or hold no more; exit 1 if there are any."""
    from toolrt_cli.commands.grants import expiring_command

    return expiring_command(session(ctx), streams(ctx), within)


@provenance.callback()
def _provenance() -> None:
    """Why a caller has a capability, or has not."""


@config.command("path", epilog=EPILOG)
def config_path(ctx: typer.Context) -> int:
    """Print the file that counts."""
    from toolrt_cli.commands.config import path_command

    return path_command(streams(ctx), os.environ)


@config.command("validate", epilog=EPILOG)
def config_validate(ctx: typer.Context, file: ConfigFile = None) -> int:
    """Check a configuration file: every fault at once."""
    from toolrt_cli.commands.config import validate_command

    return validate_command(streams(ctx), os.environ, file)


@config.command("trust", epilog=EPILOG)
def config_trust(ctx: typer.Context, file: ConfigFile = None) -> int:
    """Trust a configuration file as it is now."""
    from toolrt_cli.commands.config import trust_command

    return trust_command(streams(ctx), os.environ, file)


@app.command("doctor", epilog=EPILOG)
def doctor(ctx: typer.Context) -> int:
    """Look for what stops calls, or soon will; exit 1 if there is any."""
    from toolrt_cli.commands.doctor import doctor_command

    return doctor_command(streams(ctx), os.environ)


@app.command("completion", epilog=EPILOG)
def completion(
    ctx: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish|powershell")],
) -> int:
    """Print the completion script of a shell."""
    from toolrt_cli.completion import SHELLS, script

    if shell not in SHELLS:
        raise UsageError(f"unknown shell {shell!r}: one of {', '.join(SHELLS)}")
    return _show_text(ctx, "completion", {"shell": shell, "script": script(shell)})


@app.command("help", epilog=EPILOG)
def help_(
    ctx: typer.Context,
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]")] = None,
) -> int:
    """Show a help topic; without one, list them."""
    from toolrt_cli.topics import topics

    texts = topics()
    if topic is None:
        listed = "".join(f"toolrt help {name}\n" for name in texts)
        return _show_text(ctx, "help", {"topics": list(texts), "text": listed})
    if topic not in texts:
        raise UsageError(
            f"no help topic {topic!r}: one of {', '.join(texts)}",
            next_step="toolrt help",
        )
    return _show_text(ctx, "help", {"topic": topic, "text": texts[topic]})


def _show_text(ctx: typer.Context, schema: str, document: dict[str, Any]) -> int:
    """Write a document whose last field is the text that people see."""
    from toolrt_cli.output import emit_document

    shown_on = streams(ctx)
    *_, text = document.values()
    emit_document(
        shown_on.out,
        schema,
        document,
        shown_on.settings.output,
        shown_on.out_terminal,
        lambda: shown_on.out.write(text),
    )
    return Exit.OK
