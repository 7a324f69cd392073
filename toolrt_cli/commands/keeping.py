"""``toolrt audit checkpoint|backup|restore|prune|redact``: what is done to the store."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from toolrt_cli.commands.verify import progress_on, show_verification
from toolrt_cli.confirm import require_yes
from toolrt_cli.documents import emit, write_facts
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.problems import NotFoundError
from toolrt_cli.streams import Streams
from toolrt_cli.times import parse_duration, parse_time, show_utc
from toolrt_cli.wiring import Session
from toolrt_cli.writing import anchor_of, open_existing
from toolrt_store import SqliteEventStore

if TYPE_CHECKING:
    from toolrt_store.checkpoint import Checkpoint
    from toolrt_store.restoring import Restored
    from toolrt_store.retention import Pruned

_BACKUP_TIMEOUT_S: Final = 3600.0


def checkpoint_command(session: Session, streams: Streams, *, rotate: bool) -> int:
    """
    Sign a statement over all events, and print it; with *rotate* by a new key as well.

    Raises:
        StoreMissingError: There is no store.
        StoreError: The key cannot be used, or the store not written.
    """
    from toolrt_store.checkpoint import parse_note

    with open_existing(session) as store:
        made = store.checkpoint(rotate=rotate)
        notes, problem = store.checkpoints(), store.seal_problem
    said = made or parse_note(notes[-1].note)
    document = _checkpoint_document(session, said, is_new=made is not None)
    document["anchor_problem"] = problem and str(problem)
    emit(
        streams,
        "checkpoint",
        document,
        lambda: write_facts(streams, _checkpoint_lines(document)),
    )
    return Exit.OK


def _checkpoint_document(
    session: Session, said: Checkpoint, *, is_new: bool
) -> dict[str, Any]:
    return {
        "path": session.store_path,
        "written": is_new,
        "store_id": said.store_id.hex(),
        "size": said.size,
        "root": said.root.hex(),
        "head": said.head.hex(),
        "time": show_utc(said.at_us),
        "pruned": said.pruned,
        "previous": said.previous.hex(),
        "key": said.key.hex(),
        "next_key": said.next_key and said.next_key.hex(),
        "anchor": anchor_of(session),
    }


def _checkpoint_lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    names = ("store_id", "size", "root", "head", "time", "pruned", "previous", "key")
    yield from ((name, str(document[name])) for name in names)
    if document["next_key"]:
        yield "next_key", document["next_key"]
    if document["anchor"]:
        problem = document["anchor_problem"]
        yield "anchor", f"NOT TOLD: {problem}" if problem else document["anchor"]
    if not document["written"]:
        yield "note", "no event since: it is the one that was there"


def backup_command(session: Session, streams: Streams, target: str) -> int:
    """
    Copy the store to *target* as it is now, while writers go on.

    Raises:
        StoreError: It cannot be read, or *target* is there or cannot be written.
    """
    from toolrt_store.backup import backup

    path = os.path.abspath(target)
    last = backup(session.store_path, path, timeout_s=_BACKUP_TIMEOUT_S)
    document = {"target": path, "path": session.store_path, "last_seq": last}

    def show() -> None:
        write_facts(
            streams,
            [
                ("backup", path),
                ("of", f"{session.store_path}, up to event {last}"),
                ("without", "its key: keep a copy of that apart"),
            ],
        )

    emit(streams, "backup", document, show)
    return Exit.OK


def restore_command(
    session: Session, streams: Streams, backup: str, *, replace: bool
) -> int:
    """
    Put a copy of *backup*, once it is verified, in the place of the store.

    Raises:
        StoreError: *backup* is no store; a store stands in the place and is not to be
            replaced, or is open; or it cannot be written.
    """
    from toolrt_store import files, restoring
    from toolrt_store.errors import StoreUnavailableError

    path, table = session.store_path, session.config.config.store
    if files.is_there(path) and not replace:
        # Said before the work of a copy.
        problem = "there is a store here already: --replace keeps it under a new name"
        raise StoreUnavailableError(path, problem)
    now = show_utc(time.time_ns() // 1000).translate({ord(c): None for c in "-:."})
    with restoring.staged(backup, path, timeout_s=_BACKUP_TIMEOUT_S) as (copy, last):
        with SqliteEventStore.open(copy, read_only=True) as store:
            found = store.verify(progress=progress_on(streams))
            checkpoints = store.checkpoints()
        if not found.is_intact:
            show_verification(streams, found, os.path.abspath(backup), None, ())
            return Exit.INTEGRITY
        done = restoring.take_place(
            copy,
            path,
            checkpoints,
            last_seq=last,
            aside=f"{path}.replaced-{now}" if replace else None,
            group=table.group,
            lock_timeout_s=table.lock_timeout,
        )
    _show_restored(session, streams, os.path.abspath(backup), done)
    return Exit.OK


_KEY_WORDS: Final = {
    "fits": "the key file fits: it signs on",
    "none": "no checkpoint yet: the next one is signed by the key that is there",
    "missing": "there is no key file: put the one of this store there, or nothing"
    " is signed",
    "other": "the key file was another store's and is kept with that: put the one of"
    " this store there, or nothing is signed",
}


def _show_restored(
    session: Session, streams: Streams, source: str, done: Restored
) -> None:
    path, anchor = session.store_path, anchor_of(session)
    warning = (
        "an anchor that was told of events after"
        f" {done.last_seq} contradicts this store from now on: keep it as evidence of"
        " the restore, and name a new one"
    )
    document = {
        "path": path,
        "backup": source,
        "last_seq": done.last_seq,
        "kept_as": done.kept_as,
        "key": done.key,
        "anchor": anchor,
        "warning": warning,
    }
    lines = [
        ("restored", f"{path}, from {source}, verified, up to event {done.last_seq}"),
        *([("kept", done.kept_as)] if done.kept_as else []),
        ("key", _KEY_WORDS[done.key]),
        ("anchor", warning),
    ]
    emit(streams, "restore", document, lambda: write_facts(streams, lines))


def prune_command(
    session: Session,
    streams: Streams,
    *,
    before: str | None,
    keep: str | None,
    reason: str | None,
    yes: bool,
    dry_run: bool,
) -> int:
    """
    Remove the oldest events under a signed checkpoint, then verify the rest.

    Raises:
        UsageError: It is not said how much is to stay.
        UnconfirmedError: Nobody said yes.
        StoreError: It could not be done.
    """
    before_us = _prune_before(session, before, keep)
    if dry_run:
        with SqliteEventStore.open(session.store_path, read_only=True) as store:
            found = store.prunable(before_us)
        _show_pruned(session, streams, before_us, found, None)
        return Exit.OK
    with open_existing(session) as store:
        plan = store.prunable(before_us)
        if plan.events:
            what = f"{plan.events} events, up to event {plan.up_to}, go for good"
            require_yes(what, streams, yes=yes)
        done = store.prune(before_us, reason=reason)
        rest = store.verify(progress=progress_on(streams))
    intact = rest.is_intact
    _show_pruned(session, streams, before_us, done, intact)
    return Exit.OK if intact else Exit.INTEGRITY


def _prune_before(session: Session, before: str | None, keep: str | None) -> int:
    now_us = time.time_ns() // 1000
    retention = session.config.config.store.retention
    if before is not None and keep is not None:
        raise UsageError("--before and --keep say the same: give one of them")
    try:
        at_us = None if before is None else parse_time(before, now_us=now_us, tz=None)
        seconds = retention if keep is None else parse_duration(keep)
    except ValueError as exc:
        raise UsageError(str(exc), next_step="toolrt help time") from exc
    if at_us is not None:
        if at_us > now_us:
            raise UsageError(f"--before {before!r} is in the future")
        return at_us
    if seconds is None:
        problem = "how much is to stay? --keep 180d, --before TIME, or store.retention"
        raise UsageError(problem, next_step="toolrt audit prune --help")
    return now_us - round(seconds * 1_000_000)


def _show_pruned(
    session: Session,
    streams: Streams,
    before_us: int,
    pruned: Pruned,
    intact: bool | None,  # noqa: FBT001 - None: nothing was done
) -> None:
    from toolrt_store.blocks import BLOCK

    events, up_to = pruned.events, pruned.up_to
    document = {
        "path": session.store_path,
        "dry_run": intact is None,
        "before": show_utc(before_us),
        "events": events,
        "up_to": up_to,
        "intact": intact,
    }
    verb = "would go" if intact is None else "went"
    words = f"{events} events {verb}: all of them before {show_utc(before_us)}"
    if not events:
        words = (
            f"nothing {verb}: whole blocks of {BLOCK} events under a checkpoint go, all"
            f" of them before {show_utc(before_us)}, none of a call still open"
        )
    lines = [("pruned", words)]
    if up_to:
        lines.append(("gone", f"events 1 to {up_to}"))
    if intact is not None:
        lines.append(("rest", "verified" if intact else "NOT INTACT: audit verify"))
    emit(streams, "prune", document, lambda: write_facts(streams, lines))


def redact_command(
    session: Session, streams: Streams, name: str, *, reason: str | None, yes: bool
) -> int:
    """
    Remove the free texts of an event, or of both events of a call, for good.

    Raises:
        NotFoundError: No record, or more than one, has that id.
        UnconfirmedError: Nobody said yes.
        StoreError: It could not be done.
    """
    with open_existing(session) as store:
        ids = _event_ids(store, name)
        require_yes(f"the free texts of {', '.join(ids)} go for good", streams, yes=yes)
        texts = sum(store.redact(one, reason=reason) for one in ids)
    document = {"events": ids, "texts": texts, "path": session.store_path}

    def show() -> None:
        lines = [("redacted", one) for one in ids]
        write_facts(streams, [*lines, ("texts", f"{texts} gone, their digests stay")])

    emit(streams, "redact", document, show)
    return Exit.OK


def _event_ids(store: SqliteEventStore, name: str) -> list[str]:
    from toolrt import EventFilter
    from toolrt_cli.listing import named_attempts

    if store.get_event(name) is not None:
        return [name]
    found = named_attempts(store, name)
    if not found:
        raise NotFoundError("record", name)
    events = store.query_events(EventFilter(call_ids=(found[0].call_id,))).items
    return [event.id for event in reversed(events)]
