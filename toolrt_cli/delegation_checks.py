"""
The checks of a chain link by link, in the order in which they are made.

Pure: from what the links say and the verdict on them. Up to the fault every check held,
and what comes after it was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from toolrt.ucan import CODES, ChainResult
from toolrt_cli.provenance.answer import seconds_text
from toolrt_cli.provenance.facts import OK, Document, Link

#: Which check each code is the failure of.
_CHECK_OF: Final = {
    "signature": "signature",
    "revoked": "revocation",
    "revocations": "revocation",
    "root_subject": "root",
    "untrusted_root": "root",
    "root_ceiling": "root",
    "not_yet": "window",
    "expired": "window",
    "ttl": "window",
    "alignment": "issuer",
    "subject": "authority",
    "time_widening": "within",
    "cap_widening": "narrows",
    "binding_widening": "bindings",
    "audience": "audience",
}
#: What each link is held against the one before it for.
_AGAINST_PARENT: Final = ("issuer", "authority", "within", "narrows", "bindings")
#: What a check says when it holds.
_HOLDS: Final = {
    "signature": "its issuer signed it",
    "revocation": "not revoked",
    "root": "its issuer is trusted with what it grants",
    "window": "it counts at that time",
    "issuer": "issued by whom the link before it is for",
    "authority": "the same authority as the link before it",
    "within": "inside the time of the link before it",
    "narrows": "nothing that the link before it does not grant",
    "bindings": "every restriction of the link before it",
    "audience": "it is for the caller",
}


def checked_links(links: Sequence[Link], result: ChainResult) -> list[Document]:
    """
    Return each of *links*, the root first, with its checks.

    A check is ``ok`` true or false, or None if it was not reached.
    """
    last = len(links) - 1
    items = [link_item(link) for link in links]
    for item in items:
        item["checks"] = []
    is_past = False
    failed = _CHECK_OF.get(result.code)
    for index, name in _steps(last):
        is_fault = name == failed and index == _at_fault(result, last)
        ok = None if is_past else not is_fault
        is_past = is_past or is_fault
        said = {
            True: _HOLDS[name],
            False: CODES.get(result.code, ""),
            None: "not reached",
        }
        items[index]["checks"].append({"name": name, "ok": ok, "detail": said[ok]})
    return items


def link_item(link: Link) -> Document:
    """Return what *link* says, as a document."""
    return {
        "issuer": link.issuer,
        "audience": link.audience,
        "capabilities": list(link.capabilities),
        "bindings": [{"name": name, "value": text} for name, text in link.bindings],
        "not_before": seconds_text(link.not_before),
        "expires": seconds_text(link.expires),
        "digest": link.digest,
    }


def _at_fault(result: ChainResult, last: int) -> int | None:
    if result.code == OK:
        return None
    return last if result.link is None else result.link


def _steps(last: int) -> Iterator[tuple[int, str]]:
    """Yield link and check, in the order of the verifier."""
    every = range(last + 1)
    yield from ((index, "signature") for index in every)
    yield from ((index, "revocation") for index in every)
    if every:
        yield 0, "root"
    yield from ((index, "window") for index in every)
    yield from ((index, name) for index in every[1:] for name in _AGAINST_PARENT)
    if every:
        yield last, "audience"
