"""
``toolrt run``: one call, from words to a recorded result.

The words become arguments by the tool's schema, the call goes through the pipeline with
the store behind it, and the result goes to stdout; everything else goes to stderr.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from toolrt import (
    AuditUnavailableError,
    CallResult,
    CapabilityDeniedError,
    DelegationRefusedError,
    InvalidArgsError,
    RateLimitedError,
    Registry,
    Tool,
    ToolCall,
)
from toolrt.schema import ANYTHING, signature
from toolrt_cli.arguments import parse_json_args, parse_pairs
from toolrt_cli.call_labels import labels_of
from toolrt_cli.config.places import user_state_dir
from toolrt_cli.confirm import Confirmation
from toolrt_cli.escape import escape, show_block
from toolrt_cli.exit_codes import Exit, exit_code
from toolrt_cli.grammar import Globals, RunWords, UsageError, parse_run
from toolrt_cli.json_text import ArgumentSyntaxError
from toolrt_cli.packs import name_broken
from toolrt_cli.problems import Advice, advise, report
from toolrt_cli.run_proofs import (
    Proofs,
    authority_for,
    proofs_of,
    refusal_advice,
    told,
    unmet_bindings,
)
from toolrt_cli.sinks import Sinks
from toolrt_cli.streams import Streams, open_streams, prints_to_stderr
from toolrt_cli.wiring import (
    Session,
    find_tool,
    open_registry,
    open_session,
)
from toolrt_cli.writing import open_to_write
from toolrt_store import SqliteEventStore, StoreError


def run_command(words: list[str], before: Globals, environ: Mapping[str, str]) -> int:
    """
    Run ``toolrt run`` with *words* and return the exit code.

    Raises:
        ToolrtError: What stopped it before there was a call.
    """
    # Which of run's options are the tool's own depends on the tool, and where the tool
    # is declared on --config: so the words are parsed twice.
    settings, options = parse_run(words, before)
    if options.tool is None:
        return _show_help(options)
    session = open_session(settings, environ)
    tool = find_tool(session, options.tool)
    if tool is not None:
        arguments = tool.definition.input_schema.get("properties", {})
        settings, options = parse_run(words, before, arguments)
        session = msgspec.structs.replace(session, settings=settings)
        if options.help:
            return _show_tool(tool)
    streams = open_streams(settings, environ)
    name_broken(session.broken, streams)
    caller = session.default_caller if options.caller is None else options.caller
    proofs = proofs_of(session.config, caller, options.proofs)
    call = _call(session, options, tool, caller, proofs.tokens)
    return _make(session, call, options, streams, tool, proofs=proofs)


def _make(
    session: Session,
    call: ToolCall,
    options: RunWords,
    streams: Streams,
    tool: Tool | None,
    *,
    proofs: Proofs,
) -> int:
    asked = () if options.yes or options.dry_run else _asked_effects(session)
    confirmation = Confirmation(asked, streams)
    state_dir = user_state_dir(session.environ)
    with Sinks(session.config, state_dir) as sinks, _open_store(session) as store:
        granting = authority_for(session, store, call, proofs)
        registry = open_registry(
            session, store, confirmation.over, sinks.direct, granting
        )
        with prints_to_stderr():
            result = registry.run(call)
    result = told(sinks.judged(result), proofs)
    if confirmation.is_interrupted:
        raise KeyboardInterrupt
    if confirmation.refusal is not None:
        confirmation.refusal.call_id = result.call_id
        result = msgspec.structs.replace(result, error=confirmation.refusal)
    why = _reasons(session, call, options, result, tool) if options.why else None
    _show(result, streams, why)
    for loss in sinks.losses():
        streams.remark(loss)
    failure = getattr(result.error, "failure", None)  # where the record was lost
    if failure is not None and not streams.settings.is_json:
        report(failure, streams)
    if result.error is not None:
        advice = _advise(result, call, options, session, registry)
        report(result.error, streams, advice)
        return exit_code(result.error)
    if result.next_cursor is not None:
        streams.remark(f"there is more: --cursor {result.next_cursor}")
    if streams.err_terminal.is_tty:
        streams.remark(_summary(result))
    return Exit.OK


def _asked_effects(session: Session) -> tuple[str, ...]:
    return session.config.config.runtime.confirm


def _open_store(session: Session) -> SqliteEventStore:
    try:
        return open_to_write(session)
    except StoreError as exc:
        raise AuditUnavailableError(str(exc), retryable=exc.retryable) from exc


def _call(
    session: Session,
    options: RunWords,
    tool: Tool | None,
    caller: str,
    proofs: tuple[str, ...],
) -> ToolCall:
    """Return the call that the words describe."""
    assert options.tool is not None
    schema = ANYTHING if tool is None else tool.definition.input_schema
    base, files = None, _Files()
    try:
        if options.json_args is not None:
            base = parse_json_args(options.json_args, read_file=files)
        params = parse_pairs(options.words, schema=schema, read_file=files, base=base)
    except ArgumentSyntaxError as exc:
        exc.next_step = f"toolrt run {options.tool} --help"
        raise
    return ToolCall(
        options.tool,
        params,
        caller=caller,
        actor=session.actor,
        proofs=proofs,
        labels=labels_of(session, caller, tool, params, proofs),
        dry_run=options.dry_run,
        timeout_s=_seconds(options.timeout),
        cursor=options.cursor,
        source="cli",
        session_id=session.environ.get("TOOLRT_REQUEST_ID"),
        reason=options.reason,
    )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from toolrt_cli.times import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"--timeout: {exc}") from exc
    if seconds <= 0:
        raise UsageError("--timeout: must be more than 0 seconds")
    return seconds


class _Files:
    """Reads the files that arguments name, and standard input once."""

    def __init__(self) -> None:
        self._stdin_is_read = False

    def __call__(self, name: str) -> str:
        if name != "-":
            with open(name, encoding="utf-8") as file:
                return file.read()
        if self._stdin_is_read:
            raise OSError(errno.EBADF, "standard input is read already")
        self._stdin_is_read = True
        return sys.stdin.read()


def _show(result: CallResult, streams: Streams, why: list[str] | None) -> None:
    """
    Write the result to stdout in the format that was asked for.

    Args:
        why: What was decided and by what; for people it stands before the result.
    """
    fmt = streams.settings.output
    if why is not None and not streams.settings.is_json:
        streams.err.write("".join(f"{escape(line)}\n" for line in why))
    if fmt in ("json", "jsonl"):
        from toolrt_cli.output import emit_document

        emit_document(
            streams.out,
            "run",
            _document(result) if why is None else {**_document(result), "why": why},
            fmt,
            streams.out_terminal,
            _nothing,
        )
    elif result.value is not None or result.ok:
        _show_value(result.value, fmt, streams)
    streams.out.flush()


def _nothing() -> None:
    """Render nothing: JSON is all there is."""


def _document(result: CallResult) -> dict[str, Any]:
    event = result.event
    outcome = "denied" if result.decision == "deny" else "error"
    document = {
        "ok": result.ok,
        "tool": result.tool_id,
        "result": msgspec.to_builtins(result.value),
        "call_id": result.call_id,
        "outcome": result.outcome.kind if result.outcome else outcome,
        "duration_ms": event.duration_ms if event else None,
        "decision": result.decision,
    }
    if result.next_cursor is not None:
        document["next_cursor"] = result.next_cursor
    return document


def _show_value(value: Any, fmt: str | None, streams: Streams) -> None:
    from toolrt_cli.output import Column, emit_list, to_json

    terminal = streams.out_terminal
    plain = msgspec.to_builtins(value)
    if fmt is not None and _is_rows(plain):
        names = list(dict.fromkeys(name for row in plain for name in row))
        emit_list(
            streams.out,
            schema="result",
            items=plain,
            columns=[Column(name, name) for name in names],
            name_key=names[0] if names else "",
            meta={},
            fmt=fmt,
            terminal=terminal,
        )
    elif isinstance(plain, str):
        _show_text(plain, streams)
    else:
        streams.out.write(to_json(plain, indent=terminal.is_tty) + "\n")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _show_text(text: str, streams: Streams) -> None:
    """Write text as it is to a pipe; to a terminal with its controls made visible."""
    if not streams.out_terminal.is_tty:
        streams.out.write(text)
        return
    shown = show_block(text)
    streams.out.write(shown if shown.endswith("\n") else shown + "\n")


def _summary(result: CallResult) -> str:
    assert result.event is not None
    kind = "dry run" if result.event.dry_run else str(result.decision)
    return f"record {result.call_id}  {kind}  {result.event.duration_ms} ms"


def _advise(
    result: CallResult,
    call: ToolCall,
    options: RunWords,
    session: Session,
    registry: Registry,
) -> Advice:
    error = result.error
    assert error is not None
    if isinstance(error, DelegationRefusedError):
        return refusal_advice(session, error, call, options.proofs)
    if isinstance(error, CapabilityDeniedError):
        tool = registry.tool(call.tool)
        return _capability_advice(error, call, options, session, tool)
    if isinstance(error, InvalidArgsError):
        return _argument_advice(error, registry.tool(call.tool))
    if isinstance(error, RateLimitedError) and error.retry_after_ms is not None:
        return Advice(next=(f"retry in {error.retry_after_ms / 1000:.1f} s",))
    return advise(error)


def _capability_advice(
    error: CapabilityDeniedError,
    call: ToolCall,
    options: RunWords,
    session: Session,
    tool: Tool,
) -> Advice:
    """Name what is missing and the lines that would grant it."""
    from shlex import quote

    from toolrt_cli.grant_lines import grant_lines

    file, caller = session.config_to_edit, call.caller or ""
    has = ", ".join(error.granted) or "nothing"
    shown = "".join(f" --proof {quote(one)}" for one in options.proofs)
    return Advice(
        details=(
            f"it needs {', '.join(error.required)} and was granted {has}",
            *unmet_bindings(session.config, tool, call, options.proofs),
        ),
        change=grant_lines(session.config, file, caller, error.missing),
        next=tuple(
            f"toolrt provenance explain {caller} {missing}{shown}"
            for missing in error.missing
        ),
    )


def _argument_advice(error: InvalidArgsError, tool: Tool) -> Advice:
    import difflib

    schema = tool.definition.input_schema
    known = list(schema.get("properties", ()))
    details = list(advise(error).details)
    for index, fault in enumerate(error.faults):
        near = difflib.get_close_matches(fault.path, known, n=1)
        if fault.rule == "is not known" and near:
            details[index] += f"; did you mean {near[0]}?"
    return Advice(
        details=(*details, f"signature: {signature(tool.verb, schema)}"),
        next=(f"toolrt run {tool.verb} --help",),
    )


def _reasons(
    session: Session,
    call: ToolCall,
    options: RunWords,
    result: CallResult,
    tool: Tool | None,
) -> list[str]:
    """Return the gate's word, then each capability's source, a line each."""
    from toolrt_cli.provenance.why import describe_grants

    place = getattr(result.error, "place", None)
    by = f", by {place}" if place else ""
    needed = tool.definition.capabilities if tool else ()
    caller = call.caller or ""
    grants = describe_grants(session, caller, needed, options.proofs)
    return [f"gate: {result.decision}{by}", *grants]


def _show_help(options: RunWords) -> int:
    from toolrt_cli.run_help import RUN_HELP

    if not options.help:
        raise UsageError("run needs a tool", next_step="toolrt pack handlers")
    sys.stdout.write(RUN_HELP)
    return Exit.OK


def _show_tool(tool: Tool) -> int:
    from toolrt_cli.run_help import tool_help

    sys.stdout.write(tool_help(tool))
    return Exit.OK
