from __future__ import annotations

import pytest

from toolrt.errors import ToolError
from toolrt.std.pattern import PathPattern


def is_match(pattern: str, path: str) -> bool:
    compiled = PathPattern(pattern)
    states = compiled.start
    for name in path.split("/"):
        states = compiled.advance(states, name)
    return compiled.is_match(states)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a"),
        ("**/*", "a"),
        ("**/*", "a/b/c"),
        ("**", "a/b"),
        ("a/**", "a/b/c"),
        ("a/**/b", "a/b"),
        ("a/**/b", "a/x/y/b"),
        ("**/a/**/b", "x/a/a/b"),
        ("*.py", "x.py"),
        ("?[ab]", "xa"),
        ("./a//b", "a/b"),
        (".*", ".hidden"),
        ("[", "["),
        ("/".join(["**"] * 50) + "/z", "/".join(["a"] * 50) + "/z"),
    ],
)
def test_pattern_matches(pattern: str, path: str) -> None:
    """`*` stays inside one name and `**` is any number of directories, none included."""
    assert is_match(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a/b"),
        ("*.py", "a/x.py"),
        ("*.py", "x.pyc"),
        ("a/**/b", "a/b/c"),
        ("A", "a"),
        ("a*", "ba"),
        ("?", "ab"),
        ("**/a", "b"),
    ],
)
def test_pattern_does_not_match(pattern: str, path: str) -> None:
    """A pattern is for the whole path, in its own case."""
    assert not is_match(pattern, path)


@pytest.mark.parametrize("pattern", ["", "/", ".", "/etc/*", "../*", "a/../b"])
def test_pattern_that_leads_away_is_refused(pattern: str) -> None:
    """An empty, absolute or climbing pattern is an error and not merely no match."""
    with pytest.raises(ToolError, match="BAD_PATTERN"):
        PathPattern(pattern)


def test_directory_that_cannot_lead_to_a_match_has_no_states() -> None:
    """A walk can tell which directories it need not enter."""
    pattern = PathPattern("src/*.py")

    assert not pattern.advance(pattern.start, "docs")
    assert pattern.advance(pattern.start, "src")
