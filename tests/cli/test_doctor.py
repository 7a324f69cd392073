"""``toolrt doctor``: what is found, what to do, and that nothing is touched."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli
from .stores import store_path

WriteConfig = Callable[[str], Path]


def rows(cli: Cli, *words: str) -> dict[str, Any]:
    """Return the last row of each check by its name."""
    return {
        item["check"]: item
        for item in cli("doctor", "-o", "json", *words).document["items"]
    }


def test_all_is_well_before_the_first_call(cli: Cli, home: Path) -> None:
    """A new user has no store yet; looking for it does not make it."""
    ran = cli("doctor", "-o", "json")

    assert ran.code == 0
    assert ran.document["schema"] == "toolrt.doctor/1"
    assert ran.document["meta"]["fail"] == 0
    assert not (home / "state").exists()


def test_the_store_and_its_last_event_are_told(cli: Cli) -> None:
    """After a call every check of the store is there; no file is changed."""
    cli("run", "echo.say")
    cli("audit", "query")
    before = {path: path.read_bytes() for path in store_path().parent.iterdir()}

    found = rows(cli)

    assert "2 events, the last 20" in found["store"]["text"]
    assert {"sqlite", "space", "files", "clock", "spool", "key"} <= found.keys()
    assert {path: path.read_bytes() for path in store_path().parent.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "check", "what"),
    [
        pytest.param("[runtime]\npaks = 1\n", "config", "paks", id="config"),
        pytest.param(
            '[runtime]\npacks = ["no.such:pack"]\n', "packs", "no.such", id="pack"
        ),
        pytest.param('[gate]\nkind = "python:a:b"\n', "packs", "a:b", id="gate"),
    ],
)
def test_what_stops_calls_fails(
    cli: Cli, config: WriteConfig, text: str, check: str, what: str
) -> None:
    """Exit 1, what is wrong, and the command that tells more."""
    config(text)

    found = rows(cli)[check]

    assert cli("doctor").code == 1
    assert found["status"] == "fail"
    assert what in found["text"]
    assert found["fix"] == "toolrt config validate"


def test_a_config_that_is_not_trusted_fails_and_is_not_loaded(cli: Cli) -> None:
    """Its packs are other people's code."""
    Path(".git").mkdir()
    Path("toolrt.toml").write_text('[runtime]\npacks = ["evil:pack"]\n')
    Path("evil.py").write_text("open('ran', 'w').close()\n")

    found = rows(cli)

    assert found["config"]["status"] == "fail"
    assert "toolrt config trust" in found["config"]["fix"]
    assert "packs" not in found
    assert not Path("ran").exists()


def test_a_cursor_key_that_cannot_be_used_fails(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment or in its file; one that fits is named."""
    path = home / "state" / "toolrt" / "cursor.key"
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(bytes(31))
    path.chmod(0o600)
    short = rows(cli)["cursor key"]
    path.write_bytes(os.urandom(32))
    whole = rows(cli)["cursor key"]
    monkeypatch.setenv("TOOLRT_CURSOR_KEY", "no key")
    wrong = rows(cli)["cursor key"]

    assert (short["status"], wrong["status"]) == ("fail", "fail")
    assert (whole["status"], whole["text"]) == ("ok", str(path))


def test_what_is_no_store_fails(cli: Cli) -> None:
    """A directory, or another database, in its place."""
    Path("other.db").write_text("text")

    assert rows(cli, "--store", ".")["store"]["status"] == "fail"
    assert rows(cli, "--store", "other.db")["store"]["status"] == "fail"
