"""
Delegation tokens in files: what is read, and what is left unread.

A token is taken from a file that nobody else can have read or written. What is only
looked at, or revoked, may come from any regular file. The text of a token goes to
whoever verifies it and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import sys
from collections.abc import Sequence
from typing import Final

from toolrt.capability import MAX_PROOFS
from toolrt.errors import PolicyError
from toolrt.secrets import read_private_file
from toolrt_cli.config import LoadedConfig
from toolrt_cli.grammar import UsageError

#: Longer than any token that is verified, with its newline.
_MAX_BYTES: Final = 16_385
#: How every token begins, also one that was cut off or broken over lines.
_BEGINS: Final = "eyJ"
#: As long as no name of a file is.
_LONG: Final = 256
#: What is shown of a token that stands where a file is to be named.
_CUT: Final = f"{_BEGINS}…"
_NAME_ONE: Final = "name a file that holds a token"
#: A token as a word of the command line, and no name of a file.
_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{86}", re.ASCII)
_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_OWN: Final = 0o077


class ProofFileError(PolicyError):
    """A file with a delegation token is not to be used, so the request is refused."""

    code = "proof_file"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        self.next_step = _cure(path)
        super().__init__(f"the delegation is refused: {path}: {problem}")


def read_proof(path: str) -> str:
    """
    Return the token in *path*, which may still be anything.

    Raises:
        ProofFileError: It is missing, a link, no regular file, another's, open to
            others, or too large: it was not read.
    """
    if _is_token_text(os.path.basename(path)):
        raise ProofFileError(_CUT, "is the text of a token, and no file")
    try:
        data = read_private_file(path, _MAX_BYTES)
    except FileNotFoundError:
        raise ProofFileError(path, "is missing") from None
    except (OSError, ValueError) as exc:
        problem = getattr(exc, "strerror", None) or str(exc)
        if os.path.islink(path):
            problem = "a symbolic link"
        raise ProofFileError(path, f"not read: {problem}") from None
    return _as_text(data)


def read_named(path: str) -> str:
    """
    Return the token in the file *path* that a command was given to work on.

    Raises:
        UsageError: There is no such file.
        ProofFileError: It is none that a call would read.
    """
    if not os.path.lexists(path) and not _is_token_text(os.path.basename(path)):
        problem = f"{path}: {os.strerror(errno.ENOENT)}"
        raise UsageError(problem, next_step=_NAME_ONE)
    return read_proof(os.path.abspath(path))


def proof_files(
    config: LoadedConfig, caller: str, named: Sequence[str]
) -> tuple[str, ...]:
    """
    Return the files of the tokens that *caller* shows: its ``proofs``, then *named*.

    One more than a call may bring at most: the rest would change nothing.
    """
    table = config.config.callers.get(caller)
    listed = [config.resolve(one) for one in (table.proofs if table else ())]
    return (*listed, *map(os.path.abspath, named))[: MAX_PROOFS + 1]


def read_to_look(source: str) -> str:
    """
    Return the token that *source* is or names: itself, a file, or ``-``, stdin.

    Raises:
        UsageError: There is no such file, it cannot be read, or is too large.
    """
    if _TOKEN.fullmatch(source):
        return source
    if _is_token_text(source):
        raise UsageError(
            f"{_CUT} is no file, and no whole token: one has no line breaks",
            next_step=_NAME_ONE,
        )
    try:
        data = _read_stdin() if source == "-" else _read_regular(source)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        named = source or "the name of the file is empty"
        raise UsageError(f"{named}: {reason}", next_step=_NAME_ONE) from exc
    if len(data) > _MAX_BYTES:
        problem = f"{source}: larger than {_MAX_BYTES} bytes: no token"
        raise UsageError(problem, next_step=_NAME_ONE)
    return _as_text(data)


def form_fault(text: str) -> str:
    """Return what a person did to *text* that makes it no token; empty if nothing."""
    if not text:
        return "it is empty"
    if any(char.isspace() for char in text):
        return "it has spaces or line breaks: a token is one line without any"
    return ""


def _is_token_text(word: str) -> bool:
    """Return whether a token stands where a name is expected: it is not repeated."""
    return word.startswith(_BEGINS) and len(word) >= _LONG


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(_MAX_BYTES + 1)


def _read_regular(path: str) -> bytes:
    descriptor = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _as_text(data: bytes) -> str:
    # What is no ASCII is no token either, and is told so by who verifies it.
    return data.removesuffix(b"\n").decode("ascii", "replace")


def _cure(path: str) -> str:
    try:
        info = os.lstat(path)
    except OSError:
        return _NAME_ONE
    if stat.S_ISREG(info.st_mode) and info.st_mode & _NOT_OWN:
        return f"chmod 600 {shlex.quote(path)}"
    return "name a regular file of your own, 0600, of at most 16 KiB"
