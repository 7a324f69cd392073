"""
Which config file counts.

Named on the command line, named in the environment, found upward from the working
directory, the user's own, none: in this order, and the first that there is decides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from toolrt_cli.config.faults import ConfigError, Fault
from toolrt_cli.config.places import (
    CONFIG_NAME,
    expand_user,
    home_dir,
    user_config_dir,
)

Origin = Literal["flag", "environment", "found", "user", "default"]
VARIABLE: Final = "TOOLRT_CONFIG"
#: Is told each path that decides, before it is read or looked for.
Look = Callable[[str], object]


def unseen(_path: str) -> None:
    """Note nothing."""


class Located(msgspec.Struct, frozen=True):
    """A config file, by absolute path, and why it counts; no path: the default."""

    path: str | None
    origin: Origin


def locate(
    *, flag: str | None, environ: Mapping[str, str], cwd: str, look: Look = unseen
) -> Located:
    """
    Return the config file that counts. It is not opened.

    Args:
        flag: The value of ``--config``.

        environ: The environment; an empty ``TOOLRT_CONFIG`` counts as none.

        cwd: Where the search upward begins and what relative names are relative to.

        look: Is told each path that decides, before it is looked for.

    Raises:
        ConfigError: A named file does not exist, or a directory on the way up cannot be
            searched: what it may hold must not be passed over in silence.
    """
    if flag is not None:
        return _named(flag, "flag", environ, cwd, look)
    if variable := environ.get(VARIABLE):
        return _named(variable, "environment", environ, cwd, look)
    own = os.path.join(user_config_dir(environ), CONFIG_NAME)
    look(own)
    for directory in _upward(cwd, environ, look):
        path = os.path.join(directory, CONFIG_NAME)
        if _exists(path, look):
            # In the user's config directory it is the user's own, however it is found.
            return Located(path, "user" if path == os.path.realpath(own) else "found")
    return Located(own, "user") if _exists(own, look) else Located(None, "default")


def _named(
    name: str, origin: Origin, environ: Mapping[str, str], cwd: str, look: Look
) -> Located:
    path = os.path.normpath(os.path.join(cwd, expand_user(name, environ)))
    if name and _exists(path, look):
        return Located(path, origin)
    how = " (named by TOOLRT_CONFIG)" if origin == "environment" else ""
    raise ConfigError([Fault(file=path, message=f"no such config file{how}")])


def _upward(cwd: str, environ: Mapping[str, str], look: Look) -> Iterator[str]:
    """Yield *cwd* and its parents, up to a repository's root, home or the root."""
    look(home_dir(environ))
    home = os.path.realpath(home_dir(environ))
    directory = os.path.realpath(cwd)
    while True:
        yield directory
        parent = os.path.dirname(directory)
        if directory in (home, parent) or _exists(
            os.path.join(directory, ".git"), look
        ):
            return
        directory = parent


def _exists(path: str, look: Look) -> bool:
    look(path)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise ConfigError([Fault(file=path, message=f"cannot be read: {why}")]) from exc
    return True
