"""``toolrt provenance explain``: why a caller has a capability, or has not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from toolrt_cli.documents import emit
from toolrt_cli.escape import show
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.grant_lines import grant_lines
from toolrt_cli.listing import now_us
from toolrt_cli.provenance.answer import explain
from toolrt_cli.provenance.facts import Document, Facts, Source
from toolrt_cli.provenance.graph import DRAWINGS
from toolrt_cli.provenance.impact import impact, named_sources
from toolrt_cli.provenance.known import latest_us, require_known, used_of
from toolrt_cli.provenance.past import Moment, moment
from toolrt_cli.provenance.text import Clock, render, wrapped
from toolrt_cli.provenance.today import facts_of
from toolrt_cli.provenance.tokens import tokens_of
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock, parse_range
from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``explain`` is asked beside caller and capability."""

    at: str | None = None
    without: tuple[str, ...] = ()
    since: str | None = None
    proofs: tuple[str, ...] = ()


def explain_command(
    session: Session, streams: Streams, caller: str, capability: str, options: Options
) -> int:
    """
    Print why *caller* has *capability* or not; the exit code follows the decision.

    Raises:
        NotFoundError: Nobody knows the caller, the capability, or what is named.
        NotCoveredError: The record does not reach as far as ``at``.
        UsageError: The options do not go together.
    """
    if options.since is not None and not options.without:
        raise UsageError("--since goes with --without: what would have been refused")
    if options.at is not None and options.proofs:
        raise UsageError("--proof shows a token now: it does not go with --at")
    with open_to_read(session) as store:
        document = answer(session, store, caller, capability, options)
    emit_explanation(streams, document)
    return Exit.OK if document["decision"] == "allow" else Exit.DENIED


def answer(
    session: Session,
    store: SqliteEventStore | None,
    caller: str,
    capability: str,
    options: Options,
) -> Document:
    """Return the document of an explanation. Raises like `explain_command`."""
    asked_us = latest_us(store)
    tokens = tokens_of(session.config, caller, options.proofs, now_us=asked_us)
    today = facts_of(session, tokens)
    then: Moment | None = None
    if options.at is not None:
        then = moment(store, options.at, caller, capability)
    facts = today if then is None else then.facts
    require_known(session, store, caller, capability, (today, facts))
    removed = _removed(facts, caller, options.without)
    document = explain(
        facts,
        caller,
        capability,
        used=used_of(store, caller, capability),
        now_us=asked_us if then is None else then.at_us,
        removed=removed,
    )
    if then is not None:
        document["at"] = then.as_document()
        if not removed:
            decision = document["decision"]
            document["today"] = _today(today, caller, capability, decision)
    elif document["decision"] == "deny" and not removed and not today.refused_token:
        file = session.config_to_edit
        change = grant_lines(session.config, file, caller, [capability])
        document["change"] = msgspec.to_builtins(change)
    if removed:
        since_us = _since_us(options.since, asked_us)
        document["without"] = impact(store, facts, caller, removed, since_us)
    return document


def _removed(facts: Facts, caller: str, names: Sequence[str]) -> list[Source]:
    found = [one for name in names for one in named_sources(facts, caller, name)]
    return [one for index, one in enumerate(found) if one not in found[:index]]


def _today(facts: Facts, caller: str, capability: str, then: str) -> Document:
    decision = "allow" if facts.sources(caller, capability) else "deny"
    return {"decision": decision, "differs": decision != then}


def _since_us(text: str | None, asked_us: int) -> int:
    try:
        found, _ = parse_range(text or "30d", None, now_us=asked_us, tz=None)
    except ValueError as exc:
        raise UsageError(str(exc), next_step="toolrt help time") from exc
    assert found is not None
    return found


def emit_explanation(streams: Streams, document: Document) -> None:
    """Write an explanation in the format or drawing that the command line asks for."""
    drawing = DRAWINGS.get(streams.settings.output or "")
    if drawing is not None:
        streams.out.writelines(line + "\n" for line in drawing(document))
        return
    emit(streams, "explain", document, lambda: draw(streams, document))


def draw(streams: Streams, document: Document, indent: str = "") -> None:
    """Write the tree of *document* for people; on a terminal with short file names."""
    path = document["config"]["path"]
    for line in render(document, clock=clock_of(streams)):
        shown = line
        if path is not None and streams.out_terminal.is_tty:
            shown = line.replace(f"{path}:", f"{os.path.basename(path)}:")
        write_lines(streams, [shown], indent)


def clock_of(streams: Streams) -> Clock:
    """Return how *streams* show times: the wall clock on a terminal, else UTC."""
    show_time: Callable[[str], str] = partial(local_clock, now_us=now_us())
    return show_time if streams.out_terminal.is_tty else str


def write_lines(streams: Streams, lines: Iterable[str], indent: str = "") -> None:
    """Write *lines*, escaped; on a terminal coloured, and folded to its width."""
    terminal = streams.out_terminal
    for line in lines:
        shown = indent + show(line)
        parts = wrapped(shown, terminal.width) if terminal.is_tty else [shown]
        first, *rest = parts
        for part in (_coloured(first) if terminal.colour else first, *rest):
            streams.out.write(part + "\n")


_GREEN, _RED, _YELLOW = 32, 31, 33
_COLOURS = (
    ("ALLOW", _GREEN),
    ("DENY", _RED),
    ("✓", _GREEN),
    ("└─ ✓", _GREEN),
    ("✗", _RED),
    ("!", _YELLOW),
)


def _coloured(line: str) -> str:
    for start, colour in _COLOURS:
        if line.lstrip().startswith(start):
            return line.replace(start, f"\x1b[{colour}m{start}\x1b[0m", 1)
    return line
