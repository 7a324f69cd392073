"""``toolrt delegation issue``: a new token, unless nobody would accept it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from toolrt.schema import ANYTHING
from toolrt.ucan import (
    CODES,
    Limits,
    Link,
    UcanError,
    issue,
    read_chain,
)
from toolrt_cli import delegations, identities
from toolrt_cli.arguments import parse_pairs
from toolrt_cli.commands.identity import require
from toolrt_cli.delegation_checks import link_item
from toolrt_cli.documents import emit
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.issue_change import Wanted, smallest_change
from toolrt_cli.json_text import ArgumentSyntaxError
from toolrt_cli.listing import now_us
from toolrt_cli.new_file import new_file
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.provenance.facts import as_link
from toolrt_cli.streams import Streams
from toolrt_cli.times import parse_duration, parse_time
from toolrt_cli.token_files import form_fault, read_named
from toolrt_cli.wiring import Session

_SECOND_US: Final = 1_000_000
_NOT_OWN: Final = 0o077
_HELP: Final = "toolrt delegation issue --help"


class IssueRefusedError(UcanError):
    """A token was not made, as nobody would accept it; ``next_step`` is the change."""

    def __init__(self, code: str, why: str, change: str) -> None:
        self.next_step = change
        super().__init__(code, why)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a new token is to say, as it was typed."""

    issuer: str
    audience: str
    capabilities: tuple[str, ...]
    bindings: tuple[str, ...] = ()
    expires: str | None = None
    not_before: str | None = None
    proof: str | None = None
    out: str | None = None


def issue_command(session: Session, streams: Streams, options: Options) -> int:
    """
    Print a new token, or write it to a new file of its own.

    Raises:
        NotFoundError: There is no such identity.
        IdentityError: The key of the issuer cannot be used.
        ProofFileError: The file of the parent is none to read.
        IssueRefusedError: The token would be refused.
        UcanError: The parent is no token.
        UsageError: A time or binding cannot be read, the file is there already, or that
            of the parent is not.
    """
    limits = delegations.limits_of(session.config)
    key_file = require(options.issuer)
    seed = identities.seed_of(key_file)
    parent = None if options.proof is None else read_named(options.proof)
    wanted = _wanted(session, options, _last_link(parent, limits), limits)
    try:
        token = issue(
            seed,
            audience=wanted.audience,
            capabilities=wanted.capabilities,
            expires=wanted.expires,
            not_before=wanted.not_before,
            bindings=wanted.bindings,
            proof=parent,
            limits=limits,
        )
    except UcanError as exc:
        raise _refused(exc, wanted, key_file.did or "", options, limits) from None
    _give(streams, token, options, limits)
    return Exit.OK


def _last_link(parent: str | None, limits: Limits) -> Link | None:
    if parent is None:
        return None
    try:
        return read_chain(parent, limits=limits)[-1].link
    except UcanError as exc:
        said = form_fault(parent) or exc.detail or CODES[exc.code]
        detail = f"the proof: {said}"
        raise UcanError(exc.code, detail) from None


def _wanted(
    session: Session, options: Options, parent: Link | None, limits: Limits
) -> Wanted:
    now = now_us() // _SECOND_US
    start = _start(options, parent, now)
    return Wanted(
        parent=parent,
        audience=_audience(session, options.audience),
        capabilities=options.capabilities,
        bindings=_bindings(options.bindings),
        not_before=start,
        expires=_end(options, parent, start, limits),
        now=now,
    )


def _bindings(words: tuple[str, ...]) -> Mapping[str, Any]:
    try:
        return parse_pairs(words, schema=ANYTHING, read_file=_no_file)
    except ArgumentSyntaxError as exc:
        problem = str(exc).removeprefix("arguments: ")
        raise UsageError(f"--with {problem}", next_step=_HELP) from exc


def _start(options: Options, parent: Link | None, now: int) -> int:
    if options.not_before is not None:
        return _moment("--not-before", options.not_before, now)
    # Not before its parent counts: it would be refused.
    return max(now, (parent and parent.not_before) or 0)


def _end(options: Options, parent: Link | None, start: int, limits: Limits) -> int:
    if options.expires is not None:
        return _moment("--expires", options.expires, start)
    longest = start + limits.max_ttl_s
    return longest if parent is None else min(longest, parent.expires)


def _moment(option: str, text: str, start: int) -> int:
    """Return the Unix seconds of a time, or of a duration from *start* on."""
    try:
        return start + int(parse_duration(text))
    except ValueError:
        pass
    try:
        return parse_time(text, now_us=now_us(), tz=None) // _SECOND_US
    except ValueError as exc:
        raise UsageError(f"{option} {exc}", next_step="toolrt help time") from exc


def _audience(session: Session, name: str) -> str:
    """
    Return the DID that *name*, a DID, a caller or an identity, is known by.

    Raises:
        NotFoundError: It has none.
    """
    did = delegations.did_of(session.config, name, session.environ)
    if did is None:
        with_did = (n for n, one in session.config.config.callers.items() if one.did)
        known = (*identities.names(session.environ), *with_did)
        raise NotFoundError("identity", name, near_names(name, known))
    return did


def _no_file(name: str) -> str:
    with open(name, encoding="utf-8") as file:
        return file.read()


def _refused(
    exc: UcanError, wanted: Wanted, issuer: str, options: Options, limits: Limits
) -> IssueRefusedError:
    found = smallest_change(
        exc, wanted, issuer=issuer, proof=options.proof, limits=limits
    )
    return IssueRefusedError(
        exc.code, found.why or exc.detail or CODES[exc.code], found.change
    )


def _give(streams: Streams, token: str, options: Options, limits: Limits) -> None:
    link = as_link(read_chain(token, limits=limits)[-1].link)
    said: Mapping[str, Any] = link_item(link)
    path = None if options.out is None else os.path.abspath(options.out)
    document: dict[str, Any] = {"digest": link.digest, **said, "file": path}
    if path is None:
        document["token"] = token
    else:
        with new_file(path) as name, open(name, "w", encoding="ascii") as file:
            file.write(token + "\n")
    emit(
        streams,
        "delegation",
        document,
        lambda: streams.out.write(f"{token if path is None else path}\n"),
    )
    streams.remark(
        f"digest {link.digest}: {', '.join(link.capabilities)},"
        f" from {said['not_before']} until {said['expires']}"
    )
    if path is None and _is_open_file(streams):
        streams.remark("the file is open to others, and no call reads such: chmod 600")


def _is_open_file(streams: Streams) -> bool:
    """Return whether stdout is a file that others can read."""
    try:
        mode = os.fstat(streams.out.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) and bool(mode & _NOT_OWN)
