"""
Cursors: where a paginating tool goes on, in a text that the caller can only hand back.

A cursor is base64url, without padding, of a payload and its HMAC-SHA256. It is bound to
the tool, the caller and the digest of the arguments, and all three are compared when it
comes back. Nothing is kept here, so any process with the key can go on, and a cursor can
be used again until it expires. It is signed, not encrypted: the caller can read the
state. `load_key` finds the key; all else does no I/O.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from toolrt.errors import InvalidInputError, ToolrtError
from toolrt.secrets import read_private_file

MAX_CURSOR_CHARS: Final = 1024
KEY_BYTES: Final = 32
KEY_VARIABLE: Final = "TOOLRT_CURSOR_KEY"

_TAG_BYTES: Final = 32
_VERSION: Final = b"\x01"
_MAX_AHEAD_US: Final = 60 * 1_000_000  # clocks of two machines may differ by that

#: Why a cursor is refused, in the order in which it is checked.
CursorFault = Literal[
    "size",
    "encoding",
    "signature",
    "version",
    "payload",
    "tool",
    "caller",
    "args",
    "time",
]


class CursorInvalidError(InvalidInputError):
    """A cursor is not one that was issued for this call; ``reason`` says where."""

    code = "cursor_invalid"

    def __init__(self, reason: CursorFault) -> None:
        self.reason = reason
        super().__init__(f"the cursor is not valid here: {reason}")


class CursorExpiredError(InvalidInputError):
    """A cursor was issued for this call more than ``ttl_s`` seconds ago."""

    code = "cursor_expired"

    def __init__(self, ttl_s: int) -> None:
        self.ttl_s = ttl_s
        super().__init__(f"the cursor is older than {ttl_s} s")


class CursorTooLargeError(ToolrtError):
    """A tool's state does not fit into a cursor of ``MAX_CURSOR_CHARS``."""

    code = "cursor_too_large"

    def __init__(self, chars: int) -> None:
        self.chars = chars
        super().__init__(
            f"the cursor takes {chars} characters, the limit is {MAX_CURSOR_CHARS}"
        )


class CursorKeyError(ToolrtError):
    """The key of cursors cannot be used; ``source`` is the variable or the file."""

    code = "cursor_key"

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"cursor key {source}: {problem}")


class CursorState(msgspec.Struct, frozen=True):
    """What `CursorIssuer.issue` was given of the page and the tool's state."""

    page: int
    state: bytes


class _Payload(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True
):
    # Names are bytes because a caller's may hold what UTF-8 cannot.
    tool_id: bytes
    caller: bytes | None
    args_digest: bytes
    page: int
    issued_at_us: int
    state: bytes


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Payload).decode


class CursorIssuer:
    """
    Issues cursors and reads them back. Immutable; safe to share between threads.

    Args:
        key: 32 secret bytes, the same in every process that is to read the cursors.

        ttl_s: For how long a cursor is good.
    """

    __slots__ = ("_key", "_ttl_s")

    def __init__(self, key: bytes, *, ttl_s: int = 300) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a cursor key has {KEY_BYTES} bytes, not {len(key)}")
        if ttl_s <= 0:
            raise ValueError(f"ttl_s must be positive, not {ttl_s}")
        self._key = key
        self._ttl_s = ttl_s

    def issue(
        self,
        *,
        tool_id: str,
        caller: str | None,
        args_digest: bytes,
        page: int,
        state: bytes,
        now_us: int,
    ) -> str:
        """
        Return the cursor that leads on from *page*, which counts from 1.

        Raises:
            CursorTooLargeError: *state* does not fit.

            ValueError: *page* is below 1.
        """
        if page < 1:
            raise ValueError(f"pages count from 1, not {page}")
        payload = _VERSION + _ENCODE(
            _Payload(
                _bytes(tool_id),
                None if caller is None else _bytes(caller),
                args_digest,
                page,
                now_us,
                state,
            )
        )
        cursor = _encoded(payload + self._tag(payload))
        if len(cursor) > MAX_CURSOR_CHARS:
            raise CursorTooLargeError(len(cursor))
        return cursor

    def read(
        self,
        cursor: str,
        *,
        tool_id: str,
        caller: str | None,
        args_digest: bytes,
        now_us: int,
    ) -> CursorState:
        """
        Return what *cursor*, untrusted, holds for this very call.

        Raises:
            CursorInvalidError: It was not issued with this key for this tool, caller and
                arguments, or more than 60 s after *now_us*.

            CursorExpiredError: It was, but too long ago.
        """
        payload = self._verified(cursor)
        if payload.tool_id != _bytes(tool_id):
            raise CursorInvalidError("tool")
        if payload.caller != (None if caller is None else _bytes(caller)):
            raise CursorInvalidError("caller")
        if payload.args_digest != args_digest:
            raise CursorInvalidError("args")
        age_us = now_us - payload.issued_at_us
        if age_us < -_MAX_AHEAD_US:
            raise CursorInvalidError("time")
        if age_us > self._ttl_s * 1_000_000:
            raise CursorExpiredError(self._ttl_s)
        return CursorState(payload.page, payload.state)

    def _verified(self, cursor: str) -> _Payload:
        """Return the payload, no byte of which is looked at before its tag fits."""
        if not 0 < len(cursor) <= MAX_CURSOR_CHARS:
            raise CursorInvalidError("size")
        raw = _decoded(cursor)
        if raw is None:
            raise CursorInvalidError("encoding")
        payload, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(payload)):
            raise CursorInvalidError("signature")
        if payload[:1] != _VERSION:
            raise CursorInvalidError("version")
        try:
            return _DECODE(payload[1:])
        except msgspec.MsgspecError:
            raise CursorInvalidError("payload") from None

    def _tag(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")


def load_key(*, environ: Mapping[str, str], path: str) -> bytes:
    """
    Return the key that the processes of this user share.

    It is the variable ``TOOLRT_CURSOR_KEY``, 32 bytes as base64url without padding or as
    standard base64, else the file *path*, made with a new key if it is missing.

    Raises:
        CursorKeyError: The variable holds no such key; or the file is a link or not
            regular, not the user's or root's, open to group or others, or not of 32
            bytes, or it cannot be made.
    """
    text = environ.get(KEY_VARIABLE)
    if text is not None:
        return _parse_key(text)
    try:
        try:
            key = read_private_file(path, KEY_BYTES)
        except FileNotFoundError:
            _make_key_file(path)
            key = read_private_file(path, KEY_BYTES)
    except OSError as exc:
        raise CursorKeyError(path, exc.strerror or type(exc).__name__) from exc
    if len(key) != KEY_BYTES:
        raise CursorKeyError(path, f"holds {len(key)} bytes, not {KEY_BYTES}")
    return key


def _parse_key(text: str) -> bytes:
    key = _decoded(text) or _decoded_standard(text)
    if key is None:
        raise CursorKeyError(KEY_VARIABLE, "is no base64")
    if len(key) != KEY_BYTES:
        raise CursorKeyError(KEY_VARIABLE, f"holds {len(key)} bytes, not {KEY_BYTES}")
    return key


def _make_key_file(path: str) -> None:
    """
    Make the file *path* with a new key, unless another process is first.

    The file appears under its name whole: a link to one that was written before.
    """
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    key = os.urandom(KEY_BYTES)
    draft = f"{path}.{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass  # the other's key is the key
    finally:
        os.unlink(draft)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes | None:
    """Return the bytes of which *text* is the one base64url form, or None."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    # Python skips what is not of the alphabet and ignores spare bits at the end.
    return raw if _encoded(raw) == text else None


def _decoded_standard(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode("ascii") == text else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
