"""``toolrt doctor``: what stops calls, or soon will. It looks, and changes nothing."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolrt.cursor import KEY_VARIABLE, CursorKeyError, load_key
from toolrt_cli import delegation_health, sink_counters
from toolrt_cli.config import (
    ConfigError,
    LoadedConfig,
    Located,
    UntrustedConfigError,
    load,
    open_config,
    user_state_dir,
)
from toolrt_cli.config.sinks import target_of
from toolrt_cli.exit_codes import Exit
from toolrt_cli.output import Column, emit_list
from toolrt_cli.reading import open_to_read
from toolrt_cli.sinks import counted_as
from toolrt_cli.streams import Streams
from toolrt_cli.times import show_utc
from toolrt_cli.wiring import Session, cwd, session_over, working_faults
from toolrt_cli.writing import anchor_of
from toolrt_store import StoreError
from toolrt_store.anchor import AnchorError
from toolrt_store.anchor import read as read_anchor
from toolrt_store.doctor import Finding, check_store

_STATUSES: Final = ("ok", "warn", "fail")
_MARKS: Final = {"ok": "✓ ok", "warn": "! warn", "fail": "✗ fail"}
_VALIDATE: Final = "toolrt config validate"


def doctor_command(streams: Streams, environ: Mapping[str, str]) -> int:
    """Print one row for each check; exit 1 if one fails."""
    found = list(_findings(streams, environ))
    items = [
        {"status": f.status, "check": f.check, "text": f.text, "fix": f.fix}
        for f in found
    ]
    counts = {one: sum(f.status == one for f in found) for one in _STATUSES}
    emit_list(
        streams.out,
        schema="doctor",
        items=items,
        columns=_columns(streams),
        name_key="check",
        meta=counts,
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
    return Exit.FAILED if counts["fail"] else Exit.OK


def _columns(streams: Streams) -> list[Column]:
    is_tty = streams.out_terminal.is_tty
    return [
        Column("status", "STATUS", _mark if is_tty else None),
        Column("check", "CHECK"),
        Column("text", "FOUND", fold=True),
        Column("fix", "DO", fold=True),
    ]


def _mark(item: Mapping[str, Any]) -> str:
    return _MARKS[item["status"]]


def _findings(streams: Streams, environ: Mapping[str, str]) -> Iterator[Finding]:
    config, finding = _config(streams, environ)
    yield finding
    session = session_over(config, streams.settings, environ)
    if finding.status != "fail":  # what is not trusted is not loaded
        yield from _packs(session)
    yield _cursor_key(environ)
    yield from _sinks(config, environ)
    last_event_us, finding = _store(session)
    yield finding
    yield from _anchor(session)
    now_us = max(time.time_ns() // 1000, last_event_us or 0)
    yield from delegation_health.findings(config, environ, now_us)
    yield from check_store(
        session.store_path,
        last_event_us=last_event_us,
        now_us=time.time_ns() // 1000,
        reserve=config.config.store.reserve,
        group=config.config.store.group,
    )


def _config(
    streams: Streams, environ: Mapping[str, str]
) -> tuple[LoadedConfig, Finding]:
    """Return the config that counts, or the built-in one where that cannot be used."""
    try:
        config = open_config(flag=streams.settings.config, environ=environ, cwd=cwd())
    except UntrustedConfigError as exc:
        path = exc.path
        text, fix = f"{path} was found and is not trusted", shlex.quote(path)
        failed = _failed("config", text, f"read it, then: toolrt config trust {fix}")
        return _built_in(), failed
    except ConfigError as exc:
        first, count = exc.faults[0], len(exc.faults)
        more = f", and {count - 1} more" if count > 1 else ""
        text = f"{first.place}: {first.message}{more}"
        return _built_in(), _failed("config", text, _VALIDATE)
    text = config.path or "built-in default"
    return config, Finding(check="config", status="ok", text=text)


def _built_in() -> LoadedConfig:
    return load(Located(None, "default"))


def _failed(check: str, text: str, fix: str) -> Finding:
    return Finding(check=check, status="fail", text=text, fix=fix)


def _packs(session: Session) -> Iterator[Finding]:
    problems = [f"{one.name}: {one.problem}" for one in session.broken]
    problems += [f"{one.place}: {one.message}" for one in working_faults(session)]
    yield from (_failed("packs", problem, _VALIDATE) for problem in problems)
    if not problems:
        tools = sum(len(pack.handlers) for pack in session.packs)
        names = ", ".join(pack.name for pack in session.packs) or "none"
        yield Finding(check="packs", status="ok", text=f"{names}: {tools} tools")


def _cursor_key(environ: Mapping[str, str]) -> Finding:
    path = os.path.join(user_state_dir(environ), "cursor.key")
    if KEY_VARIABLE not in environ and not os.path.lexists(path):
        text = "none yet; a tool with results in pages makes it"
        return Finding(check="cursor key", status="ok", text=text)
    try:
        load_key(environ=environ, path=path)  # it is there: none is made
    except CursorKeyError as exc:
        fix = f"unset {KEY_VARIABLE}, or remove {shlex.quote(path)}"
        return _failed("cursor key", str(exc), f"{fix}: running cursors end")
    where = KEY_VARIABLE if KEY_VARIABLE in environ else path
    return Finding(check="cursor key", status="ok", text=where)


def _sinks(config: LoadedConfig, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what each sink of the config has done so far, over all commands."""
    counters = sink_counters.read(user_state_dir(environ))
    tables = config.config.sink
    names = {target_of(one.kind, one.path): one.path or one.kind for one in tables}
    names |= {target_of(one.fallback): one.fallback for one in tables if one.fallback}
    for target, name in names.items():
        check = f"sink {name}"
        found = counters.get(counted_as(config, target))
        if found is None:
            yield Finding(check=check, status="ok", text="nothing was sent to it yet")
            continue
        text = (
            f"{found.sent} sent: {found.written} written, {found.diverted} diverted,"
            f" {found.dropped} dropped, {found.failed} failed,"
            f" since {show_utc(found.since_us)}"
        )
        if not found.lost:
            yield Finding(check=check, status="ok", text=text)
            continue
        why = f"; last: {found.last_error}" if found.last_error else ""
        fix = "audit export has what the store kept; see backpressure and capacity"
        yield Finding(check=check, status="warn", text=f"{text}{why}", fix=fix)


def _anchor(session: Session) -> Iterator[Finding]:
    """Yield whether the next checkpoint can be told to the anchor, if there is one."""
    path = anchor_of(session)
    if path is None:
        return
    fix = "make room for it there; without an anchor nobody sees a store cut off"
    found = os.path.lexists(path)
    if os.path.isdir(path):
        yield _failed("anchor", f"{path} is a directory", "name a file: [store] anchor")
    elif not os.access(path if found else os.path.dirname(path) or ".", os.W_OK):
        yield _failed("anchor", f"{path} cannot be written", fix)
    elif not found:
        text = f"{path} is not there yet; the next checkpoint makes it"
        yield Finding(check="anchor", status="ok", text=text)
    elif not os.path.isfile(path):
        text = f"{path} takes checkpoints and cannot be read back"
        yield Finding(check="anchor", status="ok", text=text)
    else:
        yield _anchor_file(path)


def _anchor_file(path: str) -> Finding:
    try:
        found = read_anchor(path)
    except AnchorError as exc:
        return _failed("anchor", str(exc), "name another: [store] anchor")
    text = f"{path} has been told of checkpoints: {len(found.checkpoints)}"
    if not found.bad_lines:
        return Finding(check="anchor", status="ok", text=text)
    text = f"{text}; {found.bad_lines[0]}"
    fix = "toolrt audit verify tells what the rest of it vouches for"
    return Finding(check="anchor", status="warn", text=text, fix=fix)


def _store(session: Session) -> tuple[int | None, Finding]:
    """Return the time of the last event, None if there is none, and what was found."""
    try:
        with open_to_read(session) as store:
            covered = None if store is None else store.coverage()
    except StoreError as exc:
        fix = "name another: --store; keep this one for an examination"
        return None, _failed("store", str(exc), fix)
    if covered is None or covered.last_us is None:
        text = f"nothing is recorded yet in {session.store_path}"
        return None, Finding(check="store", status="ok", text=text)
    last = show_utc(covered.last_us)
    text = f"{session.store_path}: {covered.events} events, the last {last}"
    return covered.last_us, Finding(check="store", status="ok", text=text)
