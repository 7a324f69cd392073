"""
Compare the ratios of a fresh run with those of the last one that was kept.

    python benchmarks/check.py FIGURES [--strict]

Says which are more than 20 % worse. Exits 0 all the same, but with ``--strict`` 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from figures import load, text_table, worse
from machine import label
from record import RUNS


def last_run(runs: Path, machine: str) -> Path | None:
    """Return the figures of the newest run, of a machine like this one if there is one."""
    found = sorted(runs.glob("*/figures.json"), key=lambda path: path.parent.name)
    alike = [path for path in found if path.parent.name.endswith(machine)]
    return next(reversed(alike or found), None)


def main(words: list[str]) -> int:
    """Print what is worse and return the exit code."""
    kept = last_run(RUNS, label())
    if kept is None:
        print(f"no run is kept under {RUNS}")
        return 0
    found = worse(load(kept).figures, load(Path(words[0])).figures)
    print(f"against {kept.parent.name}:")
    if not found:
        print("no ratio is more than 20 % worse")
        return 0
    head = ("suite", "figure", "ratio before", "now", "times worse")
    body = [
        (one.suite, one.name, f"{one.before:.2f}", f"{one.now:.2f}", f"{one.times:.2f}")
        for one in found
    ]
    print(text_table([head, *body]))
    return int("--strict" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
