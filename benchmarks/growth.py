"""
How costs grow: with packs, capabilities, gate rules, producers and the size of a store.

    python benchmarks/growth.py [--into DIRECTORY] [--events N]

All sizes of a curve are measured in turn, round by round, save those of the store, which
grows from one to the next; each point is a median. Writes ``growth.json`` and an SVG for
each chart.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from figures import show
from full_store import CALLER, CAPABILITY, MINE
from machine import machine
from mix import events
from pipeline import double
from plot import Chart, Point, svg
from sending import send_at_once
from turns import alternately, seconds

from toolrt import (
    Authority,
    Block,
    GateRule,
    JsonLinesAuditSink,
    Pack,
    Registry,
    RegistryBuilder,
    RuleGate,
)
from toolrt.event import Event, PageRequest
from toolrt_store import SqliteEventStore

CALLS = 300
ROUNDS = 11
EVENTS = 50_000
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
BATCH = 1_000
APPENDED = 20
TWENTY = PageRequest(0, 20)


class Growth(msgspec.Struct, frozen=True):
    """The charts of one run, and where it ran."""

    machine: dict[str, str]
    charts: tuple[Chart, ...]


def registry(packs: int = 1, capabilities: int = 1, rules: int = 1) -> Registry:
    """Return a registry of that size, whose last pack has the tool that is called."""
    builder = RegistryBuilder()
    for number in range(packs):
        pack = Pack(f"pack{number}")
        pack.handler(f"double.n{number}", capabilities=["bench:n0"])(double)
        builder.register(pack)
    granted = [f"bench:n{number}" for number in range(capabilities)]
    denied = [
        GateRule(decision="deny", verbs=(f"other.n{number}",), reason="no")
        for number in range(rules)
    ]
    return (
        builder.with_gate(RuleGate(denied))
        .with_authority(Authority({"alice": granted}))
        .build()
    )


def dispatches(made: Registry) -> Callable[[], float]:
    """Return what measures one call, in microseconds."""
    verb = made.all_verbs()[-1].name

    def measure() -> float:
        def work() -> None:
            for _ in range(CALLS):
                made.dispatch(verb, {"number": 2}, caller="alice")

        return seconds(work) / CALLS * 1e6

    return measure


def dispatch_chart() -> Chart:
    """Return what a call costs in registries of every size."""
    sizes = (1, 10, 100, 1_000)
    made = {
        "packs": {n: registry(packs=n) for n in sizes},
        "capabilities granted": {n: registry(capabilities=n) for n in (*sizes, 10_000)},
        "gate rules, none matches": {n: registry(rules=n) for n in sizes},
    }
    return Chart(
        "dispatch",
        "One call through the pipeline",
        "how many of them the registry has",
        "microseconds a call",
        _curves({what: _measures(some) for what, some in made.items()}),
    )


def _measures(made: dict[int, Registry]) -> dict[int, Callable[[], float]]:
    return {number: dispatches(one) for number, one in made.items()}


def _curves(
    measured: dict[str, dict[int, Callable[[], float]]],
) -> dict[str, list[Point]]:
    """Measure all points in turn and return the medians."""
    flat = [(name, x) for name, points in measured.items() for x in points]
    taken = alternately([measured[name][x] for name, x in flat], ROUNDS)
    found: dict[str, list[Point]] = {name: [] for name in measured}
    for (name, x), values in zip(flat, taken, strict=True):
        found[name].append((x, statistics.median(values)))
    return found


def sink_chart(directory: Path) -> Chart:
    """Return what is written a second with ever more threads that make events."""

    def measure(producers: int) -> Callable[[], float]:
        def one_round() -> float:
            path = directory / "calls.jsonl"
            path.unlink(missing_ok=True)
            sink = JsonLinesAuditSink.file(str(path), backpressure=Block(None))

            def work() -> None:
                send_at_once(sink, EVENTS // producers, producers)
                sink.close(None)

            return EVENTS / seconds(work)

        return one_round

    return Chart(
        "sinks",
        "JSON lines with Block, first call to last byte",
        "threads that make events",
        "events a second",
        _curves({"written": {n: measure(n) for n in (1, 2, 4, 8, 16)}}),
    )


def store_charts(directory: Path, most: int) -> list[Chart]:
    """Return the rate of appends, and the time of two questions, as a store grows."""
    appended: list[Point] = []
    last: list[Point] = []
    used: list[Point] = []
    with SqliteEventStore.open(directory / "audit.db") as store:
        source = events(store.process)
        done = 0
        for size in [one for one in SIZES if one <= most]:
            while done < size:
                store.append_events(list(itertools.islice(source, BATCH)))
                done += BATCH
            last.append((size, _ms(lambda: store.query_events(MINE, TWENTY))))
            used.append((size, _ms(lambda: store.usage(CALLER, CAPABILITY))))
            appended.append((size, _rate(store, source)))
            done += APPENDED * BATCH
            print(f"store of {size:,} events", flush=True)
    size_label = "events in the store"
    rate_label = "events a second"
    return [
        Chart(
            "append",
            "Appends in batches of 1,000",
            size_label,
            rate_label,
            {"append_events": appended},
        ),
        Chart(
            "query",
            "Questions, in process",
            size_label,
            "milliseconds",
            {"last 20 of a caller": last, "use of a capability": used},
        ),
    ]


def _ms(ask: Callable[[], object]) -> float:
    return statistics.median(seconds(ask) for _ in range(ROUNDS)) * 1e3


def _rate(store: SqliteEventStore, source: Iterator[Event]) -> float:
    """Return how many events a second are appended."""
    batches = [list(itertools.islice(source, BATCH)) for _ in range(APPENDED)]
    return BATCH / statistics.median(
        seconds(store.append_events, batch) for batch in batches
    )


def shape(chart: Chart) -> str:
    """Return one sentence on how each line of *chart* goes, in its own numbers."""
    return f"{chart.title}, {chart.y_label}: {'; '.join(_shapes(chart.series))}."


def _shapes(series: dict[str, list[Point]]) -> Iterator[str]:
    for name, line in series.items():
        (x, y), (last_x, last_y) = line[0], line[-1]
        yield (
            f"{name}, {show(y)} at {x:,.0f} and {show(last_y)} at {last_x:,.0f}"
            f" ({last_y / y:.2f} times for {last_x / x:,.0f} times as many)"
        )


def write(into: Path, charts: Sequence[Chart]) -> None:
    """Write the points and the charts into the directory *into*."""
    into.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.encode(Growth(machine(), tuple(charts)))
    (into / "growth.json").write_bytes(msgspec.json.format(data, indent=1) + b"\n")
    for chart in charts:
        (into / f"{chart.name}.svg").write_text(svg(chart), encoding="utf-8")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="how costs grow")
    parser.add_argument("--into", type=Path, help="where growth.json and SVGs go")
    parser.add_argument("--events", type=int, default=1_000_000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        charts = [
            dispatch_chart(),
            sink_chart(directory),
            *store_charts(directory, words.events),
        ]
    for chart in charts:
        print(shape(chart))
    if words.into is not None:
        write(words.into, charts)


if __name__ == "__main__":
    main()
