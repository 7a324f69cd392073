"""``provenance can``, ``list``, ``who`` and ``unused``, end to end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli
from .delegations import BOT, config_with, delegated, digest_of, hold

WriteConfig = Callable[[str], Path]

POLICY = """\
[callers.alice]
capabilities = ["repo:read", "fs:*", "fs:read"]
[callers."ci-bot"]
capabilities = ["fs:read"]
[callers.nobody]
"""


@pytest.fixture
def policy(cli: Cli, config: WriteConfig) -> Path:
    """A policy, and two calls that used fs:read."""
    path = config(POLICY)
    Path("a").write_text("x")
    for caller in ("alice", "ci-bot"):
        assert cli("run", "fs.read", "path=a", "--as", caller).code == 0
    return path


class TestCan:
    """``provenance can``"""

    def test_yes_and_no_and_the_exit_code(self, cli: Cli, policy: Path) -> None:
        """A word for people, a code for scripts."""
        yes = cli("provenance", "can", "alice", "fs:write")
        no = cli("provenance", "can", "ci-bot", "fs:write")

        assert (yes.code, yes.out) == (0, "yes\n")
        assert (no.code, no.out) == (3, "no\n")

    def test_quiet_says_it_by_the_code_alone(self, cli: Cli, policy: Path) -> None:
        """Nothing is printed."""
        ran = cli("provenance", "can", "ci-bot", "fs:write", "-q")

        assert (ran.code, ran.out, ran.err) == (3, "", "")

    def test_the_document_names_the_sources(self, cli: Cli, policy: Path) -> None:
        """JSON does not change the code."""
        ran = cli("provenance", "can", "alice", "fs:read", "--json")

        assert ran.document == {
            "schema": "toolrt.can/1",
            "caller": "alice",
            "capability": "fs:read",
            "decision": "allow",
            "sources": [
                {"kind": "allow_list", "ref": f"{policy}:2:30", "pattern": "fs:*"},
                {"kind": "allow_list", "ref": f"{policy}:2:38", "pattern": "fs:read"},
            ],
        }

    @pytest.mark.parametrize("words", [["alcie", "fs:read"], ["alice", "fs:raed"]])
    def test_a_typo_is_not_a_no(self, cli: Cli, policy: Path, words: list[str]) -> None:
        """Exit 4 with a suggestion."""
        ran = cli("provenance", "can", *words)

        assert (ran.code, ran.out) == (4, "")
        assert "did you mean" in ran.err


class TestList:
    """``provenance list``"""

    def test_capabilities_with_sources_and_use(self, cli: Cli, policy: Path) -> None:
        """Each capability once, with everything that grants it."""
        document = cli("provenance", "list", "alice", "--json").document

        items = {item["capability"]: item for item in document["items"]}
        assert document["schema"] == "toolrt.grants/1"
        assert list(items) == ["fs:read", "fs:write", "repo:read"]
        assert items["fs:read"]["calls"] == 1
        assert items["fs:write"]["calls"] == 0
        assert [one["pattern"] for one in items["fs:read"]["sources"]] == [
            "fs:*",
            "fs:read",
        ]

    def test_names_and_rows(self, cli: Cli, policy: Path) -> None:
        """One line each on a pipe, the names alone for a script."""
        rows = cli("provenance", "list", "ci-bot").out.splitlines()

        assert rows[0].split("\t")[:2] == ["fs:read", "1"]
        assert cli("provenance", "list", "alice", "-o", "name").out == (
            "fs:read\nfs:write\nrepo:read\n"
        )

    def test_a_caller_without_grants_has_an_empty_list(
        self, cli: Cli, policy: Path
    ) -> None:
        """Known, and granted nothing."""
        assert cli("provenance", "list", "nobody").code == 0
        assert cli("provenance", "list", "nobdy").code == 4

    def test_a_token_that_does_not_hold_is_said(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """With it nothing is granted, whatever the rules say."""
        text = config_with(delegated("t", "fs:read", days=-1))
        config(text.replace("proofs", 'capabilities = ["fs:read"]\nproofs'))

        ran = cli("provenance", "list", "bot")

        assert ran.out == ""
        assert "nothing is granted" in ran.err


class TestWho:
    """``provenance who``"""

    def test_callers_with_sources_and_use(self, cli: Cli, policy: Path) -> None:
        """Whoever is granted it, and nobody else."""
        document = cli("provenance", "who", "fs:read", "--json").document

        assert document["schema"] == "toolrt.holders/1"
        assert [(i["caller"], i["calls"]) for i in document["items"]] == [
            ("alice", 1),
            ("ci-bot", 1),
        ]
        assert cli("provenance", "who", "fs:write", "-o", "name").out == "alice\n"

    def test_who_holds_it_by_a_token(self, cli: Cli, config: WriteConfig) -> None:
        """A chain counts as a rule does."""
        config(config_with(delegated("t", "fs:read")))

        assert cli("provenance", "who", "fs:read", "-o", "name").out == "bot\n"

    def test_what_nobody_knows_is_4(self, cli: Cli, policy: Path) -> None:
        """A capability that nobody has is an empty list, a typo is not."""
        assert cli("provenance", "who", "net:fetch").code == 0
        assert cli("provenance", "who", "net:fetsch").code == 4


class TestUnused:
    """``provenance unused``"""

    def test_grants_that_no_call_used(self, cli: Cli, policy: Path) -> None:
        """Each expanded grant by itself: one of a pattern may be used, another not."""
        document = cli("provenance", "unused", "--json").document

        found = [(i["caller"], i["capability"]) for i in document["items"]]
        assert document["schema"] == "toolrt.unused/1"
        assert found == [("alice", "repo:read"), ("alice", "fs:write")]

    def test_a_token_that_no_call_used(self, cli: Cli, config: WriteConfig) -> None:
        """What a chain grants is a grant; one that does not hold grants nothing."""
        hold("bot", BOT)
        Path("a").write_text("x")
        token = delegated("t", "fs:read", "net:fetch")
        config(config_with(token))
        assert cli("run", "fs.read", "path=a", "--as", "bot").code == 0

        (item,) = cli("provenance", "unused", "--json").document["items"]
        cli("delegation", "revoke", "t")
        left = cli("provenance", "unused", "--json").document["items"]

        assert item == {
            "caller": "bot",
            "capability": "net:fetch",
            "kind": "delegation",
            "ref": digest_of(token),
            "pattern": None,
            "last": None,
        }
        assert left == []

    def test_use_before_the_range_is_no_use(self, cli: Cli, policy: Path) -> None:
        """It was used, and not lately: when is told."""
        document = cli("provenance", "unused", "-S", "0s", "--json").document

        last = {(i["caller"], i["capability"]): i["last"] for i in document["items"]}
        assert last["ci-bot", "fs:read"] is not None
        assert last["alice", "fs:write"] is None

    def test_it_says_what_the_record_covers(self, cli: Cli, policy: Path) -> None:
        """A store that begins later cannot know of use before."""
        ran = cli("provenance", "unused", "-S", "90d")
        meta = cli("provenance", "unused", "-S", "90d", "--json").document["meta"]

        assert "the store covers 2" in ran.err
        assert "use before that is not known" in ran.err
        assert meta["covered"] is False

    def test_without_a_record_all_is_unused(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """And it is said why."""
        config(POLICY)

        ran = cli("provenance", "unused")

        assert len(ran.out.splitlines()) == 5
        assert "nothing is recorded yet" in ran.err

    def test_a_time_that_is_none_is_usage(self, cli: Cli, policy: Path) -> None:
        """The message names the forms."""
        assert cli("provenance", "unused", "-S", "soon").code == 2
