"""``toolrt delegation``: made, looked at, verified and ended at the command line."""

import fcntl
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt import Authority
from toolrt.ucan import Identity, did_of_seed, read_chain, token_digest
from toolrt_cli.revocations import Revocations, RevocationsError, revoke

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
    wait_for_lock,
)

WriteConfig = Callable[[str], Path]
DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def in_home(home: Path) -> None:
    """Files are written below the test's own home."""


@pytest.fixture
def people(home: Path) -> None:
    """Everyone has a key here: the root, the lead between, and the bot."""
    for name, seed in (("root", ROOT), ("lead", LEAD), ("bot", BOT)):
        hold(name, seed)


def check_of(document: Any, name: str) -> bool | None:
    """Return whether the check *name* of the last link held; None: not reached."""
    (found,) = [one for one in document["links"][-1]["checks"] if one["name"] == name]
    ok: bool | None = found["ok"]
    return ok


Issue = Callable[..., Ran]


@pytest.fixture
def issue(cli: Cli, people: None) -> Issue:
    """Run ``delegation issue`` from the root to the bot, unless told otherwise."""

    def run(*words: str, issuer: str = "root", to: str = "bot") -> Ran:
        return cli("delegation", "issue", "--from", issuer, "--to", to, *words)

    return run


class TestIssue:
    """``delegation issue``"""

    def test_a_token_goes_to_stdout(self, issue: Issue) -> None:
        """It says what was asked, and counts for 30 days from now on."""
        ran = issue("--cap", "fs:read", "--cap", "fs:write", "--with", "path=/srv")

        (token,) = read_chain(ran.out.strip())
        link = token.link
        assert ran.code == 0
        assert link.issuer == link.subject == did_of_seed(ROOT)
        assert link.audience == did_of_seed(BOT)
        assert link.capabilities == ("fs:read", "fs:write")
        assert link.bindings == (("path", '"/srv"'),)
        assert link.not_before is not None
        assert link.expires - link.not_before == 30 * DAY
        assert link.digest in ran.err

    def test_a_token_goes_to_a_new_private_file(self, issue: Issue) -> None:
        """0600, never over another, and then not to stdout."""
        ran = issue("--cap", "fs:read", "--out", "t", "--json")
        again = issue("--cap", "fs:read", "--out", "t")

        text = Path("t").read_text()
        assert stat.S_IMODE(os.stat("t").st_mode) == 0o600
        assert ran.document["digest"] == digest_of(Path("t"))
        assert "token" not in ran.document
        assert again.code == 2
        assert Path("t").read_text() == text

    def test_the_document_has_the_token(self, issue: Issue) -> None:
        """For scripts that keep it themselves."""
        document = issue("--cap", "fs:read", "--json").document

        assert document["schema"] == "toolrt.delegation/1"
        assert token_digest(document["token"]) == document["digest"]

    def test_a_value_of_json_is_bound_as_json(self, issue: Issue) -> None:
        """``k=v`` is text, ``k:=json`` anything."""
        ran = issue("--cap", "a", "--with", "n:=1", "--with", "s=1")

        (token,) = read_chain(ran.out.strip())
        assert token.link.bindings == (("n", "1"), ("s", '"1"'))

    def test_times_are_lengths_or_points(self, issue: Issue) -> None:
        """A length of --expires counts from when the token begins."""
        ran = issue("--cap", "a", "--not-before", "2030-01-01", "--expires", "1d")

        (token,) = read_chain(ran.out.strip())
        assert token.link.not_before is not None
        assert token.link.expires == token.link.not_before + DAY

    def test_a_child_ends_with_its_parent(self, issue: Issue) -> None:
        """Without --expires it never outlives what it follows on."""
        issue("--cap", "a", "--expires", "2d", "--out", "p", to="lead")

        ran = issue("--cap", "a", "--proof", "p", issuer="lead")

        parent, child = read_chain(ran.out.strip())
        assert ran.code == 0, ran.err
        assert child.link.expires == parent.link.expires

    @pytest.mark.parametrize(
        ("words", "code", "change"),
        [
            (["--cap", "a", "--cap", "z"], "cap_widening", "leave out --cap z"),
            (["--cap", "a", "--expires", "9d"], "time_widening", "--expires 20"),
            (["--cap", "a", "--not-before", "@1"], "time_widening", "--not-before 20"),
        ],
    )
    def test_what_the_parent_does_not_cover_is_refused(
        self, issue: Issue, words: list[str], code: str, change: str
    ) -> None:
        """With the code, and the smallest change that would do."""
        issue("--cap", "a", "--with", "k=v", "--expires", "2d", "--out", "p", to="lead")

        ran = issue(*words, "--with", "k=v", "--proof", "p", "--json", issuer="lead")

        assert (ran.code, ran.out, ran.error["code"]) == (3, "", code)
        assert change in ran.error["next"][0]

    def test_the_change_that_is_named_helps(self, issue: Issue) -> None:
        """Typed as it stands, it makes the token."""
        issue(
            "--cap", "a", "--with", "k:=[1]", "--expires", "2d", "--out", "p", to="lead"
        )
        dropped = issue("--cap", "a", "--proof", "p", "--json", issuer="lead").error
        late = issue(
            *("--cap", "a", "--with", "k:=[1]", "--expires", "9d"),
            *("--proof", "p", "--json"),
            issuer="lead",
        ).error

        assert (dropped["code"], dropped["next"]) == (
            "binding_widening",
            ["add --with 'k:=[1]'"],
        )
        option, value = late["next"][0].split(" ")
        ran = issue(
            *("--cap", "a", "--with", "k:=[1]", option, value, "--proof", "p"),
            issuer="lead",
        )
        assert ran.code == 0, ran.err

    def test_who_the_parent_is_not_for_cannot_go_on(self, issue: Issue) -> None:
        """The DIDs of both are named."""
        issue("--cap", "a", "--out", "p", to="lead")

        ran = issue("--cap", "a", "--proof", "p", "--json", issuer="bot")

        assert (ran.code, ran.error["code"]) == (3, "alignment")
        assert did_of_seed(LEAD) in ran.error["message"]

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["--cap", "fs:*"], "caps"),
            (["--cap", "A"], "caps"),
            (["--cap", "a", "--expires", "31d"], "ttl"),
            (["--cap", "a", "--expires", "2020-01-01"], "not_yet"),
            (["--cap", "a", "--expires", "0s"], "not_yet"),
        ],
    )
    def test_what_nobody_would_accept_is_refused(
        self, issue: Issue, words: list[str], code: str
    ) -> None:
        """By the code that a call would be refused with, and advice."""
        ran = issue(*words, "--json")

        assert (ran.code, ran.out, ran.error["code"]) == (3, "", code)
        assert ran.error["next"]

    def test_an_expired_parent_is_said_to_be_expired(self, issue: Issue) -> None:
        """Not that the child would end before it begins."""
        parent = delegated("p", "a", days=-1, through=None, audience=LEAD)

        ran = issue("--cap", "a", "--proof", str(parent), issuer="lead")

        assert ran.code == 3
        assert "the proof expired at" in ran.err

    @pytest.mark.parametrize(
        "words",
        [
            ["--cap", "a", "--expires", "soon"],
            ["--cap", "a", "--with", "k"],
            ["--cap", "a", "--with", "k:={"],
            ["--cap", "a", "--with", "k@missing"],
            ["--cap", "a", "--proof", "missing"],
            ["--cap", "a", "--out", "no/such/t"],
            [],
        ],
    )
    def test_bad_words_are_said(self, issue: Issue, words: list[str]) -> None:
        """Never a traceback, never a token."""
        ran = issue(*words)

        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: ")

    def test_a_proof_that_is_no_token_is_said(self, issue: Issue) -> None:
        """The code is that of its form."""
        Path("p").touch(mode=0o600)

        ran = issue("--cap", "a", "--proof", "p", "--json", issuer="lead")

        assert (ran.code, ran.error["code"]) == (3, "form")
        assert "the proof" in ran.error["message"]

    def test_a_proof_that_nobody_signed_is_said(self, issue: Issue) -> None:
        """The command that shows the link at fault is named."""
        issue("--cap", "a", "--out", "p", to="lead")
        head, _, _ = Path("p").read_text().rpartition(".")
        Path("p").write_text(f"{head}.{'A' * 86}\n")

        ran = issue("--cap", "a", "--proof", "p", "--json", issuer="lead")

        assert (ran.code, ran.error["code"]) == (3, "signature")
        assert ran.error["next"][0].startswith("toolrt delegation verify p")

    def test_a_chain_that_is_long_enough_goes_no_further(self, issue: Issue) -> None:
        """Five links; somebody earlier in the chain could issue it."""
        issue("--cap", "a", "--out", "1", to="lead")
        for number, (issuer, to) in enumerate(
            [("lead", "bot"), ("bot", "lead")] * 2, 2
        ):
            words = ("--proof", str(number - 1), "--out", str(number))
            assert issue("--cap", "a", *words, issuer=issuer, to=to).code == 0

        ran = issue("--cap", "a", "--proof", "5", "--json", issuer="lead")

        assert (ran.code, ran.error["code"]) == (3, "depth")
        assert "at most 5 links" in ran.error["message"]

    def test_names_that_nobody_has_are_not_found(self, issue: Issue) -> None:
        """Issuer and audience alike, with names like them."""
        ran = issue("--cap", "a", "--json", to="bto")

        assert (ran.code, ran.error["suggestions"]) == (4, ["bot"])
        assert issue("--cap", "a", issuer="nobody").code == 4
        assert issue("--cap", "a", to=did_of_seed(OTHER)).code == 0
        assert issue("--cap", "a", to="did:key:zNone").code == 3

    def test_a_caller_of_the_config_can_be_named(
        self, issue: Issue, config: WriteConfig
    ) -> None:
        """By its did."""
        config(f'[callers.far]\ndid = "{did_of_seed(OTHER)}"\n')

        ran = issue("--cap", "a", to="far")

        assert read_chain(ran.out.strip())[0].link.audience == did_of_seed(OTHER)

    def test_a_key_that_others_could_read_signs_nothing(self, issue: Issue) -> None:
        """Exit 5, with what to do."""
        hold("root", ROOT).chmod(0o644)

        ran = issue("--cap", "a", "--json")

        assert (ran.code, ran.error["code"]) == (5, "identity")
        assert ran.error["next"][0].startswith("chmod 600 ")

    @pytest.mark.parametrize(
        ("words", "step"),
        [
            (("--cap", "a", "--with", "path"), "toolrt delegation issue --help"),
            (("--cap", "a", "--to", "did:key:zzz"), "--to an identity"),
            (("--cap", "a", "--to", "nobody"), "toolrt identity list"),
        ],
    )
    def test_the_next_step_is_of_this_command(
        self, issue: Issue, words: tuple[str, ...], step: str
    ) -> None:
        """Not that of a call, and never a mere refusal."""
        assert step in issue(*words).err


class TestInspect:
    """``delegation inspect``"""

    def test_it_says_what_the_token_says_and_that_it_is_not_verified(
        self, cli: Cli
    ) -> None:
        """Every claim of every link, the root first; of any signature and root."""
        path = delegated("t", "fs:read", root=OTHER, bindings={"path": "/srv"})
        text = path.read_text().strip()
        path.write_text(text[:-2] + ("AA" if text[-2:] != "AA" else "BA") + "\n")
        path.chmod(0o644)

        document = cli("delegation", "inspect", str(path), "--json").document
        shown = cli("delegation", "inspect", str(path)).out

        first, last = document["links"]
        assert document["verified"] is False
        assert shown.startswith("not verified")
        assert (first["issuer"], last["audience"]) == (
            did_of_seed(OTHER),
            did_of_seed(BOT),
        )
        assert last["bindings"] == [{"name": "path", "value": '"/srv"'}]
        assert last["digest"] == document["digest"] == digest_of(path)
        assert 'with       path = "/srv"' in shown

    def test_meta_that_would_move_the_cursor_is_escaped(self, cli: Cli) -> None:
        """T11: as text and as JSON, keys too, and what a binding is named."""
        hostile = "\x1b[2J\x07\nfake line\u202e\u200b"
        path = delegated("t", "a", meta={hostile: hostile}, bindings={hostile: hostile})

        for fmt in ("table", "json", "jsonl", "csv", "md"):
            out = cli("delegation", "inspect", str(path), "-o", fmt).out
            assert "fake line" in out
            assert not any(line.startswith("fake line") for line in out.splitlines())
            assert not set("\x1b\x07\u202e\u200b") & set(out)
        for fmt in ("table", "json"):
            out = cli("delegation", "verify", str(path), "-o", fmt).out
            assert not set("\x1b\x07\u202e\u200b") & set(out)

    def test_a_token_comes_as_a_word_a_file_or_stdin(self, shell: Cli) -> None:
        """The three give one answer."""
        path = delegated("t", "a", through=None)
        text = path.read_text()

        by_file = shell("delegation", "inspect", str(path), "--json")
        by_word = shell("delegation", "inspect", text.strip(), "--json")
        by_stdin = shell("delegation", "inspect", "-", "--json", stdin=text)

        assert by_file.code == 0
        assert by_file.out == by_word.out == by_stdin.out

    @pytest.mark.parametrize(
        ("source", "code"),
        [
            *((name, 2) for name in ("missing", "a.b.c", ".", "/dev/zero", "fifo")),
            ("huge", 2),
            ("text", 3),
            (f"e30.e30.{'A' * 86}", 3),
        ],
    )
    def test_what_is_no_token_is_said(self, cli: Cli, source: str, code: int) -> None:
        """Bounded and without waiting, whatever it is."""
        os.mkfifo("fifo")
        Path("huge").touch()
        os.truncate("huge", 10 * 1024**3)
        Path("text").write_bytes(b"\xff\x1b[2J")

        ran = cli("delegation", "inspect", source)

        assert (ran.code, ran.out) == (code, "")
        assert "\x1b" not in ran.err

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda text: text[:80] + "\n" + text[80:], "line breaks"),
            (lambda text: f" {text}", "spaces"),
            (lambda text: f"{text}\r\n", "line breaks"),
            (lambda text: "", "empty"),
        ],
        ids=["broken over lines", "indented", "from another system", "empty"],
    )
    def test_a_token_that_was_pasted_badly_is_said_to_be(
        self,
        cli: Cli,
        config: WriteConfig,
        change: Callable[[str], str],
        why: str,
    ) -> None:
        """To look at it, to verify it and to issue from it, what happened to it is told."""
        config(config_with())
        hold("lead", LEAD)
        path = delegated("t", "fs:read")
        path.write_text(change(path.read_text().strip()), newline="")
        issue = (
            "issue",
            "--from",
            "lead",
            "--to",
            did_of_seed(BOT),
            "--cap",
            "fs:read",
        )

        assert why in cli("delegation", "inspect", "t").err
        assert why in cli("delegation", "verify", "t").out
        assert why in cli("delegation", *issue, "--proof", "t").err

    @pytest.mark.parametrize(
        "of",
        [lambda text: text, lambda text: f"{text[:300]}\n"],
        ids=["whole", "cut off"],
    )
    def test_a_token_in_place_of_a_file_is_not_repeated(
        self, cli: Cli, config: WriteConfig, of: Callable[[str], str]
    ) -> None:
        """It is told from a name, whole or in part, and no message has it."""
        config(config_with())
        word = of(delegated("t", "fs:read").read_text().strip())
        explain = ("provenance", "explain", "bot", "fs:read", "--proof", word)

        verified = cli("delegation", "verify", word)
        called = cli("run", "fs.read", "path=t", "--as", "bot", "--proof", word)
        explained = cli(*explain)
        looked = cli("delegation", "inspect", f"{word}\n\n")

        for ran in (verified, called, explained, looked):
            assert ran.code in (2, 3)
            assert word[20:60] not in ran.out + ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "none"),
        ("verify", "none"),
        ("revoke", "none"),
        ("issue", "--from", "bot", "--to", "bot", "--cap", "a", "--proof", "none"),
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_is_not_there_is_usage(
    cli: Cli, config: WriteConfig, words: tuple[str, ...]
) -> None:
    """In every command alike: there is no token, and so no verdict on one."""
    config(config_with())
    hold("bot", BOT)

    ran = cli("delegation", *words, "--json")

    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert ran.error["message"] == "none: No such file or directory"


class TestVerify:
    """``delegation verify``"""

    def test_a_chain_that_holds(self, cli: Cli, config: WriteConfig) -> None:
        """Exit 0; every check of every link is told."""
        config(config_with())
        path = delegated("t", "fs:read")
        hold("bot", BOT)

        document = cli(
            *("delegation", "verify", str(path), "--as", "bot", "--json")
        ).document

        checks = [check for link in document["links"] for check in link["checks"]]
        assert (document["code"], document["verdict"]) == ("ok", "allow")
        assert document["capabilities"] == ["fs:read"]
        assert document["key_at_hand"] is True
        assert all(check["ok"] for check in checks)
        names = {check["name"] for check in checks}
        assert names >= {"signature", "revocation", "root", "window", "audience"}
        assert names >= {"issuer", "authority", "within", "narrows", "bindings"}

    @pytest.mark.parametrize(
        ("make", "code", "check"),
        [
            ({"days": -1}, "expired", "window"),
            ({"root": OTHER}, "untrusted_root", "root"),
            ({"audience": OTHER}, "audience", "audience"),
        ],
    )
    def test_the_check_that_fails_is_marked(
        self,
        cli: Cli,
        config: WriteConfig,
        make: dict[str, Any],
        code: str,
        check: str,
    ) -> None:
        """One fails; what comes after it was not reached; exit 3."""
        config(config_with())
        path = delegated("t", "fs:read", **make)

        ran = cli("delegation", "verify", str(path), "--as", "bot", "--json")

        every = [one for link in ran.document["links"] for one in link["checks"]]
        (failed,) = [one for one in every if one["ok"] is False]
        states = [check_of(ran.document, name) for name in ("signature", "audience")]
        assert (ran.code, ran.document["code"], failed["name"]) == (3, code, check)
        assert ran.document["capabilities"] == []
        assert states == [True, False if check == "audience" else None]

    def test_without_a_caller_whom_it_is_for_is_not_asked(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """And the answer says so, and that the key is not here."""
        config(config_with())
        path = delegated("t", "fs:read", audience=OTHER)

        ran = cli("delegation", "verify", str(path))
        names = {
            check["name"]
            for link in cli("delegation", "verify", "t", "--json").document["links"]
            for check in link["checks"]
        }

        assert ran.code == 0
        assert "! whom it is for was not asked" in ran.out
        assert "! the key of its audience is not at hand" in ran.out
        assert "audience" not in names

    def test_at_another_time(self, cli: Cli, config: WriteConfig) -> None:
        """Before it begins and after it ended it does not count."""
        config(config_with())
        delegated("t", "fs:read")

        def code_at(when: str) -> str:
            ran = cli("delegation", "verify", "t", "--at", when, "--json")
            return str(ran.document["code"])

        assert code_at("now") == "ok"
        assert code_at("10d") == "not_yet"
        assert code_at("2100-01-01") == "expired"
        assert cli("delegation", "verify", "t", "--at", "soon").code == 2

    def test_a_forged_token_shows_nothing_of_what_it_says(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """What nobody signed is not repeated."""
        config(config_with())
        path = delegated("t", "fs:read", through=None)
        head, _, _ = path.read_text().strip().rpartition(".")
        path.write_text(f"{head}.{'A' * 86}\n")

        ran = cli("delegation", "verify", str(path), "--json")

        assert (ran.code, ran.document["code"]) == (3, "signature")
        assert ran.document["links"] == []

    def test_a_file_that_a_call_would_not_read_is_not_read(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The verdict is that of a call."""
        config(config_with())
        path = delegated("t", "fs:read")
        path.chmod(0o644)

        ran = cli("delegation", "verify", str(path), "--json")

        assert (ran.code, ran.error["code"]) == (3, "proof_file")

    def test_a_caller_without_a_did_is_usage(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """No token can be for it."""
        config(config_with())
        delegated("t", "fs:read")

        assert cli("delegation", "verify", "t", "--as", "nobody").code == 2


class TestRevoke:
    """``delegation revoke``"""

    @pytest.fixture
    def file(self, home: Path) -> Path:
        """The revocations of the test's home, where the config names none."""
        return home / "state" / "toolrt" / "revocations"

    def test_a_digest_is_added_for_good(self, cli: Cli, file: Path) -> None:
        """In a private file; twice is once."""
        first = cli("delegation", "revoke", DIGEST.upper(), "--json").document
        again = cli("delegation", "revoke", DIGEST, "--json").document

        (line,) = file.read_text().splitlines()
        assert line.split()[0] == DIGEST == first["digest"]
        assert (first["new"], again["new"]) == (True, False)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert first["file"] == str(file)

    def test_a_file_names_the_token_in_it(self, cli: Cli, file: Path) -> None:
        """Also one that leaked: open to others."""
        path = delegated("t", "a")
        path.chmod(0o666)

        assert cli("delegation", "revoke", str(path)).code == 0
        assert file.read_text().split()[0] == digest_of(path)

    @pytest.mark.parametrize(
        ("source", "code"), [("abcdef123456", 2), ("missing", 2), ("text", 3)]
    )
    def test_what_names_no_token_revokes_nothing(
        self, cli: Cli, file: Path, source: str, code: int
    ) -> None:
        """A part of a digest is not enough for what cannot be taken back."""
        Path("text").write_text("no token\n")

        assert cli("delegation", "revoke", source).code == code
        assert not file.exists()

    def test_many_at_once_lose_none(self, home: Path, file: Path) -> None:
        """Each line is whole, whoever else writes."""
        digests = [f"{number:064x}" for number in range(6)]
        many = [
            subprocess.Popen(
                [sys.executable, "-m", "toolrt_cli", "delegation", "revoke", one]
            )
            for one in digests
        ]

        assert [one.wait(timeout=300) for one in many] == [0] * len(digests)
        kept = [line.split()[0] for line in file.read_text().splitlines()]
        assert sorted(kept) == digests

    def test_a_disk_that_is_full_leaves_no_half_line(self, file: Path) -> None:
        """Exit 5, the revocation is not in force, and the others still can be read."""
        file.parent.mkdir(parents=True, mode=0o700)
        file.touch(mode=0o600)
        before = f"{'cd' * 32}\n"
        file.write_text(before)
        room = len(before) + 20

        ran = subprocess.run(
            [sys.executable, "-B", "-m", "toolrt_cli", "delegation", "revoke", DIGEST],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
            capture_output=True,
            text=True,
            check=False,
        )

        assert (ran.returncode, ran.stdout) == (5, "")
        assert "cannot be added to" in ran.stderr
        assert file.read_text() == before

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/locks")
    def test_who_revokes_waits_for_whoever_does(self, home: Path, file: Path) -> None:
        """What the other one wrote counts: the digest is not there twice."""
        file.parent.mkdir(parents=True, mode=0o700)
        file.touch(mode=0o600)
        with file.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            words = ["-m", "toolrt_cli", "delegation", "revoke", DIGEST]
            waiting = subprocess.Popen([sys.executable, *words])
            wait_for_lock(waiting)
            held.write(f"{DIGEST}  by another\n")

        assert waiting.wait(timeout=300) == 0
        assert file.read_text() == f"{DIGEST}  by another\n"

    def test_the_named_file_is_made_and_added_to(
        self, cli: Cli, config: WriteConfig, file: Path
    ) -> None:
        """Not the default one."""
        named = config('[ucan]\nrevocations = "gone.txt"\n').parent / "gone.txt"

        assert cli("delegation", "revoke", DIGEST).code == 0
        assert named.read_text().startswith(DIGEST)
        assert not file.exists()

    @pytest.mark.parametrize("fault", ["link", "open", "directory", "fifo"])
    def test_a_file_that_is_not_safe_is_not_added_to(
        self, cli: Cli, file: Path, fault: str
    ) -> None:
        """Exit 5: the revocation is not in force, and the file says why."""
        file.parent.mkdir(parents=True, mode=0o700)
        if fault == "link":
            file.symlink_to("elsewhere")
        elif fault == "open":
            file.touch()
            file.chmod(0o666)
        elif fault == "directory":
            file.mkdir()
        else:
            os.mkfifo(file, 0o600)

        ran = cli("delegation", "revoke", DIGEST, "--json")

        assert (ran.code, ran.out, ran.error["code"]) == (5, "", "revocations")
        assert not Path("elsewhere").exists()

    def test_a_line_without_an_end_is_not_written_into(self, file: Path) -> None:
        """What an editor left is a line of its own."""
        file.parent.mkdir(parents=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text("cd" * 32)

        revoke(str(file), DIGEST, "now")

        revoked = Revocations(str(file), may_be_missing=False)
        assert DIGEST in revoked
        assert "cd" * 32 in revoked

    def test_who_asks_is_told_what_was_revoked_meanwhile(self, file: Path) -> None:
        """The same object, asked again, knows; and that the file went, too."""
        file.parent.mkdir(parents=True, mode=0o700)
        revoked = Revocations(str(file), may_be_missing=True)
        assert DIGEST not in revoked

        revoke(str(file), DIGEST, "now")

        assert DIGEST in revoked
        file.chmod(0o622)
        with pytest.raises(RevocationsError, match="others may write"):
            assert DIGEST in revoked

    def test_a_service_that_goes_on_refuses_the_next_call(self, file: Path) -> None:
        """T3 in one process: its authority was made before the revocation."""
        path = delegated("t", "fs:read")
        authority = Authority(
            roots={did_of_seed(ROOT): None},
            identities={"bot": Identity.from_seed(BOT)},
            revocations=Revocations(str(file), may_be_missing=True),
        )

        def codes() -> str | None:
            token, now = path.read_text().strip(), int(time.time())
            refusal = authority.resolve("bot", ["fs:read"], [token], now).refusal
            return None if refusal is None else refusal.code

        assert codes() is None
        revoke(str(file), digest_of(path), "now")
        assert codes() == "revoked"

    def test_a_file_that_is_too_large_is_not_read_in_part(self, file: Path) -> None:
        """A digest behind 16 MiB of blank lines must not be missed."""
        file.parent.mkdir(parents=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text("\n" * 16 * 1024**2 + DIGEST + "\n")

        with pytest.raises(RevocationsError, match="larger than 16 MiB"):
            assert DIGEST in Revocations(str(file), may_be_missing=False)

    def test_comments_and_blank_lines_revoke_nothing(self, file: Path) -> None:
        """Digests in capitals count; a line that is none refuses everything."""
        file.parent.mkdir(parents=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(f"# ours\n\n{DIGEST.upper()}  left\r\n")
        revoked = Revocations(str(file), may_be_missing=False)

        assert DIGEST in revoked
        assert "#" not in revoked
        file.write_text(f"{DIGEST}\nabc\n")
        with pytest.raises(RevocationsError, match="line 2 is no digest"):
            assert DIGEST in revoked

    def test_the_end_of_a_line_may_be_a_lone_return(self, file: Path) -> None:
        """What stands behind it is a line, and no note of the one before."""
        write_private(file, f"# ours\r{DIGEST}\r{'cd' * 32}  left\r")
        revoked = Revocations(str(file), may_be_missing=False)

        assert DIGEST in revoked
        assert "cd" * 32 in revoked

    @pytest.mark.parametrize("becomes", ["empty", "gone", "another"])
    def test_what_was_revoked_stays_revoked(self, file: Path, becomes: str) -> None:
        """Whoever empties or loses the file revives nothing in a service that goes on."""
        write_private(file, DIGEST)
        revoked = Revocations(str(file), may_be_missing=True)
        assert DIGEST in revoked

        if becomes == "gone":
            file.unlink()
            with pytest.raises(RevocationsError, match="is missing"):
                assert DIGEST in revoked
        else:
            file.write_text("" if becomes == "empty" else "cd" * 32)
            assert DIGEST in revoked
            assert ("cd" * 32 in revoked) == (becomes == "another")

    def test_a_file_of_the_same_size_and_time_is_read_again(self, file: Path) -> None:
        """Its time can be set by anybody who writes to it."""
        write_private(file, "cd" * 32)
        revoked = Revocations(str(file), may_be_missing=False)
        assert DIGEST not in revoked
        before = file.stat()

        file.write_text(DIGEST)
        # Until the clock of the file system has gone on: it ticks every few milliseconds.
        while file.stat().st_ctime_ns == before.st_ctime_ns:
            file.write_text(DIGEST)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert DIGEST in revoked


def write_private(file: Path, text: str) -> None:
    """Write *text* to *file*, in directories that are made."""
    file.parent.mkdir(parents=True, mode=0o700)
    file.touch(mode=0o600)
    file.write_text(text)
