"""``toolrt provenance explain``, end to end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

WriteConfig = Callable[[str], Path]

POLICY = """\
[callers.alice]
capabilities = ["repo:read", "fs:*", "fs:read"]

[callers."ci-bot"]
capabilities = ["fs:raed"]
"""


@pytest.fixture
def policy(config: WriteConfig) -> Path:
    return config(POLICY)


def test_a_grant_names_rule_position_and_pattern(cli: Cli, policy: Path) -> None:
    """Every source is a path with file, line, column and the pattern it came from."""
    ran = cli("provenance", "explain", "alice", "fs:read", "-o", "json")

    document = ran.document
    assert ran.code == 0
    assert document["schema"] == "toolrt.explain/1"
    assert document["decision"] == "allow"
    assert document["config"]["path"] == str(policy)
    assert [path["links"][0]["source"] for path in document["paths"]] == [
        {"file": str(policy), "line": 2, "column": 30},
        {"file": str(policy), "line": 2, "column": 38},
    ]
    patterns = [path["links"][0]["pattern"] for path in document["paths"]]
    assert patterns == ["fs:*", "fs:read"]
    assert document["rejected"] == []


def test_the_position_points_at_the_pattern(cli: Cli, policy: Path) -> None:
    """Line and column count from 1 and land on the opening quote."""
    document = cli("provenance", "explain", "alice", "fs:read", "--json").document
    source = document["paths"][0]["links"][0]["source"]

    line = policy.read_text().splitlines()[source["line"] - 1]
    assert line[source["column"] - 1 :].startswith('"fs:*"')


def test_use_is_counted_from_the_record(cli: Cli, policy: Path) -> None:
    """Calls that ran with the capability, the first and the last of them."""
    Path("a").write_text("x")
    for words in (
        ["fs.read", "path=a"],
        ["fs.read", "path=missing"],
        ["fs.read", "pth=bad-arguments-use-nothing"],
        ["echo.say"],
    ):
        cli("run", *words, "--as", "alice")

    used = cli("provenance", "explain", "alice", "fs:read", "--json").document["used"]
    text = cli("provenance", "explain", "alice", "fs:read").out

    assert used["calls"] == 2
    assert used["first"] < used["last"]
    assert "used by 2 recorded calls, first " in text
    assert f"removing {policy}:2:30 and {policy}:2:38 ends this access" in text


def test_a_refusal_shows_what_was_looked_at_and_what_to_change(
    cli: Cli, policy: Path
) -> None:
    """Own rules and others', the nearest marked, and the lines that would allow it."""
    ran = cli("provenance", "explain", "ci-bot", "fs:read", "-o", "json")

    document = ran.document
    assert ran.code == 3
    assert document["decision"] == "deny"
    nearest = document["rejected"][0]
    assert (nearest["pattern"], nearest["nearest"]) == ("fs:raed", True)
    assert nearest["source"] == {"file": str(policy), "line": 5, "column": 17}
    others = [item["audience"] for item in document["rejected"][1:]]
    assert others == ["alice", "alice"]
    assert document["change"] == {
        "file": str(policy),
        "lines": ['capabilities = ["fs:raed", "fs:read"]'],
        "line": 5,
    }


def test_text_and_json_agree(cli: Cli, policy: Path) -> None:
    """The text is drawn from the document: its facts are all there."""
    text = cli("provenance", "explain", "ci-bot", "fs:read").out

    assert text.startswith("DENY  ci-bot may not use fs:read\n")
    assert f"{policy}:5:17" in text
    assert "<- nearest" in text
    assert f"change the list on line 5 of {policy} to:\n" in text
    assert 'capabilities = ["fs:raed", "fs:read"]' in text


def test_a_grant_of_what_no_pack_needs_is_marked(cli: Cli, policy: Path) -> None:
    """A misspelt grant is granted all the same, and shown as one that nothing needs."""
    document = cli("provenance", "explain", "ci-bot", "fs:raed", "--json").document

    checks = document["paths"][0]["links"][0]["checks"]
    assert [(check["name"], check["ok"]) for check in checks] == [
        ("pattern", True),
        ("declared", False),
    ]


@pytest.mark.parametrize(
    ("words", "kind", "near"),
    [
        (["alcie", "fs:read"], "caller", "alice"),
        (["alice", "fs:raad"], "capability", "fs:read"),
        (["ALICE", "fs:read"], "caller", "alice"),
    ],
)
def test_an_unknown_name_is_4_with_suggestions(
    cli: Cli, policy: Path, words: list[str], kind: str, near: str
) -> None:
    """A typo is never answered with no."""
    ran = cli("provenance", "explain", *words)

    assert (ran.code, ran.out) == (4, "")
    assert f"unknown {kind}" in ran.err
    assert near in ran.err


def test_a_caller_of_the_record_is_known(cli: Cli, policy: Path) -> None:
    """Who has called before is known, though no config names them."""
    cli("run", "echo.say", "--as", "gone")

    assert cli("provenance", "explain", "gone", "fs:read").code == 3
    assert cli("provenance", "explain", "never", "fs:read").code == 4


def test_without_a_config_the_login_is_known_and_refused(cli: Cli) -> None:
    """On a fresh machine the answer names the file to make."""
    caller = cli("run", "fs.read", "path=x", "--json").error["message"].split("'")[1]

    ran = cli("provenance", "explain", caller, "fs:read")

    assert ran.code == 3
    assert "no rule names this caller or this capability" in ran.out
