"""What the record tells of calls that were denied although they brought a token."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from toolrt.ucan import did_of_seed
from toolrt_cli.call_labels import unmet_of
from toolrt_cli.provenance.text import short_did
from toolrt_cli.wiring import os_actor
from toolrt_store import SqliteEventStore

from .conftest import Cli
from .delegations import BOT, LEAD, config_with, delegated, digest_of, hold
from .stores import store_path

LEAD_DID: Final = did_of_seed(LEAD)

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


def near(cli: Cli) -> Any:
    """Return what of the newest call's only missing capability was nearest."""
    document = cli("audit", "show", "@last", "--json").document
    (missing,) = document["denial"]["missing"]
    return missing["rejected"][0]


class TestRefused:
    """A token that does not hold"""

    def test_the_record_claims_nothing_that_it_does_not_know(self, cli: Cli) -> None:
        """What an expired token would have granted is not told of one that did."""
        delegated("t", "fs:read", days=-1)
        assert cli(*read("--proof", "t")).code == 3

        told = shown(cli)

        assert "a link has expired" in told
        assert "does not grant it" not in told

    def test_its_issuer_is_on_record(self, cli: Cli) -> None:
        """Who signed it is who can renew it."""
        path = delegated("t", "fs:read", days=-1)
        cli(*read("--proof", "t"))

        told, item = shown(cli), near(cli)

        assert f"delegation {digest_of(path)[:12]} by {short_did(LEAD_DID)}" in told
        assert f"to pass: have it renewed by {LEAD_DID}, or take it away" in told
        assert (item["digest"], item["issuer"]) == (digest_of(path), LEAD_DID)

    def test_whoever_did_not_sign_it_is_not_named(self, cli: Cli) -> None:
        """A token that says it is of somebody, signed by nobody."""
        path = delegated("t", "fs:read")
        head, _, signature = path.read_text().strip().rpartition(".")
        other = "A" if signature[0] != "A" else "B"
        path.write_text(f"{head}.{other}{signature[1:]}")

        cli(*read("--proof", "t"))

        assert "signature" in shown(cli)
        assert near(cli)["issuer"] is None

    def test_of_a_tool_that_needs_nothing_too(self, cli: Cli) -> None:
        """No capability is missing, and the token is named."""
        path = delegated("t", "fs:read", days=-1)
        cli("run", "echo.say", "--as", "bot", "--proof", "t")

        denial = cli("audit", "show", "@last", "--json").document["denial"]

        assert f"✗ delegation {digest_of(path)} by {LEAD_DID}" in shown(cli)
        assert denial["delegation"] == {
            "code": "expired",
            "digest": digest_of(path),
            "issuer": LEAD_DID,
        }


class TestUnmet:
    """A token that is bound to other arguments than those of the call"""

    def test_what_it_asks_for_is_on_record(self, cli: Cli) -> None:
        """With its digest and its issuer, as the nearest miss."""
        path = delegated("t", "fs:read", bindings={"path": "y"})
        assert cli(*read("--proof", "t")).code == 3
        digest = digest_of(path)
        path.unlink()

        told, item = shown(cli), near(cli)

        assert 'grants it only with path = "y"' in told
        assert f"or have {LEAD_DID} issue one that is not bound" in told
        assert (item["failed_check"], item["digest"]) == ("binding", digest)
        assert (item["issuer"], item["audience"]) == (LEAD_DID, "bot")

    def test_it_is_no_grant_to_explain_from(self, cli: Cli) -> None:
        """The call that lacked the capability did not have it."""
        delegated("t", "fs:read", bindings={"path": "y"})
        cli(*read("--proof", "t"))

        words = ("provenance", "explain", "bot", "fs:read", "--at", "@last", "--json")
        document = cli(*words).document

        assert (document["decision"], document["paths"]) == ("deny", [])
        assert document["rejected"][0]["failed_check"] == "binding"

    def test_a_token_that_does_not_grant_it_anyway_is_not_named(self, cli: Cli) -> None:
        """Nor one whose binding the call meets, by a default of the tool."""
        delegated("other", "net:fetch", bindings={"path": "y"})
        delegated("met", "net:fetch", bindings={"offset": 0})
        ran = cli(*read("--proof", "other", "--proof", "met"))

        document = cli("audit", "show", "@last", "--json").document

        assert document["labels"] == {"uid": str(os.getuid()), "caller": "key"}
        assert "offset" not in ran.err

    def test_what_nobody_signed_is_not_put_on_record(self, cli: Cli) -> None:
        """The call is refused; what the token says is nobody's word."""
        path = delegated("t", "fs:read", bindings={"path": "y"})
        head, _, signature = path.read_text().strip().rpartition(".")
        other = "A" if signature[0] != "A" else "B"
        path.write_text(f"{head}.{other}{signature[1:]}")

        cli(*read("--proof", "t"))

        document = cli("audit", "show", "@last", "--json").document
        assert not [name for name in document["labels"] if name.startswith("unmet")]

    def test_what_no_record_can_hold_is_escaped(self, cli: Cli) -> None:
        """A token may ask for an argument of any name; the call is denied as ever."""
        delegated("t", "fs:read", bindings={"a\0b\u202e\x1b": "\u202e"})

        ran = cli(*read("--proof", "t", "--json"))

        assert (ran.code, ran.error["code"]) == (3, "capability_denied")
        told = shown(cli)
        assert "grants it only with a\\" in told
        assert not {"\0", "\u202e", "\x1b"} & set(told)

    def test_labels_of_others_tell_of_no_token(self) -> None:
        """A service may call its labels anything: what is not told in full is left."""
        full = {
            "unmet.1": "d",
            "unmet.1.issuer": "i",
            "unmet.1.grants": "a, b",
            "unmet.1.with": "n = 1",
        }
        partial = {"unmet.2": "d", "unmet.2.grants": "a", "unmet": "", "unmet.x": ""}

        (found,) = unmet_of(partial | full)

        assert (found.digest, found.issuer, found.capabilities, found.only_with) == (
            *("d", "i"),
            ("a", "b"),
            "n = 1",
        )

    def test_a_long_binding_is_cut(self, cli: Cli) -> None:
        """What a token asks for may be as long as a token."""
        delegated("t", "fs:read", bindings={"path": "y" * 4000})
        cli(*read("--proof", "t"))

        labels = cli("audit", "show", "@last", "--json").document["labels"]

        assert len(labels["unmet.1.with"]) == 257
        assert labels["unmet.1.with"].endswith("y…")


class TestCaller:
    """How the caller of a call is known"""

    def test_by_its_key(self, cli: Cli) -> None:
        """Any actor may call so, and this one had the key of the caller."""
        delegated("t", "fs:read")
        labels = []
        for words in (read("--proof", "t"), read()):
            cli(*words)
            labels.append(cli("audit", "show", "@last", "--json").document["labels"])

        assert [one["caller"] for one in labels] == ["key", "asserted"]

    def test_not_by_a_key_that_is_not_at_hand(
        self, cli: Cli, trusting: Path, home: Path
    ) -> None:
        """Nor where bearer tokens count, for which nobody is asked for one."""
        delegated("t", "fs:read")
        trusting.write_text("[ucan]\nbearer = true\n" + config_with())
        cli(*read("--proof", "t"))
        by_bearer = cli("audit", "show", "@last", "--json").document["labels"]
        trusting.write_text(config_with())
        (home / "state/toolrt/identities/bot.key").unlink()
        cli(*read("--proof", "t"))
        without = cli("audit", "show", "@last", "--json").document["labels"]

        assert by_bearer["caller"] == without["caller"] == "asserted"

    def test_where_the_config_says_who_may_call_nothing_is_said(
        self, cli: Cli, trusting: Path
    ) -> None:
        """Then the actor is enough."""
        listed = f'actors = ["{os_actor()}"]\nproofs'
        trusting.write_text(config_with().replace("proofs", listed))
        delegated("t", "fs:read")
        assert cli(*read("--proof", "t")).code == 0

        labels = cli("audit", "show", "@last", "--json").document["labels"]

        assert labels == {"uid": str(os.getuid())}


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
