"""``toolrt identity``: keys that are made once, kept private and never shown."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from toolrt.ucan import did_of_seed

from .conftest import Cli
from .delegations import BOT, hold, wait_for_lock


@pytest.fixture
def keys(home: Path) -> Path:
    """The directory of the identities; it is not there yet."""
    return home / "state" / "toolrt" / "identities"


def test_a_new_identity_has_a_private_key_file(cli: Cli, keys: Path) -> None:
    """The DID is printed; the key is 0600 in a 0700 directory whatever the umask."""
    before = os.umask(0)
    try:
        ran = cli("identity", "new", "ci-bot")
    finally:
        os.umask(before)

    file = keys / "ci-bot.key"
    assert ran.code == 0
    assert ran.out == did_of_seed(bytes.fromhex(file.read_text())) + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert sorted(os.listdir(keys)) == ["ci-bot.key"]


def test_the_private_key_is_never_printed(cli: Cli, keys: Path) -> None:
    """By no command and in no format."""
    words = [["new", "ci-bot"], ["list"], ["show", "ci-bot"]]
    said = "".join(
        ran.out + ran.err
        for fmt in ("table", "json", "jsonl", "csv", "md", "name")
        for ran in (cli("identity", *one, "-o", fmt) for one in words)
    )

    secret = (keys / "ci-bot.key").read_text().strip()
    assert "ci-bot" in said
    assert secret not in said


def test_a_key_is_never_written_over(cli: Cli, keys: Path) -> None:
    """The second of one name is refused and the first stays."""
    cli("identity", "new", "ci-bot")
    before = (keys / "ci-bot.key").read_bytes()

    ran = cli("identity", "new", "ci-bot", "--json")

    assert (ran.code, ran.error["code"]) == (2, "identity_exists")
    assert (keys / "ci-bot.key").read_bytes() == before


def test_many_that_make_one_identity_make_one(home: Path, keys: Path) -> None:
    """Of processes at the same time one wins; its key is the one that stays."""
    command = [sys.executable, "-m", "toolrt_cli", "identity", "new", "ci-bot"]
    many = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    printed = [one.communicate(timeout=300)[0] for one in many]

    did = did_of_seed(bytes.fromhex((keys / "ci-bot.key").read_text()))
    assert [text for text in printed if text] == [did + "\n"]
    assert sorted(one.returncode for one in many) == [0, 2, 2, 2]
    assert sorted(os.listdir(keys)) == ["ci-bot.key"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/locks")
def test_who_makes_an_identity_waits_for_whoever_does(home: Path, keys: Path) -> None:
    """Neither puts its own key where the other is about to."""
    hold("other", BOT)
    beside = os.open(keys, os.O_RDONLY)
    fcntl.flock(beside, fcntl.LOCK_EX)
    command = [sys.executable, "-m", "toolrt_cli", "identity", "new", "bot"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        wait_for_lock(waiting)
        hold("bot", BOT)
        os.close(beside)
        _, err = waiting.communicate(timeout=300)

    assert waiting.returncode == 2
    assert "there is an identity of that name" in err
    assert (keys / "bot.key").read_text() == BOT.hex() + "\n"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../up", "-x", ".x", "a b", "é", "a\x1b", "x" * 65]
)
def test_a_name_that_is_none_is_usage(cli: Cli, keys: Path, name: str) -> None:
    """No name leads out of the directory or hides in it."""
    ran = cli("identity", "new", "--", name)

    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert not keys.exists()


def test_list_and_show_tell_name_did_and_when(cli: Cli, keys: Path) -> None:
    """Both have the same item; a list has how many there are."""
    hold("bot", BOT)

    (item,) = cli("identity", "list", "--json").document["items"]
    shown = cli("identity", "show", "bot", "--json").document

    assert (item["name"], item["did"], item["sound"]) == ("bot", did_of_seed(BOT), True)
    assert item["created"].endswith("Z")
    assert item == {key: shown[key] for key in item}
    assert shown["schema"] == "toolrt.identity/1"
    assert cli("identity", "list", "-o", "name").out == "bot\n"


def test_there_may_be_none(cli: Cli) -> None:
    """An empty list is no error; a name that nobody has is exit 4 with names like it."""
    assert cli("identity", "list").code == 0
    hold("ci-bot", BOT)

    ran = cli("identity", "show", "ci-bto", "--json")

    assert (ran.code, ran.error["suggestions"]) == (4, ["ci-bot"])


@pytest.mark.parametrize(
    "fault", ["open", "link", "fifo", "directory", "empty", "text", "directory open"]
)
def test_a_file_that_is_not_sound_is_said_and_not_used(
    cli: Cli, keys: Path, fault: str
) -> None:
    """A row of the list, exit 5 of the one, and no DID of a key that others may have."""
    file = hold("bot", BOT)
    if fault == "open":
        file.chmod(0o640)
    elif fault == "link":
        file.rename(keys / "elsewhere")
        file.symlink_to(keys / "elsewhere")
    elif fault == "fifo":
        file.unlink()
        os.mkfifo(file, 0o600)
    elif fault == "directory":
        file.unlink()
        file.mkdir()
    elif fault == "empty":
        file.write_text("")
    elif fault == "text":
        file.write_text("x" * 64 + "\n")
    else:
        keys.chmod(0o755)

    (item,) = cli("identity", "list", "--json").document["items"]
    ran = cli("identity", "show", "bot")

    assert (item["sound"], item["did"]) == (False, None)
    assert item["problem"]
    assert ran.code == 5
    assert did_of_seed(BOT) not in ran.out
    if fault in ("open", "directory open"):
        assert item["fix"].startswith("chmod ")


@pytest.mark.parametrize("fault", ["a file", "a link", "open"])
def test_a_directory_that_is_not_private_gets_no_key(
    cli: Cli, keys: Path, tmp_path: Path, fault: str
) -> None:
    """Exit 5 with what is wrong; nothing is made."""
    keys.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if fault == "a file":
        keys.touch()
    elif fault == "a link":
        keys.symlink_to(elsewhere)
    else:
        keys.mkdir()
        keys.chmod(0o750)

    ran = cli("identity", "new", "bot", "--json")

    assert (ran.code, ran.out, ran.error["code"]) == (5, "", "identity")
    assert not os.listdir(elsewhere)
    assert fault == "a file" or not os.listdir(keys)


def test_names_are_completed(cli: Cli) -> None:
    """As identities, and as callers that --as can name."""
    hold("bot", BOT)

    assert cli("__complete", "identities").out == "bot\n"
    assert "bot" in cli("__complete", "callers").out.split()
