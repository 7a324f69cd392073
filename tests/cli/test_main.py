"""The way in: help, usage, config faults, trust, help topics."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt import RecordLostError, ToolFailedError
from toolrt_cli.exit_codes import MEANINGS, Exit
from toolrt_cli.grammar import Globals
from toolrt_cli.problems import report
from toolrt_cli.streams import open_streams
from toolrt_cli.version import VERSION

from .conftest import Cli

WriteConfig = Callable[[str], Path]


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_printed(cli: Cli, word: str) -> None:
    """One line with the name."""
    assert cli(word).out == f"toolrt {VERSION}\n"


def test_the_version_is_the_distributions() -> None:
    """The cheap constant and the packaging metadata are one version."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"

    assert f'\nversion = "{VERSION}"\n' in pyproject.read_text()


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["pack", "-h"]])
def test_help_is_on_stdout(cli: Cli, words: list[str]) -> None:
    """Asked for, help is data."""
    ran = cli(*words)

    assert ran.code == 0
    assert "Usage: toolrt" in ran.out


@pytest.mark.parametrize("words", [[], ["pack"], ["audit"], ["provenance"]])
def test_a_group_alone_shows_its_help_and_is_a_usage_error(
    cli: Cli, words: list[str]
) -> None:
    """Nothing was asked: the help is on stderr."""
    ran = cli(*words)

    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param(["provenence"], "provenance", id="misspelt group"),
        pytest.param(["audit", "quer"], "query", id="misspelt command"),
        pytest.param(["echo.say"], "toolrt --help", id="a tool is no command"),
        pytest.param(["pack", "list", "--wat"], "--wat", id="unknown option"),
        pytest.param(["provenance", "explain", "a"], "CAPABILITY", id="missing word"),
        pytest.param(["help", "nothing"], "exit-codes", id="unknown topic"),
        pytest.param(["completion", "tcsh"], "zsh", id="unknown shell"),
        pytest.param(["-o"], "needs a value", id="option without value"),
    ],
)
def test_a_usage_error_says_what_would_be_right(
    cli: Cli, words: list[str], hint: str
) -> None:
    """Exit 2 and a hint; no traceback."""
    ran = cli(*words)

    assert ran.code == 2
    assert hint in ran.err
    assert "Traceback" not in ran.err


def test_the_root_help_tells_the_global_options_and_topics(cli: Cli) -> None:
    """What a newcomer types first shows everything there is."""
    for ran in (cli("--help"), cli()):
        text = ran.out + ran.err
        assert "-o, --output FORMAT" in text
        assert "--version" in text
        assert "toolrt help environment" in text


def test_no_command_at_all_is_one_line_in_json_mode(cli: Cli) -> None:
    """Prose is for people."""
    assert cli("--json").error["code"] == "usage"
    assert cli("pack", "--json").error["code"] == "usage"


def test_usage_errors_are_json_in_json_mode(cli: Cli) -> None:
    """One line on stderr, whatever went wrong."""
    error = cli("pack", "lst", "-o", "json").error

    assert error["code"] == "usage"
    assert error["next"]


def test_a_lost_record_and_the_failure_before_it_are_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How the tool itself ended stands within the error in JSON mode."""
    failure = ToolFailedError("NO_ROOM", tool_id="p:x", text="full")
    error = RecordLostError("locked", failure=failure)

    report(error, open_streams(Globals(output="json"), {}))

    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)["error"]
    assert told["code"] == "record_lost"
    assert (told["failure"]["tool_code"], told["failure"]["text"]) == (
        "NO_ROOM",
        "full",
    )


def test_all_config_faults_at_once_with_their_places(
    cli: Cli, config: WriteConfig
) -> None:
    """File, line, column, snippet and suggestion of each; exit 5; nothing runs."""
    path = config(
        '[runtime]\npaks = ["std"]\n\n[gate]\nkind = "ruls"\n[callers.a]\ndid = 3\n'
    )

    ran = cli("run", "echo.say")

    assert ran.code == 5
    assert f"{path}:2:1" in ran.err
    assert 'paks = ["std"]' in ran.err
    assert "packs" in ran.err
    assert f"{path}:5:8" in ran.err
    assert f"{path}:7:7" in ran.err


def test_config_faults_are_data_in_json_mode(cli: Cli, config: WriteConfig) -> None:
    """The first fault's place is the source, all are in faults."""
    path = config("[runtime]\npaks = 1\nnamespace = 2\n")

    error = cli("pack", "list", "-o", "json").error

    assert error["code"] == "config"
    assert error["source"] == {"file": str(path), "line": 2, "column": 1}
    assert [fault["line"] for fault in error["faults"]] == [2, 3]


def test_a_found_config_must_be_trusted_once(cli: Cli, home: Path) -> None:
    """A cloned repository cannot grant itself tools; an edit ends the trust."""
    Path(".git").mkdir()
    Path("sub").mkdir()
    grant = '[callers.me]\ncapabilities = ["fs:read"]\n'
    Path("toolrt.toml").write_text(grant)
    Path("sub/file").write_text("text")
    call = ("run", "fs.read", "path=sub/file", "--as", "me")

    untrusted = cli(*call)
    trusted = cli("config", "trust")
    allowed = cli(*call)
    Path("toolrt.toml").write_text(grant + "# edited\n")
    edited = cli(*call)
    named = cli("--config", "toolrt.toml", *call)

    assert untrusted.code == 5
    assert "toolrt config trust" in untrusted.err
    assert trusted.code == 0
    assert (allowed.code, allowed.out) == (0, "text")
    assert edited.code == 5
    assert named.code == 0


def test_a_config_that_everyone_can_write_is_refused(
    cli: Cli, config: WriteConfig
) -> None:
    """Whoever can write the file could grant themselves anything."""
    config("").chmod(0o666)

    assert cli("run", "echo.say").code == 5


def test_config_path_tells_which_and_why(
    cli: Cli, config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, its origin and the state of trust."""
    assert cli("config", "path", "--json").document["origin"] == "default"
    path = config("")
    assert cli("config", "path").out == f"{path}\n"
    Path("toolrt.toml").write_text("")
    found = cli("config", "path", "--json").document
    assert (found["origin"], found["trust"]) == ("found", "unknown")
    monkeypatch.setenv("TOOLRT_CONFIG", str(path))
    assert cli("config", "path", "--json").document["origin"] == "environment"


def test_config_validate_needs_no_trust(cli: Cli) -> None:
    """A file can be checked before it is trusted."""
    Path("toolrt.toml").write_text("[runtime]\n")
    Path("bad.toml").write_text("[runtime\n")

    assert "valid" in cli("config", "validate").out
    assert cli("config", "validate", "bad.toml").code == 5
    assert cli("config", "validate", "missing.toml").code == 5


def test_config_validate_loads_what_the_config_names(
    cli: Cli, config: WriteConfig
) -> None:
    """A pack that is not there is a fault with its place; so is a gate."""
    path = config('[runtime]\npacks = ["std", "nope"]\n')
    no_pack = cli("config", "validate")
    config('[gate]\nkind = "python:no_such:gate"\n')
    no_gate = cli("config", "validate")

    assert (no_pack.code, no_gate.code) == (5, 5)
    assert f"{path}:2:17" in no_pack.err
    assert "not installed" in no_pack.err
    assert f"{path}:2:1" in no_gate.err


def test_config_validate_names_a_pattern_that_is_none(
    cli: Cli, config: WriteConfig
) -> None:
    """Of an argument of a command tool, at its place, before any call finds it."""
    path = config(
        """[pack.p.handler.v]\ncommand = ["true"]\nargs.a = { pattern = "(" }\n"""
    )

    ran = cli("config", "validate")

    assert ran.code == 5
    assert "expected a regular expression" in ran.err
    assert f"{path}:3:22" in ran.err


def test_config_validate_runs_nothing_of_what_is_not_trusted(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A found file is read before it is trusted, its packs are not imported."""
    (home / "evil.py").write_text("open('ran', 'w')")
    monkeypatch.syspath_prepend(home)
    Path("toolrt.toml").write_text('[runtime]\npacks = ["evil:pack"]\n')

    ran = cli("config", "validate")

    assert ran.code == 0
    assert "not trusted: its packs and its gate were not loaded" in ran.err
    assert not Path("ran").exists()


DOUBTFUL = """
[runtime]
packs = ["std", "p"]
[callers.a]
capabilities = ["fs:*", "fs:raed", "repo:*", "p:do"]
[pack.p.handler."p.do"]
command = ["true"]
capabilities = ["p:do"]
secrets = ["token"]
"""


def test_what_cannot_be_meant_is_named(cli: Cli, config: WriteConfig) -> None:
    """Valid, exit 0, with its place: grants of what nobody needs, secrets from nowhere."""
    path = config(DOUBTFUL)

    ran = cli("config", "validate")

    assert ran.code == 0
    nobody = "no loaded pack declares such a capability"
    assert ran.err.splitlines() == [
        f'{path}:5:25: callers.a.capabilities[1] {nobody}; did you mean "fs:read"?',
        f"{path}:5:36: callers.a.capabilities[2] {nobody}",
        f'{path}:9:1: pack.p.handler."p.do".secrets cannot be had: there is no broker',
    ]
    document = cli("config", "validate", "-o", "json").document
    assert [one["line"] for one in document["warnings"]] == [5, 5, 9]


def test_what_stops_every_call_is_told_in_one_pass(
    cli: Cli, config: WriteConfig
) -> None:
    """A pack, a sink and a gate that are none, and packs that do not fit."""
    config(
        """
        [runtime]
        packs = ["std", "p", "q", "no_such_module:pack"]
        [gate]
        kind = "python:no_such_module:Gate"
        [[sink]]
        kind = "jsonl"
        path = "/no/such/directory/calls.jsonl"
        [pack.p.handler.same]
        command = ["true"]
        [pack.q.handler.same]
        command = ["true"]
        """
    )

    faults = cli("config", "validate", "-o", "json").error["faults"]

    assert [fault["line"] for fault in faults] == [3, 8, 5, 3]
    assert "'same'" in faults[-1]["message"]


def test_a_did_that_no_token_can_name_is_a_fault(cli: Cli, config: WriteConfig) -> None:
    """Roots and callers alike, each with its place; another kind of key by its name."""
    x25519 = "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"
    path = config(
        f'[callers.a]\ndid = "did:key:z6Mk"\n[[ucan.root]]\ndid = "{x25519}"\n'
    )

    err = cli("config", "validate").err

    assert f"{path}:2:7" in err
    assert f"{path}:4:7" in err
    assert "its key is x25519, not ed25519" in err


def test_there_may_be_nothing_to_trust(cli: Cli) -> None:
    """Without a file there is a usage error, not a crash."""
    assert cli("config", "trust").code == 2
    assert cli("config", "trust", "").code == 2


@pytest.mark.parametrize(
    "topic", ["environment", "exit-codes", "filters", "options", "time"]
)
def test_every_topic_has_a_text(cli: Cli, topic: str) -> None:
    """Topics are listed and shown."""
    assert f"toolrt help {topic}\n" in cli("help").out
    assert len(cli("help", topic).out.splitlines()) > 3


GATES = """
class Strict:
    def check(self, request):
        from toolrt import Deny
        return Deny("strict " + request.verb)

class Broken:
    def __init__(self):
        raise OSError("no policy")

number = 3
"""


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("Strict", 3, "strict echo.say"),
        ("Broken", 5, "OSError: no policy"),
        ("number", 5, "expected a gate"),
        ("missing", 5, "AttributeError"),
    ],
)
def test_a_gate_may_be_a_python_object(
    cli: Cli,
    config: WriteConfig,
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    name: str,
    code: int,
    words: str,
) -> None:
    """kind = python:module:attr decides; one that cannot be made is a config fault."""
    (home / "mygates.py").write_text(GATES)
    monkeypatch.syspath_prepend(home)
    config(f'[gate]\nkind = "python:mygates:{name}"\n')

    ran = cli("run", "echo.say")

    assert ran.code == code
    assert words in ran.err


def test_help_and_completion_have_documents_too(cli: Cli) -> None:
    """-o json works on every command."""
    topic = cli("help", "time", "-o", "json").document
    script = cli("completion", "bash", "-o", "json").document

    assert (topic["schema"], topic["topic"]) == ("toolrt.help/1", "time")
    assert script["script"] == cli("completion", "bash").out
    assert "time" in cli("help", "--json").document["topics"]


ODD_PACK = """
from toolrt import Pack

class Odd(Pack):
    @property
    def bound_handlers(self):
        raise OSError("odd")

pack = Odd("odd")
"""


def test_a_bug_is_said_in_one_line(
    cli: Cli, config: WriteConfig, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """No traceback unless it is asked for; what it was is not hidden."""
    (home / "buggy.py").write_text("def check(request): ...\ncheck.check = check\n")
    (home / "odd.py").write_text(ODD_PACK)
    monkeypatch.syspath_prepend(home)
    config('[runtime]\npacks = ["odd:pack"]\n')

    ran = cli("run", "echo.say")
    monkeypatch.setenv("TOOLRT_DEBUG", "1")

    assert ran.code == 1
    assert ran.err.startswith("error: unexpected OSError: odd\n")
    with pytest.raises(OSError, match="odd"):
        cli("run", "echo.say")


def test_every_exit_code_has_a_meaning(cli: Cli) -> None:
    """The table of codes is whole, and the help shows it."""
    assert set(MEANINGS) == set(Exit)
    shown = cli("help", "exit-codes").out
    assert all(f"{code.value:>3}  " in shown for code in Exit)


def test_the_names_that_tab_offers(cli: Cli, config: WriteConfig) -> None:
    """One name a line; a broken config is silent in the middle of a line."""
    config('[callers.alice]\ncapabilities = ["fs:read"]\n')

    assert "fs.read" in cli("__complete", "tools").out.splitlines()
    assert cli("__complete", "arguments", "fs.read").out == "path=\noffset=\nlimit=\n"
    assert cli("__complete", "callers").out.splitlines()[0] == "alice"
    assert cli("__complete", "packs").out == "std\n"
    capabilities = cli("__complete", "capabilities").out.splitlines()
    assert capabilities == ["fs:read", "fs:write", "net:fetch", "shell:exec"]
    assert cli("__complete", "wat").code == 2
    config("[broken")
    assert cli("__complete", "tools") == cli("__complete", "packs")


def test_the_store_may_lie_beside_the_config(cli: Cli, config: WriteConfig) -> None:
    """Relative paths in a config are relative to that file."""
    path = config('[store]\npath = "here.db"\n')

    cli("run", "echo.say")

    assert (path.parent / "here.db").exists()
    assert cli("audit", "path").out == f"{path.parent / 'here.db'}\n"
    assert os.listdir() == []
