"""
The identities of this user: private keys in files of their own, and whose they are.

Each is ``identities/NAME.key`` in the user's state directory, and not where the config
is: that is often shared or copied. The directory is 0700, a file 0600 with the 32 bytes
of an Ed25519 private key as one line of hex. A file that others could have read or
written is not used. No key leaves this module but to sign.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from toolrt.errors import ToolrtError
from toolrt_cli.config.places import user_state_dir

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_SUFFIX: Final = ".key"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_OWN: Final = 0o077


class IdentityError(ToolrtError):
    """The key file of an identity cannot be made or used; ``path`` names it."""

    code = "identity"

    def __init__(
        self, path: str, problem: str, *, next_step: str | None = None
    ) -> None:
        self.path = path
        self.problem = problem
        self.next_step = next_step
        super().__init__(f"{path}: {problem}")


class IdentityExistsError(IdentityError):
    """There is an identity of that name: a key is never written over."""

    code = "identity_exists"

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            "there is an identity of that name, and its key is not written over",
            next_step="name another, or toolrt identity show it",
        )


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """
    An identity as its file shows it.

    ``problem`` says why the file is not used; its ``did`` is then unknown. ``made_us``
    is when the file was written, in Unix microseconds: a key never changes.
    """

    name: str
    path: str
    did: str | None = None
    made_us: int | None = None
    problem: str | None = None
    #: A command that makes the file usable, where there is one.
    fix: str | None = None


def path_of(name: str, environ: Mapping[str, str] | None = None) -> str:
    """Return where the key of the identity *name* is kept."""
    return os.path.join(_directory(environ), name + _SUFFIX)


def is_name(text: str) -> bool:
    """Return whether an identity can be called *text*."""
    return _NAME.fullmatch(text) is not None


def names(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of all identities, sorted; no key is read."""
    try:
        entries = os.listdir(_directory(environ))
    except OSError:
        return []
    found = (one.removesuffix(_SUFFIX) for one in entries if one.endswith(_SUFFIX))
    return sorted(filter(is_name, found))


def make(name: str, environ: Mapping[str, str] | None = None) -> KeyFile:
    """
    Make the identity *name* and return it.

    Raises:
        IdentityExistsError: There is one of that name.
        IdentityError: Its file cannot be made.
    """
    from toolrt_store import StoreError
    from toolrt_store.files import prepare_directory
    from toolrt_store.keys import make_key

    path = path_of(name, environ)
    try:
        prepare_directory(path)
        with _alone_beside(path):
            if os.path.lexists(path):
                raise IdentityExistsError(path)
            make_key(path)
    except StoreError as exc:
        raise IdentityError(path, exc.problem) from exc
    found = find(name, environ)
    if found is None or found.problem is not None:
        raise IdentityError(path, (found and found.problem) or "is gone again")
    return found


def find(name: str, environ: Mapping[str, str] | None = None) -> KeyFile | None:
    """Return the identity *name*, sound or not; None if there is none."""
    # Compared here, as some file systems take ``Alice`` for ``alice``.
    if name not in names(environ):
        return None
    from toolrt.ucan import UcanError, did_of_seed

    path = path_of(name, environ)
    try:
        info = os.lstat(path)
        did = did_of_seed(_seed(path))
    except OSError as exc:
        problem = f"cannot be looked at: {exc.strerror}"
        return KeyFile(name=name, path=path, problem=problem)
    except IdentityError as exc:
        return KeyFile(name=name, path=path, problem=exc.problem, fix=exc.next_step)
    except UcanError as exc:
        return KeyFile(
            name=name, path=path, problem=f"holds no key to trust: {exc.code}"
        )
    return KeyFile(name=name, path=path, did=did, made_us=info.st_mtime_ns // 1000)


def find_did(did: str, environ: Mapping[str, str] | None = None) -> KeyFile | None:
    """Return the identity with the key of *did*; None if there is none that can sign."""
    for name in names(environ):
        found = find(name, environ)
        if found is not None and found.did == did:
            return found
    return None


def seed_of(key_file: KeyFile) -> bytes:
    """
    Return the private key of *key_file*, read anew.

    Raises:
        IdentityError: The file cannot be used.
    """
    return _seed(key_file.path)


def _seed(path: str) -> bytes:
    from toolrt_store.keys import SealKeyError, read_key

    _require_private_directory(path)
    try:
        return read_key(path)
    except SealKeyError as exc:
        raise IdentityError(path, exc.problem, next_step=_cure(path)) from exc


def _cure(path: str) -> str | None:
    """Return the command that makes the file *path* private, if that is its fault."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    is_open = stat.S_ISREG(info.st_mode) and info.st_mode & _NOT_OWN
    return f"chmod 600 {shlex.quote(path)}" if is_open else None


def _require_private_directory(path: str) -> None:
    """
    Check that only this user can put files beside *path*.

    Raises:
        IdentityError: Others can.
    """
    with _private_directory(path):
        return


@contextmanager
def _alone_beside(path: str) -> Iterator[None]:
    """
    Make no key beside *path* while another process makes one: it would be mixed up.

    Raises:
        IdentityError: Others can put files there.
    """
    with _private_directory(path) as descriptor:
        with suppress(OSError):  # on file systems without locks they have to take turns
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _private_directory(path: str) -> Iterator[int]:
    """Open the directory of *path* for the block. Raises IdentityError."""
    directory = os.path.dirname(path)
    try:
        descriptor = os.open(directory, _DIRECTORY)
    except OSError as exc:
        problem = f"its directory cannot be used: {exc.strerror}"
        raise IdentityError(path, problem) from exc
    try:
        _check_private(os.fstat(descriptor), path)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_private(info: os.stat_result, path: str) -> None:
    directory = os.path.dirname(path)
    if info.st_uid not in (os.geteuid(), 0):
        raise IdentityError(path, "its directory belongs to another user")
    if info.st_mode & _NOT_OWN:
        fix = f"chmod 700 {shlex.quote(directory)}"
        raise IdentityError(path, "its directory is open to others", next_step=fix)


def _directory(environ: Mapping[str, str] | None) -> str:
    return os.path.join(user_state_dir(environ), "identities")
