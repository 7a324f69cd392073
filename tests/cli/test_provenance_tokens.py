"""Delegation tokens in explanations: chains, and why a token does not count."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt.ucan import did_of_seed

from .conftest import Cli
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
from .stores import fill, store_path

WriteConfig = Callable[[str], Path]


@pytest.fixture(autouse=True)
def in_home(home: Path) -> None:
    """Tokens are written below the test's own home."""


def test_a_chain_is_a_path_with_every_link_checked(
    cli: Cli, config: WriteConfig
) -> None:
    """Root first; issuer, audience, digest and window of each link, and its checks."""
    path = config(config_with(delegated("t", "fs:read")))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    document = ran.document
    assert ran.code == 0, ran.err
    (found,) = document["paths"]
    first, last = found["links"]
    assert [first["kind"], last["kind"]] == ["delegation", "delegation"]
    assert (first["issuer"], first["audience"]) == (
        did_of_seed(ROOT),
        did_of_seed(LEAD),
    )
    assert (last["issuer"], last["audience"]) == (did_of_seed(LEAD), did_of_seed(BOT))
    assert first["source"] == {"file": str(path), "line": 1, "column": None}
    assert last["digest"] == digest_of(Path("t"))
    assert all(check["ok"] for link in found["links"] for check in link["checks"])
    assert {"signature", "root", "window", "revocation"} <= {
        check["name"] for check in first["checks"]
    }
    assert {"issuer", "narrows", "audience"} <= {c["name"] for c in last["checks"]}


def test_the_access_lasts_as_long_as_its_shortest_link(
    cli: Cli, config: WriteConfig
) -> None:
    """The parent counts for 20 days, the child for 10: the access ends with the child."""
    config(config_with(delegated("t", "fs:read", days=10)))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document
    text = cli("provenance", "explain", "bot", "fs:read").out

    first, last = document["paths"][0]["links"]
    assert first["expires"] > last["expires"]
    assert document["effective_until"] == last["expires"]
    assert f"until {last['expires']} (9 d 23 h)" in text


def test_of_several_paths_the_longest_counts(cli: Cli, config: WriteConfig) -> None:
    """One token lasts 3 days and another 10: 10."""
    few, many = delegated("few", "fs:read", days=3), delegated("many", "fs:read")
    config(config_with(few, many))
    document = cli("provenance", "explain", "bot", "fs:read", "--json").document

    untils = [path["effective_until"] for path in document["paths"]]
    assert document["effective_until"] == max(untils) != min(untils)


def test_a_rule_beside_a_token_has_no_end(cli: Cli, config: WriteConfig) -> None:
    """Two independent sources: both have to go, and the rule never expires."""
    token = delegated("t", "fs:read")
    text = config_with(token)
    path = config(text.replace("proofs", 'capabilities = ["fs:*"]\nproofs'))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document
    shown = cli("provenance", "explain", "bot", "fs:read").out

    assert document["effective_until"] is None
    rule, chain = document["ends"]
    assert [part["kind"] for part in rule] == ["rule"]
    assert {part["kind"] for part in chain} == {"token", "root"}
    assert f"2 independent sources: removing {path}:" in shown
    assert "one alone does not" in shown


def test_a_shared_first_link_ends_two_chains_at_once(
    cli: Cli, config: WriteConfig
) -> None:
    """Two tokens of one trusted root: only the root ends both alone."""
    one = delegated("one", "fs:read", through=None)
    two = delegated("two", "fs:read", through=LEAD)
    path = config(config_with(one, two))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document

    assert document["ends"] == [[{"kind": "root", "ref": f"{path}:1"}]]


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        pytest.param({"days": -2}, "expired", "expired 2 d", id="expired"),
        pytest.param({"root": OTHER}, "untrusted_root", "not trusted", id="root"),
        pytest.param({"audience": OTHER}, "audience", "not for the caller", id="whose"),
    ],
)
def test_a_token_that_does_not_hold_refuses_with_its_reason(
    cli: Cli, config: WriteConfig, make: dict[str, Any], code: str, said: str
) -> None:
    """The verdict is the failed check, in words, with what to do."""
    config(config_with(delegated("t", "fs:read", **make)))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    assert ran.code == 3
    (item,) = ran.document["rejected"]
    assert item["failed_check"] == code
    assert said in item["reason"]
    assert item["nearest"]
    assert item["change"]


def test_one_bad_token_refuses_what_a_rule_grants(
    cli: Cli, config: WriteConfig
) -> None:
    """As at a call: the rule alone would do, and the token in the list spoils it."""
    text = config_with(delegated("t", "repo:read", days=-2))
    config(text.replace("proofs", 'capabilities = ["fs:read"]\nproofs'))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document

    assert document["decision"] == "deny"
    failed = [one["failed_check"] for one in document["rejected"]]
    assert failed == ["expired", "other_token"]
    assert document["change"] is None


def test_a_token_that_grants_something_else_is_a_near_miss(
    cli: Cli, config: WriteConfig
) -> None:
    """It holds, and does not cover what is asked."""
    config(config_with(delegated("t", "fs:read", through=None)))

    ran = cli("provenance", "explain", "bot", "fs:write", "--json")

    (item,) = ran.document["rejected"]
    assert (ran.code, item["failed_check"]) == (3, "capability")
    assert item["reason"] == "grants fs:read only"


@pytest.mark.parametrize("link", [0, 1])
def test_a_revoked_link_ends_the_chain(
    cli: Cli, config: WriteConfig, link: int
) -> None:
    """By the digest of the token itself, or of the one that it was made from."""
    token = delegated("t", "fs:read")
    config(config_with(token))
    links = cli("provenance", "explain", "bot", "fs:read", "--json").document["paths"][
        0
    ]["links"]
    revoked = Path("revoked").absolute()
    revoked.write_text(f"{links[link]['digest']}  left the team\n")
    config(f'[ucan]\nrevocations = "{revoked}"\n' + config_with(token))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    assert ran.code == 3
    (item,) = ran.document["rejected"]
    assert item["failed_check"] == "revoked"
    assert (links[link]["digest"] in item["reason"]) == (link == 0)


@pytest.mark.parametrize("fault", ["missing", "open to others", "a directory", "huge"])
def test_revocations_that_cannot_be_had_refuse(
    cli: Cli, config: WriteConfig, fault: str
) -> None:
    """Not knowing whether a token was revoked is a no."""
    revoked = Path("revoked").absolute()
    if fault == "open to others":
        revoked.write_text("")
        os.chmod(revoked, 0o666)
    elif fault == "a directory":
        revoked.mkdir()
    elif fault == "huge":
        with revoked.open("wb") as file:
            file.truncate(17 * 1024**2)
    token = delegated("t", "fs:read")
    config(f'[ucan]\nrevocations = "{revoked}"\n' + config_with(token))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    assert ran.code == 3
    assert [x["failed_check"] for x in ran.document["rejected"]] == ["revocations"]


@pytest.mark.parametrize("fault", ["missing", "mode", "link", "fifo", "huge", "text"])
def test_a_token_file_that_is_not_safe_is_not_read(
    cli: Cli, config: WriteConfig, fault: str
) -> None:
    """Open to others, a link, a FIFO, too large, no token: refused, never a crash."""
    token = delegated("t", "fs:read")
    if fault == "missing":
        token.unlink()
    elif fault == "mode":
        os.chmod(token, 0o644)
    elif fault == "link":
        token.rename("elsewhere")
        token.symlink_to("elsewhere")
    elif fault == "fifo":
        token.unlink()
        os.mkfifo(token, 0o600)
    elif fault == "huge":
        os.truncate(token, 10 * 1024**3)
    else:
        token.write_bytes(b"\xff\x1b[2J not a token")
    config(config_with(token))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    (item,) = ran.document["rejected"]
    assert ran.code == 3
    assert item["failed_check"] == ("form" if fault == "text" else "unreadable")
    assert item["digest"] is None


def test_a_token_can_be_shown_on_the_command_line(
    cli: Cli, config: WriteConfig
) -> None:
    """--proof asks what a token would do before anybody lists it."""
    token = delegated("t", "fs:read")
    config(config_with())

    assert cli("provenance", "explain", "bot", "fs:read").code == 3
    assert cli("provenance", "explain", "bot", "fs:read", "--proof", "t").code == 0
    assert str(token) not in cli("provenance", "explain", "bot", "fs:read").out


def test_a_token_given_twice_is_one(cli: Cli, config: WriteConfig) -> None:
    """As at a call, sources are told by their digest."""
    token = delegated("t", "fs:read")
    config(config_with(token, token))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document

    assert len(document["paths"]) == 1


def test_too_many_tokens_refuse(cli: Cli, config: WriteConfig) -> None:
    """17 in one request are one more than a call may show."""
    config(config_with(*(delegated(f"t{n}", "fs:read", days=n + 1) for n in range(17))))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    failed = [one["failed_check"] for one in ran.document["rejected"]]
    assert "too_many" in failed


def test_the_token_itself_is_never_printed(cli: Cli, config: WriteConfig) -> None:
    """No part of it, nor of its signature, in any format."""
    token = delegated("t", "fs:read", meta={"note": "\x1b[2J"})
    config(config_with(token))
    segments = token.read_text().strip().split(".")

    for fmt in ("table", "json", "dot", "mermaid", "md", "csv", "tree"):
        out = cli("provenance", "explain", "bot", "fs:read", "-o", fmt).out
        assert out
        assert not any(segment in out for segment in segments)
        assert "\x1b" not in out


def test_bindings_are_told(cli: Cli, config: WriteConfig) -> None:
    """A chain that is bound to an argument says which and to what."""
    config(config_with(delegated("t", "fs:read", bindings={"path": "/srv"})))

    out = cli("provenance", "explain", "bot", "fs:read").out

    assert '✓ binding: path must be "/srv"' in out


def test_a_bearer_token_is_told_to_be_one(cli: Cli, config: WriteConfig) -> None:
    """Where the config does not ask for the key, the answer says so."""
    token = delegated("t", "fs:read")
    config("[ucan]\nbearer = true\n" + config_with(token))

    out = cli("provenance", "explain", "bot", "fs:read").out

    assert "✓ possession: a bearer token: " in out


def test_another_token_beside_a_bad_one_is_said_to_be_good(
    cli: Cli, config: WriteConfig
) -> None:
    """It would grant, were it not for the other, which is the nearest to mend."""
    good, late = delegated("good", "fs:read"), delegated("late", "fs:read", days=-1)
    config(config_with(good, late))

    document = cli("provenance", "explain", "bot", "fs:read", "--json").document

    assert [(i["failed_check"], i["nearest"]) for i in document["rejected"]] == [
        ("expired", True),
        ("other_token", False),
    ]


def test_a_rule_beside_a_bad_token_is_said_to_be_held_back(
    cli: Cli, config: WriteConfig
) -> None:
    """The token is the nearest miss; the rule would grant without it."""
    bad = delegated("bad", "fs:read", root=OTHER)
    config(config_with(bad) + 'capabilities = ["fs:read"]\n')

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    token, rule = ran.document["rejected"]
    assert (token["failed_check"], token["nearest"]) == ("untrusted_root", True)
    assert "[[ucan.root]]" in token["change"]
    assert (rule["kind"], rule["failed_check"]) == ("allow_list", "other_token")


def test_a_caller_without_a_did_lacks_the_key(cli: Cli, config: WriteConfig) -> None:
    """A token for somebody else, and nobody's: the verdict is that of a call."""
    token = delegated("t", "fs:read")
    whole = config_with(token)
    config("\n".join(x for x in whole.splitlines() if did_of_seed(BOT) not in x))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")
    called = cli("run", "fs.read", "path=t", "--as", "bot", "--json")

    (item,) = ran.document["rejected"]
    assert item["failed_check"] == called.error["reason"] == "possession"


def test_what_nobody_signed_is_not_told(cli: Cli, config: WriteConfig) -> None:
    """With another signature nothing that the token says is repeated."""
    token = delegated("t", "fs:read")
    claims, _, signature = token.read_text().strip().rpartition(".")
    other = delegated("other", "repo:read").read_text().strip().rpartition(".")[2]
    assert other != signature
    token.write_text(f"{claims}.{other}\n")
    config(config_with(token))

    ran = cli("provenance", "explain", "bot", "fs:read", "--json")

    (item,) = ran.document["rejected"]
    assert (item["failed_check"], item["digest"]) == ("signature", None)
    assert item["issuer"] is None


def test_a_clock_that_was_set_back_revives_nothing(
    cli: Cli, config: WriteConfig
) -> None:
    """The record has an event of five days later, when the token had expired."""
    config(config_with(delegated("t", "fs:read", days=3)))
    assert cli("provenance", "can", "bot", "fs:read").code == 0
    store_path().parent.mkdir(parents=True, mode=0o700)
    fill(store_path(), [-5])

    assert cli("provenance", "can", "bot", "fs:read").code == 3
    assert cli("provenance", "explain", "bot", "fs:read").code == 3


class TestExpiring:
    """``provenance expiring``"""

    def test_a_token_that_ends_soon_is_listed_with_its_chain(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Exit 1 where there is one, 0 where there is none."""
        config(config_with(delegated("t", "fs:read", days=3)))

        ran = cli("provenance", "expiring", "--within", "7d", "--json")

        (item,) = ran.document["items"]
        assert ran.code == 1
        assert (item["caller"], item["state"]) == ("bot", "ends")
        assert 2 * DAY < item["left_s"] <= 3 * DAY
        assert [link["issuer"] for link in item["chain"]] == [
            did_of_seed(ROOT),
            did_of_seed(LEAD),
        ]
        assert cli("provenance", "expiring", "--within", "1d").code == 0

    def test_what_does_not_hold_any_more_is_listed_too(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """An expired token has ended, and one that cannot be read may have."""
        missing = Path("gone").absolute()
        config(config_with(delegated("t", "fs:read", days=-1), missing))

        ran = cli("provenance", "expiring", "--json")

        assert ran.code == 1
        states = {item["state"] for item in ran.document["items"]}
        assert states == {"expired", "unreadable"}

    def test_a_time_that_is_none_is_usage(self, cli: Cli) -> None:
        """The message names the forms."""
        ran = cli("provenance", "expiring", "--within", "soon")

        assert ran.code == 2
        assert "'soon'" in ran.err


def test_the_did_of_an_identity_here_is_a_known_caller(
    cli: Cli, config: WriteConfig
) -> None:
    """As its name is; the DID of a key that nobody has seen is not."""
    config(config_with())
    hold("bot", BOT)
    delegated("t", "fs:read")
    words = ("fs:read", "--proof", "t")

    assert cli("provenance", "explain", did_of_seed(BOT), *words).code == 0
    assert cli("provenance", "explain", did_of_seed(OTHER), *words).code == 4
