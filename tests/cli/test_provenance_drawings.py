"""Every drawing of an explanation: made of the document, and safe to look at."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

WriteConfig = Callable[[str], Path]

POLICY = """\
[gate]
kind = "rules"
[[gate.rule]]
decision = "deny"
verbs = ["fs.write"]
reason = 'no <writes> | `a` "b"'
[callers.alice]
capabilities = ["fs:*"]
[callers.e]
capabilities = ["fs:reed"]
"""


@pytest.fixture
def policy(config: WriteConfig) -> Path:
    return config(POLICY)


DRAWINGS = ["tree", "table", "dot", "mermaid", "md", "csv"]


@pytest.mark.parametrize("fmt", DRAWINGS)
@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_a_drawing_is_asked_for_wherever_the_option_stands(
    cli: Cli, policy: Path, fmt: str, where: str
) -> None:
    """As every global option."""
    words = ["provenance", "explain", "alice", "fs:write"]
    place = {"before": 0, "between": 1, "after": 4}[where]
    words[place:place] = ["-o", fmt]

    ran = cli(*words)

    assert ran.code == 0
    assert "alice" in ran.out


@pytest.mark.parametrize("words", [["pack", "list"], ["run", "echo.say"]])
@pytest.mark.parametrize("fmt", ["dot", "tree", "mermaid"])
@pytest.mark.parametrize("is_first", [True, False])
def test_other_commands_have_no_drawings(
    cli: Cli, words: list[str], fmt: str, is_first: bool
) -> None:
    """What they take is listed, exit 2."""
    option = ["-o", fmt]

    ran = cli(*option, *words) if is_first else cli(*words, *option)

    assert (ran.code, ran.out) == (2, "")
    assert f"'{fmt}': must be one of table, json, jsonl, csv, md, name" in ran.err


def test_dot_is_a_graph_of_the_document(cli: Cli, policy: Path) -> None:
    """A node for the caller, the capability, each link, the gate; edges between."""
    out = cli("provenance", "explain", "alice", "fs:write", "-o", "dot").out

    lines = out.splitlines()
    assert (lines[0], lines[-1]) == ("digraph provenance {", "}")
    assert '  caller -> capability [label="allow"];' in lines
    assert '  p0l0 -> caller [label=""];' in lines
    for line in lines[3:-1]:
        assert re.fullmatch(
            r'  \w+(?: -> \w+)? \[(?:\w+="(?:[^"\\]|\\.)*"|\w+=\w+|, )+\];', line
        )


def test_mermaid_is_a_flowchart_without_anybodys_markup(cli: Cli, policy: Path) -> None:
    """What could end a label stands as an entity."""
    out = cli("provenance", "explain", "alice", "fs:write", "-o", "mermaid").out

    assert out.startswith('flowchart LR\n  caller["alice"]\n')
    assert "no #60;writes#62; #124; #96;a#96; #34;b#34;" in out
    for line in out.splitlines():
        assert line.count('"') in (0, 2)


def test_markdown_shows_what_it_is_given(cli: Cli, policy: Path) -> None:
    """No markup of a name gets through."""
    out = cli("provenance", "explain", "alice", "fs:write", "-o", "md").out

    assert out.startswith("**ALLOW**: alice may use fs:write\n")
    assert "fs:\\*" in out
    assert 'no &lt;writes&gt; \\| \\`a\\` "b"' in out


def test_a_refusal_is_drawn_with_its_near_misses(cli: Cli, policy: Path) -> None:
    """Dashed, each with its reason."""
    dot = cli("provenance", "explain", "e", "fs:read", "-o", "dot")
    markdown = cli("provenance", "explain", "e", "fs:read", "-o", "md").out

    assert dot.code == 3
    assert '  r0 -> caller [label="does not cover fs:read", style=dashed];' in dot.out
    assert "(nearest)" in markdown
    assert "To allow it: " in markdown


@pytest.mark.parametrize("fmt", ["tree", "dot", "mermaid", "md", "csv", "json"])
def test_names_from_outside_cannot_drive_the_terminal(
    cli: Cli, config: WriteConfig, fmt: str
) -> None:
    """A caller, a pattern and a reason that hold control characters."""
    config(
        '[gate]\nkind = "rules"\n[[gate.rule]]\ndecision = "deny"\n'
        'reason = "\\u001b[2J\\u202e"\n'
        '[callers."a\\u001b]0;x\\u0007\\nb\\u202e"]\ncapabilities = ["fs:*"]\n'
    )
    caller = "a\x1b]0;x\x07\nb\u202e"

    ran = cli("provenance", "explain", caller, "fs:read", "-o", fmt)

    assert ran.code == 0
    assert not set(ran.out) & {"\x1b", "\x07", "\u202e"}
    other = cli("provenance", "explain", caller, "net:fetch", "-o", fmt)
    assert not set(other.out) & {"\x1b", "\x07", "\u202e"}


def test_markdown_counts_one_call_as_one(cli: Cli, policy: Path) -> None:
    """And none or several as calls."""
    words = ("provenance", "explain", "alice", "fs:read", "-o", "md")
    Path("x").touch()

    none = cli(*words).out
    cli("run", "fs.read", "path=x", "--as", "alice")

    assert "Used by 0 recorded calls." in none
    assert "Used by 1 recorded call." in cli(*words).out
