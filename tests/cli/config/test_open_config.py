"""The whole way from a working directory to a config: refusals, trust, content."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from toolrt_cli.config import (
    ConfigError,
    LoadedConfig,
    Located,
    UntrustedConfigError,
    digest_of,
    open_config,
    read,
)
from toolrt_cli.config.trust import require_trust, state_of, trust

_DATA = b'[runtime]\nnamespace = "mine"\n'


class User:
    """A user with a project, a home and a state directory."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.project.mkdir()
        self.file = self.project / "toolrt.toml"
        self.file.write_bytes(_DATA)
        self.list = root / "state" / "toolrt" / "trusted.json"
        self.environ = {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
        }

    def open(self, flag: str | None = None, **environ: str) -> LoadedConfig:
        """Open the config that counts in the project."""
        return open_config(
            flag=flag, environ={**self.environ, **environ}, cwd=str(self.project)
        )

    def trust(self) -> None:
        """Trust the project's file as it is."""
        trust(str(self.file), digest_of(self.file.read_bytes()), self.environ)


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Return a user who trusts nothing yet."""
    return User(tmp_path.resolve())


class TestTrust:
    """A file that was found must be trusted as it is."""

    def test_life_cycle(self, user: User) -> None:
        """Refused, trusted, refused after an edit, trusted again."""
        with pytest.raises(UntrustedConfigError, match="not trusted yet") as caught:
            user.open()
        assert caught.value.reason == "never trusted"
        assert caught.value.path == str(user.file)
        assert caught.value.digest == digest_of(_DATA)

        user.trust()
        assert user.open().config.runtime.namespace == "mine"
        assert user.open().origin == "found"

        user.file.write_bytes(_DATA + b"# edited\n")
        with pytest.raises(UntrustedConfigError, match="it was edited") as caught:
            user.open()
        assert caught.value.reason == "edited since"

        user.trust()
        assert user.open().config.runtime.namespace == "mine"

    def test_trust_comes_before_the_faults(self, user: User) -> None:
        """What stands in a file is not judged before the file is trusted."""
        user.file.write_bytes(b"not TOML")

        with pytest.raises(UntrustedConfigError):
            user.open()

        user.trust()
        with pytest.raises(ConfigError, match="not valid TOML"):
            user.open()

    def test_a_copy_elsewhere_is_not_trusted(self, user: User, tmp_path: Path) -> None:
        """Trust is for a path and a content, not for a content alone."""
        user.trust()
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "toolrt.toml").write_bytes(_DATA)

        with pytest.raises(UntrustedConfigError, match="not trusted yet"):
            open_config(flag=None, environ=user.environ, cwd=str(copy))

    def test_named_files_need_no_trust(self, user: User) -> None:
        """A flag or a variable that names the file is the user's word."""
        assert user.open(str(user.file)).origin == "flag"
        assert user.open(TOOLRT_CONFIG=str(user.file)).origin == "environment"

    def test_own_file_needs_no_trust(self, user: User) -> None:
        """The user's own file counts as it is."""
        own = Path(user.environ["XDG_CONFIG_HOME"]) / "toolrt" / "toolrt.toml"
        own.parent.mkdir(parents=True)
        user.file.rename(own)

        loaded = user.open()

        assert (loaded.origin, loaded.path) == ("user", str(own))

    def test_no_file(self, user: User) -> None:
        """Where there is none, the default needs neither file nor trust."""
        user.file.unlink()

        assert user.open().origin == "default"

    def test_list_is_private_and_outside_of_the_tree(self, user: User) -> None:
        """The list is 0600 in a 0700 directory, and no temporary file stays."""
        user.trust()

        assert stat.S_IMODE(user.list.stat().st_mode) == 0o600
        assert stat.S_IMODE(user.list.parent.stat().st_mode) == 0o700
        assert list(user.list.parent.iterdir()) == [user.list]
        assert list(user.project.iterdir()) == [user.file]

    def test_others_stay_trusted(self, user: User) -> None:
        """To trust one file leaves the others as they were."""
        trust("/somewhere/toolrt.toml", "aa", user.environ)
        user.trust()

        assert state_of("/somewhere/toolrt.toml", "aa", user.environ) == "trusted"
        assert state_of("/somewhere/toolrt.toml", "ab", user.environ) == "edited"
        assert state_of("/elsewhere/toolrt.toml", "aa", user.environ) == "unknown"
        require_trust("/somewhere/toolrt.toml", "aa", user.environ)

    def test_links_are_followed(self, user: User, tmp_path: Path) -> None:
        """The real path is what is trusted, so a link cannot borrow a name."""
        link = tmp_path / "link"
        link.symlink_to(user.project)
        trust(str(link / "toolrt.toml"), digest_of(_DATA), user.environ)

        assert user.open().origin == "found"

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"schema": "other/1", "files": {}}', "\ud800"]
    )
    def test_broken_list_trusts_nothing(self, user: User, text: str) -> None:
        """A list that cannot be read fails closed, and can be written anew."""
        user.trust()
        user.list.write_bytes(text.encode("utf-8", "surrogatepass"))

        with pytest.raises(UntrustedConfigError, match="not trusted yet"):
            user.open()

        user.trust()
        assert user.open().origin == "found"

    @pytest.mark.parametrize("mode", [0o602, 0o620])
    def test_list_that_others_can_write_trusts_nothing(
        self, user: User, mode: int
    ) -> None:
        """What others could have written is not believed."""
        user.trust()
        user.list.chmod(mode)

        with pytest.raises(UntrustedConfigError):
            user.open()

    def test_failed_write_leaves_the_list(
        self, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the list cannot be replaced, it stays as it was, with nothing beside it."""
        user.trust()
        before = user.list.read_bytes()

        def fail(source: str, target: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            trust("/x", "aa", user.environ)

        assert user.list.read_bytes() == before
        assert list(user.list.parent.iterdir()) == [user.list]


class TestRefusals:
    """Files that others could have written are not read as policy."""

    @pytest.mark.parametrize("origin", ["flag", "environment", "found", "user"])
    def test_world_writable(self, user: User, origin: str) -> None:
        """A file that everyone can write is refused, however it was located."""
        user.file.chmod(0o646)

        with pytest.raises(ConfigError, match=r"everyone can write it \(mode 0646\)"):
            read(Located(str(user.file), origin))  # type: ignore[arg-type]

    def test_world_writable_is_told_before_trust(self, user: User) -> None:
        """To trust such a file would not help, so it is not asked for."""
        user.file.chmod(0o666)

        with pytest.raises(ConfigError) as caught:
            user.open()

        assert not isinstance(caught.value, UntrustedConfigError)

    def test_group_writable_is_allowed(self, user: User) -> None:
        """A group may share a config."""
        user.file.chmod(0o664)

        assert user.open(str(user.file)).config.runtime.namespace == "mine"

    def test_foreign_file_that_was_found(
        self, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Someone else's file counts only if it is named."""
        owner = user.file.stat().st_uid
        if owner == 0:  # root's files count for everyone: give it away
            os.chown(user.file, owner := 12345, -1)
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

        with pytest.raises(ConfigError, match=rf"another user \(uid {owner}\)"):
            user.open()
        assert user.open(str(user.file)).origin == "flag"

    def test_directory(self, user: User) -> None:
        """A directory of that name is refused, not passed over."""
        user.file.unlink()
        user.file.mkdir()

        with pytest.raises(ConfigError, match="not a regular file"):
            user.open()

    def test_fifo_does_not_block(self, user: User) -> None:
        """A FIFO is refused at once."""
        user.file.unlink()
        os.mkfifo(user.file)

        with pytest.raises(ConfigError, match="not a regular file"):
            user.open()

    def test_link_to_nowhere(self, user: User) -> None:
        """A link whose target is gone is an error with the system's reason."""
        user.file.unlink()
        user.file.symlink_to("gone")

        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            user.open()
