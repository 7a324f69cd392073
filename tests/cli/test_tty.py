"""Where a person sits: a pseudo-terminal on all three streams."""

import fcntl
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WriteConfig = Callable[[str], Path]

CONFIG = """
[runtime]
packs = ["std", "cmd"]
[callers.alice]
capabilities = ["fs:read"]
[pack.cmd.handler."cmd.wipe"]
command = ["touch", "wiped"]
effect = "destructive"
"""


def on_terminal(
    *words: str, prompt: str = "", typed: str = "", columns: int = 120
) -> tuple[int, str]:
    """
    Run toolrt on a terminal; return its exit code and all that was on the screen.

    *typed* is typed once *prompt* is on the screen.
    """
    pid, terminal = pty.fork()
    if pid == 0:  # the child: the terminal is its stdin, stdout and stderr
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            # Not what C libraries set beside os.environ, as readline does COLUMNS.
            argv = [sys.executable, "-m", "toolrt_cli", *words]
            os.execve(sys.executable, argv, dict(os.environ))
        finally:
            os._exit(127)
    screen, to_type = b"", typed.encode()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux ends a terminal without a writer this way
            break
        if not chunk:
            break
        screen += chunk
        if to_type and prompt.encode() in screen:
            os.write(terminal, to_type)
            to_type = b""
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), screen.decode().replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def terminal(config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config(CONFIG)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_list_is_a_table_with_headers() -> None:
    """On a terminal the columns have names."""
    code, screen = on_terminal("pack", "handlers", "std", "--color", "never")

    assert code == 0
    header = next(line for line in screen.splitlines() if "VERB" in line)
    assert header.split() == [
        "PACK",
        "VERSION",
        "VERB",
        "SIGNATURE",
        "CAPABILITY",
        "EFFECT",
        "VISIBILITY",
        "SOURCE",
    ]
    assert "\x1b" not in screen


def test_a_result_is_indented_and_the_record_named() -> None:
    """JSON is laid out for reading; the last line names the record."""
    code, screen = on_terminal("run", "echo.say", "a=1", "--color", "never")

    assert code == 0
    assert '{\n  "echoed": {\n    "a": "1"\n  }\n}\n' in screen
    assert screen.splitlines()[-1].startswith("record 01")


def test_quiet_leaves_the_data_alone() -> None:
    """-q drops the remarks."""
    _, screen = on_terminal("run", "echo.say", "-q")

    assert "record" not in screen


def test_the_text_of_a_file_cannot_drive_the_terminal() -> None:
    """Escape sequences of a result are made visible, lines and backslashes kept."""
    Path("evil.txt").write_text("a\\b\n\x1b[2J\x1b]0;title\x07end\n")

    _, screen = on_terminal("run", "fs.read", "path=evil.txt", "--as", "alice", "-q")

    assert screen == "a\\b\n\\x1b[2J\\x1b]0;title\\x07end\n"


def test_errors_are_coloured_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Colour is for terminals, and NO_COLOR turns it off."""
    _, coloured = on_terminal("run", "fs.read", "path=x")
    monkeypatch.setenv("NO_COLOR", "1")
    _, plain = on_terminal("run", "fs.read", "path=x")

    assert "\x1b[31merror\x1b[0m: caller" in coloured
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("typed", "code", "wiped"),
    [("y\n", 0, True), ("YES\n", 0, True), ("\n", 3, False), ("no\n", 3, False)],
)
def test_a_destructive_tool_asks_a_person(
    typed: str, code: int, *, wiped: bool
) -> None:
    """Only a yes runs it."""
    ended, screen = on_terminal("run", "cmd.wipe", prompt="[y/N]", typed=typed)

    assert "cmd:cmd.wipe has effect destructive. Run it? [y/N]" in screen
    assert (ended, Path("wiped").exists()) == (code, wiped)


def test_attempts_are_shown_in_local_time_with_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People see their own clock and a mark beside each outcome."""
    monkeypatch.setenv("TZ", "Etc/GMT-5")
    on_terminal("run", "echo.say")
    on_terminal("run", "fs.read", "path=x")

    _, screen = on_terminal("audit", "tail", "--color", "never")

    assert "✓ success" in screen
    assert "✗ capability_denied" in screen
    assert screen.splitlines()[0].split() == [
        "TIME",
        "OUTCOME",
        "CALLER",
        "TOOL",
        "MS",
        "CALL",
    ]
    assert len(screen.splitlines()) == 3


def test_a_narrow_terminal_leaves_nothing_out() -> None:
    """One attempt stays one line, its id whole, however narrow the terminal."""
    on_terminal("run", "echo.say")

    _, screen = on_terminal("audit", "tail", "--color", "never", columns=40)

    head, row = screen.splitlines()
    assert head.startswith("TIME")
    assert len(row.split()[-1]) == 26


def test_explain_is_drawn_with_marks() -> None:
    """The verdict stands first, in colour."""
    code, screen = on_terminal("provenance", "explain", "alice", "fs:read")

    assert code == 0
    assert screen.startswith("\x1b[32mALLOW\x1b[0m  alice may use fs:read\n")


def test_control_c_at_the_question_ends_it() -> None:
    """Nothing has run, no traceback; 130."""
    ended, screen = on_terminal("run", "cmd.wipe", prompt="[y/N]", typed="\x03")

    assert ended == 130
    assert not Path("wiped").exists()
    assert "Traceback" not in screen


def test_closing_the_terminal_ends_the_tool_and_is_recorded(
    config: WriteConfig,
) -> None:
    """SIGHUP is like SIGTERM: no process is left, and the record says INTERRUPTED."""
    config(
        '[runtime]\npacks = ["cmd"]\n[pack.cmd.handler."cmd.hold"]\n'
        'command = ["sh", "-c", "echo $$ >held; exec sleep 60"]\ntier = "cold"\n'
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable, [sys.executable, "-m", "toolrt_cli", "run", "cmd.hold"]
        )
    deadline = time.monotonic() + 300
    while not (Path("held").exists() and Path("held").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(terminal)
    os.waitpid(pid, 0)

    tool = int(Path("held").read_text())
    _, screen = on_terminal("audit", "query", "-o", "jsonl")

    assert not Path(f"/proc/{tool}").exists()
    assert '"code":"INTERRUPTED"' in screen


def test_an_interrupt_at_the_question_is_a_refusal_on_record() -> None:
    """Exit 130; nothing ran, and the record does not say that anything failed."""
    code, _ = on_terminal("run", "cmd.wipe", prompt="[y/N] ", typed="\x03")
    _, listed = on_terminal("audit", "query", "--color", "never")

    assert code == 130
    assert not Path("wiped").exists()
    assert "denied" in listed


@pytest.mark.parametrize(
    ("typed", "code", "shown"),
    [
        pytest.param("y\n", 0, "gone", id="yes"),
        pytest.param("\n", 3, "not yes", id="no"),
    ],
)
def test_what_goes_for_good_is_asked_for(typed: str, code: int, shown: str) -> None:
    """Redacting waits for a yes; anything else is a no."""
    on_terminal("run", "echo.say", "--reason", "words")

    ended, screen = on_terminal("audit", "redact", "@last", prompt="[y/N]", typed=typed)

    assert "go for good. Do it? [y/N]" in screen
    assert ended == code
    assert shown in screen
