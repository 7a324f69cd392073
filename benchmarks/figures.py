"""
Figures: what something costs, beside the cheapest thing that does the same work.

Values and pure functions: what was measured goes in, a table or a comparison comes out.
A figure holds its pairs, one for each round in which both sides were taken in turn; the
ratio is the median over the pairs, because a machine that drifts disturbs both of a pair.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

Pair = tuple[float, float]
Better = Literal["less", "more"]

#: How many of a unit a second is; rates are the other way round.
_PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_COLUMNS: Final = ("figure", "ours", "limit", "ratio", "asked", "held", "the limit is")


class Asked(msgspec.Struct, frozen=True):
    """The figure asked for: a bound of the value itself, or of the ratio."""

    bound: float
    of: Literal["value", "ratio"] = "value"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """
    One figure. ``ours`` and ``limit`` are medians, in ``unit``; ``ratio`` is ours in limits.

    ``limit`` and ``ratio`` are None where nothing cheaper does the work. ``cheapest`` says
    what the limit is. ``pairs`` are the rounds, ours first.
    """

    suite: str
    name: str
    unit: str
    ours: float
    limit: float | None = None
    ratio: float | None = None
    cheapest: str = ""
    better: Better = "less"
    asked: Asked | None = None
    pairs: tuple[Pair, ...] = ()

    @classmethod
    def of(
        cls,
        suite: str,
        name: str,
        unit: str,
        pairs: Sequence[Pair],
        *,
        cheapest: str,
        better: Better = "less",
        asked: Asked | None = None,
    ) -> Self:
        """Return the figure of *pairs*, which are in *unit*."""
        return cls(
            suite=suite,
            name=name,
            unit=unit,
            ours=statistics.median(ours for ours, _ in pairs),
            limit=statistics.median(limit for _, limit in pairs),
            ratio=statistics.median(ours / limit for ours, limit in pairs),
            cheapest=cheapest,
            better=better,
            asked=asked,
            pairs=tuple(pairs),
        )

    @classmethod
    def timed(
        cls,
        suite: str,
        name: str,
        unit: str,
        seconds: Sequence[Pair],
        *,
        cheapest: str,
        asked: Asked | None = None,
    ) -> Self:
        """
        Return the figure of *seconds*, the times of one unit of work.

        Args:
            unit: ``s``, ``ms``, ``us`` or ``ns``, or a rate that ends in ``/s``.
        """
        pairs = [(_in(unit, ours), _in(unit, limit)) for ours, limit in seconds]
        better: Better = "more" if unit.endswith("/s") else "less"
        return cls.of(
            suite, name, unit, pairs, cheapest=cheapest, better=better, asked=asked
        )

    @property
    def is_held(self) -> bool | None:
        """Whether what was asked for is held; None where nothing was."""
        if self.asked is None:
            return None
        found = self.ours if self.asked.of == "value" else self.ratio
        if found is None:
            return None
        return (
            found <= self.asked.bound
            if self.better == "less"
            else found >= self.asked.bound
        )


class Run(msgspec.Struct, frozen=True):
    """The figures of one run, where it ran, and what could not be measured and why."""

    machine: dict[str, str]
    figures: tuple[Figure, ...]
    missing: dict[str, str] = {}


class Change(msgspec.Struct, frozen=True):
    """A ratio that is worse than it was: ``times`` 1.5 is half as bad again."""

    suite: str
    name: str
    before: float
    now: float
    times: float


def _in(unit: str, seconds: float) -> float:
    return 1 / seconds if unit.endswith("/s") else seconds * _PER_SECOND[unit]


def worse(
    before: Iterable[Figure], now: Iterable[Figure], *, tolerance: float = 0.2
) -> list[Change]:
    """
    Return the figures whose ratio is worse than *before*, the worst first.

    A figure that only one of the runs has, or that has no ratio, is not compared.

    Args:
        tolerance: By how much a ratio may be worse, as a share of what it was.
    """
    known = {(one.suite, one.name): one for one in before}
    found = []
    for figure in now:
        old = known.get((figure.suite, figure.name))
        if old is None or not old.ratio or not figure.ratio:
            continue
        times = figure.ratio / old.ratio
        if figure.better == "more":
            times = 1 / times
        if times > 1 + tolerance:
            change = Change(figure.suite, figure.name, old.ratio, figure.ratio, times)
            found.append(change)
    return sorted(found, key=lambda one: -one.times)


def load(path: Path) -> Run:
    """Return the run that *path* holds. Raises OSError or msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def save(path: Path, run: Run) -> None:
    """Write *run* to *path*, and make its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(_rounded(run)), indent=1)
    path.write_bytes(text + b"\n")


def _rounded(run: Run) -> Run:
    # Six digits are more than any clock here can tell.
    figures = tuple(
        msgspec.structs.replace(
            one, pairs=tuple((_six(ours), _six(limit)) for ours, limit in one.pairs)
        )
        for one in run.figures
    )
    return msgspec.structs.replace(run, figures=figures)


def _six(number: float) -> float:
    return float(f"{number:.6g}")


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """Return the cells of a table of *figures*, its header first."""
    return [_COLUMNS, *(_row(one) for one in figures)]


def peer_rows(
    figures: Iterable[Figure], missing: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return the cells of a table of peers, of which ``limit`` is what toolrt takes."""
    found = [("side", "takes", "times toolrt", "asked", "held")]
    for one in figures:
        _, takes, _, ratio, asked, held, _ = _row(one)
        found.append((one.name, takes, ratio, asked, held))
    return [*found, *((name, "", why, "", "") for name, why in missing.items())]


def _row(figure: Figure) -> tuple[str, ...]:
    held = {None: "", True: "yes", False: "NO"}[figure.is_held]
    limit = "" if figure.limit is None else f"{show(figure.limit)} {figure.unit}"
    ratio = "" if figure.ratio is None else _times(figure.ratio)
    ours = f"{show(figure.ours)} {figure.unit}"
    asked = _asked(figure)
    return (figure.name, ours, limit, ratio, asked, held, figure.cheapest)


def _times(ratio: float) -> str:
    return show(ratio) if ratio >= 100 else f"{ratio:.2f}"


def _asked(figure: Figure) -> str:
    if figure.asked is None:
        return ""
    sign = "<=" if figure.better == "less" else ">="
    unit = figure.unit if figure.asked.of == "value" else "times"
    return f"{sign} {show(figure.asked.bound)} {unit}"


def show(number: float) -> str:
    """Return *number* with three significant digits, and no fewer than its integer."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{float(f'{number:.3g}'):g}"


def text_table(cells: Sequence[Sequence[str]]) -> str:
    """Return *cells*, header first, as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(cells: Sequence[Sequence[str]]) -> str:
    """Return *cells*, header first, as a Markdown table."""
    head, *body = (f"| {' | '.join(row)} |" for row in cells)
    rule = "|" + "---|" * len(cells[0])
    return "\n".join([head, rule, *body])
