"""docs/conformance.md names every test of this directory, and only such."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "conformance.md"
_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
_NAMED = re.compile(r"`(test_\w+\.py::test_\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of every row whose first cell is an id."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in cells if row and re.match(r"[CPRD]\d\d ", row[0])]


def tests_here() -> set[str]:
    return {
        f"{path.name}::{name}"
        for path in HERE.glob("test_*.py")
        if path.name != Path(__file__).name
        for name in _TEST.findall(path.read_text(encoding="utf-8"))
    }


def test_the_table_and_the_tests_name_each_other() -> None:
    """Every test that a row names exists, and every test stands in a row."""
    named = {name for row in rows() for name in _NAMED.findall(row[1])}

    assert named == tests_here()


def test_every_row_has_a_test_or_says_why_not() -> None:
    """A case without a test is marked as one for later."""
    for case, tested, verdict in rows():
        if _NAMED.search(tested):
            assert re.match(r"same$|differs: \S", verdict), case
        else:
            assert (tested, verdict.split(":")[0]) == ("none", "not yet"), case


def test_the_ids_of_each_series_count_up_from_one() -> None:
    """No case is skipped: 19 of the call side, 43 of the pack side, then our own."""
    ids = [row[0][:3] for row in rows()]

    series = {letter: [i for i in ids if i[0] == letter] for letter in "CPRD"}
    for letter, found in series.items():
        assert found == [f"{letter}{n:02}" for n in range(1, len(found) + 1)]
    assert (len(series["C"]), len(series["P"])) == (19, 43)
