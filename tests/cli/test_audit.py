"""``toolrt audit``: query, tail, show, end to end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

WriteConfig = Callable[[str], Path]


@pytest.fixture
def history(cli: Cli, config: WriteConfig) -> list[str]:
    """Four calls: a success, a missing capability, an unknown tool, bad arguments."""
    config('[callers.alice]\ncapabilities = ["fs:read"]\n')
    Path("a.txt").write_text("text")
    ids = []
    for words in (
        ["fs.read", "path=a.txt", "--as", "alice"],
        ["fs.read", "path=a.txt", "--as", "bob"],
        ["fs.rm", "--as", "alice"],
        ["fs.read", "--as", "alice"],
    ):
        ran = cli("run", *words, "-o", "json")
        ids.append(ran.document["call_id"])
    return ids


def test_nothing_recorded_is_told_apart_from_nothing_found(cli: Cli) -> None:
    """An empty store says so; reading it does not make it."""
    ran = cli("audit", "query")

    assert (ran.code, ran.out) == (0, "")
    assert "nothing is recorded yet" in ran.err
    assert not Path(cli("audit", "path").out.strip()).exists()


def test_query_is_newest_first_and_says_what_it_covers(
    cli: Cli, history: list[str]
) -> None:
    """One item an attempt, and the range in meta."""
    document = cli("audit", "query", "-o", "json").document

    assert [item["call_id"] for item in document["items"]] == history[::-1]
    assert document["schema"] == "toolrt.attempts/1"
    assert document["meta"]["total"] == 4
    assert document["meta"]["covers"]["events"] == 8


def test_an_attempt_has_its_documented_keys(cli: Cli, history: list[str]) -> None:
    """The keys that docs/cli.md lists, with their values."""
    item = cli("audit", "query", "caller=bob", "-o", "json").document["items"][0]

    assert {key: item[key] for key in item if key not in ("time", "duration_ms")} == {
        "call_id": history[1],
        "caller": "bob",
        "actor": item["actor"],
        "tool": "std:fs.read",
        "namespace": "local",
        "decision": "allow",
        "outcome": "capability_denied",
        "code": None,
        "dry_run": False,
        "seq": 3,
    }
    assert item["time"].endswith("Z")


def test_tail_is_newest_last(cli: Cli, history: list[str]) -> None:
    """The last ones, in the order in which they came."""
    document = cli("audit", "tail", "-n", "2", "-o", "json").document

    assert [item["call_id"] for item in document["items"]] == history[2:]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["tool=fs.read"], [0, 1, 3], id="verb"),
        pytest.param(["tool=std:*"], [0, 1, 3], id="tool id pattern"),
        pytest.param(["caller=alice"], [0, 2, 3], id="caller"),
        pytest.param(["caller=alice,bob"], [0, 1, 2, 3], id="one of two"),
        pytest.param(["outcome=success"], [0], id="outcome"),
        pytest.param(["outcome!=success", "caller=alice"], [2, 3], id="and, not"),
        pytest.param(["not:tool=fs.read"], [2], id="not:"),
        pytest.param(["capability=fs:read"], [0, 3], id="capability"),
        pytest.param(["ms>60000"], [], id="duration"),
        pytest.param(["-S", "1h"], [0, 1, 2, 3], id="since"),
        pytest.param(["-U", "1h"], [], id="until"),
        pytest.param(["-n", "1"], [3], id="limit"),
        pytest.param(["-n", "9" * 20], [0, 1, 2, 3], id="limit beyond numbers"),
        pytest.param(["outcome=succ*"], [0], id="outcome pattern"),
        pytest.param(["decision=deny"], [], id="decision"),
    ],
)
def test_filters_choose(
    cli: Cli, history: list[str], words: list[str], expected: list[int]
) -> None:
    """Each filter chooses by its field; fields are joined by and."""
    found = cli("audit", "query", *words, "-o", "jsonl")

    ids = [line.split('"call_id":"')[1][:26] for line in found.out.splitlines()]
    assert ids == [history[index] for index in reversed(expected)]


def test_a_dry_run_is_told_from_a_run(cli: Cli) -> None:
    """It is marked in the list, and no use of a capability."""
    cli("run", "echo.say", "-n")

    item = cli("audit", "query", "-o", "json").document["items"][0]

    assert (item["outcome"], item["dry_run"]) == ("success", True)


def test_a_store_that_is_not_there_is_named(cli: Cli) -> None:
    """A misspelt path must not look like an empty record."""
    assert (
        "nothing is recorded yet in /nowhere/a.db"
        in cli("audit", "query", "--store", "/nowhere/a.db").err
    )


def test_follow_ends_when_its_end_has_passed(cli: Cli, history: list[str]) -> None:
    """-U in the past is no reason to wait."""
    assert cli("audit", "tail", "-f", "-U", "1m").code == 0


@pytest.mark.parametrize("fmt", ["csv", "md", "name"])
def test_documents_have_every_format(cli: Cli, history: list[str], fmt: str) -> None:
    """One record as rows of key and value, or as its name."""
    out = cli("audit", "show", history[0], "-o", fmt).out

    assert history[0] in out
    assert ("std:fs.read" in out) == (fmt != "name")
    assert cli("audit", "path", "-o", "name").out == cli("audit", "path").out


def test_count_is_the_number_alone(cli: Cli, history: list[str]) -> None:
    """A number on stdout, a document with -o json."""
    assert cli("audit", "query", "--count").out == "4\n"
    assert cli("audit", "query", "--count", "-o", "json").document == {
        "schema": "toolrt.count/1",
        "count": 4,
    }


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["tol=x"], id="unknown field"),
        pytest.param(["tool"], id="no operator"),
        pytest.param(["ms>soon"], id="bad duration"),
        pytest.param(["-S", "whenever"], id="bad time"),
        pytest.param(["-S", "1h", "-U", "2h"], id="since after until"),
        pytest.param(["-n", "few"], id="bad limit"),
        pytest.param(["outcome=sucess"], id="outcome that is never"),
        pytest.param(["decision=alow"], id="decision that is never"),
        pytest.param(["--wat"], id="unknown option"),
    ],
)
def test_a_bad_filter_is_a_usage_error(
    cli: Cli, history: list[str], words: list[str]
) -> None:
    """Exit 2 and words that help, never an empty result."""
    ran = cli("audit", "query", *words)

    assert ran.code == 2
    assert ran.err.startswith("error: ")


def test_show_finds_by_start_and_last(cli: Cli, history: list[str]) -> None:
    """An id, its start or @last; both events in full."""
    document = cli("audit", "show", history[0], "-o", "json").document
    last = cli("audit", "show", "@last", "-o", "json").document

    assert document["schema"] == "toolrt.attempt/1"
    assert [event["id"] for event in document["events"]] == [
        f"{history[0]}/gate",
        f"{history[0]}/call",
    ]
    (grant,) = document["grants"]
    assert (grant["capability"], grant["pattern"]) == ("fs:read", "fs:read")
    assert (grant["line"], grant["column"]) == (2, 17)
    assert last["call_id"] == history[3]
    assert history[0] in cli("audit", "show", history[0]).out


def test_show_of_an_unknown_record_is_4(cli: Cli, history: list[str]) -> None:
    """No such id, or a start that several share."""
    assert cli("audit", "show", "zzz").code == 4
    several = cli("audit", "show", "0")
    assert several.code == 2
    assert "several records begin with 0" in several.err


def test_stored_text_is_rendered_harmless(cli: Cli) -> None:
    """Escape sequences, newlines and markup from outside are shown, not sent."""
    evil = "e\x1b[2J\nvil[bold]\u202e"
    cli("run", "echo.say", "--as", evil)
    cli("run", evil)

    for fmt in ("table", "csv", "md", "name", "json", "jsonl"):
        out = cli("audit", "query", "-o", fmt).out
        assert "\x1b" not in out
        assert "\u202e" not in out
    tsv = cli("audit", "query").out
    assert len(tsv.splitlines()) == 2
    assert "\x1b" not in tsv
    assert "\x1b" not in cli("audit", "show", "@last").out


def test_follow_shows_what_another_process_commits(shell: Cli, home: Path) -> None:
    """Backlog first, then each attempt once, as it ends; Ctrl-C is 130."""
    shell("run", "echo.say", "n=0")
    follower = subprocess.Popen(
        [sys.executable, "-m", "toolrt_cli", "audit", "tail", "-f", "-o", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    lines = [follower.stdout.readline()]

    ids = []
    for index in range(3):
        ran = shell("run", "echo.say", f"n={index}", "-o", "json")
        ids.append(ran.document["call_id"])
        lines.append(follower.stdout.readline())
    denied = shell("run", "fs.read", "path=x")
    lines.append(follower.stdout.readline())
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=300)

    assert [index for index, one in enumerate(ids) if one in lines[index + 1]] == [
        0,
        1,
        2,
    ]
    assert "capability_denied" in lines[4]
    assert denied.code == 3
    assert (out, follower.returncode) == ("", 130)
    assert "Traceback" not in err


def test_follow_waits_for_a_store_that_is_not_there_yet(shell: Cli, home: Path) -> None:
    """The first record ever is shown, too."""
    follower = subprocess.Popen(
        [sys.executable, "-m", "toolrt_cli", "audit", "tail", "-f"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None

    shell("run", "echo.say")
    line = follower.stdout.readline()
    follower.terminate()
    follower.communicate(timeout=300)

    assert "std:echo.say" in line
    assert follower.returncode == 143


def test_follow_needs_a_format_without_an_end(cli: Cli, history: list[str]) -> None:
    """One JSON document cannot grow; jsonl can."""
    ran = cli("audit", "tail", "-f", "-o", "json")

    assert (ran.code, ran.error["code"]) == (2, "usage")


def test_a_reader_that_goes_away_is_no_failure(shell: Cli, home: Path) -> None:
    """`audit query | head -1` ends with 0 and no traceback."""
    for _ in range(3):
        shell("run", "echo.say")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "toolrt_cli", "audit", "query"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reader)
    os.close(writer)
    _, err = process.communicate(timeout=300)

    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Exception" not in err


def test_the_reader_of_run_going_away_is_141(home: Path) -> None:
    """run tells its caller that the result did not arrive; it is recorded."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "toolrt_cli", "run", "echo.say"], stdout=writer
    )
    os.close(reader)
    os.close(writer)

    assert process.wait(300) == 141


def test_reading_does_not_change_the_store(cli: Cli, history: list[str]) -> None:
    """Readers change no byte of the database file."""
    path = Path(cli("audit", "path").out.strip())
    before = path.read_bytes()

    cli("audit", "query")
    cli("audit", "tail")
    cli("provenance", "explain", "alice", "fs:read")

    assert path.read_bytes() == before
