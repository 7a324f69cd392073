"""Secrets on their way from a broker into the environment of one command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

WriteConfig = Callable[[str], Path]

SECRET = "hunter2-0c5e"

TOOLS = """
[pack.cmd.handler."cmd.token"]
command = ["sh", "-c", 'echo "$API_TOKEN"; tr "\\\\0" "\\\\n" < /proc/$$/cmdline']
secrets = ["api-token"]
[pack.cmd.handler."cmd.names"]
command = ["env"]
output = "lines"
[runtime]
packs = ["cmd"]
default_caller = "alice"
"""


@pytest.fixture
def files(home: Path, config: WriteConfig) -> Path:
    """A file broker beside the config, with one secret of alice's."""
    path = config(TOOLS + '[secrets]\nbroker = "file"\npath = "secrets"\n')
    own = path.parent / "secrets" / "alice"
    own.mkdir(parents=True, mode=0o700)
    own.parent.chmod(0o700)
    secret = own / "api-token"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    return secret


def event(cli: Cli) -> dict[str, object]:
    """Return the CallEvent of the last call."""
    shown = cli("audit", "show", "@last", "-o", "json").document
    call: dict[str, object] = shown["events"][-1]
    assert call["schema_version"] == 3
    return call


def test_a_command_finds_its_secret_and_the_record_only_that_it_did(
    cli: Cli, files: Path, home: Path
) -> None:
    """In the variable of its name, on no command line, and in no byte of the store."""
    first, *command_line = cli("run", "cmd.token").out.splitlines()

    assert first == SECRET
    assert SECRET not in "\n".join(command_line)
    assert event(cli)["secrets_resolved"] is True
    kept = [path for path in (home / "state").rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)


def test_a_tool_that_names_no_secret_gets_none(cli: Cli, files: Path) -> None:
    """The broker is not asked for it, and the record says so."""
    names = [line.partition("=")[0] for line in cli("run", "cmd.names").document]

    assert set(names) <= {"PATH", "LANG", "LC_ALL", "TZ", "PWD", "SHLVL", "_"}
    assert event(cli)["secrets_resolved"] is False


def test_variables_of_the_environment_are_a_broker_too(
    cli: Cli, config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix is the broker's own: the command sees the bare name."""
    config(TOOLS + '[secrets]\nbroker = "env"\nprefix = "MY_"\n')
    monkeypatch.setenv("MY_API_TOKEN", SECRET)

    assert cli("run", "cmd.token").out.startswith(SECRET + "\n")


def test_a_secret_that_cannot_be_had_stops_the_tool(cli: Cli, files: Path) -> None:
    """Exit 1, broker_error, nothing runs, and the record says why."""
    files.chmod(0o644)

    refused = cli("run", "cmd.token", "-o", "json")

    assert refused.code == 1
    assert refused.error["code"] == "broker_error"
    assert refused.error["retryable"] is True
    assert "secret 'api-token': open to group or others" in refused.error["message"]
    assert event(cli)["outcome"] == {
        "kind": "execution_failed",
        "code": "broker_error",
        "retryable": True,
    }


@pytest.mark.parametrize("broker", ["none", "none of this caller"])
def test_a_command_is_not_started_without_the_secrets_it_names(
    cli: Cli, files: Path, config: WriteConfig, broker: str
) -> None:
    """It could not tell, and would act as nobody: broker_error, not resolved."""
    if broker == "none":
        config(TOOLS)

    refused = cli("run", "cmd.token", "--as", "bob", "-o", "json")

    assert refused.code == 1
    assert refused.error["code"] == "broker_error"
    assert event(cli)["secrets_resolved"] is False


def test_a_dry_run_asks_no_broker(cli: Cli, files: Path) -> None:
    """What is not run needs no secret, not even one that is there."""
    files.unlink()

    assert cli("run", "cmd.token", "--dry-run").code == 0
    assert event(cli)["secrets_resolved"] is False


def test_a_command_that_is_only_listed_needs_no_broker(cli: Cli, files: Path) -> None:
    """Listing and help do not touch where the secrets are."""
    files.unlink()
    files.parent.rmdir()
    files.parent.parent.rmdir()

    assert cli("pack", "handlers").code == 0
    assert cli("run", "cmd.token", "--help").code == 0


ODD = """
from toolrt import Pack

pack = Pack("odd")

class Odd(dict):
    def values(self):
        raise OSError("hunter2-0c5e")

@pack.handler("odd.make")
def make() -> dict:
    return Odd(a="b")
"""


def test_a_middleware_that_fails_withholds_the_result(
    cli: Cli, home: Path, config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 and its own code; nothing of what it was to change is shown."""
    name = f"odd_{home.name.replace('-', '_')}"
    (home / f"{name}.py").write_text(ODD)
    monkeypatch.syspath_prepend(home)
    config(
        f'[runtime]\npacks = ["{name}:pack"]\n[middleware]\nredact_paths = ["/home"]\n'
    )

    ran = cli("run", "odd.make", "-o", "json")

    assert ran.code == 1
    assert json.loads(ran.err)["error"]["code"] == "middleware"
    assert SECRET not in ran.out + ran.err
