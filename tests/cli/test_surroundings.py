"""Streams that are closed or full, directories that are gone: cron, daemons, accidents."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

pytestmark = pytest.mark.slow

WriteConfig = Callable[[str], Path]

TOOLRT = f"{sys.executable} -m toolrt_cli"


def bash(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize(
    "words", ["run echo.say", "pack list", "audit query", "--version", "help"]
)
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(home: Path, words: str, closing: str) -> None:
    """What would go there is lost, and nothing else happens."""
    done = bash(f"{TOOLRT} {words} {closing}")

    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_store_never_gets_the_number_of_a_closed_stream(home: Path) -> None:
    """Data for a closed stdout must not land in the database."""
    assert bash(f"{TOOLRT} run echo.say a=hello >&- 2>&-").returncode == 0
    path = Path(bash(f"{TOOLRT} audit path").stdout.strip())

    assert b"hello" not in path.read_bytes()
    assert bash(f"{TOOLRT} audit query --count").stdout == "1\n"


@pytest.mark.parametrize("words", ["run echo.say", "pack list", "help time"])
def test_a_full_disk_behind_stdout_is_said(home: Path, words: str) -> None:
    """One line, exit 1; the call is recorded as what it was."""
    done = bash(f"{TOOLRT} {words} >/dev/full")

    assert done.returncode == 1
    assert done.stderr.startswith("error: the output cannot be written: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(("words", "code"), [("run nosuch", 4), ("run fs.read", 3)])
def test_a_full_disk_behind_stderr_leaves_the_exit_code(
    home: Path, words: str, code: int
) -> None:
    """It is all that is left to tell what happened."""
    assert bash(f"{TOOLRT} {words} path=x 2>/dev/full").returncode == code


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_in_the_middle_is_141(
    home: Path, config: WriteConfig, unbuffered: str
) -> None:
    """Whatever PYTHONUNBUFFERED says: output that is lost is never success."""
    config(
        """
        [runtime]
        packs = ["big"]
        [pack.big.handler."big.count"]
        command = ["seq", "60000"]
        max_output = 1000000
        """
    )
    run = f"PYTHONUNBUFFERED={unbuffered} {TOOLRT} run big.count"

    done = bash(f"{run} | head -c 5 >/dev/null; echo ${{PIPESTATUS[0]}}")

    assert done.stdout == "141\n"
    assert bash(f"{run} | tail -n 1").stdout == "60000\n"


def test_following_ends_when_its_reader_is_gone(home: Path) -> None:
    """On a quiet store, too, where nothing is written that could fail."""
    assert bash(f"{TOOLRT} run echo.say").returncode == 0

    done = bash(f"{TOOLRT} audit tail -f | head -n 1; echo ${{PIPESTATUS[0]}}")

    assert "echo.say" in done.stdout
    assert done.stdout.endswith("\n0\n")


def test_a_question_without_stdin_is_a_refusal(home: Path) -> None:
    """JSON from a closed stdin is no JSON; nothing crashes."""
    done = bash(f"{TOOLRT} run echo.say --json-args - <&-")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_is_gone_is_said(home: Path) -> None:
    """Exit 2 and words, for a shell that stands in a removed directory."""
    done = bash(f"mkdir gone && cd gone && rmdir ../gone && {TOOLRT} run echo.say")

    assert done.returncode == 2
    assert "working directory does not exist" in done.stderr


@pytest.mark.parametrize("after_s", [0.02, 0.05, 0.08])
def test_an_early_interrupt_shows_no_traceback(home: Path, after_s: float) -> None:
    """Ctrl-C while modules are imported is Ctrl-C all the same."""
    code = "from toolrt_cli.main import entry; print('up', flush=True); entry()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "echo.say"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)

    # -2 is what a shell shows as 130: it came while Python itself was going.
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in err


def test_signals_are_an_error_line_in_json_mode(home: Path, shell: Cli) -> None:
    """Scripts learn what ended the command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "toolrt_cli", "audit", "tail", "-f", "-o", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shell("run", "echo.say")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=300)

    assert process.returncode == 143
    assert '"code":"interrupted"' in err


def test_home_may_be_unset(home: Path) -> None:
    """The account's own home counts then; here it is only asked for."""
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "TOOLRT_STORE")}

    done = subprocess.run(
        [sys.executable, "-m", "toolrt_cli", "config", "path"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


def test_text_that_the_locale_lacks_is_written_escaped(
    shell: Cli, config: WriteConfig
) -> None:
    """The call has run: its result is printed, its error is no other one."""
    config(
        """
        [runtime]
        packs = ["text"]
        [pack.text.handler."text.say"]
        command = ["printf", "%s", "{word}"]
        [pack.text.handler."text.say".args]
        word = { type = "string" }
        """
    )

    said = shell("run", "text.say", "word=gr\u00fcn", env=ASCII)
    piped = shell(
        "run", "text.say", "--json-args", "-", stdin='{"word": "gr\u00fcn"}', env=ASCII
    )
    refused = shell("run", "text.s\u00e4y", env=ASCII)

    assert (said.code, said.out, said.err) == (0, "gr\\xfcn", "")
    assert (piped.code, piped.out) == (0, "gr\\xfcn")
    assert refused.code == 4
    assert "unexpected" not in refused.err
