"""
The operator's file: found, trusted, read once, checked as a whole, with positions.

`open_config` does all of it in order: locate, read with the checks of owner and mode,
ask for trust if the file was found rather than named, load. `locate`, `read` and `load`
are the steps for commands that need one alone; the list of trusted files is in
`toolrt_cli.config.trust`.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolrt_cli.config.discover import Located, Look, Origin, locate, unseen
from toolrt_cli.config.faults import (
    ConfigError,
    Fault,
    Position,
    UntrustedConfigError,
    render,
)
from toolrt_cli.config.load import LoadedConfig, digest_of, load, read
from toolrt_cli.config.model import Config
from toolrt_cli.config.places import user_config_dir, user_state_dir
from toolrt_cli.config.quantities import parse_size

__all__ = [
    "Config",
    "ConfigError",
    "Fault",
    "LoadedConfig",
    "Located",
    "Look",
    "Origin",
    "Position",
    "UntrustedConfigError",
    "digest_of",
    "load",
    "locate",
    "open_config",
    "parse_size",
    "read",
    "render",
    "user_config_dir",
    "user_state_dir",
]


def open_config(
    *, flag: str | None, environ: Mapping[str, str], cwd: str, look: Look = unseen
) -> LoadedConfig:
    """
    Return the config that counts for a command run in *cwd*.

    Args:
        flag: The value of ``--config``.

        environ: The environment.

        cwd: The working directory.

        look: Is told each path that decides, before it is read or looked for.

    Raises:
        UntrustedConfigError: The file was found and is not trusted as it is now.

        ConfigError: The file cannot be used; all its faults.
    """
    located = locate(flag=flag, environ=environ, cwd=cwd, look=look)
    if located.path is None:
        return load(located)
    data = read(located)
    if located.origin == "found":
        from toolrt_cli.config.trust import list_path, require_trust

        look(list_path(environ))
        require_trust(located.path, digest_of(data), environ)
    return load(located, data)
