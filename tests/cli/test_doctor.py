"""``toolrt doctor``: what is found, what to do, and that nothing is touched."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli
from .delegations import BOT, config_with, delegated, hold
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


def test_the_counters_of_each_sink_are_told(
    cli: Cli, config: WriteConfig, home: Path
) -> None:
    """Over all commands so far; what was lost is a warning, and says why."""
    config(
        '[[sink]]\nkind = "jsonl"\npath = "calls.jsonl"\n'
        '[[sink]]\nkind = "jsonl"\npath = "/dev/full"\n'
        '[[sink]]\nkind = "stderr"\nbackpressure = "fallback"\nfallback = "late.jsonl"\n'
    )
    before = rows(cli)
    for _ in range(3):
        cli("run", "echo.say")
    found = rows(cli)

    for name in ("calls.jsonl", "/dev/full", "stderr", "late.jsonl"):
        assert before[f"sink {name}"]["text"] == "nothing was sent to it yet"
    kept, full = found["sink calls.jsonl"], found["sink /dev/full"]
    expected = "3 sent: 3 written, 0 diverted, 0 dropped, 0 failed, since 20"
    assert (kept["status"], kept["text"][: len(expected)]) == ("ok", expected)
    assert full["status"] == "warn"
    assert full["text"].startswith("3 sent: 0 written, 0 diverted, 0 dropped, 3 failed")
    assert "No space left on device" in full["text"]
    assert found["sink late.jsonl"]["text"].startswith("0 sent:")
    (counters,) = home.rglob("sinks.json")
    assert counters.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{" * 2_000_000])
def test_counters_that_cannot_be_read_begin_anew(
    cli: Cli, config: WriteConfig, home: Path, content: bytes
) -> None:
    """They are no record: no call fails for them."""
    config('[[sink]]\nkind = "jsonl"\npath = "calls.jsonl"\n')
    cli("run", "echo.say")
    (counters,) = home.rglob("sinks.json")
    counters.write_bytes(content)
    assert rows(cli)["sink calls.jsonl"]["text"] == "nothing was sent to it yet"

    assert cli("run", "echo.say").code == 0
    assert rows(cli)["sink calls.jsonl"]["text"].startswith("1 sent: 1 written")


def test_counters_behind_a_link_are_left_alone(
    cli: Cli, config: WriteConfig, home: Path
) -> None:
    """Neither read nor written, and the call goes on."""
    config('[[sink]]\nkind = "jsonl"\npath = "calls.jsonl"\n')
    cli("run", "echo.say")
    (counters,) = home.rglob("sinks.json")
    elsewhere = home / "elsewhere"
    elsewhere.write_text("mine")
    counters.unlink()
    counters.symlink_to(elsewhere)

    assert cli("run", "echo.say").code == 0
    assert elsewhere.read_text() == "mine"


def test_the_anchor_is_looked_at(cli: Cli, config: WriteConfig) -> None:
    """Whether the next checkpoint can be told to it, and what it holds."""
    folder = config('[store]\npath = "audit.db"\nanchor = "anchor"\n').parent
    anchor = folder / "anchor"
    assert "is not there yet" in rows(cli)["anchor"]["text"]

    cli("run", "echo.say")
    cli("audit", "checkpoint")
    assert rows(cli)["anchor"]["text"].endswith("told of checkpoints: 1")

    anchor.write_bytes(anchor.read_bytes() + b"torn")
    torn = rows(cli)["anchor"]
    assert torn["status"] == "warn"
    assert "line 2 of the anchor" in torn["text"]

    anchor.unlink()
    anchor.mkdir()
    assert rows(cli)["anchor"]["status"] == "fail"

    anchor.rmdir()
    os.mkfifo(anchor)
    assert "cannot be read back" in rows(cli)["anchor"]["text"]


def test_keys_revocations_and_tokens_are_told(cli: Cli, config: WriteConfig) -> None:
    """A row each where there are any; all of them hold."""
    hold("bot", BOT)
    config(config_with(delegated("t", "fs:read")))
    cli("delegation", "revoke", "ab" * 32)

    found = rows(cli)

    for check, text in (
        ("identities", "bot"),
        ("revocations", "1 revoked"),
        ("tokens", "bot: 1 hold"),
    ):
        assert found[check]["status"] == "ok"
        assert text in found[check]["text"]


def test_what_would_refuse_every_call_with_a_token_fails(
    cli: Cli, config: WriteConfig
) -> None:
    """Each with the file at fault and a command that helps."""
    hold("bot", BOT).chmod(0o644)
    path = delegated("t", "fs:read", days=-1)
    config('[ucan]\nrevocations = "gone"\n' + config_with(path))

    found = rows(cli)

    assert cli("doctor").code == 1
    for check, text, fix in (
        ("identities", "open to group or others", "chmod 600 "),
        ("revocations", "is missing", "put it back"),
        ("tokens", str(path), "toolrt delegation verify "),
    ):
        assert found[check]["status"] == "fail"
        assert text in found[check]["text"]
        assert found[check]["fix"].startswith(fix)


def test_who_uses_no_delegation_has_no_rows_of_it(cli: Cli) -> None:
    """Nothing is asked for that nobody needs."""
    assert not {"identities", "revocations", "tokens"} & rows(cli).keys()
