"""
Which found config files the user trusts, by path and content.

A cloned repository must not grant itself tools. The list is in the user's state
directory, outside every tree that is worked on, and an edit of a file ends its trust.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from toolrt_cli.config.faults import UntrustedConfigError
from toolrt_cli.config.places import user_state_dir

TrustState = Literal["trusted", "edited", "unknown"]
FILE_NAME: Final = "trusted.json"


class _TrustList(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["toolrt.trusted/1"] = "toolrt.trusted/1"
    #: Real path to the SHA-256, in hex, of the content that is trusted.
    files: dict[str, str] = {}


def state_of(
    path: str, digest: str, environ: Mapping[str, str] | None = None
) -> TrustState:
    """
    Return whether the user trusts the file *path* with the content of *digest*.

    A trust list that cannot be read, or that others can write, trusts nothing.
    """
    known = _read(list_path(environ)).files.get(os.path.realpath(path))
    if known is None:
        return "unknown"
    return "trusted" if known == digest else "edited"


def require_trust(
    path: str, digest: str, environ: Mapping[str, str] | None = None
) -> None:
    """
    Return if the user trusts the file *path* with the content of *digest*.

    Raises:
        UntrustedConfigError: The user never did, or the file was edited since.
    """
    match state_of(path, digest, environ):
        case "trusted":
            return
        case "edited":
            raise UntrustedConfigError(path, digest, "edited since")
        case "unknown":
            raise UntrustedConfigError(path, digest, "never trusted")


def trust(path: str, digest: str, environ: Mapping[str, str] | None = None) -> None:
    """
    Remember that the user trusts the file *path* with the content of *digest*.

    The list is replaced in one step; of two writers at once the later one's list stays.

    Raises:
        OSError: The list cannot be written.
    """
    target = list_path(environ)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    files = {**_read(target).files, os.path.realpath(path): digest}
    _replace(target, msgspec.json.encode(_TrustList(files=files)))


def list_path(environ: Mapping[str, str] | None) -> str:
    """Return the file of the list; it may not exist."""
    return os.path.join(user_state_dir(environ), FILE_NAME)


def _read(path: str) -> _TrustList:
    try:
        with open(path, "rb") as file:
            if _others_write(os.fstat(file.fileno())):
                return _TrustList()
            return msgspec.json.decode(file.read(), type=_TrustList)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return _TrustList()


def _others_write(info: os.stat_result) -> bool:
    writable = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(writable) or info.st_uid not in (os.geteuid(), 0)


def _replace(target: str, data: bytes) -> None:
    from tempfile import mkstemp

    # mkstemp makes the file 0600 and follows no link.
    descriptor, temporary = mkstemp(dir=os.path.dirname(target))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise
