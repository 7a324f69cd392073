"""
The document ``toolrt.explain/1`` for other programs that draw: DOT, Mermaid, Markdown.

Made from the document alone. Names come from outside: each is escaped for terminals and
then for the language that it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from toolrt_cli.escape import escape
from toolrt_cli.output import markdown_text
from toolrt_cli.provenance.facts import Document, place
from toolrt_cli.provenance.text import describe

#: How a node stands: the sort is its colour.
_COLOURS: Final = {
    "yes": "#2e7d32",
    "no": "#c62828",
    "may": "#ef6c00",
    "name": "#37474f",
}


class _Node(msgspec.Struct, frozen=True):
    id: str
    label: str
    sort: str


class _Edge(msgspec.Struct, frozen=True):
    start: str
    end: str
    label: str = ""
    #: Drawn with a broken line: it was looked at and leads nowhere.
    is_broken: bool = False


def _graph(document: Document) -> tuple[list[_Node], list[_Edge]]:
    allowed = document["decision"] == "allow"
    nodes = [
        _Node("caller", document["caller"], "name"),
        _Node("capability", document["capability"], "yes" if allowed else "no"),
    ]
    edges = [_Edge("caller", "capability", document["decision"], not allowed)]
    for number, path in enumerate(document["paths"]):
        ids = [f"p{number}l{depth}" for depth in range(len(path["links"]))]
        nodes += [
            _Node(id_, describe(link), "yes")
            for id_, link in zip(ids, path["links"], strict=True)
        ]
        ends = [*ids[1:], "caller"]
        edges += [_Edge(*pair) for pair in zip(ids, ends, strict=True)]
    for number, item in enumerate(document["rejected"]):
        id_ = f"r{number}"
        nodes.append(_Node(id_, describe(item), "no"))
        edges.append(_Edge(id_, "caller", item["reason"], is_broken=True))
    for number, item in enumerate(document["gate"]):
        if item["decision"] != "allow":
            id_ = f"g{number}"
            sort = "no" if item["decision"] == "deny" else "may"
            nodes.append(_Node(id_, _gate_label(item), sort))
            edges.append(_Edge(id_, "capability", item["reason"], is_broken=True))
    return nodes, edges


def _gate_label(item: Document) -> str:
    source = item["source"]
    where = f" {place(source['file'], source['line'])}" if source else ""
    return f"gate{where} {item['decision']} {item['tool']}"


def dot(document: Document) -> Iterator[str]:
    """Yield the lines of the document as a graph in the DOT language."""
    nodes, edges = _graph(document)
    yield "digraph provenance {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, fontname="sans-serif"];'
    for node in nodes:
        colour = _COLOURS[node.sort]
        yield f"  {node.id} [label={_quoted(node.label)}, color={_quoted(colour)}];"
    for edge in edges:
        style = ", style=dashed" if edge.is_broken else ""
        yield f"  {edge.start} -> {edge.end} [label={_quoted(edge.label)}{style}];"
    yield "}"


def _quoted(text: str) -> str:
    shown = escape(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'


def mermaid(document: Document) -> Iterator[str]:
    """Yield the lines of the document as a Mermaid flowchart."""
    nodes, edges = _graph(document)
    yield "flowchart LR"
    for node in nodes:
        yield f'  {node.id}["{_entities(node.label)}"]'
    for edge in edges:
        arrow = "-.->" if edge.is_broken else "-->"
        label = f'|"{_entities(edge.label)}"|' if edge.label else ""
        yield f"  {edge.start} {arrow}{label} {edge.end}"
    for sort, colour in _COLOURS.items():
        of_sort = [node.id for node in nodes if node.sort == sort]
        if of_sort:
            yield f"  classDef {sort} stroke:{colour}"
            yield f"  class {','.join(of_sort)} {sort}"


def _entities(text: str) -> str:
    """Return *text* with all but letters, digits and a few signs as Mermaid entities."""
    return "".join(
        char if char.isalnum() or char in " .,:/-_→…" else f"#{ord(char)};"
        for char in escape(text)
    )


def markdown(document: Document) -> Iterator[str]:
    """Yield the lines of the document as Markdown: a sentence and nested lists."""
    allowed = document["decision"] == "allow"
    may = "may use" if allowed else "may not use"
    verdict = document["decision"].upper()
    caller, capability = map(
        markdown_text, (document["caller"], document["capability"])
    )
    yield f"**{verdict}**: {caller} {may} {capability}"
    yield ""
    for path in document["paths"]:
        for depth, link in enumerate(path["links"]):
            indent = "  " * depth
            yield f"{indent}- ✓ {markdown_text(describe(link))}"
            for check in link["checks"]:
                sign = "✓" if check["ok"] else "✗"
                yield f"{indent}  - {sign} {check['name']}: {markdown_text(check['detail'])}"
    for item in document["rejected"]:
        nearest = " (nearest)" if item["nearest"] else ""
        reason = markdown_text(item["reason"])
        yield f"- ✗ {markdown_text(describe(item))}: {reason}{nearest}"
        yield f"  - to pass: {markdown_text(item['change'])}"
    for item in document["gate"]:
        if item["decision"] != "allow":
            yield f"- ! {markdown_text(_gate_label(item))}: {markdown_text(item['reason'])}"
    yield ""
    calls = document["used"]["calls"]
    yield f"Used by {calls} recorded call{'s' if calls != 1 else ''}."
    groups = [" or ".join(part["ref"] for part in one) for one in document["ends"]]
    if groups:
        yield f"Ends without: {markdown_text(' and '.join(groups))}"
    if document["change"] is not None:
        lines = ", ".join(document["change"]["lines"])
        yield f"To allow it: {markdown_text(lines)} in {markdown_text(document['change']['file'])}"


#: The drawings that ``-o`` names beside the formats of every command.
DRAWINGS: Final[Mapping[str, Callable[[Document], Iterator[str]]]] = {
    "dot": dot,
    "mermaid": mermaid,
    "md": markdown,
}
