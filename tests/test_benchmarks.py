"""The pure parts of the benchmarks: figures, their comparison, charts. Nothing is timed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from check import last_run
from figures import (
    Asked,
    Better,
    Figure,
    Run,
    load,
    markdown_table,
    peer_rows,
    rows,
    save,
    text_table,
    worse,
)
from growth import shape, write
from plot import Chart, nice_ceiling, short, svg
from record import ROOT, RUNS, brief, grown, marked, readme

SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart(
    "packs",
    "Calls <and> packs",
    "packs",
    "us a call",
    {"one": [(1, 2.0), (1_000, 3.0)], "two": [(1, 1.0), (100, 4.0)]},
)


def figure(ratio: float, *, name: str = "a call", better: Better = "less") -> Figure:
    """Return a figure whose ratio is *ratio*."""
    pairs = [(ratio, 1.0)] * 3
    return Figure.of("calls", name, "us", pairs, cheapest="less", better=better)


class TestFigure:
    """What is made of the pairs."""

    def test_the_ratio_is_the_median_of_the_pairs(self) -> None:
        """A machine that was slow for a round disturbs both sides of it."""
        pairs = [(2.0, 1.0), (20.0, 10.0), (2.2, 1.1)]

        found = Figure.of("calls", "a call", "us", pairs, cheapest="less")

        assert (found.ours, found.limit) == (2.2, 1.1)
        assert found.ratio == pytest.approx(2.0)

    def test_seconds_become_a_rate(self) -> None:
        """A rate is better the more it is, and its ratio is one of rates."""
        found = Figure.timed("sinks", "lines", "events/s", [(2e-6, 1e-6)], cheapest="")

        assert found.better == "more"
        assert found.ours == pytest.approx(500_000)
        assert found.ratio == pytest.approx(0.5)

    def test_seconds_become_a_unit(self) -> None:
        """Times are told in the unit of the figure."""
        found = Figure.timed("calls", "a call", "us", [(2e-6, 1e-6)], cheapest="")

        assert found.ours == pytest.approx(2.0)

    @pytest.mark.parametrize(
        ("better", "bound", "is_held"),
        [
            pytest.param("less", 1.0, True, id="at most, met"),
            pytest.param("less", 0.9, False, id="at most, exceeded"),
            pytest.param("more", 1.0, True, id="at least, met"),
            pytest.param("more", 1.1, False, id="at least, missed"),
        ],
    )
    def test_what_was_asked_for_is_held_or_not(
        self, better: Better, bound: float, is_held: bool
    ) -> None:
        """A bound is an upper one where less is better, else a lower one."""
        pairs = [(1.0, 1.0)]
        asked = Asked(bound)

        found = Figure.of(
            "s", "n", "us", pairs, cheapest="", better=better, asked=asked
        )

        assert found.is_held is is_held

    def test_a_bound_of_the_ratio_looks_at_the_ratio(self) -> None:
        """8 ms are 4 times 2 ms."""
        asked = Asked(5, "ratio")

        found = Figure.of("s", "n", "ms", [(8.0, 2.0)], cheapest="", asked=asked)

        assert found.is_held is True

    def test_a_figure_that_nobody_asked_for_is_not_judged(self) -> None:
        """It has neither a bound nor a verdict in the table."""
        assert figure(1.0).is_held is None
        assert rows([figure(1.0)])[1][4:6] == ("", "")


class TestWorse:
    """The comparison of two runs."""

    @pytest.mark.parametrize(
        ("before", "now", "better", "times"),
        [
            pytest.param(2.0, 3.0, "less", 1.5, id="a cost that rose"),
            pytest.param(0.6, 0.4, "more", 1.5, id="a rate that fell"),
        ],
    )
    def test_what_is_worse_is_told_with_how_much(
        self, before: float, now: float, better: Better, times: float
    ) -> None:
        """More than 20 % worse is a change."""
        found = worse([figure(before, better=better)], [figure(now, better=better)])

        assert [one.times for one in found] == [pytest.approx(times)]

    @pytest.mark.parametrize(
        ("before", "now", "better"),
        [
            pytest.param(2.0, 2.3, "less", id="within the tolerance"),
            pytest.param(2.0, 1.0, "less", id="a cost that fell"),
            pytest.param(0.4, 0.8, "more", id="a rate that rose"),
        ],
    )
    def test_what_is_not_worse_is_not_told(
        self, before: float, now: float, better: Better
    ) -> None:
        """Nor what is better."""
        assert not worse([figure(before, better=better)], [figure(now, better=better)])

    def test_what_one_run_lacks_is_not_compared(self) -> None:
        """A new figure has nothing to be worse than."""
        assert not worse([figure(1.0, name="old")], [figure(9.0, name="new")])

    def test_the_worst_comes_first(self) -> None:
        """Whatever the order of the figures."""
        before = [figure(1.0, name="a"), figure(1.0, name="b")]
        now = [figure(2.0, name="a"), figure(3.0, name="b")]

        assert [one.name for one in worse(before, now)] == ["b", "a"]


def test_a_run_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    """Also into a directory that is not there yet."""
    run = Run({"Python": "3"}, (figure(2.0),), missing={"peer": "no wheel"})

    save(tmp_path / "new" / "figures.json", run)

    assert load(tmp_path / "new" / "figures.json") == run


def test_tables_have_a_cell_for_each_column() -> None:
    """As text, and as Markdown."""
    cells = rows([figure(2.0)])

    head, line = text_table(cells).splitlines()
    assert head.startswith("figure")
    assert line.startswith("a call")
    counts = {line.count("|") for line in markdown_table(cells).splitlines()}
    assert counts == {len(cells[0]) + 1}


def test_a_peer_that_is_missing_is_a_row_with_the_reason() -> None:
    """Silence would look like success."""
    assert peer_rows([], {"picologging": "no wheel"})[1][:3] == (
        "picologging",
        "",
        "no wheel",
    )


class TestChart:
    """The charts of how costs grow."""

    def test_it_is_well_formed_and_says_what_it_shows(self) -> None:
        """Title, both labels, a line for each series, a dot for each point and name."""
        root = ET.fromstring(svg(CHART))

        texts = [one.text for one in root.iter(f"{SVG}text")]
        assert {"Calls <and> packs", "packs", "us a call", "one", "two"} <= {*texts}
        assert len(root.findall(f"{SVG}polyline")) == 2
        assert len(root.findall(f"{SVG}circle")) == 4 + 2

    def test_every_point_lies_inside(self) -> None:
        """The least and the largest included."""
        root = ET.fromstring(svg(CHART))

        for dot in root.iter(f"{SVG}circle"):
            assert 0 < float(dot.attrib["cx"]) < float(root.attrib["width"])
            assert 0 < float(dot.attrib["cy"]) < float(root.attrib["height"])

    def test_a_single_point_is_a_chart(self) -> None:
        """No axis of no length is divided by."""
        one = Chart("n", "t", "x", "y", {"s": [(5, 1.0)]})

        ET.fromstring(svg(one))

    def test_every_colour_is_readable_on_white_and_on_black(self) -> None:
        """A contrast of 3.5 to 1 and more with either."""
        for colour in {*re.findall(r"#[0-9a-f]{6}", svg(CHART))}:
            light = _luminance(colour)
            assert 1.05 / (light + 0.05) > 3.5, colour
            assert (light + 0.05) / 0.05 > 3.5, colour

    @pytest.mark.parametrize(
        ("value", "ceiling"), [(586, 1_000), (24, 25), (1, 1), (0.13, 0.2), (3, 5)]
    )
    def test_the_axis_ends_at_a_round_number(
        self, value: float, ceiling: float
    ) -> None:
        """Never below the largest value."""
        assert nice_ceiling(value) == pytest.approx(ceiling)

    def test_large_numbers_are_short_on_the_axis(self) -> None:
        """There is little room."""
        assert [short(n) for n in (1, 10_000, 2_500_000)] == ["1", "10k", "2.5M"]


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_of_a_run_holds_what_was_kept(tmp_path: Path) -> None:
    """Figures, peers with what is missing, charts with their sentence, the machine."""
    run = Run({"cores": "2"}, (figure(2.0),), missing={"gone": "no wheel"})
    save(tmp_path / "figures.json", run)
    save(tmp_path / "peers.json", run)
    write(tmp_path, [CHART])

    page = readme(tmp_path)

    for part in ("| a call |", "| gone | no wheel |", "(packs.svg)", "| cores | 2 |"):
        assert part in page
    assert shape(CHART) in page
    assert (tmp_path / "packs.svg").exists()


def test_a_sentence_tells_how_a_line_goes() -> None:
    """From its first point to its last."""
    assert "1.50 times for 1,000 times as many" in shape(CHART)


def test_the_newest_run_of_a_machine_alike_is_compared(tmp_path: Path) -> None:
    """A run of another machine only where there is no other."""
    for name in ("2026-01-01-a", "2026-01-02-a", "2026-01-03-b"):
        save(tmp_path / name / "figures.json", Run({}, ()))

    assert last_run(tmp_path, "a") == tmp_path / "2026-01-02-a" / "figures.json"
    assert last_run(tmp_path, "c") == tmp_path / "2026-01-03-b" / "figures.json"
    assert last_run(tmp_path / "none", "a") is None


class TestDocuments:
    """Tables in the documents that are made from a run."""

    def test_what_stands_between_the_marks_is_replaced(self) -> None:
        """And nothing else."""
        text = "a\n<!-- m -->\nold\n<!-- /m -->\nz"

        found = marked(text, "m", "new")

        assert found == "a\n<!-- m -->\n\nnew\n\n<!-- /m -->\nz"

    def test_a_document_without_marks_is_refused(self) -> None:
        """Silence would leave an old table there."""
        with pytest.raises(ValueError, match="no <!-- m -->"):
            marked("text", "m", "new")

    @pytest.mark.parametrize(
        ("file", "source", "make"),
        [
            ("README.md", "figures.json", brief),
            ("docs/performance.md", "growth.json", grown),
        ],
    )
    def test_the_documents_show_a_run_that_is_kept(
        self, file: str, source: str, make: Callable[[Path], str]
    ) -> None:
        """Every number in them comes from its raw figures."""
        text = (ROOT / file).read_text(encoding="utf-8")

        assert any(make(path.parent) in text for path in RUNS.glob(f"*/{source}"))
