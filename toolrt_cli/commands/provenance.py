"""``toolrt provenance``: why a caller has a capability, or has not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from toolrt_cli.escape import show
from toolrt_cli.exit_codes import Exit
from toolrt_cli.explain import explain, render
from toolrt_cli.output import emit_document
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock, show_utc
from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore


def explain_command(
    session: Session, streams: Streams, caller: str, capability: str
) -> int:
    """
    Print why *caller* has *capability* or not; the exit code follows the decision.

    Raises:
        NotFoundError: Nobody knows the caller or the capability.
    """
    with open_to_read(session) as store:
        _require_known(session, store, caller, capability)
        used = _usage(store, caller, capability)
    now_us = time.time_ns() // 1000
    document = explain(session, caller, capability, used=used, now_us=now_us)

    def draw() -> None:
        is_tty = streams.out_terminal.is_tty
        clock = partial(local_clock, now_us=now_us) if is_tty else str
        for line in render(document, show_time=clock):
            streams.out.write(_coloured(show(line), streams) + "\n")

    fmt = streams.settings.output
    emit_document(streams.out, "explain", document, fmt, streams.out_terminal, draw)
    return Exit.OK if document["decision"] == "allow" else Exit.DENIED


def _require_known(
    session: Session, store: SqliteEventStore | None, caller: str, capability: str
) -> None:
    callers = _callers(session, store)
    if caller not in callers:
        raise NotFoundError("caller", caller, near_names(caller, tuple(callers)))
    capabilities = _capabilities(session)
    if capability not in capabilities:
        near = near_names(capability, tuple(capabilities))
        raise NotFoundError("capability", capability, near)


def _callers(session: Session, store: SqliteEventStore | None) -> dict[str, None]:
    """Return every caller that the config, this session or the store knows."""
    recorded = [] if store is None else [name for name, _ in store.values("caller")]
    named = session.config.config.callers
    return dict.fromkeys([*named, session.default_caller, *recorded])


def _capabilities(session: Session) -> dict[str, None]:
    """Return every capability that a pack declares or a rule names exactly."""
    listed = [
        name
        for table in session.config.config.callers.values()
        for name in table.capabilities
        if not any(sign in name for sign in "*?[")
    ]
    return dict.fromkeys([*session.capabilities, *listed])


def _usage(
    store: SqliteEventStore | None, caller: str, capability: str
) -> Mapping[str, Any]:
    usage = None if store is None else store.usage(caller, capability)
    if usage is None or usage.first_us is None or usage.last_us is None:
        return {"calls": 0, "first": None, "last": None}
    return {
        "calls": usage.calls,
        "first": show_utc(usage.first_us),
        "last": show_utc(usage.last_us),
    }


def _coloured(line: str, streams: Streams) -> str:
    if not streams.out_terminal.colour:
        return line
    for start, colour in (("ALLOW", 32), ("DENY", 31), ("✓", 32), ("✗", 31)):
        if line.lstrip().startswith(start):
            return line.replace(start, f"\x1b[{colour}m{start}\x1b[0m", 1)
    return line
