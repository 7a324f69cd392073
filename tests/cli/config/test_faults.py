"""How faults look in print, and what the errors hold."""

from __future__ import annotations

from toolrt.errors import ToolrtError
from toolrt_cli.config import ConfigError, Fault, UntrustedConfigError, render
from toolrt_cli.config.faults import key_text, quote, shown

_FAULT = Fault(
    file="/etc/toolrt.toml",
    line=17,
    column=1,
    length=4,
    message='unknown key "alow"',
    key_path=("callers", "agent:ci", "alow"),
    suggestion='did you mean "allow"?',
    snippet='alow = ["fs.*"]',
)


def test_render() -> None:
    """A fault is a message, a place, the line with carets, a suggestion, a table."""
    assert render([_FAULT]) == (
        'error: unknown key "alow"\n'
        "  --> /etc/toolrt.toml:17:1\n"
        "   |\n"
        '17 | alow = ["fs.*"]\n'
        '   | ^^^^ did you mean "allow"?\n'
        '   = in callers."agent:ci"'
    )


def test_render_several() -> None:
    """Faults are set apart by one blank line."""
    assert render([_FAULT, _FAULT]) == f"{render([_FAULT])}\n\n{render([_FAULT])}"


def test_render_without_a_place() -> None:
    """A fault of the whole file has no snippet, but its suggestion."""
    fault = Fault(file="x.toml", message="no such file", suggestion="make it")

    assert render([fault]) == "error: no such file\n --> x.toml\n  = make it"
    assert render([Fault(file="x", message="m")]) == "error: m\n --> x"


def test_snippet_is_made_harmless_and_the_caret_still_fits() -> None:
    """Control, bidi and tab characters are spelled out; carets count what is shown."""
    fault = Fault(
        file="a\x1b.toml",
        line=1,
        column=5,
        length=3,
        message="m",
        snippet="\t\x1b\u202e=\x9bab\udcff # 日",
    )

    lines = render([fault]).splitlines()

    assert lines[1] == " --> a\\x1b.toml:1:5"
    assert lines[3] == "1 | \\t\\x1b\\u{202e}=\\x9bab\\u{dcff} # 日"
    assert lines[4] == "  | " + " " * 15 + "^" * 6


def test_carets_count_columns() -> None:
    """Wide characters before a fault take two columns, combining ones none."""
    fault = Fault(
        file="x", line=1, column=6, length=2, message="m", snippet="日e\u0301= ab"
    )

    assert render([fault]).splitlines()[-1] == "  | " + " " * 5 + "^^"


def test_long_lines_are_cut_around_the_fault() -> None:
    """A long line is shown from a little before the fault, marked where it is cut."""
    snippet = "a" * 500 + "FAULT" + "b" * 500
    fault = Fault(file="x", line=1, column=501, length=5, message="m", snippet=snippet)

    shown_line, carets = render([fault]).splitlines()[-2:]

    assert shown_line == "1 | …" + "a" * 20 + "FAULT" + "b" * 75 + "…"
    assert carets == "  | " + " " * 21 + "^^^^^"


def test_fault_past_the_end_of_the_line() -> None:
    """A fault after the last character has one caret there."""
    fault = Fault(file="x", line=1, column=5, length=1, message="m", snippet="a = ")

    assert render([fault]).splitlines()[-2:] == ["1 | a =", "  |     ^"]


def test_config_error_holds_and_tells_all_faults() -> None:
    """The exception's text has each fault with its place."""
    error = ConfigError([_FAULT, Fault(file="y", message="no such file")])

    assert isinstance(error, ToolrtError)
    assert (error.code, len(error.faults)) == ("config", 2)
    assert str(error) == ('/etc/toolrt.toml:17:1: unknown key "alow"; y: no such file')


def test_untrusted_config_error() -> None:
    """It names file, digest and reason, and is caught as a ConfigError."""
    error = UntrustedConfigError("/x/toolrt.toml", "ab" * 32, "edited since")

    assert isinstance(error, ConfigError)
    assert (error.code, error.path, error.digest, error.reason) == (
        "config_untrusted",
        "/x/toolrt.toml",
        "ab" * 32,
        "edited since",
    )
    assert error.faults[0].suggestion == (
        "read it, then: toolrt config trust /x/toolrt.toml"
    )
    assert "it was edited" in str(error)


def test_quote_and_shown() -> None:
    """Values are shown as TOML, cut, quoted and printable."""
    assert quote('a"\\\x07') == '"a\\"\\\\\\x07"'
    assert quote("x" * 41) == '"' + "x" * 39 + '…"'
    values: list[object] = [True, False, 3, 1.5, "a", [1], {}]
    assert [shown(one) for one in values] == [
        "true",
        "false",
        "3",
        "1.5",
        '"a"',
        "an array",
        "a table",
    ]


def test_key_text() -> None:
    """Paths are written as TOML writes keys."""
    assert key_text(("gate", "rule", 0, "verbs")) == "gate.rule[0].verbs"
    assert key_text(("callers", "ci-bot", "é", "a.b", "")) == (
        'callers.ci-bot."é"."a.b".""'
    )
