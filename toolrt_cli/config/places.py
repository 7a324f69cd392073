"""
Where the files of one user are.

On Linux the two variables are read here, with the answer that platformdirs would give:
importing it costs a fifth of a start. Other systems ask platformdirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

APP_NAME: Final = "toolrt"
CONFIG_NAME: Final = "toolrt.toml"
_ON_LINUX: bool = sys.platform == "linux"


def user_config_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of the user's own ``toolrt.toml``; it may not exist."""
    if _ON_LINUX:
        return _xdg_dir("XDG_CONFIG_HOME", ".config", environ)
    from platformdirs import PlatformDirs

    return PlatformDirs(APP_NAME, appauthor=False).user_config_dir


def user_state_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of the audit store and the trust list; it may not exist."""
    if _ON_LINUX:
        return _xdg_dir("XDG_STATE_HOME", ".local/state", environ)
    from platformdirs import PlatformDirs

    return PlatformDirs(APP_NAME, appauthor=False).user_state_dir


def home_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the user's home; a relative ``HOME`` counts as none."""
    home = (os.environ if environ is None else environ).get("HOME", "")
    if os.path.isabs(home):
        return home
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a uid without an entry, as in many containers
        return "/"


def expand_user(path: str, environ: Mapping[str, str] | None = None) -> str:
    """Return *path* with a leading ``~`` or ``~/`` replaced by the user's home."""
    if path == "~" or path.startswith("~/"):
        return home_dir(environ) + path[1:]
    return path


def _xdg_dir(variable: str, below_home: str, environ: Mapping[str, str] | None) -> str:
    base = (os.environ if environ is None else environ).get(variable, "")
    # The XDG specification: a relative path is invalid and must be ignored.
    if not os.path.isabs(base):
        base = os.path.join(home_dir(environ), below_home)
    return os.path.join(base, APP_NAME)
