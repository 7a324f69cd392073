"""``audit checkpoint|backup|restore|prune|redact``: what is done to the store."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore

from .conftest import Cli
from .stores import fill, forge, store_path

WriteConfig = Callable[[str], Path]


def test_a_checkpoint_needs_a_store(cli: Cli) -> None:
    """None is made for it."""
    assert cli("audit", "checkpoint").code == 4
    assert cli("audit", "redact", "x").code == 4
    assert cli("audit", "prune", "--keep", "1d").code == 4
    assert not store_path().exists()


def test_a_second_checkpoint_says_that_it_is_the_first(cli: Cli) -> None:
    """Without a new event there is nothing to sign."""
    cli("run", "echo.say")
    first = cli("audit", "checkpoint", "--json").document

    again = cli("audit", "checkpoint", "--json").document

    assert (first["written"], again["written"]) == (True, False)
    assert again["root"] == first["root"]
    assert "it is the one that was there" in cli("audit", "checkpoint").out


def test_a_rotation_names_the_next_key(cli: Cli) -> None:
    """The next checkpoint is signed by it."""
    cli("run", "echo.say")
    turned = cli("audit", "checkpoint", "--rotate-key", "--json").document
    cli("run", "echo.say")

    after = cli("audit", "checkpoint", "--json").document

    assert after["key"] == turned["next_key"] != turned["key"]
    assert cli("audit", "verify").code == 0


def test_an_anchor_that_was_not_told_is_named(cli: Cli, config: WriteConfig) -> None:
    """The checkpoint is written all the same; it is not kept elsewhere."""
    cli("run", "echo.say")
    config('[store]\nanchor = "/no/such/anchor"\n')

    document = cli("audit", "checkpoint", "--json").document
    cli("run", "echo.say")

    assert document["written"]
    assert "no such file" in document["anchor_problem"]
    assert "NOT TOLD" in cli("audit", "checkpoint").out


def test_a_key_that_cannot_be_used_is_named(cli: Cli) -> None:
    """Without it nothing is signed: exit 6 and what to do."""
    cli("run", "echo.say")
    cli("audit", "checkpoint")
    cli("run", "echo.say")
    Path(f"{store_path()}.key").unlink()

    missing = cli("audit", "checkpoint", "--json")
    Path(f"{store_path()}.key").touch(mode=0o600)
    wrong = cli("audit", "checkpoint", "--json")

    assert (missing.code, missing.error["code"]) == (6, "seal_key_missing")
    assert (wrong.code, wrong.error["code"]) == (6, "seal_key")
    assert missing.error["next"]


def test_a_backup_is_private_whole_and_never_over_a_file(cli: Cli) -> None:
    """Every event, 0600; a file that stands there stays."""
    cli("run", "echo.say")

    document = cli("audit", "backup", "b.db", "--json").document

    assert document["last_seq"] == 2
    assert stat.S_IMODE(Path("b.db").stat().st_mode) == 0o600
    assert cli("audit", "query", "--count", "--store", "b.db").out == "1\n"
    assert cli("audit", "backup", "b.db").code == 6


def test_a_restore_replaces_only_if_it_is_told_to(cli: Cli) -> None:
    """The store that stood there is kept under another name."""
    cli("run", "echo.say")
    cli("audit", "checkpoint")
    cli("audit", "backup", "b.db")
    cli("run", "echo.say")

    refused = cli("audit", "restore", "b.db")
    done = cli("audit", "restore", "b.db", "--replace", "--json").document

    assert refused.code == 6
    assert "--replace" in refused.err
    assert (done["last_seq"], done["key"]) == (2, "fits")
    kept = SqliteEventStore.open(done["kept_as"], read_only=True)
    with kept:
        assert kept.count_events() == 4
    assert cli("run", "echo.say").code == 0
    assert cli("audit", "checkpoint", "--json").document["size"] == 4
    assert cli("audit", "verify").code == 0


def test_a_restore_to_an_empty_place_says_that_the_key_is_missing(cli: Cli) -> None:
    """Nothing is kept then; without its key nothing will be signed."""
    cli("run", "echo.say")
    cli("audit", "checkpoint")
    cli("audit", "backup", "b.db")

    ran = cli("audit", "restore", "b.db", "--store", "new/s.db")

    assert ran.code == 0
    assert "there is no key file" in ran.out
    assert "contradicts this store" in ran.out
    assert cli("audit", "query", "--count", "--store", "new/s.db").out == "1\n"


def test_the_key_of_another_store_goes_with_it(cli: Cli) -> None:
    """It is never taken for the key of what was restored."""
    cli("run", "echo.say")
    cli("audit", "checkpoint")
    cli("audit", "backup", "b.db")
    cli("run", "echo.say", "--store", "o/other.db")
    cli("audit", "checkpoint", "--store", "o/other.db")

    document = cli(
        *("audit", "restore", "b.db", "--replace", "--json", "--store", "o/other.db")
    ).document

    assert document["key"] == "other"
    assert Path(f"{document['kept_as']}.key").exists()
    assert not Path("o/other.db.key").exists()


def test_a_forged_backup_is_not_restored(cli: Cli) -> None:
    """Exit 7, what is wrong with it, and the place is as it was."""
    cli("run", "echo.say")
    cli("audit", "backup", "b.db")
    forge(Path("b.db"))

    ran = cli("audit", "restore", "b.db", "--replace")

    assert ran.code == 7
    assert "NOT INTACT" in ran.out
    assert cli("audit", "verify").code == 0
    assert not list(store_path().parent.glob("*.restoring*"))


def test_a_store_that_is_open_is_not_replaced(cli: Cli) -> None:
    """Whoever has it would go on writing to the old file."""
    cli("run", "echo.say")
    cli("audit", "backup", "b.db")

    with SqliteEventStore.open(store_path(), read_only=True):
        ran = cli("audit", "restore", "b.db", "--replace")

    assert ran.code == 6
    assert "it is open in" in ran.err


def test_the_log_of_a_lost_store_stops_a_restore(cli: Cli) -> None:
    """SQLite would play it into the copy."""
    cli("run", "echo.say")
    cli("audit", "backup", "b.db")
    Path("left").mkdir(mode=0o700)
    Path("left/s.db-wal").touch(mode=0o600)

    assert cli("audit", "restore", "b.db", "--store", "left/s.db").code == 7
    assert not Path("left/s.db").exists()


@pytest.mark.parametrize("missing", ["nowhere.db", "."])
def test_what_is_no_backup_is_not_restored(cli: Cli, missing: str) -> None:
    """A path that no store stands at: 4, or 7 for what is none."""
    assert cli("audit", "restore", missing).code in (4, 7)


@pytest.fixture
def old(cli: Cli, config: WriteConfig) -> None:
    """4,102 events: 4,098 three days old, the rest new; one checkpoint."""
    config('[store]\nretention = "1d"\n')
    fill(store_path(), [3] * 4098 + [0] * 4)


@pytest.mark.usefixtures("old")
def test_prune_asks_first(cli: Cli) -> None:
    """Without a terminal it takes -y; nothing goes before."""
    ran = cli("audit", "prune", "--json")

    assert (ran.code, ran.error["code"]) == (3, "confirmation_required")
    assert cli("audit", "query", "--count").out == "4102\n"


@pytest.mark.usefixtures("old")
def test_a_dry_pruning_tells_and_leaves(cli: Cli) -> None:
    """What would go by the retention of the config."""
    document = cli("audit", "prune", "-n", "--json").document

    assert (document["events"], document["up_to"]) == (4096, 4096)
    assert (document["dry_run"], document["intact"]) == (True, None)
    assert "4096 events would go" in cli("audit", "prune", "-n").out
    assert cli("audit", "query", "--count").out == "4102\n"


@pytest.mark.usefixtures("old")
def test_prune_removes_and_verifies_the_rest(cli: Cli) -> None:
    """Whole checkpointed prefixes only; the rest is as it was."""
    document = cli(
        *("audit", "prune", "--before", "2d", "--reason", "law", "-y", "--json")
    ).document

    assert (document["events"], document["intact"]) == (4096, True)
    assert cli("audit", "query", "--count").out == "6\n"
    assert cli("audit", "prune", "-y").out.startswith("pruned  nothing went")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing said"),
        pytest.param(["--keep", "1d", "--before", "2d"], id="both"),
        pytest.param(["--keep", "long"], id="no duration"),
        pytest.param(["--before", "2999-01-01"], id="in the future"),
    ],
)
def test_how_much_is_to_stay_has_to_be_said(cli: Cli, words: list[str]) -> None:
    """Pruning has no default of its own."""
    assert cli("audit", "prune", *words).code == 2


def test_redact_removes_the_words_and_not_the_record(cli: Cli) -> None:
    """Both events of the call are there, their texts are not; the chain holds."""
    cli("run", "echo.say", "--reason", "the patient's name")

    asked = cli("audit", "redact", "@last")
    done = cli("audit", "redact", "@last", "-y", "--json").document
    shown = cli("audit", "show", done["events"][0].partition("/")[0])

    assert asked.code == 3
    assert done["texts"] > 0
    assert "patient" not in shown.out
    assert b"patient" not in store_path().read_bytes()
    assert cli("audit", "verify").code == 0


def test_redact_takes_the_id_of_one_event(cli: Cli) -> None:
    """Only that one; a name that is none is 4."""
    cli("run", "echo.say", "--reason", "words")
    call_id = cli("audit", "query", "-o", "name").out.strip()

    document = cli("audit", "redact", f"{call_id}/gate", "-y", "--json").document

    assert document["events"] == [f"{call_id}/gate"]
    assert cli("audit", "redact", "zzz", "-y").code == 4
