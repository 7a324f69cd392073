"""``toolrt audit tail``: when it ends, and where it goes on."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli, Ran

WriteConfig = Callable[[str], Path]


@pytest.fixture
def tail(cli: Cli) -> Callable[..., Ran]:
    """Three calls, then ``audit tail -o jsonl``."""
    for n in range(3):
        cli("run", "echo.say", f"n={n}")
    return lambda *words: cli("audit", "tail", "-o", "jsonl", *words)


Tail = Callable[..., Ran]


@pytest.mark.parametrize(
    ("words", "lines", "code"),
    [
        pytest.param(["--max", "2"], 2, 0, id="max"),
        pytest.param(["--for", "0s"], 3, 0, id="for"),
        pytest.param(["--idle", "0s"], 3, 0, id="idle"),
        pytest.param(["--max", "9", "--idle", "0s"], 3, 8, id="fewer than max"),
        pytest.param(["--until-match", "tool=echo.say"], 3, 0, id="match"),
        pytest.param(
            ["--until-match", "tool=fs.*", "--for", "0s"], 3, 8, id="no match"
        ),
        pytest.param(["-n", "all", "--for", "0s"], 3, 0, id="all"),
    ],
)
def test_a_tail_ends_when_it_is_told_to(
    tail: Tail, words: list[str], lines: int, code: int
) -> None:
    """They follow without -f; 8 says that what was waited for did not come."""
    ran = tail(*words)

    assert (len(ran.out.splitlines()), ran.code) == (lines, code)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--max", "0"], id="no record"),
        pytest.param(["--max", "many"], id="no number"),
        pytest.param(["--idle", "5"], id="no unit"),
        pytest.param(["--until-match", "x"], id="no filter"),
    ],
)
def test_a_bad_end_is_a_usage_error(tail: Tail, words: list[str]) -> None:
    """Before anything is printed."""
    ran = tail(*words)

    assert (ran.code, ran.out) == (2, "")


def test_the_wait_for_a_store_ends_as_well(cli: Cli) -> None:
    """There is none yet, and none came."""
    assert cli("audit", "tail", "--max", "1", "--for", "0s").code == 8


def test_a_cursor_file_goes_on_where_the_last_tail_ended(cli: Cli, tail: Tail) -> None:
    """Each record once, in the order in which they ended; --max leaves the rest."""
    first = tail("--cursor-file", "c", "-n", "all")
    nothing = tail("--cursor-file", "c")
    for n in range(3):
        cli("run", "echo.say", f"n={n}")
    one = tail("--cursor-file", "c", "--max", "1")
    rest = tail("--cursor-file", "c")

    assert [len(ran.out.splitlines()) for ran in (first, nothing, one, rest)] == [
        *(3, 0),
        *(1, 2),
    ]
    seqs = [json.loads(line)["seq"] for line in (one.out + rest.out).splitlines()]
    assert seqs == [7, 9, 11]
    assert stat.S_IMODE(Path("c").stat().st_mode) == 0o600
    assert json.loads(Path("c").read_text())["seq"] == 12


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param('{"schema":"toolrt.cursor/1"}', id="half"),
        pytest.param(
            f'{{"schema":"toolrt.cursor/1","store":"{"0" * 32}","seq":1}}',
            id="of another store",
        ),
    ],
)
def test_a_broken_cursor_file_is_7(tail: Tail, text: str) -> None:
    """Nothing is printed from where nobody can tell; it stays as it is."""
    Path("c").write_text(text)

    ran = tail("--cursor-file", "c")

    assert (ran.code, ran.error["code"], ran.out) == (7, "integrity", "")
    assert Path("c").read_text() == text


def test_a_cursor_ahead_of_its_store_is_7(cli: Cli, tail: Tail) -> None:
    """An older copy was put back: what was read is not there any more."""
    cli("audit", "backup", "b.db")
    cli("run", "echo.say")
    tail("--cursor-file", "c")
    cli("audit", "restore", "b.db", "--replace")

    ran = tail("--cursor-file", "c")
    gone = tail("--cursor-file", "c", "--store", "nowhere.db")

    assert (ran.code, gone.code) == (7, 7)
    assert "the store ends at 6" in ran.error["message"]


def test_a_cursor_file_that_cannot_be_written_is_a_usage_error(tail: Tail) -> None:
    """A directory, or below one that is not there."""
    assert tail("--cursor-file", "no/such/c").code == 2
    assert tail("--cursor-file", ".").code == 2


def test_a_table_that_follows_keeps_its_format(cli: Cli, tail: Tail) -> None:
    """Rows below a CSV or Markdown table are CSV and Markdown."""
    tail("--cursor-file", "c")
    cli("run", "echo.say")

    csv = cli("audit", "tail", "--cursor-file", "c", "--max", "1", "-o", "csv").out
    cli("run", "echo.say")
    md = cli("audit", "tail", "--cursor-file", "c", "--max", "1", "-o", "md").out

    head, row = csv.splitlines()
    assert head.count(",") == row.count(",") == 7
    assert md.splitlines()[-1].startswith("| 20")
