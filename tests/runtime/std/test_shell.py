from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from toolrt.bindings.process import MAX_STDERR_BYTES
from toolrt.errors import InvalidArgsError, ToolTimeoutError
from toolrt.std import StdSettings

from ..bindings.calls import context
from .tools import call, code_of


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a root with a directory, a file and a link that leads out."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "f").write_text("x")
    (root / "out").symlink_to("..")
    monkeypatch.chdir(root)


def test_output_and_status_are_the_result() -> None:
    """Both streams come back, each by itself."""
    assert call("shell.exec", command="echo out; echo err >&2") == {
        "exit_code": 0, "stdout": "out\n", "stderr": "err\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 3", 3), ("false", 1), ("no-such-command", 127), ("kill -9 $$", -9)],
)
def test_failure_is_a_result(command: str, status: int) -> None:
    """A status that is not 0 is no error of the tool; a signal is below 0."""
    assert call("shell.exec", command=command)["exit_code"] == status


@pytest.mark.parametrize("command", ["-x", "--help", "-c exit"])
def test_command_is_never_an_option(command: str) -> None:
    """A command that begins with a hyphen is one that does not exist."""
    assert call("shell.exec", command=command)["exit_code"] == 127


@pytest.mark.parametrize(("stdin", "read"), [(None, ""), ("", ""), ("é\n", "é\n")])
def test_input_is_what_is_given(stdin: str | None, read: str) -> None:
    """Without `stdin` there is nothing to read, and nothing to wait for."""
    assert call("shell.exec", command="cat", stdin=stdin)["stdout"] == read


def test_output_that_is_no_text_is_shown_replaced() -> None:
    """A result is always text."""
    assert call("shell.exec", command=r"printf 'a\377b'")["stdout"] == "a\ufffdb"


def test_environment_holds_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the names on the list are let through."""
    for name in ("API_TOKEN", "LD_PRELOAD_X", "BASH_ENV", "LC_ALL", "TZ"):
        monkeypatch.setenv(name, "C")

    lines = call("shell.exec", command="env")["stdout"].splitlines()

    names = {line.partition("=")[0] for line in lines}
    # The shell adds some of its own.
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} <= {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ",
    }  # fmt: skip
    assert {"LC_ALL", "TZ"} <= names


def test_no_descriptor_is_handed_down() -> None:
    """The command has its three streams and nothing of ours."""
    numbers = " ".join(map(str, range(3, 64)))
    command = f"for n in {numbers}; do [ ! -e /dev/fd/$n ] || echo $n; done"
    with open("f", "rb") as ours:
        os.set_inheritable(ours.fileno(), True)

        told = call("shell.exec", command=command)

    assert told == {"exit_code": 0, "stdout": "", "stderr": ""}


@pytest.mark.parametrize("cwd", [".", "sub", "sub/../sub"])
def test_command_runs_where_it_is_told(cwd: str) -> None:
    """The directory is that of the path, whatever it is called by."""
    found = call("shell.exec", command="pwd -P", cwd=cwd)["stdout"].rstrip("\n")

    assert found == os.path.realpath(cwd)


@pytest.mark.parametrize(
    ("cwd", "code"),
    [
        ("..", "OUTSIDE_ROOTS"),
        ("out", "OUTSIDE_ROOTS"),
        ("/", "OUTSIDE_ROOTS"),
        ("missing", "NOT_FOUND"),
        ("f", "NOT_A_DIR"),
    ],
)
def test_other_directory_is_refused(cwd: str, code: str) -> None:
    """A command starts inside the roots or not at all."""
    assert code_of("shell.exec", command="touch ran", cwd=cwd) == code
    assert not Path("ran").exists()


def test_roots_of_the_settings_hold() -> None:
    """With roots set, the working directory has to be in one of them."""
    only_sub = StdSettings(roots=(os.path.realpath("sub"),))

    assert code_of("shell.exec", only_sub, command="true") == "OUTSIDE_ROOTS"
    assert call("shell.exec", only_sub, command="true", cwd="sub")["exit_code"] == 0


def test_output_beyond_the_limit_is_an_error() -> None:
    """The limit is the last size that passes, and nothing is cut in silence."""
    ctx = context(max_output_bytes=5)

    assert call("shell.exec", None, ctx, command="printf 12345")["stdout"] == "12345"
    assert code_of("shell.exec", None, ctx, command="printf 123456") == "OUTPUT_LIMIT"


def test_errors_that_are_cut_say_so() -> None:
    """A last line tells that there may have been more."""
    told = call("shell.exec", command="head -c 100000 /dev/zero >&2")

    assert len(told["stderr"]) < 100_000
    assert told["stderr"].endswith(f"\n[cut after {MAX_STDERR_BYTES} bytes]\n")


@pytest.mark.slow
def test_command_is_ended_at_the_deadline() -> None:
    """Nothing of the command goes on when its time is up."""
    began = time.monotonic()

    with pytest.raises(ToolTimeoutError, match="pack:verb"):
        call(
            "shell.exec", None, context(timeout_s=0.2), command="sleep 300 & sleep 300"
        )

    assert time.monotonic() - began < 150


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"command": "a\0b"}, "command: must not hold a NUL"),
        ({"command": "\ud800"}, "command: must be Unicode"),
        ({"command": "cat", "stdin": "\ud800"}, "stdin: must be Unicode"),
    ],
)
def test_text_that_no_command_can_be_given_is_a_fault(
    params: dict[str, str], fault: str
) -> None:
    """The argument is named."""
    with pytest.raises(InvalidArgsError, match=fault):
        call("shell.exec", **params)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_command_over_the_systems_limit_is_told() -> None:
    """What the system does not take has a code of its own."""
    command = ": " + "x" * (1 << 20)

    assert code_of("shell.exec", command=command) == "ARGUMENTS_TOO_LARGE"
