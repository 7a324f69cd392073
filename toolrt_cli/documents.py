"""One document of a command: as JSON and the like, or as lines for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from toolrt_cli.escape import escape
from toolrt_cli.output import emit_document
from toolrt_cli.streams import Streams


def emit(
    streams: Streams,
    schema: str,
    document: Mapping[str, object],
    render: Callable[[], object],
) -> None:
    """Write *document* as the command line asks; let *render* show it to people."""
    fmt = streams.settings.output
    emit_document(streams.out, schema, document, fmt, streams.out_terminal, render)


def write_facts(streams: Streams, facts: Iterable[tuple[str, str]]) -> None:
    """Write one line for each name and text, the texts below each other."""
    found = list(facts)
    width = max((len(name) for name, _ in found), default=0) + 2
    for name, text in found:
        streams.out.write(f"{name:<{width}}{escape(text)}\n")
