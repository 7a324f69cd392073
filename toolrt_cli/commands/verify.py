"""``toolrt audit verify``: what the record proves, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from toolrt_cli.documents import emit, write_facts
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.streams import Streams
from toolrt_cli.wiring import Session
from toolrt_cli.writing import anchor_of
from toolrt_store import SqliteEventStore

if TYPE_CHECKING:
    from toolrt_store.checkpoint import SignedCheckpoint
    from toolrt_store.verify import Verification


def verify_command(
    session: Session, streams: Streams, *, anchor: str | None, key: str | None
) -> int:
    """
    Verify the store of *session*; exit 7 if it is not as it was recorded.

    Raises:
        StoreMissingError: There is none.
        ForeignStoreError: It is no intact store, so there is nothing to verify.
        AnchorError: The anchor that was asked for cannot be read.
        UsageError: *key* is no public key.
    """
    first_key = parse_key(key)
    anchored, anchor_path, doubts = _anchored(session, anchor)
    with SqliteEventStore.open(session.store_path, read_only=True) as store:
        found = store.verify(
            anchored=anchored, first_key=first_key, progress=progress_on(streams)
        )
    show_verification(streams, found, session.store_path, anchor_path, doubts)
    return Exit.OK if found.is_intact else Exit.INTEGRITY


def parse_key(text: str | None) -> bytes | None:
    """
    Return the public key that *text* is, in hex.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    from toolrt_store.checkpoint import KEY_BYTES

    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != KEY_BYTES:
        raise UsageError(f"--key: a public key is {2 * KEY_BYTES} hex digits")
    return found


def read_anchor(path: str) -> tuple[Sequence[SignedCheckpoint], list[str]]:
    """
    Return the checkpoints that the anchor at *path* holds, and what is odd about it.

    Raises:
        AnchorError: It cannot be read.
    """
    from toolrt_store import anchor

    found = anchor.read(path)
    return found.checkpoints, [str(line) for line in found.bad_lines]


def _anchored(
    session: Session, named: str | None
) -> tuple[Sequence[SignedCheckpoint] | None, str | None, list[str]]:
    """Return what the anchor holds, None without one; its path; what is odd about it."""
    if named is not None:
        found, doubts = read_anchor(named)
        return found, named, doubts
    path = anchor_of(session)
    if path is None:
        return None, None, []
    from toolrt_store.anchor import AnchorError

    try:
        found, doubts = read_anchor(path)
    except AnchorError as exc:
        # One that was configured today holds nothing yet; a FIFO can never be read.
        return None, None, [str(exc)]
    return found, path, doubts


def progress_on(streams: Streams) -> Callable[[int, int], None] | None:
    """Return what shows how far a verification is, where there is somebody to look."""
    if not streams.err_terminal.is_tty or streams.settings.quiet:
        return None
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            streams.err.write(f"\rverifying {percent} %\r")
            streams.err.flush()

    return show


def show_verification(
    streams: Streams,
    found: Verification,
    path: str,
    anchor: str | None,
    doubts: Sequence[str],
    *,
    is_whole: bool = True,
) -> None:
    """Write what was found, as a document or as lines; an export may be a selection."""
    if progress_on(streams) is not None:
        streams.err.write("\r\x1b[K")
        streams.err.flush()
    unsigned = f"events {found.signed_up_to + 1} to {found.last_seq} are chained"
    document = {
        "path": path,
        "intact": found.is_intact,
        "whole": is_whole,
        "store_id": found.store_id.hex(),
        "events": found.events,
        "first_seq": found.first_seq if found.events else None,
        "last_seq": found.last_seq,
        "signed_up_to": found.signed_up_to,
        "unsigned": found.last_seq - max(found.signed_up_to, found.pruned_up_to)
        if is_whole
        else 0,
        "pruned_up_to": found.pruned_up_to,
        "checkpoints": found.checkpoints,
        "key": found.key and found.key.hex(),
        "anchor": anchor,
        "anchored_up_to": found.anchored_up_to,
        "first_bad_seq": found.mismatches[0].seq if found.mismatches else None,
        "mismatches": [{"seq": m.seq, "what": m.what} for m in found.mismatches],
        # The unsigned tail is told apart.
        "not_proven": [
            *(one for one in found.not_proven if not one.startswith(unsigned)),
            *doubts,
        ],
    }
    emit(streams, "verify", document, lambda: write_facts(streams, _lines(document)))


def _lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    first, last = document["first_seq"], document["last_seq"]
    signed, pruned = document["signed_up_to"], document["pruned_up_to"]
    yield "store", f"{document['path']}, id {document['store_id']}"
    if not document["whole"]:
        yield "checked", f"{document['events']} events, each by itself"
    elif pruned:
        yield "pruned", f"events 1 to {pruned} are gone, under a signed checkpoint"
    if first is None:
        yield "verified", "there are no events"
    elif signed >= first:
        yield "verified", f"events {first} to {signed}, chained and signed"
    if document["unsigned"] and not document["mismatches"]:
        start = max(signed, pruned) + 1
        yield "unsigned", f"events {start} to {last}, chained but not signed yet"
    if document["checkpoints"]:
        count = document["checkpoints"]
        plural = "s" * (count > 1)
        yield "key", f"{document['key']}, in force after {count} checkpoint{plural}"
    if document["anchor"] is not None:
        upto = document["anchored_up_to"]
        yield "anchor", f"{document['anchor']} vouches for the events up to {upto}"
    for one in document["mismatches"]:
        yield "mismatch", f"event {one['seq']}: {one['what']}"
    for text in document["not_proven"]:
        yield "not proven", text
    if document["intact"]:
        yield "result", "intact"
    else:
        bad = document["first_bad_seq"]
        yield "result", f"NOT INTACT, first bad event {bad}: keep the file as it is"
