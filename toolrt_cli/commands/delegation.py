"""``toolrt delegation inspect|verify|revoke``: tokens that somebody else made, too."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from toolrt.ucan import CODES, Token, UcanError, read_chain
from toolrt_cli import delegations, identities
from toolrt_cli.commands.provenance import write_lines
from toolrt_cli.delegation_checks import checked_links, link_item
from toolrt_cli.documents import emit
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import now_us
from toolrt_cli.output import to_json
from toolrt_cli.provenance.facts import Document, as_link
from toolrt_cli.provenance.known import latest_us
from toolrt_cli.provenance.text import short_did
from toolrt_cli.provenance.tokens import Verifier
from toolrt_cli.reading import open_to_read
from toolrt_cli.revocations import revocations_path, revoke
from toolrt_cli.streams import Streams
from toolrt_cli.times import parse_time, show_utc
from toolrt_cli.token_files import form_fault, read_named, read_to_look
from toolrt_cli.wiring import Session

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_UNVERIFIED: Final = "not verified: this is what the token says, whoever wrote it"
_DEEPER: Final = "   "
_SIGNS: Final = {True: "✓", False: "✗", None: "·"}


def inspect_command(streams: Streams, source: str) -> int:
    """
    Print what a token says, the root first; nothing of it is verified.

    Raises:
        UsageError: It cannot be read.
        UcanError: It is not written as a token is.
    """
    tokens = _read(read_to_look(source))
    links = [_claims(token) for token in tokens]
    document = {"digest": links[-1]["digest"], "verified": False, "links": links}

    def draw() -> None:
        write_lines(streams, [_UNVERIFIED, *_drawn(links, _claim_lines)])

    emit(streams, "delegation_inspect", document, draw)
    return Exit.OK


def verify_command(
    session: Session, streams: Streams, path: str, caller: str | None, at: str | None
) -> int:
    """
    Print the verdict on the token in *path*, with every check: exit 0 or 3.

    Args:
        caller: Whom it has to be for; None: whomever it is for.

        at: A time; now, or the latest time on record if that is later, if None.

    Raises:
        ProofFileError: The file is none that a call would read.
        UsageError: There is no such file, *at* is no time, or tokens name *caller* by
            no DID.
    """
    text = read_named(path)
    at_us = _time(session, at)
    audience = None if caller is None else _audience(session, caller)
    verifier = Verifier(session.config, audience, at_us // 1_000_000)
    result = verifier.verdict(text)
    links = checked_links(verifier.signed_links(text), result)
    if caller is None and links:
        # The last check was not made: it was held against itself.
        links[-1]["checks"].pop()
    document: Document = {
        "code": result.code,
        "verdict": "allow" if result else "deny",
        "why": None if result else form_fault(text) or CODES[result.code],
        "digest": links[-1]["digest"] if links else None,
        "caller": caller,
        "audience": links[-1]["audience"] if links else None,
        "at": show_utc(at_us),
        "capabilities": sorted(result.capabilities),
        "key_at_hand": _is_key_at_hand(session, links),
        "links": links,
    }
    emit(
        streams,
        "delegation_verify",
        document,
        lambda: write_lines(streams, _verdict_lines(document)),
    )
    return Exit.OK if result else Exit.DENIED


def revoke_command(session: Session, streams: Streams, source: str) -> int:
    """
    Revoke a delegation, and with it all that follows on it: for good.

    Args:
        source: A digest in full, or a file with the token.

    Raises:
        UsageError: It is neither.
        UcanError: The file holds no token.
        RevocationsError: The revocation cannot be kept.
    """
    digest = source.lower() if _DIGEST.fullmatch(source) else _digest_in(source)
    path = revocations_path(session.config, session.environ)
    is_new = revoke(path, digest, f"revoked {show_utc(now_us())}")
    document = {"digest": digest, "file": path, "new": is_new}

    def draw() -> None:
        streams.out.write(
            f"{'revoked' if is_new else 'was revoked already'} {digest}\n"
        )

    emit(streams, "delegation_revoke", document, draw)
    streams.remark(f"every call from now on reads {path}; there is no way back")
    return Exit.OK


def _read(text: str) -> tuple[Token, ...]:
    try:
        return read_chain(text)
    except UcanError as exc:
        raise _malformed(exc, text) from None


def _malformed(exc: UcanError, text: str) -> UcanError:
    said = form_fault(text) or exc.detail or CODES[exc.code]
    return UcanError(exc.code, said, link=exc.link)


def _digest_in(source: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{4,63}", source) and not os.path.lexists(source):
        raise UsageError(
            f"{source} is only a part of a digest: a revocation needs all 64 digits",
            next_step="toolrt delegation inspect FILE shows the digest of each link",
        )
    return _read(read_to_look(source))[-1].link.digest


def _claims(token: Token) -> Document:
    subject = {"subject": token.link.subject, "nonce": token.nonce}
    return {**link_item(as_link(token.link)), **subject, "meta": dict(token.meta)}


def _time(session: Session, at: str | None) -> int:
    if at is not None:
        try:
            return parse_time(at, now_us=now_us(), tz=None)
        except ValueError as exc:
            raise UsageError(f"--at {exc}", next_step="toolrt help time") from exc
    with open_to_read(session) as store:
        return latest_us(store)


def _audience(session: Session, caller: str) -> str:
    did = delegations.did_of(session.config, caller, session.environ)
    if did is None:
        why, step = delegations.possession_advice(
            session.config, caller, session.environ
        )
        raise UsageError(why, next_step=step)
    return did


def _is_key_at_hand(session: Session, links: Sequence[Document]) -> bool:
    if not links:
        return False
    did = links[-1]["audience"]
    return identities.find_did(did, session.environ) is not None


def _verdict_lines(document: Document) -> Iterator[str]:
    allowed = document["verdict"] == "allow"
    head = "ALLOW  the chain holds" if allowed else f"DENY  {document['code']}"
    yield f"{head}{'' if allowed else ': ' + document['why']}"
    whom = f" for {document['caller']}" if document["caller"] else ""
    yield f"at  {document['at']}{whom}"
    yield from _drawn(document["links"], _check_lines)
    if not document["links"]:
        return
    if allowed:
        yield f"grants {', '.join(document['capabilities'])}"
    if document["caller"] is None:
        yield f"! whom it is for was not asked: --as CALLER; it is for {document['audience']}"
    if not document["key_at_hand"]:
        yield "! the key of its audience is not at hand: a call from here is refused"


def _drawn(
    links: Sequence[Document], lines_of: Callable[[Document], Iterator[str]]
) -> Iterator[str]:
    for depth, link in enumerate(links):
        branch = f"{_DEEPER * (depth - 1)}└─ " if depth else ""
        yield f"{branch}delegation {link['digest']}"
        for line in lines_of(link):
            yield f"{_DEEPER * depth}    {line}"


def _claim_lines(link: Document) -> Iterator[str]:
    yield f"issuer     {link['issuer']}"
    yield f"audience   {link['audience']}"
    yield f"authority  {link['subject']}"
    yield f"grants     {', '.join(link['capabilities'])}"
    for one in link["bindings"]:
        yield f"with       {one['name']} = {one['value']}"
    yield f"counts     {_window(link)}"
    yield f"nonce      {link['nonce']}"
    if link["meta"]:
        yield f"meta       {to_json(link['meta'])}"


def _check_lines(link: Document) -> Iterator[str]:
    yield f"{short_did(link['issuer'])} → {short_did(link['audience'])}"
    yield f"{', '.join(link['capabilities'])}, {_window(link)}"
    for one in link["bindings"]:
        yield f"only with {one['name']} = {one['value']}"
    for check in link["checks"]:
        yield f"{_SIGNS[check['ok']]} {check['name']}: {check['detail']}"


def _window(link: Document) -> str:
    start = f"from {link['not_before']} " if link["not_before"] else ""
    return f"{start}until {link['expires']}"
