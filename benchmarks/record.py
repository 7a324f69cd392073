"""
Keep the last figures: a directory under ``runs/`` with raw JSON, charts and a README.

The tables in README.md and docs/performance.md, between their marks, are made anew from it.

    python benchmarks/record.py LATEST [DAY]

LATEST is where the suites left their files; whatever is there is kept, all of it JSON or
SVG. DAY is today by default.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec
from figures import Run, load, markdown_table, peer_rows, rows
from growth import Growth, shape
from machine import label

ROOT: Final = Path(__file__).parent.parent
RUNS: Final = ROOT / "benchmarks" / "runs"
#: The figures that the README of the project shows.
HEADLINES: Final = (
    "toolrt run echo.say",
    "toolrt --version",
    "toolrt __complete tools",
    "peak memory of toolrt run",
    "full pipeline, event queued",
    "the same, until the event is written",
    "on_call, Block, sustained",
    "JSON lines, capacity 1,024",
    "one durable gate event",
    "batches of 1,000, CallEvents of a sink",
    "batches of 1,000, any events",
    "an event, of 100,000",
    "last 20 of a caller, of 200,000",
    "verify",
    "tail -f, commit to line",
)
_HOW: Final = (
    "Both sides of a figure are taken in turn, round by round; values are medians, and the"
    " ratio is the median of the ratios of the rounds. Compare ratios, not absolutes:"
    " the machine had other work, too."
)


def readme(directory: Path) -> str:
    """Return the page over the files in *directory*."""
    parts = [f"# Figures of {directory.name}", _HOW]
    where: dict[str, str] = {}
    for name, title in (
        ("figures.json", "Figures, each beside the cheapest that does the work"),
        ("ten_million.json", "A store of many events"),
    ):
        if (directory / name).exists():
            run = load(directory / name)
            where.update(run.machine)
            parts += [f"## {title}", markdown_table(rows(run.figures))]
    if (directory / "peers.json").exists():
        run = load(directory / "peers.json")
        where.update(run.machine)
        parts += ["## Peers, in the same run", *_peers(run)]
    if (directory / "growth.json").exists():
        data = (directory / "growth.json").read_bytes()
        grown = msgspec.json.decode(data, type=Growth)
        where.update(grown.machine)
        parts.append("## How cost grows")
        for chart in grown.charts:
            parts += [f"![{chart.title}]({chart.name}.svg)", shape(chart)]
    cells = [("what", "value"), *where.items()]
    parts += ["## Where", markdown_table(cells)]
    return "\n\n".join(parts) + "\n"


def _peers(run: Run) -> Iterator[str]:
    for suite, found in groupby(run.figures, lambda figure: figure.suite):
        yield f"### {suite}"
        yield markdown_table(peer_rows(list(found), {}))
    if run.missing:
        cells = [("not measured", "why"), *run.missing.items()]
        yield markdown_table([tuple(row) for row in cells])


def record(latest: Path, day: str) -> Path:
    """Copy what is in *latest*, write the page over it, and return where it is."""
    into = RUNS / f"{day}-{label()}"
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(latest.iterdir()):
        if path.suffix in (".json", ".svg"):
            shutil.copy(path, into)
    (into / "README.md").write_text(readme(into), encoding="utf-8")
    return into


def brief(directory: Path) -> str:
    """Return the table of a kept run that the README of the project shows."""
    link = f"`benchmarks/runs/{directory.name}`"
    by_name = {one.name: one for one in load(directory / "figures.json").figures}
    found = [by_name[name] for name in HEADLINES if name in by_name]
    cells = [(row[0], row[1], row[3], row[6], row[4]) for row in rows(found)]
    cells[0] = ("what", "takes", "times its limit", "its limit", "asked for")
    return f"{markdown_table(cells)}\n\nFrom {link}, which also has peers and charts."


def grown(directory: Path) -> str:
    """Return the charts of a kept run, as docs/performance.md shows them."""
    data = (directory / "growth.json").read_bytes()
    parts = []
    for chart in msgspec.json.decode(data, type=Growth).charts:
        path = f"../benchmarks/runs/{directory.name}/{chart.name}.svg"
        parts += [f"![{chart.title}]({path})", shape(chart)]
    return "\n\n".join(parts)


def marked(text: str, mark: str, content: str) -> str:
    """Return *text* with *content* between the comments ``mark`` and ``/mark``."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"no {begin} … {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def show_in_docs(directory: Path) -> None:
    """Put what *directory* holds into the documents, as far as it was measured."""
    for file, mark, source, make in (
        ("README.md", "figures", "figures.json", brief),
        ("docs/performance.md", "growth", "growth.json", grown),
    ):
        if (directory / source).exists():
            path = ROOT / file
            text = marked(path.read_text(encoding="utf-8"), mark, make(directory))
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    days = [*sys.argv[2:], time.strftime("%Y-%m-%d")]
    kept = record(Path(sys.argv[1]), days[0])
    show_in_docs(kept)
    print(kept)
