"""Escaping: nothing hidden, one line, and never two texts that look the same."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.escape import display_width, escape, escape_block, show, show_block

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

NASTY = "\\nx{}u0ab \t\n\r\x1b\x7f\x85\x9b\u0301\u20dd\u200b\u202e\u2028\ud800\ue000\u3164\U000e0041"
#: Plain text, text of all code points, and text made of what is dangerous.
texts = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=40),
    st.text(st.integers(0, sys.maxunicode).map(chr), max_size=40),
    st.text(st.sampled_from(NASTY), max_size=40),
)


def unescape(text: str) -> str:
    """Undo `escape`, as someone who reads its rules would."""
    parts = []
    rest = text
    while rest:
        if not rest.startswith("\\"):
            size, char = 1, rest[0]
        elif rest[1] == "x":
            size, char = 4, chr(int(rest[2:4], 16))
        elif rest[1] == "u":
            size = rest.index("}") + 1
            char = chr(int(rest[3 : size - 1], 16))
        else:
            size, char = 2, {"n": "\n", "t": "\t", "\\": "\\"}[rest[1]]
        parts.append(char)
        rest = rest[size:]
    return "".join(parts)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("fs.read ~/a [b] 'c'", "fs.read ~/a [b] 'c'", id="plain"),
        pytest.param("C:\\new", r"C:\\new", id="backslash"),
        pytest.param("a\nb\tc", r"a\nb\tc", id="newline and tab"),
        pytest.param("\r\0", r"\x0d\x00", id="other C0"),
        pytest.param("\x1b[2J", r"\x1b[2J", id="clear screen"),
        pytest.param("\x1b]0;title\x07", r"\x1b]0;title\x07", id="window title"),
        pytest.param("\x7f", r"\x7f", id="DEL"),
        pytest.param("\x9b31m", r"\x9b31m", id="8-bit CSI"),
        pytest.param("a\u202eb", r"a\u{202e}b", id="bidi override"),
        pytest.param("a\u2066b", r"a\u{2066}b", id="bidi isolate"),
        pytest.param("ci\u200bbot", r"ci\u{200b}bot", id="zero-width space"),
        pytest.param("\ufeffa", r"\u{feff}a", id="byte order mark"),
        pytest.param("a\u00adb", r"a\xadb", id="soft hyphen"),
        pytest.param("a\U000e0041", r"a\u{e0041}", id="tag letter"),
        pytest.param("a\ufe0f", r"a\u{fe0f}", id="variation selector"),
        pytest.param("a\U000e0100", r"a\u{e0100}", id="second selectors"),
        pytest.param("a\u2028b\u2029", r"a\u{2028}b\u{2029}", id="separators"),
        pytest.param("a\u00a0b", r"a\xa0b", id="blank that is no space"),
        pytest.param("\udcff", r"\u{dcff}", id="lone surrogate"),
        pytest.param("\ue000", r"\u{e000}", id="private use"),
        pytest.param("\u0378", r"\u{378}", id="unassigned"),
        pytest.param("\u3164\u115f", r"\u{3164}\u{115f}", id="Hangul fillers"),
        pytest.param("\u2800", r"\u{2800}", id="Braille blank"),
        pytest.param("café 日本語 🎉", "café 日本語 🎉", id="letters of the world"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    """What is safe stays as it is; what is not becomes visible."""
    assert escape(text) == shown


def test_marks_are_capped() -> None:
    """Eight marks may pile up on a character; the others stand beside it."""
    assert escape("e" + "\u0301" * 10) == "e" + "\u0301" * 8 + r"\u{301}\u{301}"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="at the start"),
        pytest.param("\n", id="after a newline"),
        pytest.param("\u200b", id="after something hidden"),
    ],
)
def test_marks_need_a_character(before: str) -> None:
    """A mark never lands on what stands before the text, or on an escape."""
    assert escape(before + "\u0301").endswith(r"\u{301}")


@given(texts)
@settings(max_examples=150)
def test_result_is_one_safe_line(text: str) -> None:
    """No result has a control, format, hidden or line-breaking code point."""
    shown = escape(text)

    assert not {unicodedata.category(char) for char in shown} & FORBIDDEN
    assert shown.splitlines() in ([], [shown])


@pytest.mark.slow
def test_many_results_are_safe_lines() -> None:
    """The same holds for 100,000 short texts over all code points and the worst."""
    draw = random.Random(20261120)
    every = range(sys.maxunicode + 1)
    shown: set[str] = set()
    for _ in range(50_000):
        shown.update(escape("".join(map(chr, draw.choices(every, k=3)))))
        shown.update(escape("".join(draw.choices(NASTY, k=6))))

    assert not {unicodedata.category(char) for char in shown} & FORBIDDEN


@pytest.mark.slow
def test_no_code_point_is_unsafe() -> None:
    """The same holds for each code point that there is, one after the other."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))

    shown = escape(every)

    assert not {unicodedata.category(char) for char in set(shown)} & FORBIDDEN
    assert len(shown.splitlines()) == 1


@given(texts)
@settings(max_examples=200)
def test_escaping_loses_nothing(text: str) -> None:
    """The text can be read back from the result, so no two texts share one."""
    assert unescape(escape(text)) == text


@given(texts)
@settings(max_examples=100)
def test_block_keeps_lines(text: str) -> None:
    """A block is its lines, each escaped by itself, with tabs kept."""
    shown = escape_block(text)

    cells = [line.split("\t") for line in text.split("\n")]
    assert shown == "\n".join("\t".join(map(escape, line)) for line in cells)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        pytest.param("plain", 5, id="ASCII"),
        pytest.param("日本", 4, id="wide letters"),
        pytest.param("e\u0301e", 2, id="combining mark"),
        pytest.param("🎉", 2, id="emoji"),
    ],
)
def test_display_width(text: str, columns: int) -> None:
    """Width counts what a terminal advances, not code points."""
    assert display_width(text) == columns


def test_text_to_be_recognised_keeps_its_backslashes() -> None:
    """show() is escape() without the doubling; show_block() also keeps lines and tabs."""
    text = "a\\b\tc\nd\x1b\u202eé"

    assert show(text) == "a\\b\\tc\\nd\\x1b\\u{202e}é"
    assert show_block(text) == "a\\b\tc\nd\\x1b\\u{202e}é"
    assert show("plain \\ text") == "plain \\ text"
    assert show_block("\x07\\") == "\\x07\\"
