"""
Keep the last figures: a directory under ``runs/`` with raw JSON, charts and a README.

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

RUNS: Final = Path(__file__).parent / "runs"
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


if __name__ == "__main__":
    days = [*sys.argv[2:], time.strftime("%Y-%m-%d")]
    print(record(Path(sys.argv[1]), days[0]))
