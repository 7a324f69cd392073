"""
Importing CallEvents: JSON lines of wire versions 1 to 3 become call events of a store.

A batch is stored whole or not at all. A call that the store has already is skipped, so
an import that was interrupted is made whole by making it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from toolrt.audit.call_event import SCHEMA_VERSION, CallEvent
from toolrt.event import MAX_COUNT, Event, EventFilter, PageRequest
from toolrt.namespace import ActorRef
from toolrt_store.errors import IdentityConflictError, UnstorableEventError
from toolrt_store.store import SqliteEventStore

BATCH: Final = 1_000
_MOST_REFUSALS: Final = 100


class Refusal(msgspec.Struct, frozen=True):
    """A line that was not stored; ``line`` counts from 1."""

    line: int
    why: str


class Imported(msgspec.Struct, frozen=True):
    """What became of the lines; ``refusals`` names the first of the refused ones."""

    stored: int
    skipped: int
    refused: int
    refusals: tuple[Refusal, ...]


class _Numbered(msgspec.Struct, frozen=True):
    line: int
    event: Event


def import_calls(
    store: SqliteEventStore, lines: Iterable[bytes], *, namespace: str
) -> Imported:
    """
    Store the CallEvents of *lines* in *namespace*; empty lines do not count.

    The wire form names no actor: it is ``caller:`` and the caller, or anonymous.

    Raises:
        StoreError: The store cannot be written; whole batches before are stored.
    """
    importing = _Importing(store)
    batch: list[_Numbered] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            batch.append(_Numbered(number, parse_call(line, namespace=namespace)))
        except ValueError as error:
            importing.refuse(number, str(error))
        if len(batch) == BATCH:
            importing.store(batch)
            batch = []
    importing.store(batch)
    return importing.result()


def parse_call(line: bytes, *, namespace: str) -> Event:
    """
    Return the call event of one line.

    Raises:
        ValueError: It is no CallEvent of a known version; why, without its values.
    """
    try:
        call = CallEvent.from_json(line)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"is no CallEvent: {error}") from None
    if not 1 <= call.schema_version <= SCHEMA_VERSION:
        raise ValueError(f"its schema_version {call.schema_version} is not known here")
    if not 0 <= call.duration_ms <= MAX_COUNT:
        raise ValueError("its duration_ms is out of range")
    caller = call.caller_id
    actor = ActorRef("caller", caller) if caller else ActorRef.anonymous()
    try:
        return Event.from_call(call, namespace=namespace, actor=str(actor))
    except (ValueError, OverflowError):
        raise ValueError("its ts is no RFC 3339 time") from None


class _Importing:
    """Counts what becomes of the lines of one import."""

    def __init__(self, store: SqliteEventStore) -> None:
        self._store = store
        self._stored = 0
        self._skipped = 0
        self._refused = 0
        self._refusals: list[Refusal] = []

    def refuse(self, line: int, why: str) -> None:
        """Count *line* as refused."""
        self._refused += 1
        if len(self._refusals) < _MOST_REFUSALS:
            self._refusals.append(Refusal(line, why))

    def store(self, batch: Sequence[_Numbered]) -> None:
        """Store what the store does not have, in one commit."""
        fresh = self._fresh(batch)
        self._skipped += len(batch) - len(fresh)
        try:
            self._store.append_events([one.event for one in fresh])
        except (IdentityConflictError, UnstorableEventError):
            # Somebody else imports the same, or one of them cannot be kept.
            self._store_singly(fresh)
        else:
            self._stored += len(fresh)

    def _store_singly(self, fresh: Sequence[_Numbered]) -> None:
        """Store each of *fresh* by itself, as far as that can be."""
        for one in fresh:
            try:
                self._store.append_event(one.event)
            except UnstorableEventError as error:
                self.refuse(one.line, error.problem)
            except IdentityConflictError:
                self._skipped += 1
            else:
                self._stored += 1

    def _fresh(self, batch: Sequence[_Numbered]) -> list[_Numbered]:
        """Return what the store does not have, each call once."""
        by_id = {one.event.id: one for one in reversed(batch)}
        page = PageRequest(limit=len(by_id))
        found = self._store.query_events(EventFilter(ids=tuple(by_id)), page).items
        stored = {event.id for event in found} if by_id else set()
        return [
            one
            for one in batch
            if one.event.id not in stored and by_id[one.event.id] is one
        ]

    def result(self) -> Imported:
        """Return the counts, the refusals in the order of their lines."""
        refusals = sorted(self._refusals, key=lambda one: one.line)
        return Imported(self._stored, self._skipped, self._refused, tuple(refusals))
