"""Secrets show themselves only through `expose`, and brokers give out no others."""

from __future__ import annotations

import copy
import json
import os
import pickle
import pprint
import string
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt.errors import ToolrtError
from toolrt.secrets import (
    MAX_SECRET_BYTES,
    BrokerError,
    EnvTokenBroker,
    FileTokenBroker,
    RedactedString,
    SecretBundle,
    TokenBroker,
    _file_name,
)

SECRET = "hunter2-0123456789"


class SetClock:
    """A clock that stands where it was set."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def now_us(self) -> int:
        """Return the time that was set."""
        return int(self.now_s * 1_000_000)

    def monotonic_ns(self) -> int:
        """Return the same in nanoseconds."""
        return self.now_us() * 1000


class TestRedactedString:
    """The value is seen through `expose` and in no other way."""

    def test_expose_gives_the_value(self) -> None:
        """The one way to it."""
        assert RedactedString(SECRET).expose() == SECRET

    @given(st.text(st.sampled_from(string.ascii_letters + "{}%"), min_size=4))
    def test_every_rendering_is_the_placeholder(self, value: str) -> None:
        """Whatever the value, all texts of it are the same."""
        secret = RedactedString(value)

        texts = {
            str(secret),
            repr(secret),
            format(secret),
            format(secret, ">30"),
            f"{secret}",
            "%s" % secret,  # noqa: UP031 - the old form is a way out, too
            "{}".format(secret),  # noqa: UP032 - and so is this one
            pprint.pformat(secret),
        }

        assert texts == {"<redacted>"}

    @pytest.mark.parametrize(
        "leak",
        [
            pytest.param(json.dumps, id="json"),
            pytest.param(msgspec.json.encode, id="msgspec json"),
            pytest.param(msgspec.msgpack.encode, id="msgspec msgpack"),
            pytest.param(msgspec.to_builtins, id="msgspec builtins"),
            pytest.param(pickle.dumps, id="pickle"),
            pytest.param(lambda s: pickle.dumps(s, 0), id="pickle 0"),
            pytest.param(copy.copy, id="copy"),
            pytest.param(copy.deepcopy, id="deepcopy"),
            pytest.param(lambda s: s.__reduce__(), id="reduce"),
            pytest.param(lambda s: s.__getstate__(), id="getstate"),
            pytest.param(hash, id="hash"),
            pytest.param(lambda s: {s}, id="in a set"),
            pytest.param(vars, id="vars"),
            pytest.param(list, id="list"),
            pytest.param(lambda s: s + "", id="concatenation"),
        ],
    )
    def test_what_would_pass_it_on_is_refused(
        self, leak: Callable[[RedactedString], object]
    ) -> None:
        """It is a TypeError, whose traceback does not hold the value either."""
        with pytest.raises(TypeError) as caught:
            leak(RedactedString(SECRET))

        report = traceback.TracebackException.from_exception(
            caught.value, capture_locals=True
        )
        assert SECRET not in "".join(report.format())

    def test_equality_is_between_secrets(self) -> None:
        """The plain text is not equal to it, another secret of that text is."""
        secret = RedactedString(SECRET)

        assert secret == RedactedString(SECRET)
        assert secret != RedactedString("other")
        assert RedactedString("\ud800é") == RedactedString("\ud800é")
        assert secret != SECRET
        assert secret != "<redacted>"

    def test_only_text_is_a_secret(self) -> None:
        """The usage error names the type and not the value."""
        with pytest.raises(TypeError, match="not bytes") as caught:
            RedactedString(SECRET.encode())  # type: ignore[arg-type]

        assert SECRET not in str(caught.value)


class TestSecretBundle:
    """A bundle is a mapping that cannot change and shows names."""

    def test_it_is_a_mapping(self) -> None:
        """By name, with sorted names."""
        bundle = SecretBundle({"b": RedactedString("2"), "a": RedactedString("1")})

        assert isinstance(bundle, Mapping)
        assert bundle.names == ("a", "b")
        assert bundle["a"].expose() == "1"
        assert "c" not in bundle
        assert len(bundle) == 2
        assert set(bundle) == {"a", "b"}

    def test_its_text_holds_names_only(self) -> None:
        """Neither its own text nor that of what it is in shows a value."""
        bundle = SecretBundle({"token": RedactedString(SECRET)})

        assert repr(bundle) == "SecretBundle(names=('token',))"
        assert SECRET not in f"{bundle} {[bundle]} {dict(bundle)} {bundle.values()}"
        assert not hasattr(bundle, "__dict__")
        for encode in (json.dumps, msgspec.json.encode, pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                encode(bundle)

    def test_it_does_not_change(self) -> None:
        """Neither by item nor through the mapping that it was made from."""
        source = {"a": RedactedString("1")}
        bundle = SecretBundle(source)
        source["b"] = RedactedString("2")

        assert bundle.names == ("a",)
        with pytest.raises(TypeError):
            bundle["c"] = RedactedString("3")  # type: ignore[index]

    def test_only_redacted_values_are_taken(self) -> None:
        """A plain text is refused by name."""
        with pytest.raises(TypeError, match="'token'") as caught:
            SecretBundle({"token": SECRET})  # type: ignore[dict-item]

        assert SECRET not in str(caught.value)


class TestEnvTokenBroker:
    """Secrets from variables of the environment."""

    def test_the_variable_follows_from_prefix_and_name(self) -> None:
        """Upper case, with an underscore for all that is no letter or digit."""
        environ = {"CI_GITHUB_TOKEN": "a", "CI_A_B_C_1": "b", "CI_OTHER": "c"}
        broker: TokenBroker = EnvTokenBroker("CI_", environ)

        bundle = broker.resolve("alice", ("github_token", "a-b.c:1"))

        assert bundle is not None
        assert bundle.names == ("a-b.c:1", "github_token")
        assert bundle["github_token"].expose() == "a"
        assert bundle["a-b.c:1"].expose() == "b"

    def test_it_serves_every_caller(self) -> None:
        """The environment is the process's and not a caller's."""
        broker = EnvTokenBroker(environ={"TOKEN": "a"})

        assert broker.resolve(None, ("token",))["token"].expose() == "a"

    def test_the_process_s_environment_is_read_at_each_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A variable that changes is seen."""
        broker = EnvTokenBroker()
        monkeypatch.setenv("TOOLRT_TEST_TOKEN", "a")
        first = broker.resolve(None, ("toolrt_test_token",))
        monkeypatch.setenv("TOOLRT_TEST_TOKEN", "b")

        second = broker.resolve(None, ("toolrt_test_token",))

        assert [b["toolrt_test_token"].expose() for b in (first, second)] == ["a", "b"]

    @pytest.mark.parametrize(
        ("environ", "problem"), [({}, "is not set"), ({"TOKEN": ""}, "is empty")]
    )
    def test_a_missing_one_is_an_error(
        self, environ: dict[str, str], problem: str
    ) -> None:
        """It names the secret and may go away, so it is retryable."""
        broker = EnvTokenBroker(environ={**environ, "OTHER": SECRET})

        with pytest.raises(
            BrokerError, match=f"'token': variable TOKEN {problem}"
        ) as caught:
            broker.resolve("alice", ("other", "token"))

        assert isinstance(caught.value, ToolrtError)
        assert caught.value.secret == "token"
        assert (caught.value.code, caught.value.retryable) == ("broker_error", True)
        assert SECRET not in _report(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay out secrets of one caller, and one that no caller is to reach."""
    root = tmp_path / "secrets"
    root.mkdir(mode=0o700)
    _write(root / "alice" / "token", SECRET)
    _write(tmp_path / "outside", "outside")
    return root


class TestFileTokenBroker:
    """Secrets from private files, one directory a caller."""

    @pytest.mark.parametrize(
        ("content", "secret"),
        [
            ("a", "a"),
            ("a\n", "a"),
            ("a\n\n", "a\n"),
            (" ä b ", " ä b "),
            ("\na", "\na"),
        ],
    )
    def test_the_text_is_the_secret(
        self, root: Path, content: str, secret: str
    ) -> None:
        """As it is, but for one newline at the end."""
        _write(root / "alice" / "token", content)

        assert exposed(root, "alice", "token") == {"token": secret}

    def test_only_what_is_named_is_given(self, root: Path) -> None:
        """Other secrets of the caller are not read."""
        _write(root / "alice" / "other", "x", mode=0o666)

        assert exposed(root, "alice", "token") == {"token": SECRET}
        assert exposed(root, "alice") == {}

    def test_nobody_has_no_secrets(self, root: Path) -> None:
        """Without a caller, or without a directory of it, there is no bundle."""
        broker = FileTokenBroker(str(root))

        assert broker.resolve(None, ("token",)) is None
        assert broker.resolve("bob", ("token",)) is None
        assert broker.resolve("", ("token",)) is None
        assert broker.resolve("ALICE", ("token",)) is None

    def test_nothing_is_kept(self, root: Path) -> None:
        """A file that changes or goes away does so at once."""
        broker: TokenBroker = FileTokenBroker(str(root))
        broker.resolve("alice", ("token",))
        _write(root / "alice" / "token", "new")

        bundle = broker.resolve("alice", ("token",))
        (root / "alice" / "token").unlink()

        assert bundle is not None
        assert bundle["token"].expose() == "new"
        with pytest.raises(BrokerError, match="'token': missing"):
            broker.resolve("alice", ("token",))

    @pytest.mark.parametrize(
        ("caller", "directory"),
        [
            ("did:key:z6Mk", "did%3Akey%3Az6Mk"),
            ("a@b.org", "a@b.org"),
            ("a%2Fb", "a%252Fb"),
            ("a/b", "a%2Fb"),
            ("ü", "%C3%BC"),
            ("..", "%2E%2E"),
            (".", "%2E"),
        ],
    )
    def test_ids_are_percent_encoded(
        self, root: Path, caller: str, directory: str
    ) -> None:
        """An id of any characters has one directory under the root."""
        _write(root / directory / "token", caller)

        assert exposed(root, caller, "token") == {"token": caller}

    @given(
        st.text(st.characters(exclude_categories=()), min_size=1, max_size=20),
        st.text(st.sampled_from("./%2eE\0\\"), min_size=1, max_size=6),
    )
    def test_no_name_leads_elsewhere(self, one: str, other: str) -> None:
        """Every name is one component of a path, and two names are two."""
        names = [_file_name(one), _file_name(other)]

        for name in names:
            assert os.path.normpath(f"/r/{name}") == f"/r/{name}"
            assert set(name) <= {*string.ascii_letters, *string.digits, *"_.@-%"}
        assert (names[0] == names[1]) == (one == other)

    @pytest.mark.parametrize(
        ("caller", "name"),
        [
            pytest.param("alice", "../../outside", id="dots in a name"),
            pytest.param("alice", "..", id="the parent as a name"),
            pytest.param("alice", ".", id="the directory as a name"),
            pytest.param("alice", "", id="no name"),
            pytest.param("alice", "/outside", id="absolute name"),
            pytest.param("alice", "token\0", id="NUL in a name"),
            pytest.param("alice", "t" * 300, id="name too long"),
            pytest.param("alice", "expires_at.json", id="reserved name"),
        ],
    )
    def test_a_name_that_would_lead_out_is_refused(
        self, root: Path, caller: str, name: str
    ) -> None:
        """The error names the secret as it was asked for."""
        with pytest.raises(BrokerError) as caught:
            exposed(root, caller, name)

        assert caught.value.secret == name

    @pytest.mark.parametrize(
        "caller", ["..", ".", "../secrets/alice", "alice/", "/", "alice/../alice", "\0"]
    )
    def test_a_caller_that_would_lead_out_has_nothing(
        self, root: Path, caller: str
    ) -> None:
        """It is looked for under its own encoded name, and is not there."""
        assert FileTokenBroker(str(root)).resolve(caller, ("outside",)) is None

    def test_links_are_not_followed(self, root: Path) -> None:
        """Not as a secret, not as a caller's directory, not as the root."""
        (root / "alice" / "link").symlink_to(root / "alice" / "token")
        (root / "bob").symlink_to(root / "alice")
        linked = root.parent / "linked"
        linked.symlink_to(root)

        for path, caller, name in (
            (str(root), "alice", "link"),
            (str(root), "bob", "token"),
            (str(linked), "alice", "token"),
            (f"{linked}/", "alice", "token"),
        ):
            with pytest.raises(BrokerError, match=r"link|[Dd]irectory"):
                FileTokenBroker(path).resolve(caller, (name,))

    def test_what_is_no_regular_file_is_refused(self, root: Path) -> None:
        """A FIFO is refused at once and not waited for; so is a directory."""
        os.mkfifo(root / "alice" / "fifo", 0o600)
        (root / "alice" / "folder").mkdir(mode=0o700)

        for name in ("fifo", "folder"):
            with pytest.raises(BrokerError, match=f"'{name}': not a regular file"):
                exposed(root, "alice", name)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o611])
    @pytest.mark.parametrize("where", ["alice/token", "alice", "."])
    def test_what_is_open_to_others_is_refused(
        self, root: Path, where: str, mode: int
    ) -> None:
        """File, caller's directory and root alike."""
        (root / where).chmod(mode | 0o100)

        with pytest.raises(BrokerError, match="open to group or others") as caught:
            exposed(root, "alice", "token")

        assert SECRET not in _report(caught.value)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
    @pytest.mark.parametrize("where", ["alice/token", "alice", "."])
    def test_what_another_user_owns_is_refused(self, root: Path, where: str) -> None:
        """File, caller's directory and root alike."""
        os.chown(root / where, 12345, -1)

        with pytest.raises(BrokerError, match="owned by another user"):
            exposed(root, "alice", "token")

    def test_a_missing_root_is_an_error(self, tmp_path: Path) -> None:
        """The operator named a directory that is not there."""
        with pytest.raises(BrokerError, match="the root directory: No such file"):
            exposed(tmp_path / "none", "alice", "token")

    def test_large_empty_and_undecodable_files_are_refused(self, root: Path) -> None:
        """64 KiB of UTF-8 is the limit; the error holds nothing of the content."""
        _write(root / "alice" / "full", "x" * MAX_SECRET_BYTES)
        _write(root / "alice" / "large", "x" * (MAX_SECRET_BYTES + 1))
        _write(root / "alice" / "empty", "\n")
        _write(root / "alice" / "latin", SECRET)
        with (root / "alice" / "latin").open("ab") as file:
            file.write(b"\xff")

        assert len(exposed(root, "alice", "full")["full"]) == MAX_SECRET_BYTES
        for name, problem in (
            ("large", "larger than 65536 bytes"),
            ("empty", "empty"),
            ("latin", "not UTF-8"),
        ):
            with pytest.raises(BrokerError, match=f"'{name}': {problem}") as caught:
                exposed(root, "alice", name)
            assert caught.value.__context__ is None or name == "large"
            assert SECRET not in _report(caught.value)


class TestExpiry:
    """``expires_at.json`` ends what a caller has."""

    @pytest.mark.parametrize("content", ['"1000"', "1000", '"1000.0"', "1e3", "1000\n"])
    def test_it_is_good_until_then(self, root: Path, content: str) -> None:
        """Up to the second that is named, and not at it."""
        _write(root / "alice" / "expires_at.json", content)

        assert exposed(root, "alice", "token", now_s=999.9) == {"token": SECRET}
        with pytest.raises(BrokerError, match="secrets: expired"):
            exposed(root, "alice", "token", now_s=1000)

    @pytest.mark.parametrize(
        "content",
        ["", "null", "true", '"soon"', '"-1"', '"1 "', '"nan"', "[1]", "1 2", '"\xff"'],
    )
    def test_what_cannot_be_read_is_an_error(self, root: Path, content: str) -> None:
        """It does not count as no expiry."""
        _write(root / "alice" / "expires_at.json", content)

        with pytest.raises(BrokerError, match="holds no Unix seconds"):
            exposed(root, "alice", "token")

    def test_bytes_that_are_no_text_are_an_error(self, root: Path) -> None:
        """As is every other content that is no time."""
        path = root / "alice" / "expires_at.json"
        _write(path, "")
        path.write_bytes(b'"\xff"')

        with pytest.raises(BrokerError, match="holds no Unix seconds"):
            exposed(root, "alice", "token")

    @pytest.mark.parametrize("content", ["-1", "-1e300", "0"])
    def test_the_past_is_the_past(self, root: Path, content: str) -> None:
        """However long ago."""
        _write(root / "alice" / "expires_at.json", content)

        with pytest.raises(BrokerError, match="expired"):
            exposed(root, "alice", "token", now_s=0)

    def test_it_must_be_private_too(self, root: Path) -> None:
        """Whoever could write it could lengthen it."""
        path = root / "alice" / "expires_at.json"
        _write(path, "9999999999", mode=0o602)

        with pytest.raises(BrokerError, match="open to group or others"):
            exposed(root, "alice", "token")
        path.unlink()
        path.symlink_to(root / "nowhere")
        with pytest.raises(BrokerError, match=r"expires_at\.json: .*links"):
            exposed(root, "alice", "token")

    def test_the_machine_s_clock_is_the_default(self, root: Path) -> None:
        """A time long past has passed."""
        _write(root / "alice" / "expires_at.json", "1")

        with pytest.raises(BrokerError, match="expired"):
            FileTokenBroker(str(root)).resolve("alice", ("token",))


def exposed(root: Path, caller: str, *names: str, now_s: float = 0) -> dict[str, str]:
    """Return what the broker gives, in the open."""
    bundle = FileTokenBroker(str(root), SetClock(now_s)).resolve(caller, names)
    assert bundle is not None
    return {name: secret.expose() for name, secret in bundle.items()}


def _write(path: Path, content: str, mode: int = 0o600) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content.encode())
    path.chmod(mode)


def _report(error: BaseException) -> str:
    lines: list[Any] = traceback.format_exception(error)
    return "".join(lines) + repr(error) + repr(error.args)
