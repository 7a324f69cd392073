"""``provenance explain --at`` and ``--without``: from the record, on real stores."""

import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt import (
    Authority,
    CallEvent,
    CapProvenance,
    Pack,
    RegistryBuilder,
    StringAllowList,
    Success,
    ToolCall,
)
from toolrt.ucan import Identity, did_of_seed
from toolrt_store import SqliteEventStore

from .conftest import Cli
from .delegations import BOT, ROOT, delegated, digest_of
from .stores import store_path

WriteConfig = Callable[[str], Path]

OPEN = '[callers.alice]\ncapabilities = ["fs:*"]\n'
CLOSED = '[callers.alice]\ncapabilities = ["repo:read"]\n'


@pytest.fixture
def read(cli: Cli, config: WriteConfig) -> str:
    """The id of a call by which alice read a file under an open policy."""
    config(OPEN)
    Path("a").write_text("x")
    assert cli("run", "fs.read", "path=a", "--as", "alice").code == 0
    return str(cli("audit", "query", "-o", "name").out.strip())


class TestCall:
    """``--at`` with a call"""

    def test_a_call_answers_from_its_own_grants(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """Today's config refuses; the call was allowed by the line that stood then."""
        path = config("\n\n" + CLOSED)

        ran = cli("provenance", "explain", "alice", "fs:read", "--at", read, "--json")

        document = ran.document
        assert ran.code == 0
        assert document["at"]["call_id"] == read
        ((link,),) = [path["links"] for path in document["paths"]]
        assert link["source"] == {"file": str(path), "line": 2, "column": 17}
        assert link["pattern"] == "fs:*"
        assert document["config"]["sha256"] == link["config"]
        assert document["today"] == {"decision": "deny", "differs": True}
        assert cli("provenance", "explain", "alice", "fs:read").code == 3

    def test_the_text_says_what_it_would_be_today(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """Both answers, and which record the first is from."""
        config(CLOSED)

        out = cli("provenance", "explain", "alice", "fs:read", "--at", "@last").out

        assert out.startswith("ALLOW  alice may use fs:read\n")
        assert f"call {read}, from its own record\n" in out
        assert "today it would be DENY\n" in out
        assert "ends this access" not in out

    def test_a_call_that_lacked_it_stays_refused(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Later grants do not change what was decided then."""
        config(CLOSED)
        cli("run", "fs.read", "path=a", "--as", "alice")
        config(OPEN)

        ran = cli(
            "provenance", "explain", "alice", "fs:read", "--at", "@last", "--json"
        )

        assert (ran.code, ran.document["decision"]) == (3, "deny")
        assert ran.document["today"] == {"decision": "allow", "differs": True}
        assert ran.document["change"] is None

    def test_what_a_call_did_not_ask_for_is_from_its_policy(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """The pattern covered it, and the document says that the call did not ask."""
        config(CLOSED)

        ran = cli("provenance", "explain", "alice", "fs:write", "--at", read, "--json")

        assert ran.code == 0
        assert ran.document["at"]["asked_for"] is False

    def test_a_call_of_somebody_else_is_no_answer(self, cli: Cli, read: str) -> None:
        """The callers differ: a mistake, not a no."""
        cli("run", "echo.say", "--as", "bob")

        ran = cli("provenance", "explain", "bob", "fs:read", "--at", read)

        assert ran.code == 2
        assert "was made for alice, not for bob" in ran.err

    def test_a_call_that_nobody_made_is_not_found(self, cli: Cli, read: str) -> None:
        """Neither a time nor the start of an id."""
        ran = cli("provenance", "explain", "alice", "fs:read", "--at", "01ZZZ")

        assert ran.code == 4
        assert "unknown time or call '01ZZZ'" in ran.err

    def test_a_changed_policy_is_not_believed(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """What is stored under the digest has to have it: exit 7."""
        connection = sqlite3.connect(store_path())
        with connection:
            connection.execute(
                "UPDATE policies SET content = replace(content, 'alice', 'mallo')"
            )
        connection.close()

        ran = cli("provenance", "explain", "alice", "fs:read", "--at", read)

        assert (ran.code, ran.out) == (7, "")
        assert "was changed" in ran.err


class TestChain:
    """``--at`` with a call that a delegation chain granted"""

    def test_a_recorded_chain_explains_the_call(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Every link with issuer, window and digest, and no config needed for it."""
        call_id, token = call_with_token()
        config("")

        ran = cli(
            "provenance", "explain", "bot", "repo:read", "--at", call_id, "--json"
        )

        assert ran.code == 0, ran.err
        first, last = ran.document["paths"][0]["links"]
        assert first["issuer"] == did_of_seed(ROOT)
        assert last["digest"] == digest_of(token)
        assert ran.document["effective_until"] == last["expires"]
        assert ran.document["today"]["differs"]

    def test_a_time_knows_the_tokens_that_were_used_by_then(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Under a policy that trusted the root; what it cannot know it says."""
        config(f'[[ucan.root]]\ndid = "{did_of_seed(ROOT)}"\n[callers.bot]\n')
        cli("run", "echo.say", "--as", "bot")
        unused = f"@{time.time():.6f}"
        time.sleep(0.002)
        call_with_token()
        words = ["provenance", "explain", "bot", "repo:read", "--at"]

        now = cli(*words, "now", "--json")
        before = f"@{time.time() - 3600:.0f}"
        config("")
        cli("run", "echo.say", "--as", "bot")

        assert now.code == 0
        first, _ = now.document["paths"][0]["links"]
        (revocation,) = [c for c in first["checks"] if c["name"] == "revocation"]
        assert "the record does not tell" in revocation["detail"]
        assert now.document["today"]["differs"]
        assert cli(*words, unused).code == 3
        # Nobody trusts the root any more, and before the first call nobody knew it.
        assert cli(*words, "now").code == 3
        assert cli(*words, before).code == 8

    def test_use_is_counted_by_token(self, cli: Cli, config: WriteConfig) -> None:
        """The path of a token of today has the calls that used it."""
        _, token = call_with_token()
        trusted = f'[[ucan.root]]\ndid = "{did_of_seed(ROOT)}"\n'
        bot = f'[callers.bot]\ndid = "{did_of_seed(BOT)}"\nproofs = ["{token}"]\n'
        config(trusted + bot)

        document = cli("provenance", "explain", "bot", "repo:read", "--json").document
        start = digest_of(token)[:8]
        without = cli(
            "provenance", "explain", "bot", "repo:read", "--without", start, "--json"
        )

        assert document["paths"][0]["used"]["calls"] == 1
        assert without.code == 3
        assert without.document["without"]["refused"]["calls"] == 1


def call_with_token() -> tuple[str, Path]:
    """Make a call in process that a chain grants; return its id and the token."""
    token = delegated("t", "repo:read")
    pack = Pack("repo")

    @pack.handler("repo.log", capabilities=["repo:read"])
    def log() -> str:
        return "log"

    path = store_path()
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    authority = Authority(
        roots={did_of_seed(ROOT): None}, identities={"bot": Identity.from_seed(BOT)}
    )
    with SqliteEventStore.open(str(path)) as store:
        registry = (
            RegistryBuilder()
            .register(pack)
            .with_authority(authority)
            .with_event_store(store, calls=True)
            .build()
        )
        text = token.read_text().strip()
        ran = registry.run(ToolCall("repo.log", caller="bot", proofs=(text,)))
    assert ran.ok, ran.error
    return ran.call_id, token


def test_a_refused_token_is_told_with_its_code(cli: Cli, config: WriteConfig) -> None:
    """What refused the call is on record, though the tool needed nothing."""
    pack = Pack("free")

    @pack.handler("free.say")
    def say() -> str:
        return "hi"

    path = store_path()
    path.parent.mkdir(parents=True, mode=0o700)
    token = delegated("t", "fs:read", days=-1).read_text().strip()
    authority = Authority(
        roots={did_of_seed(ROOT): None}, identities={"bot": Identity.from_seed(BOT)}
    )
    with SqliteEventStore.open(str(path)) as store:
        builder = RegistryBuilder().register(pack).with_authority(authority)
        registry = builder.with_event_store(store, calls=True).build()
        ran = registry.run(ToolCall("free.say", caller="bot", proofs=(token,)))
    assert not ran.ok

    denial = cli("audit", "show", "@last", "--json").document["denial"]

    assert denial["by"] == "capability"
    assert denial["reason"].startswith("a delegation is refused: expired: ")
    assert "DENY  a delegation is refused: expired" in cli("audit", "show", "@last").out


class TestImported:
    """Calls of other systems, of which only the CallEvent is known"""

    def test_mechanisms_that_it_names_are_the_answer(self, cli: Cli) -> None:
        """An allow-list without a place is told as that, and nothing is made up."""
        event = CallEvent(
            "2026-01-01T00:00:00+00:00",
            "old-1",
            "x:y",
            1,
            Success(),
            "warm",
            caller_id="ann",
            granted_capabilities=("x:use", "y:use"),
            capability_provenance=(CapProvenance("x:use", StringAllowList()),),
        )
        Path("old.jsonl").write_bytes(event.to_json() + b"\n")
        assert cli("audit", "import", "old.jsonl").code == 0

        known = cli("provenance", "explain", "ann", "x:use", "--at", "old-1")
        unknown = cli("provenance", "explain", "ann", "y:use", "--at", "old-1")

        assert known.code == 0
        assert '✓ allow-list callers."ann" "x:use"' in known.out
        assert unknown.code == 8
        assert "does not say by what" in unknown.err


@pytest.mark.parametrize("content", ["words", "[]", "{}", '{"schema": "x/1"}'])
def test_a_policy_of_another_form_is_not_read(
    cli: Cli, config: WriteConfig, content: str
) -> None:
    """A service may keep any text as its policy: not covered, never a crash."""
    path = store_path()
    path.parent.mkdir(parents=True, mode=0o700)
    with SqliteEventStore.open(str(path)) as store:
        registry = (
            RegistryBuilder()
            .register(Pack("free"))
            .with_event_store(store, calls=True)
            .with_policy(store.keep_policy(content))
            .build()
        )
        registry.run(ToolCall("free.say", caller="bot"))
    config('[callers.bot]\ncapabilities = ["fs:read"]\n')

    ran = cli("provenance", "explain", "bot", "fs:read", "--at", "now")

    assert (ran.code, ran.out) == (8, "")
    assert "error: policy " in ran.err


class TestTime:
    """``--at`` with a time"""

    def test_a_time_answers_from_the_policy_in_force(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """Between two policies the first one counts, after the second that one."""
        between = f"@{time.time():.6f}"
        time.sleep(0.002)
        config(CLOSED)
        cli("run", "echo.say", "--as", "alice")

        then = cli(
            "provenance", "explain", "alice", "fs:read", "--at", between, "--json"
        )
        now = cli("provenance", "explain", "alice", "fs:read", "--at", "now", "--json")

        assert (then.code, now.code) == (0, 3)
        assert then.document["at"]["call_id"] is None
        assert then.document["today"] == {"decision": "deny", "differs": True}
        assert now.document["today"] == {"decision": "deny", "differs": False}

    def test_a_time_before_the_record_is_not_covered(self, cli: Cli, read: str) -> None:
        """Exit 8 and since when there is a record: never an answer from today."""
        ran = cli("provenance", "explain", "alice", "fs:read", "--at", "2020-01-01")

        assert (ran.code, ran.out) == (8, "")
        assert re.search(r"no policy as of (2019-12-31|2020-01-01)T", ran.err)
        assert "it begins at 2" in ran.err

    def test_an_empty_store_covers_nothing(self, cli: Cli, config: WriteConfig) -> None:
        """Nothing was recorded yet."""
        config(OPEN)

        assert cli("provenance", "explain", "alice", "fs:read", "--at", "1h").code == 8

    def test_the_future_is_a_mistake(self, cli: Cli, read: str) -> None:
        """No record can have it."""
        assert (
            cli("provenance", "explain", "alice", "fs:read", "--at", "2999-01-01").code
            == 2
        )


class TestWithout:
    """``--without``"""

    @pytest.mark.parametrize("name", ["2", "2:17", "toolrt.toml:2", "{path}:2:17"])
    def test_a_rule_is_named_by_its_place(
        self, cli: Cli, config: WriteConfig, read: str, name: str
    ) -> None:
        """Line, line and column, file and line; what remains is nothing."""
        path = config(OPEN)
        source = name.format(path=path)

        ran = cli(
            "provenance", "explain", "alice", "fs:read", "--without", source, "--json"
        )

        assert ran.code == 3
        without = ran.document["without"]
        assert [one["ref"] for one in without["removed"]] == [f"{path}:2:17"]
        assert without["refused"]["calls"] == 1
        (call,) = without["refused"]["first"]
        assert call["call_id"] == read
        assert (call["tool"], call["capabilities"]) == ("std:fs.read", ["fs:read"])
        (item,) = ran.document["rejected"]
        assert item["failed_check"] == "removed"

    def test_what_another_source_grants_remains(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """No call would have been refused, and the rest is told."""
        config(OPEN.replace('"fs:*"', '"fs:*", "fs:read"'))
        Path("a").write_text("x")
        cli("run", "fs.read", "path=a", "--as", "alice")

        ran = cli("provenance", "explain", "alice", "fs:read", "--without", "2:17")

        assert ran.code == 0
        assert "without  " in ran.out
        assert "it would have refused no recorded call since" in ran.out

    def test_a_rule_that_is_written_twice_remains(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The record cannot tell the two apart, and one of them is enough."""
        config(OPEN.replace('"fs:*"', '"fs:*", "fs:*"'))
        Path("a").write_text("x")
        cli("run", "fs.read", "path=a", "--as", "alice")

        ran = cli(
            *["provenance", "explain", "alice", "fs:read"],
            *["--without", "2:17", "--json"],
        )

        assert ran.code == 0
        assert ran.document["without"]["refused"]["calls"] == 0

    def test_a_rule_that_moved_is_the_same_rule(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """Lines above it change where it stands, not what it is."""
        config("# a comment\n" + OPEN)

        ran = cli(
            "provenance", "explain", "alice", "fs:read", "--without", "3", "--json"
        )

        assert ran.document["without"]["refused"]["calls"] == 1

    def test_calls_before_the_range_do_not_count(
        self, cli: Cli, config: WriteConfig, read: str
    ) -> None:
        """-S bounds what is looked at."""
        time.sleep(0.002)
        since = f"@{time.time():.6f}"
        words = ["provenance", "explain", "alice", "fs:read", "--without", "2"]

        document = cli(*words, "-S", since, "--json").document

        assert document["without"]["refused"] == {"calls": 0, "first": []}

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--without", "99"], 4, "unknown source of alice '99'"),
            (["--without", "abcdef"], 4, "unknown source"),
            (["-S", "7d"], 2, "--since goes with --without"),
            (["--without", "2", "-S", "never"], 2, "'never' is no time"),
            (["--at", "now", "--proof", "x"], 2, "--proof"),
        ],
    )
    def test_what_makes_no_question_is_refused(
        self, cli: Cli, read: str, words: list[str], code: int, said: str
    ) -> None:
        """With what was wrong, and never a traceback."""
        ran = cli("provenance", "explain", "alice", "fs:read", *words)

        assert (ran.code, ran.out) == (code, "")
        assert said in ran.err

    def test_only_the_first_few_calls_are_named(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """All are counted."""
        config(OPEN)
        Path("a").write_text("x")
        for _ in range(7):
            cli("run", "fs.read", "path=a", "--as", "alice")

        ran = cli("provenance", "explain", "alice", "fs:read", "--without", "2")

        assert "it would have refused 7 recorded calls since" in ran.out
        assert "    and 2 more\n" in ran.out
