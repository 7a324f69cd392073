"""What the record tells of calls that were denied although they brought a token."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore

from .conftest import Cli
from .delegations import BOT, config_with, delegated, hold
from .stores import store_path

WriteConfig = Callable[[str], Path]


@pytest.fixture(autouse=True)
def trusting(home: Path, config: WriteConfig) -> Path:
    """The bot's key is at hand, the root key is trusted, and there is a file."""
    hold("bot", BOT)
    Path("x").write_text("milk\n")
    return config(config_with())


def read(*words: str) -> tuple[str, ...]:
    """Return the words of a call of the bot."""
    return ("run", "fs.read", "path=x", "--as", "bot", *words)


def shown(cli: Cli) -> str:
    """Return what people are shown of the newest call, up to its events."""
    return cli("audit", "show", "@last").out.partition("/gate\n")[0]


def test_the_record_claims_nothing_of_a_token_that_it_does_not_know(cli: Cli) -> None:
    """What an expired token would have granted is not told of one that granted it."""
    delegated("t", "fs:read", days=-1)
    assert cli(*read("--proof", "t")).code == 3

    told = shown(cli)

    assert "a link has expired" in told
    assert "does not grant it" not in told


class TestUnreadable:
    """A file of a token that is not to be used"""

    @pytest.fixture
    def opened(self) -> Path:
        """A token that others can read."""
        path = delegated("shown-to-all", "fs:read")
        path.chmod(0o644)
        return path

    def test_the_call_that_brings_it_is_recorded(self, cli: Cli, opened: Path) -> None:
        """As one that was denied for its token, with the code and who asked."""
        ran = cli(*read("--proof", str(opened), "--json"))
        document = cli("audit", "show", "@last", "--json").document

        assert (ran.code, ran.error["code"]) == (3, "proof_file")
        assert ran.error["call_id"] == document["call_id"] == ran.document["call_id"]
        assert document["outcome"] == "capability_denied"
        assert document["denial"]["reason"].startswith(
            "a delegation is refused: unreadable: "
        )
        assert document["caller"] == "bot"
        assert [event["id"][-4:] for event in document["events"]] == ["gate", "call"]

    def test_the_record_has_neither_its_path_nor_its_text(
        self, cli: Cli, opened: Path
    ) -> None:
        """What is in the file was not read; where it is may be another's secret."""
        cli(*read("--proof", str(opened)))

        kept = b"".join(
            one.read_bytes() for one in store_path().parent.iterdir() if one.is_file()
        )
        assert b"unreadable" in kept
        assert b"shown-to-all" not in kept
        assert opened.read_bytes()[:60] not in kept

    def test_it_is_told_with_the_number_of_the_record(
        self, cli: Cli, opened: Path
    ) -> None:
        """The file, what is wrong with it, the record, and what to do."""
        err = cli(*read("--proof", str(opened))).err
        told = shown(cli)

        assert f"{opened}: not read: open to group or others" in err
        assert "  record " in err
        assert f"next: chmod 600 {opened}" in err
        assert "the file of a token is not one to read" in told
        assert "to pass: mend the file, or take it away" in told

    def test_the_gate_has_its_say_before(
        self, cli: Cli, opened: Path, config: WriteConfig
    ) -> None:
        """What the gate denies is denied by the gate, as with any other token."""
        config(config_with() + '[gate]\nkind = "rules"\ndefault = "deny"\n')

        ran = cli(*read("--proof", str(opened), "--json"))

        assert (ran.code, ran.error["code"]) == (3, "permission_denied")

    def test_the_policy_on_record_is_the_one_in_force(
        self, cli: Cli, opened: Path, trusting: Path
    ) -> None:
        """The same as at a call without any token."""
        text = config_with().replace("proofs", 'capabilities = ["fs:read"]\nproofs')
        trusting.write_text(text)
        assert cli(*read()).code == 0
        cli(*read("--proof", str(opened)))

        with SqliteEventStore.open(store_path(), read_only=True) as store:
            events = store.query_events().items
        policies = {one.details.policy for one in events if one.details is not None}
        assert len(policies) == 1
