"""
Secrets: what a handler is given of them, and the brokers that look them up.

A handler names what it needs, a `TokenBroker` resolves exactly that for the caller of
one call, and nothing is kept: every call asks again, so a token that was replaced,
expired or taken away is so at once. Errors name a secret and never hold its value.
"""

from __future__ import annotations

import errno
import hmac
import os
import re
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NoReturn, Protocol, final

import msgspec

from toolrt.clock import Clock, SystemClock
from toolrt.errors import ToolrtError

REDACTED: Final = "<redacted>"
MAX_SECRET_BYTES: Final = 64 * 1024
#: Holds the time until which a caller's files count; never a secret.
EXPIRY_FILE: Final = "expires_at.json"

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_IN_VARIABLE: Final = re.compile(r"[^A-Za-z0-9]")
_NOT_IN_FILE_NAME: Final = re.compile(rb"[^A-Za-z0-9_.@-]")
_UNIX_SECONDS: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


class BrokerError(ToolrtError):
    """A secret could not be had; ``secret`` names it, None for all of a caller's."""

    code = "broker_error"
    retryable = True

    def __init__(self, problem: str, *, secret: str | None = None) -> None:
        self.problem = problem
        self.secret = secret
        what = "secrets" if secret is None else f"secret {secret!r}"
        super().__init__(f"{what}: {problem}")


@final
class RedactedString:
    """
    A secret text that shows itself only through `expose`.

    Every rendering gives ``<redacted>``. It cannot be hashed, encoded, pickled or
    copied, and equals only another one of the same text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is a str, not {type(value).__name__}")
        self._value = value

    def expose(self) -> str:
        """Return the secret."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        # Cut to a width, the placeholder would no longer say what it stands for.
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RedactedString):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret cannot be hashed")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


class SecretBundle(Mapping[str, RedactedString]):
    """The secrets of one call by name. Immutable; its text holds names only."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Mapping[str, RedactedString]) -> None:
        for name, secret in secrets.items():
            if not isinstance(secret, RedactedString):
                raise TypeError(f"secret {name!r} is no RedactedString")
        self._secrets = MappingProxyType(dict(secrets))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the secrets, sorted."""
        return tuple(sorted(self._secrets))

    def __getitem__(self, name: str) -> RedactedString:
        return self._secrets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    def __repr__(self) -> str:
        return f"SecretBundle(names={self.names!r})"


def variable_of(name: str) -> str:
    """
    Return the environment variable of the secret *name*.

    Letters in upper case, everything but ASCII letters and digits as ``_``.
    """
    return _NOT_IN_VARIABLE.sub("_", name).upper()


class TokenBroker(Protocol):
    """Where secrets come from. Called once a call, from any thread."""

    def resolve(
        self, caller: str | None, names: tuple[str, ...]
    ) -> SecretBundle | None:
        """
        Return exactly the secrets *names* of *caller*, or None if it has none at all.

        Raises:
            BrokerError: One of *names* cannot be had.
        """


class EnvTokenBroker:
    """
    Takes secrets from environment variables, the same for every caller.

    The secret ``github_token`` is the variable *prefix* + ``GITHUB_TOKEN``; see
    `variable_of`.

    Args:
        prefix: Begins the name of every variable.

        environ: Read anew at each call.
    """

    def __init__(
        self, prefix: str = "", environ: Mapping[str, str] = os.environ
    ) -> None:
        self._prefix = prefix
        self._environ = environ

    def resolve(self, caller: str | None, names: tuple[str, ...]) -> SecretBundle:
        """
        Return the secrets *names*.

        Raises:
            BrokerError: A variable is not set, or empty.
        """
        return SecretBundle({name: self._secret(name) for name in names})

    def _secret(self, name: str) -> RedactedString:
        variable = self._prefix + variable_of(name)
        value = self._environ.get(variable)
        if not value:
            problem = "is not set" if value is None else "is empty"
            raise BrokerError(f"variable {variable} {problem}", secret=name)
        return RedactedString(value)


class FileTokenBroker:
    """
    Takes secrets from ``root/<caller>/<name>``: one file each, its text the secret.

    One newline at the end does not count. ``root/<caller>/expires_at.json``, where there
    is one, holds Unix seconds as a JSON string or number; from then on nothing of the
    caller is given out. Directories are 0700, files 0600, none of them a link, all of
    them the user's or root's: anything else is refused. In names, all but ASCII letters,
    digits and ``_.@-`` is percent-encoded (``did:key:z6`` is ``did%3Akey%3Az6``), and so
    are ``.`` and ``..``: no name leads out of its directory.
    """

    def __init__(self, root: str, clock: Clock | None = None) -> None:
        self._root = root.rstrip("/") or "/"  # with a slash, a link is followed
        self._clock = clock or SystemClock()

    def resolve(
        self, caller: str | None, names: tuple[str, ...]
    ) -> SecretBundle | None:
        """
        Return the secrets *names* of *caller*; None if it is nobody or has no directory.

        Raises:
            BrokerError: One is missing, expired or not kept as it must be.
        """
        if caller is None:
            return None
        root = _open_directory(self._root)
        try:
            directory = _file_name(caller)
            # Compared here, as some file systems take ``Alice`` for ``alice``.
            if directory not in os.listdir(root):
                return None
            own = _open_directory(directory, dir_fd=root)
        finally:
            os.close(root)
        try:
            self._require_unexpired(own)
            return SecretBundle({name: _read_secret(own, name) for name in names})
        finally:
            os.close(own)

    def _require_unexpired(self, directory: int) -> None:
        try:
            data = read_private_file(EXPIRY_FILE, MAX_SECRET_BYTES, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise BrokerError(f"{EXPIRY_FILE}: {exc.strerror}") from exc
        if self._clock.now_us() >= _parse_expiry(data) * 1_000_000:
            raise BrokerError("expired")


def read_private_file(name: str, max_bytes: int, *, dir_fd: int | None = None) -> bytes:
    """
    Return the content of a file that nobody else can have written or read.

    Raises:
        OSError: It cannot be opened, is a link or no regular file, belongs to another
            user than this one or root, is open to group or others, or is larger than
            *max_bytes*; ``strerror`` says which.
    """
    # Not blocking: opening a FIFO would otherwise wait for its other end.
    descriptor = os.open(name, _FILE, dir_fd=dir_fd)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        _require_private(info)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes")
    return data


def _require_private(info: os.stat_result) -> None:
    if info.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "owned by another user")
    if info.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "open to group or others")


def _open_directory(name: str, *, dir_fd: int | None = None) -> int:
    """
    Open a directory that is private to this user.

    Raises:
        BrokerError: It is missing, a link, no directory, or not private.
    """
    what = "the root directory" if dir_fd is None else "the caller's directory"
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=dir_fd)
        try:
            _require_private(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
    except OSError as exc:
        raise BrokerError(f"{what}: {exc.strerror}") from exc
    return descriptor


def _read_secret(directory: int, name: str) -> RedactedString:
    file_name = _file_name(name)
    if file_name == EXPIRY_FILE:
        raise BrokerError("the name is reserved", secret=name)
    try:
        data = read_private_file(file_name, MAX_SECRET_BYTES, dir_fd=directory)
    except FileNotFoundError:
        raise BrokerError("missing", secret=name) from None
    except OSError as exc:
        raise BrokerError(exc.strerror or type(exc).__name__, secret=name) from exc
    text = _decoded(data.removesuffix(b"\n"))
    if not text:
        problem = "empty" if text == "" else "not UTF-8"
        raise BrokerError(problem, secret=name)
    return RedactedString(text)


def _decoded(data: bytes) -> str | None:
    # None, not an error: a UnicodeDecodeError would carry the secret along.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _parse_expiry(data: bytes) -> float:
    """
    Return the Unix seconds in *data*.

    Raises:
        BrokerError: There are none: what cannot be read does not count as valid.
    """
    try:
        value = msgspec.json.decode(data, type=int | float | str)
    except (msgspec.MsgspecError, ValueError):  # ValueError: no UTF-8
        value = ""
    if isinstance(value, str):
        if not _UNIX_SECONDS.fullmatch(value):
            raise BrokerError(f"{EXPIRY_FILE}: holds no Unix seconds")
        value = float(value)
    return value


def _file_name(name: str) -> str:
    """Return *name* as one component of a path; no two names give the same."""
    encoded = _NOT_IN_FILE_NAME.sub(
        lambda found: b"%%%02X" % ord(found[0]), _bytes(name)
    )
    text = encoded.decode("ascii")
    return text.replace(".", "%2E") if text in {".", ".."} else text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
