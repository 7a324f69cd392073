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


def near(cli: Cli, caller: str, capability: str) -> list[tuple[str, str]]:
    document = cli("provenance", "explain", caller, capability, "--json").document
    return [(i["failed_check"], i["pattern"]) for i in document["rejected"]]


def test_near_misses_are_ranked_and_say_what_would_pass(
    cli: Cli, config: WriteConfig
) -> None:
    """A misspelt rule, then another caller's, then what is far; each with a change."""
    config(
        '[callers.ann]\ncapabilities = ["repo:read", "fs:reed"]\n'
        '[callers.bob]\ncapabilities = ["fs:*"]\n'
    )

    found = near(cli, "ann", "fs:read")
    out = cli("provenance", "explain", "ann", "fs:read").out

    assert found == [
        ("pattern", "fs:reed"),
        ("caller", "fs:*"),
        ("pattern", "repo:read"),
    ]
    assert '    to pass: write "fs:read" in its place\n' in out
    assert "    to pass: list it for ann, or call as bob\n" in out


def test_a_pattern_over_what_no_pack_needs_is_told_apart(
    cli: Cli, config: WriteConfig
) -> None:
    """It would match, but patterns are expanded over what the loaded packs declare."""
    config(
        '[callers.ann]\ncapabilities = ["repo:*"]\n'
        '[callers.bob]\ncapabilities = ["repo:read"]\n'
    )

    assert near(cli, "ann", "repo:read") == [
        ("declared", "repo:*"),
        ("caller", "repo:read"),
    ]


def test_case_that_differs_is_a_near_miss(cli: Cli, config: WriteConfig) -> None:
    """Names are exact: the other case is the nearest, and does not grant."""
    config('[callers.ann]\ncapabilities = ["FS:READ", "net:fetch"]\n')

    assert near(cli, "ann", "fs:read")[0] == ("pattern", "FS:READ")


def test_many_rules_of_others_are_not_all_listed(cli: Cli, config: WriteConfig) -> None:
    """The few nearest are enough."""
    config(
        "[callers.ann]\n"
        + "".join(f'[callers.b{n}]\ncapabilities = ["fs:*"]\n' for n in range(30))
    )

    assert len(near(cli, "ann", "fs:read")) == 5


def test_use_by_a_rule_that_is_gone_is_told_apart(
    cli: Cli, config: WriteConfig
) -> None:
    """The record names the rule that granted then, and it grants nothing now."""
    path = config('[callers.ann]\ncapabilities = ["fs:*"]\n')
    Path("a").write_text("x")
    cli("run", "fs.read", "path=a", "--as", "ann")
    config('[callers.ann]\ncapabilities = ["fs:read"]\n')

    document = cli("provenance", "explain", "ann", "fs:read", "--json").document
    out = cli("provenance", "explain", "ann", "fs:read").out

    assert document["used"]["calls"] == 1
    assert document["paths"][0]["used"]["calls"] == 0
    (other,) = document["used"]["others"]
    assert (other["pattern"], other["calls"]) == ("fs:*", 1)
    assert (
        f'1 of them by allow-list {path}:2:17 "fs:*", which grants nothing now' in out
    )


def test_a_rule_is_the_same_where_lines_moved(cli: Cli, config: WriteConfig) -> None:
    """What was written above it changes its place and not its use."""
    config('[callers.ann]\ncapabilities = ["fs:*"]\n')
    Path("a").write_text("x")
    cli("run", "fs.read", "path=a", "--as", "ann")
    config('# new\n[callers.ann]\ncapabilities = ["fs:*"]\n')

    document = cli("provenance", "explain", "ann", "fs:read", "--json").document

    assert document["paths"][0]["used"]["calls"] == 1
    assert document["used"]["others"] == []


def test_what_ends_the_access_does_end_it(cli: Cli, config: WriteConfig) -> None:
    """Each source that is named is taken away: the last one refuses."""
    path = config(POLICY)
    document = cli("provenance", "explain", "alice", "fs:read", "--json").document
    refs = [part["ref"] for (part,) in document["ends"]]

    words = ["provenance", "explain", "alice", "fs:read"]
    assert refs == [f"{path}:2:30", f"{path}:2:38"]
    assert [cli(*words, "--without", ref).code for ref in refs] == [0, 0]
    assert cli(*words, "--without", refs[0], "--without", refs[1]).code == 3


def test_a_capability_of_the_record_is_known(cli: Cli, config: WriteConfig) -> None:
    """A pack may be gone, what its calls were granted is not."""
    pack = '[pack.x.handler."x.y"]\ncommand = ["true"]\ncapabilities = ["x:use"]\n'
    callers = '[callers.ann]\ncapabilities = ["x:*"]\n'
    config('[runtime]\npacks = ["x"]\n' + callers + pack)
    assert cli("run", "x.y", "--as", "ann").code == 0
    config(callers)

    assert cli("provenance", "explain", "ann", "x:use").code == 3
    assert cli("provenance", "explain", "ann", "x:use", "--at", "@last").code == 0
    assert cli("provenance", "explain", "ann", "x:uses").code == 4
