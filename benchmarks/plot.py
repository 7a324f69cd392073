"""
Charts of how a cost grows, as SVG: a logarithmic x axis, a y axis from zero.

Without a background of their own: every colour is readable on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape

import msgspec

Point = tuple[float, float]
_Place = Callable[[Point], Point]

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 616, 66, 302
_GREY = "#777777"
#: Each at least 3.9 to 1 against white and against black.
_COLOURS = ("#2b7bd6", "#c2620e", "#2b8a57", "#a455c7", "#c74555")
_TEXT = 'font-family="sans-serif" font-size="13"'


class Chart(msgspec.Struct, frozen=True):
    """One chart: labels carry the units; ``series`` are points by name, x from 1 up."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: dict[str, list[Point]]


def nice_ceiling(value: float) -> float:
    """Return the least of 1, 2, 2.5, 5, 10 times a power of ten that is not below."""
    power = float(10 ** math.floor(math.log10(value)))
    steps = (1.0, 2.0, 2.5, 5.0, 10.0)
    return next(step * power for step in steps if step * power >= value * 0.999)


def short(number: float) -> str:
    """Return *number* as an axis shows it: 10,000 is 10k."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{sign}"
    return f"{number:g}"


def svg(chart: Chart) -> str:
    """Return *chart* as the text of an SVG file."""
    points = [point for line in chart.series.values() for point in line]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    top = nice_ceiling(max(y for _, y in points))

    def place(point: Point) -> tuple[float, float]:
        along = math.log(point[0] / low) / (math.log(high / low) or 1)
        return LEFT + along * (RIGHT - LEFT), BOTTOM - point[1] / top * (BOTTOM - TOP)

    body = [
        _label(LEFT, 22, chart.title, 'font-weight="bold"'),
        *_axes(chart, sorted({x for x, _ in points}), top, place),
    ]
    for number, (name, line) in enumerate(chart.series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        # The first dots are the largest: where lines meet, all of them are seen.
        radius = 3 + 1.5 * (len(chart.series) - number - 1)
        body += _line([place(point) for point in line], colour, radius)
        body += _key(number, len(chart.series), name, colour)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" role="img" {_TEXT} fill="{_GREY}">'
    )
    title = f"<title>{escape(chart.title)}</title>"
    return "\n".join([head, title, *body, "</svg>", ""])


def _axes(chart: Chart, xs: list[float], top: float, place: _Place) -> Iterable[str]:
    """Yield the grid with its numbers, and the labels of both axes."""
    for step in range(5):
        y = place((xs[0], top * step / 4))[1]
        yield (
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"'
            f' stroke="{_GREY}" stroke-opacity="{1 if step == 0 else 0.3}"/>'
        )
        yield _label(LEFT - 8, y + 4, short(top * step / 4), 'text-anchor="end"')
    for x in xs:
        at = place((x, 0))[0]
        yield _label(at, BOTTOM + 20, short(x), 'text-anchor="middle"')
    middle = (LEFT + RIGHT) / 2
    yield _label(middle, BOTTOM + 44, chart.x_label, 'text-anchor="middle"')
    half = (TOP + BOTTOM) / 2
    turned = f'text-anchor="middle" transform="rotate(-90 18 {half})"'
    yield _label(18, half, chart.y_label, turned)


def _line(places: list[Point], colour: str, radius: float) -> Iterable[str]:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _key(number: int, count: int, name: str, colour: str) -> Iterable[str]:
    """Yield what says which line is which, side by side below the title."""
    at = LEFT + number * (RIGHT - LEFT) / count
    yield f'<circle cx="{at + 4:.1f}" cy="42" r="4" fill="{colour}"/>'
    yield _label(at + 14, 46, name, f'style="fill:{colour}"')


def _label(x: float, y: float, text: str, more: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
