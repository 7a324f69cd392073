"""``toolrt audit verify``: what is proven, what is not, and what was tampered with."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli
from .stores import fill, forge, store_path

WriteConfig = Callable[[str], Path]


@pytest.fixture
def calls(cli: Cli) -> None:
    """Two calls, four events, no checkpoint."""
    for _ in range(2):
        cli("run", "echo.say")


@pytest.mark.usefixtures("calls")
def test_an_unsigned_tail_is_intact(cli: Cli) -> None:
    """Chained but not signed yet is exit 0, and told apart."""
    ran = cli("audit", "verify", "-o", "json")

    assert (ran.code, ran.document["intact"]) == (0, True)
    assert (ran.document["signed_up_to"], ran.document["unsigned"]) == (0, 4)
    assert "without an anchor" in ran.document["not_proven"][0]
    text = cli("audit", "verify").out
    assert "events 1 to 4, chained but not signed yet" in text
    assert "intact" in text


@pytest.mark.usefixtures("calls")
def test_a_checkpoint_signs_what_is_there(cli: Cli) -> None:
    """All events up to it are signed by the key that it names."""
    signed = cli("audit", "checkpoint", "--json").document

    found = cli("audit", "verify", "--key", signed["key"], "--json").document

    assert (signed["size"], signed["written"]) == (4, True)
    assert (found["signed_up_to"], found["unsigned"]) == (4, 0)
    assert found["key"] == signed["key"]


@pytest.mark.usefixtures("calls")
def test_another_key_than_the_known_one_is_a_mismatch(cli: Cli) -> None:
    """Who wrote the store anew signed it with a key of their own."""
    cli("audit", "checkpoint")

    ran = cli("audit", "verify", "--key", "ab" * 32)

    assert ran.code == 7
    assert "is not signed by the key in force" in ran.out


@pytest.mark.usefixtures("calls")
def test_a_changed_event_is_named(cli: Cli) -> None:
    """Exit 7, the first bad sequence, and NOT INTACT for people."""
    forge(store_path())

    document = cli("audit", "verify", "-o", "json").document
    ran = cli("audit", "verify")

    assert document["first_bad_seq"] == 1
    assert document["mismatches"][0]["seq"] == 1
    assert ran.code == 7
    assert "NOT INTACT, first bad event 1" in ran.out


@pytest.mark.usefixtures("calls")
def test_a_changed_schema_is_7(cli: Cli) -> None:
    """A trigger more could swallow events: nothing is verified."""
    connection = sqlite3.connect(store_path())
    connection.execute("CREATE TABLE more (x)")
    connection.close()

    assert cli("audit", "verify").code == 7


@pytest.mark.usefixtures("calls")
def test_a_store_that_lacks_its_facts_is_7(cli: Cli) -> None:
    """What cannot be walked at all is no crash."""
    connection = sqlite3.connect(store_path())
    with connection:
        connection.execute("DELETE FROM store WHERE key = 'pruned'")
    connection.close()

    assert cli("audit", "verify", "--json").error["code"] == "integrity"


def test_no_store_is_4(cli: Cli) -> None:
    """There is nothing that could be intact."""
    ran = cli("audit", "verify", "-o", "json")

    assert (ran.code, ran.error["code"]) == (4, "store_missing")
    assert not store_path().exists()


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("key", ["", "xy", "ab" * 31])
def test_a_key_that_is_none_is_a_usage_error(cli: Cli, key: str) -> None:
    """64 hex digits, nothing else."""
    assert cli("audit", "verify", "--key", key).code == 2


def test_the_anchor_of_the_config_shows_a_cut(
    cli: Cli, config: WriteConfig, home: Path
) -> None:
    """It is told of checkpoints, and knows of events that the store lost since."""
    config(f'[store]\nanchor = "{home}/anchor"\n')
    cli("run", "echo.say")
    cli("audit", "backup", "early.db")
    cli("run", "echo.say")
    cli("audit", "checkpoint")

    whole = cli("audit", "verify", "--json").document
    cli("audit", "restore", "early.db", "--replace")
    cut = cli("audit", "verify", "--json")
    other = cli("audit", "verify", "--store", "early.db", "--json")
    named = cli(
        *("audit", "verify", "--store", "early.db", "--anchor", str(home / "anchor"))
    )

    assert (whole["anchored_up_to"], whole["not_proven"]) == (4, [])
    assert (cut.code, cut.document["first_bad_seq"]) == (7, 3)
    # Another store than the config's: its anchor is of the config's alone.
    assert (other.code, other.document["anchor"]) == (0, None)
    assert named.code == 7


@pytest.mark.usefixtures("calls")
def test_an_anchor_that_cannot_be_read(
    cli: Cli, config: WriteConfig, home: Path
) -> None:
    """Asked for it is an error; of the config it is what cannot be proven."""
    config(f'[store]\nanchor = "{home}/anchor"\n')

    ran = cli("audit", "verify", "--json")

    assert cli("audit", "verify", "--anchor", "nowhere").code == 6
    assert ran.code == 0
    assert "no such file" in ran.document["not_proven"][-1]


@pytest.mark.usefixtures("calls")
def test_a_torn_line_of_the_anchor_is_told(cli: Cli) -> None:
    """It proves nothing, and is no reason to fail."""
    Path("anchor").write_text("{\n")

    ran = cli("audit", "verify", "--anchor", "anchor", "--json")

    assert ran.code == 0
    assert "line 1 of the anchor" in ran.document["not_proven"][-1]


def test_a_pruned_prefix_is_told(cli: Cli) -> None:
    """What is gone is gone under a signed checkpoint."""
    fill(store_path(), [3] * 4096 + [0] * 2)
    cli("audit", "prune", "--keep", "1d", "-y")

    document = cli("audit", "verify", "--json").document

    assert (document["pruned_up_to"], document["first_seq"]) == (4096, 4097)
    assert "events 1 to 4096 are gone" in cli("audit", "verify").out
