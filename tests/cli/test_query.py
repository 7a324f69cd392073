"""``audit query --events|--by|--sql|--expect``, ``stats`` and ``values``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli
from .stores import store_path

WriteConfig = Callable[[str], Path]


@pytest.fixture
def history(cli: Cli, config: WriteConfig) -> None:
    """Two successes of alice, a refusal of bob, a dry run; then a key that changed."""
    config('[callers.alice]\ncapabilities = ["fs:read"]\n')
    Path("a.txt").write_text("text")
    for caller in ("alice", "alice", "bob"):
        cli("run", "fs.read", "path=a.txt", "--as", caller)
    cli("run", "echo.say", "-n", "--as", "alice")
    cli("audit", "checkpoint", "--rotate-key")


@pytest.mark.usefixtures("history")
def test_events_are_newest_first_with_their_payload(cli: Cli) -> None:
    """All kinds; with filters those of the attempts that match."""
    document = cli("audit", "query", "--events", "-o", "json").document
    of_bob = cli("audit", "query", "--events", "caller=bob", "-o", "json").document
    two = cli("audit", "query", "--events", "-n", "2", "-o", "json").document

    assert document["schema"] == "toolrt.events/1"
    assert [item["seq"] for item in document["items"]] == list(range(9, 0, -1))
    assert document["items"][0]["payload"] == {"what": "key_rotated"}
    assert [item["seq"] for item in of_bob["items"]] == [6, 5]
    assert [item["seq"] for item in two["items"]] == [9, 8]
    assert "system/9" in cli("audit", "query", "--events").out


@pytest.mark.usefixtures("history")
def test_groups_are_counted(cli: Cli) -> None:
    """The most frequent first, of what matches."""
    document = cli("audit", "query", "--by", "caller", "-o", "json").document
    few = cli("audit", "query", "--by", "outcome", "caller=alice", "-n", "1").out

    assert document["items"] == [
        {"value": "alice", "attempts": 3},
        {"value": "bob", "attempts": 1},
    ]
    assert few == "success\t3\n"


@pytest.mark.usefixtures("history")
def test_a_select_of_ones_own(cli: Cli) -> None:
    """Columns as they are named; one name twice is two columns; blobs in hex."""
    sql = "SELECT seq, kind, kind, x'ab' AS b FROM event_log ORDER BY seq LIMIT 2"
    document = cli("audit", "query", "--sql", sql, "-o", "json").document
    cut = cli("audit", "query", "--sql", "SELECT seq FROM event_log", "-n", "3")

    assert document["items"][1] == {
        "seq": 2,
        "kind": "call",
        "kind_2": "call",
        "b": "ab",
    }
    assert cut.out == "1\n2\n3\n"
    assert "there are more than 3 rows" in cut.err


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "sql", ["DELETE FROM events", "SELECT nothing", "SELECT value FROM store", "; ;"]
)
def test_anything_but_a_select_is_refused(cli: Cli, sql: str) -> None:
    """Exit 2, and the store is as it was."""
    assert cli("audit", "query", "--sql", sql).code == 2
    assert cli("audit", "verify").code == 0


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["caller=mallory", "--expect", "==0"], 0, id="none, as expected"),
        pytest.param(["caller=bob", "--expect", "==0"], 1, id="some"),
        pytest.param(["caller=alice", "--expect", ">= 3"], 0, id="at least"),
        pytest.param(["--expect", "!=4"], 1, id="not so many"),
        pytest.param(["--expect", "<4"], 1, id="fewer"),
        pytest.param(["--count", "--expect", "<=4"], 0, id="count"),
        pytest.param(["-n", "1", "--expect", ">3"], 0, id="not only what is shown"),
        pytest.param(
            ["--sql", "SELECT count(*) FROM event_log", "--expect", "==9"], 0, id="sql"
        ),
        pytest.param(
            ["--sql", "SELECT seq FROM event_log", "--expect", "==1"], 1, id="rows"
        ),
    ],
)
def test_an_expectation_decides_the_exit_code(
    cli: Cli, words: list[str], code: int
) -> None:
    """Text and JSON alike; what was seen is said."""
    ran = cli("audit", "query", *words)
    document = cli("audit", "query", *words, "-o", "json")
    expected = (
        document.document.get("expected") or document.document["meta"]["expected"]
    )

    assert (ran.code, document.code) == (code, code)
    assert expected["met"] == (code == 0)
    assert ("expected" in ran.err) == (code == 1)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--expect", "0"], id="no comparison"),
        pytest.param(["--expect", "==x"], id="no number"),
        pytest.param(["--by", "colour"], id="no field"),
        pytest.param(["--count", "--by", "tool"], id="two questions"),
        pytest.param(["--sql", "SELECT 1", "tool=x"], id="select and filter"),
        pytest.param(["--events", "--expect", "==0"], id="events and expectation"),
        pytest.param(["dry=maybe"], id="a value that is never"),
    ],
)
def test_a_bad_question_is_a_usage_error(cli: Cli, words: list[str]) -> None:
    """Exit 2, never an empty answer."""
    assert cli("audit", "query", *words).code == 2


def test_questions_to_no_store_have_empty_answers(cli: Cli) -> None:
    """Save a SELECT, which cannot be asked."""
    assert cli("audit", "query", "--events").out == ""
    assert cli("audit", "query", "--by", "tool").out == ""
    assert cli("audit", "values", "tool").out == ""
    assert cli("audit", "stats", "-o", "json").document["attempts"] == 0
    assert cli("audit", "query", "--sql", "SELECT 1").code == 4
    assert not store_path().exists()


@pytest.mark.usefixtures("history")
def test_dry_runs_are_told_and_found(cli: Cli) -> None:
    """In every text format, and by a filter."""
    assert cli("audit", "query", "dry=yes").out.split("\t")[1] == "success (dry run)"
    assert "success (dry run)" in cli("audit", "query", "-o", "csv").out
    assert cli("audit", "query", "dry=no", "--count").out == "3\n"
    assert cli("audit", "query", "dry!=yes", "--count").out == "3\n"
    assert cli("audit", "query", "dry=yes,no", "--count").out == "4\n"


@pytest.mark.usefixtures("history")
def test_stats_tell_how_much_there_is(cli: Cli) -> None:
    """By outcome, decision and day; filters choose the attempts."""
    document = cli("audit", "stats", "-o", "json").document
    of_bob = cli("audit", "stats", "caller=bob").out

    assert (document["attempts"], document["events"]) == (4, 9)
    assert document["outcomes"] == {"success": 3, "capability_denied": 1}
    assert document["decisions"] == {"allow": 4}
    assert sum(document["days"].values()) == 4
    assert document["first"] < document["last"]
    assert "outcome capability_denied  1" in of_bob


@pytest.mark.usefixtures("history")
def test_values_of_a_field(cli: Cli) -> None:
    """Most frequent first; a field that is none is named with those that are."""
    document = cli("audit", "values", "tool", "-o", "json").document
    wrong = cli("audit", "values", "colour")

    assert document["items"][0] == {"value": "std:fs.read", "attempts": 3}
    assert wrong.code == 2
    assert "capability" in wrong.err
