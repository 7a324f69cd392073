"""``run --as ID --proof FILE``: real files and processes, one bad token and nothing runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt.ucan import did_of_seed
from toolrt_cli import identities
from toolrt_store import SqliteEventStore

from .conftest import Cli, Ran
from .delegations import (
    BOT,
    DAY,
    LEAD,
    OTHER,
    ROOT,
    config_with,
    delegated,
    digest_of,
    hold,
)
from .stores import DAY_US, fill, store_path

WriteConfig = Callable[[str], Path]

TOOLS = """
[runtime]
packs = ["std", "cmd"]
[pack.cmd.handler."cmd.both"]
command = ["echo", "both"]
capabilities = ["fs:read", "fs:write"]
[pack.cmd.handler."cmd.seen"]
command = ["sh", "-c", "tr '\\\\0' ' ' < /proc/$PPID/cmdline; cat /proc/self/environ"]
[pack.cmd.handler."cmd.free"]
command = ["touch", "ran"]
"""


@pytest.fixture(autouse=True)
def bot(home: Path) -> None:
    """The bot's key is at hand, and there is a file to read."""
    hold("bot", BOT)
    Path("x").write_text("milk\n")
    Path("y").write_text("eggs\n")


@pytest.fixture
def trusting(config: WriteConfig) -> Path:
    """A config that trusts the root key, and knows the bot's did."""
    return config(TOOLS + config_with())


def read(*words: str, tool: str = "fs.read", path: str = "x") -> tuple[str, ...]:
    """Return the words of a call of the bot."""
    return ("run", tool, f"path={path}", "--as", "bot", *words)


def refused(ran: Ran, reason: str) -> bool:
    """Return whether a call was refused for its tokens with that code, in JSON mode."""
    error = ran.error
    return (ran.code, error["code"], error["reason"]) == (
        3,
        "delegation_refused",
        reason,
    )


def last_attempt(cli: Cli) -> Any:
    """Return the newest attempt on record."""
    return cli("audit", "show", "@last", "--json").document


class TestGranted:
    """A token that holds"""

    def test_a_chain_grants_what_the_config_does_not(
        self, cli: Cli, trusting: Path
    ) -> None:
        """Without the token the same call is denied."""
        delegated("t", "fs:read")

        assert cli(*read()).code == 3
        assert cli(*read("--proof", "t")).out == "milk\n"

    def test_the_record_has_every_link_and_no_token(
        self, cli: Cli, trusting: Path
    ) -> None:
        """Issuers and digests are on record; no part of the token is in any file."""
        path = delegated("t", "fs:read", meta={"note": "a-note-for-people"})
        cli(*read("--proof", "t"))

        (grant,) = last_attempt(cli)["grants"]
        assert digest_of(path) in json.dumps(grant)
        assert did_of_seed(ROOT) in json.dumps(grant)
        kept = b"".join(
            one.read_bytes() for one in store_path().parent.iterdir() if one.is_file()
        )
        assert bytes.fromhex(digest_of(path)) in kept or (
            digest_of(path).encode() in kept
        )
        for segment in path.read_bytes().strip().split(b"."):
            assert segment[-40:] not in kept
        assert b"a-note-for-people" not in kept

    def test_the_tokens_of_the_config_are_shown_unasked(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """``proofs`` of the caller, beside those of the command line."""
        one = delegated("one", "fs:read")
        two = delegated("two", "fs:write", through=None)
        config(TOOLS + config_with(one))

        assert cli(*read()).code == 0
        ran = cli("run", "cmd.both", "--as", "bot", "--proof", str(two))
        assert ran.code == 0, ran.err

    def test_an_identity_needs_no_line_in_the_config(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Nor does a caller that is named by its DID."""
        config(f'[[ucan.root]]\ndid = "{did_of_seed(ROOT)}"\n')
        delegated("t", "fs:read")

        assert cli(*read("--proof", "t")).code == 0
        did = did_of_seed(BOT)
        assert cli("run", "fs.read", "path=x", "--as", did, "--proof", "t").code == 0

    def test_the_did_of_the_config_may_have_a_key_of_another_name(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The did decides, not what the identity is called."""
        config(config_with().replace("[callers.bot]", "[callers.robot]"))
        delegated("t", "fs:read")

        ran = cli("run", "fs.read", "path=x", "--as", "robot", "--proof", "t")

        assert ran.code == 0, ran.err

    def test_options_before_and_after_the_tool_count_together(
        self, cli: Cli, trusting: Path
    ) -> None:
        """``--proof`` may be repeated anywhere."""
        delegated("one", "fs:read")
        delegated("two", "fs:write", through=None)

        ran = cli(
            *("run", "--proof", "one", "--as", "bot", "cmd.both", "--proof", "two")
        )

        assert ran.code == 0, ran.err

    def test_why_names_the_token(self, cli: Cli, trusting: Path) -> None:
        """By its digest, with issuer and audience."""
        path = delegated("t", "fs:read")

        err = cli(*read("--proof", "t", "--why")).err

        assert f"fs:read: delegation {digest_of(path)[:12]}" in err

    def test_bindings_hold_for_the_arguments_of_the_call(
        self, cli: Cli, trusting: Path
    ) -> None:
        """Another argument is not granted, and the binding is said."""
        delegated("t", "fs:read", bindings={"path": "x"})

        assert cli(*read("--proof", "t")).code == 0
        ran = cli(*read("--proof", "t", path="y"))
        assert ran.code == 3
        assert 'grants fs:read only with path = "x"' in ran.err

    def test_a_bearer_token_needs_no_key_and_says_so(
        self, cli: Cli, config: WriteConfig, home: Path
    ) -> None:
        """``bearer = true`` in the config, and on record in every grant."""
        (home / "state/toolrt/identities/bot.key").unlink()
        config(TOOLS + "[ucan]\nbearer = true\n" + config_with())
        delegated("t", "fs:read")

        assert cli(*read("--proof", "t")).code == 0
        assert '"bearer": true' in json.dumps(last_attempt(cli)["grants"])

    def test_nothing_of_the_token_reaches_the_tool(
        self, shell: Cli, trusting: Path
    ) -> None:
        """Neither its environment nor the words of its parent hold any of it."""
        path = delegated("t", "fs:read")

        ran = shell(*("run", "cmd.seen", "--as", "bot", "--proof", "t", "--why"))

        assert "--proof t" in ran.out
        assert not any(
            part[:40] in ran.out + ran.err
            for part in path.read_text().strip().split(".")
        )

    def test_the_limits_of_the_config_hold(self, cli: Cli, config: WriteConfig) -> None:
        """``max_depth`` and ``max_ttl``; a ceiling for the root."""
        delegated("t", "fs:read")
        root = f'[[ucan.root]]\ndid = "{did_of_seed(ROOT)}"\n'

        def reason(text: str) -> str:
            config(text)
            ran = cli(*read("--proof", "t", "--json"))
            return str(ran.error["reason"]) if ran.code else "ok"

        assert reason("[ucan]\nmax_depth = 2\n" + root) == "ok"
        assert reason("[ucan]\nmax_depth = 1\n" + root) == "depth"
        assert reason('[ucan]\nmax_ttl = "1h"\n' + root) == "ttl"
        assert reason('[ucan]\nmax_ttl = "500ms"\n' + root) == "ttl"
        assert reason(root + 'capabilities = ["fs:read"]\n') == "root_ceiling"
        assert reason(root + 'capabilities = ["fs:read", "fs:write"]\n') == "ok"

    def test_a_call_without_tokens_loads_nothing_of_them(
        self, shell: Cli, trusting: Path
    ) -> None:
        """Neither the rules nor the cryptography."""
        code = (
            "import sys; from toolrt_cli.main import main;"
            "main(['run', 'echo.say', 'a=b', '--as', 'bot']);"
            "sys.exit([m for m in sys.modules if m.split('.')[0] == 'nacl'"
            " or m in ('toolrt.ucan', 'toolrt_cli.token_files',"
            " 'toolrt_cli.delegations', 'toolrt_cli.identities')] or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )

        assert (done.returncode, done.stderr) == (0, "")


class TestRefused:
    """Case by case"""

    def test_a_copied_token_is_of_no_use_without_the_key(
        self, cli: Cli, trusting: Path, home: Path
    ) -> None:
        """T1: shown again by its holder it counts, by anybody else it does not."""
        delegated("t", "fs:read")
        assert [cli(*read("--proof", "t")).code for _ in range(2)] == [0, 0]
        (home / "state/toolrt/identities/bot.key").unlink()

        ran = cli(*read("--proof", "t", "--json"))

        assert refused(ran, "possession")
        assert "identity" in ran.error["next"][0]

    def test_a_key_that_others_could_have_read_shows_nothing(
        self, cli: Cli, trusting: Path, home: Path
    ) -> None:
        """The file and what to do are named."""
        delegated("t", "fs:read")
        (home / "state/toolrt/identities/bot.key").chmod(0o644)

        ran = cli(*read("--proof", "t", "--json"))

        assert refused(ran, "possession")
        assert ran.error["next"][0].startswith("chmod 600 ")

    def test_a_caller_without_a_key_is_told_what_it_lacks(
        self, cli: Cli, trusting: Path
    ) -> None:
        """A name that can have an identity, and one that cannot."""
        delegated("t", "fs:read")

        for name, step in (("new", "toolrt identity new new"), ("os:x", "--as CALLER")):
            words = ("run", "fs.read", "path=x", "--as", name, "--proof", "t", "--json")
            ran = cli(*words)
            assert refused(ran, "possession")
            assert step in ran.error["next"][0]

    def test_the_key_of_another_shows_nothing(self, cli: Cli, trusting: Path) -> None:
        """An identity of the caller's name, but not of its did."""
        hold("bot", OTHER)
        delegated("t", "fs:read")

        assert refused(cli(*read("--proof", "t", "--json")), "possession")

    def test_a_key_that_is_changed_while_it_is_looked_for(
        self, cli: Cli, trusting: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The config says whose key it is: another that is there by now shows nothing."""
        delegated("t", "fs:read", audience=OTHER)
        find = identities.find_did

        def find_and_change(*asked: Any) -> identities.KeyFile | None:
            found = find(*asked)
            hold("bot", OTHER)
            return found

        monkeypatch.setattr(identities, "find_did", find_and_change)

        assert refused(cli(*read("--proof", "t", "--json")), "possession")

    def test_a_token_that_expires_between_two_calls(
        self, shell: Cli, trusting: Path
    ) -> None:
        """T2: nothing of the first verdict is kept; time passes as the record says."""
        delegated("t", "fs:read", days=10)
        assert shell(*read("--proof", "t")).code == 0

        fill(store_path(), [-11])

        assert refused(shell(*read("--proof", "t", "--json")), "expired")

    def test_a_token_that_is_revoked_between_two_calls(
        self, shell: Cli, trusting: Path
    ) -> None:
        """T3: by another process; the very next call knows, and so does its child."""
        delegated("t", "fs:read")
        assert shell(*read("--proof", "t")).code == 0

        assert shell("delegation", "revoke", "t").code == 0

        ran = shell(*read("--proof", "t", "--json"))
        assert refused(ran, "revoked")
        assert ran.error["digest"] == digest_of(Path("t"))

    @pytest.mark.parametrize(
        "fault", ["missing", "link", "directory", "fifo", "open", "words", "huge"]
    )
    def test_revocations_that_cannot_be_had(
        self, cli: Cli, config: WriteConfig, fault: str
    ) -> None:
        """T4: whether it was revoked cannot be told, so it was."""
        file = Path("revoked").absolute()
        config(f'[ucan]\nrevocations = "{file}"\n' + config_with())
        delegated("t", "fs:read")
        file.touch(mode=0o600)
        assert cli(*read("--proof", "t")).code == 0
        if fault == "open":
            file.chmod(0o622)
        elif fault == "words":
            file.write_text("nothing is revoked\n")
        elif fault == "huge":
            os.truncate(file, 10 * 1024**3)
        else:
            file.unlink()
        if fault == "link":
            Path("elsewhere").touch()
            file.symlink_to("elsewhere")
        elif fault == "directory":
            file.mkdir()
        elif fault == "fifo":
            os.mkfifo(file, 0o600)

        ran = cli(*read("--proof", "t", "--json"))

        assert refused(ran, "revocations")
        assert ran.error["next"]
        assert str(file) in cli(*read("--proof", "t")).err

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everywhere")
    def test_revocations_that_may_not_be_read(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """T4, for whoever is not root."""
        file = Path("revoked").absolute()
        file.touch(mode=0o200)
        config(f'[ucan]\nrevocations = "{file}"\n' + config_with())
        delegated("t", "fs:read")

        assert refused(cli(*read("--proof", "t", "--json")), "revocations")

    def test_a_root_that_is_not_trusted_any_more(
        self, shell: Cli, config: WriteConfig
    ) -> None:
        """T5: taken out of the config between two calls."""
        config(config_with())
        delegated("t", "fs:read")
        assert shell(*read("--proof", "t")).code == 0

        config(config_with()[config_with().index("[callers") :])

        assert refused(shell(*read("--proof", "t", "--json")), "untrusted_root")

    def test_a_clock_set_back_revives_nothing(self, cli: Cli, trusting: Path) -> None:
        """T6: the record has a later time, and refused calls do not make it earlier."""
        fill(store_path(), [-40])
        delegated("t", "fs:read", days=10)

        for _ in range(3):
            assert refused(cli(*read("--proof", "t", "--json")), "expired")
        assert "the record has a later time" in cli(*read("--proof", "t")).err
        with SqliteEventStore.open(store_path(), read_only=True) as store:
            last_us = store.coverage().last_us
        assert last_us is not None
        assert last_us < time.time_ns() // 1000 + DAY_US

    @pytest.mark.parametrize("bad_first", [True, False])
    def test_one_bad_token_of_two(
        self, cli: Cli, config: WriteConfig, *, bad_first: bool
    ) -> None:
        """T7: nothing runs, whatever the other and the rules grant."""
        text = config_with().replace("proofs", 'capabilities = ["fs:*"]\nproofs')
        config(TOOLS + text)
        delegated("good", "fs:read")
        delegated("bad", "fs:read", days=-1)
        names = ("bad", "good") if bad_first else ("good", "bad")

        ran = cli(*read("--proof", names[0], "--proof", names[1], "--json"))
        free = cli("run", "cmd.free", "--as", "bot", "--proof", "bad", "--json")

        assert refused(ran, "expired")
        assert ran.error["digest"] == digest_of(Path("bad"))
        assert "the record has a later time" not in cli(*read("--proof", "bad")).err
        assert refused(free, "expired")
        assert not Path("ran").exists()
        assert cli("run", "cmd.free", "--as", "bot").code == 0

    @pytest.mark.parametrize(
        "fault", ["group", "others", "link", "fifo", "directory", "huge", "missing"]
    )
    @pytest.mark.parametrize("is_listed", [False, True], ids=["--proof", "proofs"])
    def test_a_token_file_that_is_not_safe(
        self, cli: Cli, config: WriteConfig, fault: str, *, is_listed: bool
    ) -> None:
        """T8: it is not read, one line says which file and why, nothing runs."""
        path = delegated("t", "fs:read")
        if fault == "group":
            path.chmod(0o640)
        elif fault == "others":
            path.chmod(0o604)
        elif fault == "huge":
            os.truncate(path, 10 * 1024**3)
        else:
            path.rename("elsewhere")
        if fault == "link":
            path.symlink_to("elsewhere")
        elif fault == "fifo":
            os.mkfifo(path, 0o600)
        elif fault == "directory":
            path.mkdir(mode=0o700)
        config(TOOLS + config_with(*([path] if is_listed else [])))
        shown = () if is_listed else ("--proof", "t")

        ran = cli("run", "cmd.free", "--as", "bot", *shown, "--json")

        assert (ran.code, ran.error["code"]) == (3, "proof_file")
        assert str(path) in ran.error["message"]
        assert ran.error["next"]
        assert not Path("ran").exists()

    def test_a_token_for_one_of_two_capabilities(
        self, cli: Cli, trusting: Path
    ) -> None:
        """T9: what is missing is the other one, and only that."""
        delegated("t", "fs:read")

        ran = cli("run", "cmd.both", "--as", "bot", "--proof", "t", "--json")

        assert (ran.code, ran.error["code"]) == (3, "capability_denied")
        assert ran.error["message"].startswith("caller 'bot' lacks fs:write, needed")
        assert "--proof t" in ran.error["next"][0]

    def test_a_capability_by_rule_and_by_token(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """T10: both are on record, and both are paths of the explanation."""
        text = config_with().replace("proofs", 'capabilities = ["fs:read"]\nproofs')
        config(TOOLS + text)
        delegated("t", "fs:read")
        cli(*read("--proof", "t"))

        call_id = last_attempt(cli)["call_id"]
        explained = cli(
            *("provenance", "explain", "bot", "fs:read", "--proof", "t", "--json")
        ).document
        then = cli(
            *("provenance", "explain", "bot", "fs:read", "--at", call_id, "--json")
        ).document

        for document in (explained, then):
            kinds = [path["links"][-1]["kind"] for path in document["paths"]]
            assert kinds == ["allow_list", "delegation"]

    @pytest.mark.parametrize("count", [16, 17, 1000])
    def test_many_tokens_are_bounded(
        self, cli: Cli, trusting: Path, count: int
    ) -> None:
        """T12: 16 count; of more, one more is read and no other."""
        for number in range(17):
            delegated(f"t{number}", "fs:read", through=None)
        os.mkfifo("never", 0o600)
        names = [f"t{number}" if number < 17 else "never" for number in range(count)]
        words = [word for name in names for word in ("--proof", name)]

        ran = cli(*read(*words, "--json"))

        assert ran.code == 0 if count == 16 else refused(ran, "too_many")

    @pytest.mark.parametrize("text", ["", "a.b.c", "\x00", "é" * 99, "a" * 16_384])
    def test_a_file_without_a_token(self, cli: Cli, trusting: Path, text: str) -> None:
        """What is no token refuses like any that is bad."""
        path = Path("t")
        path.touch(mode=0o600)
        path.write_text(text)

        assert refused(cli(*read("--proof", "t", "--json")), "form")

    def test_a_token_of_another(self, cli: Cli, trusting: Path) -> None:
        """It was made for somebody else."""
        delegated("t", "fs:read", audience=LEAD)

        assert refused(cli(*read("--proof", "t", "--json")), "audience")

    def test_a_refused_token_is_told_nowhere(self, shell: Cli, trusting: Path) -> None:
        """By its digest alone: in errors, in --why, in the record."""
        path = delegated("t", "fs:read", days=-1)

        said = "".join(
            ran.out + ran.err
            for ran in (
                shell(*read("--proof", "t", "--why")),
                shell(*read("--proof", "t", "--why", "--json")),
                shell("audit", "show", "@last"),
                shell("audit", "show", "@last", "--json"),
                shell("provenance", "explain", "bot", "fs:read", "--proof", "t"),
            )
        )

        kept = store_path().read_bytes() + b"".join(
            one.read_bytes() for one in store_path().parent.glob("audit.db-*")
        )
        assert digest_of(path) in said
        for part in path.read_text().strip().split("."):
            assert part[-40:] not in said
            assert part[-40:].encode() not in kept

    def test_a_did_of_the_config_that_is_none(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """A fault of the config, with its place."""
        config('[callers.bot]\ndid = "did:key:z6Mk"\n')
        delegated("t", "fs:read")

        ran = cli(*read("--proof", "t", "--json"))

        assert (ran.code, ran.error["code"]) == (5, "config")
        assert ran.error["source"]["line"] == 2


def test_a_day_is_a_day() -> None:
    """The two modules that make the past agree on its length."""
    assert DAY * 1_000_000 == DAY_US
