"""Lines of an explanation on a terminal: folded to its width, coloured, never cut."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt.ucan import did_of_seed
from toolrt_cli.commands.grants import expiring_command, list_command
from toolrt_cli.commands.identity import list_command as identities_command
from toolrt_cli.commands.provenance import Options, explain_command
from toolrt_cli.escape import display_width
from toolrt_cli.grammar import Globals
from toolrt_cli.provenance.near import ago
from toolrt_cli.provenance.text import short_did, wrapped
from toolrt_cli.streams import Streams
from toolrt_cli.terminal import Terminal
from toolrt_cli.wiring import Session, open_session

from .delegations import BOT, LEAD, OTHER, config_with, delegated, digest_of, hold
from .test_tty import on_terminal

WriteConfig = Callable[[str], Path]


@given(st.text("ab ✓界", max_size=80), st.integers(20, 60))
def test_folding_loses_nothing_and_fits_where_words_do(line: str, width: int) -> None:
    """Words stay whole and in order; a line is wider only for a single word."""
    parts = wrapped(line, width)

    assert " ".join(parts).split() == line.split()
    for part in parts:
        assert display_width(part) <= width or len(part.split()) <= 1


def test_what_is_folded_stands_deeper() -> None:
    """The lines after the first are seen to belong to it."""
    first, *rest = wrapped("    used by several recorded calls since long ago", 20)

    assert first.startswith("    used")
    assert all(part.startswith("        ") for part in rest)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
        (864_000 + 14_400, "10 d 4 h"),
    ],
)
def test_lengths_of_time_have_two_units(seconds: int, said: str) -> None:
    """The two largest that are not nothing."""
    assert ago(seconds) == said


def test_a_did_is_shortened_and_a_name_is_not() -> None:
    """Start and end are what tells keys apart."""
    did = "did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX"

    assert short_did(did) == "did:key:z6Mkon3Necd6…LfLX"
    assert short_did("ci-bot") == "ci-bot"


def on_screen(run: Callable[[Session, Streams], int], columns: int = 60) -> str:
    """Return what *run* shows on a terminal with colour, in this process."""
    out = io.StringIO()
    streams = Streams(
        out=out,
        err=io.StringIO(),
        out_terminal=Terminal(is_tty=True, colour=True, width=columns),
        err_terminal=Terminal(),
        settings=Globals(),
    )
    run(open_session(Globals(), os.environ), streams)
    return out.getvalue()


def test_lists_are_narrow_on_a_terminal(home: Path, config: WriteConfig) -> None:
    """Digests and keys as people tell them apart, times of the wall clock."""
    token = delegated("t", "fs:read", days=3.5)
    config(config_with(token))

    screen = on_screen(lambda one, shown: expiring_command(one, shown, "7d"), 100)
    grants = on_screen(lambda one, shown: list_command(one, shown, "bot"), 100)

    assert f" {digest_of(token)[:12]} " in screen
    assert digest_of(token) not in screen
    assert "did:key:z6Mk" in screen
    assert re.search("3 d 1[12] h", screen)
    assert "LAST USED" in grants


def test_tables_of_keys_and_tokens_fit_sixty_columns(
    home: Path, config: WriteConfig
) -> None:
    """Whole all the same: a DID, what is left, and why another does not count."""
    hold("bot", BOT)
    os.utime(hold("operator", OTHER), (0, 0))
    hold("ci", LEAD).chmod(0o644)
    good, bad = delegated("t", "a", days=3.5), delegated("u", "a", root=OTHER)
    config(config_with(good, bad, Path("none")))

    keys = on_screen(lambda _, shown: identities_command(shown))
    tokens = on_screen(lambda one, shown: expiring_command(one, shown, "7d"))

    for screen in (keys, tokens):
        lines = re.sub(r"\x1b\[\d*m", "", screen).splitlines()
        assert max(map(display_width, lines)) <= 60, screen
    for part in (did_of_seed(BOT)[:24], "1970-01-01", "others", " no "):
        assert part in keys
    assert did_of_seed(LEAD)[:24] not in keys
    for part in (" 3 d 1", " untrusted_root: ", digest_of(bad)[:12], "unreadable:"):
        assert part in tokens


def test_an_explanation_on_a_terminal_is_coloured_and_folded(
    home: Path, config: WriteConfig
) -> None:
    """The sign at the start of a line has the colour, the rest has none."""
    config('[callers.ann]\ncapabilities = ["fs:*"]\n')

    def explain(session: Session, streams: Streams) -> int:
        return explain_command(session, streams, "ann", "fs:read", Options())

    screen = on_screen(explain)

    assert screen.startswith("\x1b[32mALLOW\x1b[0m  ann may use fs:read\n")
    assert "\x1b[32m✓\x1b[0m allow-list toolrt.toml:2:17" in screen


@pytest.mark.slow
class TestTerminal:
    """A pseudo-terminal of 60 columns"""

    @pytest.fixture(autouse=True)
    def terminal(self, config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        config(
            '[callers.alice]\ncapabilities = ["fs:*", "fs:read"]\n'
            '[callers.ci-bot]\ncapabilities = ["fs:raed"]\n'
        )
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)

    @pytest.mark.parametrize("caller", ["alice", "ci-bot"])
    def test_lines_fit_but_for_single_words(self, caller: str) -> None:
        """Files are named shortly where the head names them whole."""
        _, screen = on_terminal(
            *["provenance", "explain", caller, "fs:read", "--color", "never"],
            columns=60,
        )

        assert "allow-list toolrt.toml:2:17" in screen
        for line in screen.splitlines():
            assert display_width(line) <= 60 or len(line.split()) == 1, line

    def test_marks_are_coloured_unless_told_otherwise(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Green for what holds, red for what does not; NO_COLOR ends it."""
        words = ["provenance", "explain", "alice", "fs:read"]
        _, coloured = on_terminal(*words, columns=60)
        _, denied = on_terminal(*words[:2], "ci-bot", "fs:read", columns=60)
        monkeypatch.setenv("NO_COLOR", "1")
        _, plain = on_terminal(*words, columns=60)

        assert coloured.startswith("\x1b[32mALLOW\x1b[0m")
        assert denied.startswith("\x1b[31mDENY\x1b[0m")
        assert "\x1b[32m✓\x1b[0m allow-list" in coloured
        assert re.sub(r"\x1b\[\d*m", "", coloured) == plain
