"""The user's directories: the same answer as platformdirs, without importing it."""

from __future__ import annotations

import os
import pwd
import sys

import pytest
from platformdirs import PlatformDirs

from toolrt_cli.config import places

_ENVIRONMENTS: dict[str, dict[str, str]] = {
    "nothing set": {},
    "both set": {"XDG_CONFIG_HOME": "/x/config", "XDG_STATE_HOME": "/x/state"},
    "relative, so not set": {"XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "./s"},
    "empty, so not set": {"XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""},
    "with a slash at the end": {"XDG_CONFIG_HOME": "/x/", "XDG_STATE_HOME": "/x//"},
    "a tilde is relative": {"XDG_CONFIG_HOME": "~/c", "XDG_STATE_HOME": "~"},
    "home elsewhere": {"HOME": "/home/alice"},
    "home with a slash": {"HOME": "/home/alice/"},
    "no home": {"HOME": ""},
    "relative home": {"HOME": "alice"},
}


@pytest.fixture(params=list(_ENVIRONMENTS.values()), ids=list(_ENVIRONMENTS))
def environ(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The process's environment, with one of the variants above."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.mark.skipif(sys.platform != "linux", reason="the variables are Linux's")
def test_same_as_platformdirs(environ: dict[str, str]) -> None:
    """Both directories are the ones that platformdirs names."""
    dirs = PlatformDirs("toolrt", appauthor=False)

    found = places.user_config_dir(environ), places.user_state_dir(environ)

    assert [*map(os.path.normpath, found)] == [
        *map(os.path.normpath, (dirs.user_config_dir, dirs.user_state_dir))
    ]
    assert (places.user_config_dir(), places.user_state_dir()) == found


def test_other_systems_ask_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the two variables are not the rule, platformdirs answers."""
    monkeypatch.setattr(places, "_ON_LINUX", False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/ignored")
    dirs = PlatformDirs("toolrt", appauthor=False)

    assert places.user_config_dir({}) == dirs.user_config_dir
    assert places.user_state_dir({}) == dirs.user_state_dir


def test_home_of_a_uid_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HOME and without an entry for the uid, home is the root."""

    def no_entry(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_entry)

    assert places.home_dir({}) == "/"


def test_expand_user() -> None:
    """Only a tilde that stands alone or before a slash is home."""
    environ = {"HOME": "/h"}

    paths = [places.expand_user(p, environ) for p in ("~", "~/x", "~bob/x", "x/~", "")]

    assert paths == ["/h", "/h/x", "~bob/x", "x/~", ""]
