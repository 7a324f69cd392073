"""
For the tests of packs, gates and sinks: a store, a sink and a clock in memory, and the
context and registry that a handler needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Self

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.audit.sinks import AuditSink
from toolrt.builder import RegistryBuilder
from toolrt.capability import Authority
from toolrt.clock import Clock, new_ulid
from toolrt.context import CallContext
from toolrt.errors import IdentityConflictError, StoreError, UnstorableEventError
from toolrt.event import BatchWriteSummary, Event, EventFilter, Page, PageRequest
from toolrt.namespace import ActorRef, Namespace, NamespaceToken, mint_token
from toolrt.pack import Pack
from toolrt.registry import Registry

__all__ = [
    "ManualClock",
    "MemoryEventStore",
    "MemorySink",
    "context_for",
    "registry_for",
    "token_for",
]


def token_for(namespace: str) -> NamespaceToken:
    """Return a token for *namespace* and the anonymous actor."""
    return mint_token(Namespace.parse(namespace), ActorRef.anonymous())


def context_for(
    tool_id: str = "test:tool",
    *,
    caller: str | None = "tester",
    capabilities: Iterable[str] = (),
    timeout_s: float = 5.0,
    clock: Clock | None = None,
) -> CallContext:
    """Return the context of a call, for tests that call a handler's function itself."""
    chosen = clock or ManualClock()
    granted = Authority({"tester": capabilities}).resolve("tester", capabilities)
    return CallContext(
        call_id=new_ulid(chosen.now_us()),
        caller=caller,
        tool_id=tool_id,
        token=token_for("local"),
        capabilities=granted,
        timeout_s=timeout_s,
        max_output_bytes=1024 * 1024,
        deadline_ns=chosen.monotonic_ns() + int(timeout_s * 1e9),
        monotonic_ns=chosen.monotonic_ns,
    )


def registry_for(
    *packs: Pack,
    grants: Mapping[str, Iterable[str]] | None = None,
    store: MemoryEventStore | None = None,
    clock: Clock | None = None,
) -> Registry:
    """
    Return a registry of *packs* that records in memory.

    Args:
        grants: What each caller is granted. None: ``tester`` has all that is declared.
    """
    declared = {c for pack in packs for h in pack.handlers for c in h.capabilities}
    builder = (
        RegistryBuilder()
        .with_authority(Authority({"tester": declared} if grants is None else grants))
        .with_event_store(store or MemoryEventStore(), calls=True)
        .with_clock(clock or ManualClock())
    )
    for pack in packs:
        builder.register(pack)
    return builder.build()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start_us: int = 1_767_225_600_000_000) -> None:
        self._wall_us = start_us
        self._monotonic_ns = 0

    def now_us(self) -> int:
        """Return the wall clock, in microseconds since the Unix epoch."""
        return self._wall_us

    def monotonic_ns(self) -> int:
        """Return the monotonic clock, in nanoseconds."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks on."""
        self._wall_us += int(seconds * 1_000_000)
        self._monotonic_ns += int(seconds * 1_000_000_000)


class MemorySink(AuditSink):
    """Keeps the CallEvents it is given, with their details."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []
        self.details: list[Any] = []

    def on_record(self, event: CallEvent, details: Any) -> None:
        """Keep *event* and *details*."""
        self.on_call(event)
        self.details.append(details)

    def on_call(self, event: CallEvent, /) -> None:
        """Keep *event*."""
        self.events.append(event)


class MemoryEventStore:
    """
    An EventStore that ends with the process.

    ``fail_on`` names the kinds whose appends fail, for tests of a store that is full.
    """

    def __init__(self, *, fail_on: Sequence[str] = ()) -> None:
        self.args_key = bytes(32)
        self.process = "memory"
        self.fail_on = fail_on
        self._events: list[Event] = []
        self._lock = Lock()

    @property
    def events(self) -> list[Event]:
        """Everything stored, oldest first."""
        return list(self._events)

    def append_event(self, event: Event) -> Event:
        """Store *event*; see `toolrt.EventStore`."""
        with self._lock:
            return self._store([event])[0]

    def append_events(self, events: Sequence[Event]) -> BatchWriteSummary:
        """Store *events*, all or none; see `toolrt.EventStore`."""
        with self._lock:
            self._store(events)
        return BatchWriteSummary(len(events), len(events))

    def _store(self, events: Sequence[Event]) -> list[Event]:
        known = {event.id for event in self._events}
        fresh: list[Event] = []
        for seq, event in enumerate(events, len(self._events) + 1):
            if event.kind in self.fail_on:
                raise StoreError("memory", f"told to fail on {event.kind} events")
            stored = msgspec.structs.replace(event, seq=seq)
            if stored.id in known:
                raise IdentityConflictError("memory", stored.id)
            if any("\0" in (name or "") for name in _names(event)):
                raise UnstorableEventError("memory", "a name holds NUL")
            known.add(stored.id)
            fresh.append(stored)
        self._events += fresh
        return fresh

    def get_event(self, event_id: str) -> Event | None:
        """Return the event with that id, or None."""
        return next((e for e in self._events if e.id == event_id), None)

    def query_events(
        self,
        filter: EventFilter = EventFilter(),  # noqa: B008 - immutable
        page: PageRequest = PageRequest(),  # noqa: B008 - immutable
    ) -> Page:
        """Return the events that match, newest first; see `toolrt.EventStore`."""
        found = [e for e in self._events if _matches(filter, e)]
        total = len(found)
        if page.before_seq is not None:
            before = page.before_seq
            found = [e for e in found if (e.seq or 0) < before]
        if page.after_seq is not None:
            after = page.after_seq
            found = [e for e in found if (e.seq or 0) > after][: page.limit]
            return Page(tuple(reversed(found)), total)
        found.reverse()
        return Page(tuple(found[page.offset : page.offset + page.limit]), total)

    def count_events(
        self,
        filter: EventFilter = EventFilter(),  # noqa: B008 - immutable
    ) -> int:
        """Return how many events match."""
        return self.query_events(filter).total

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing: there is nothing to close."""


def _names(event: Event) -> tuple[str | None, ...]:
    named = (event.namespace, event.verb, event.tool_id, event.actor, event.outcome)
    return (*named, event.caller_id, event.call_id)


def _matches(chosen: EventFilter, event: Event) -> bool:
    granted = event.details.grants.granted if event.details else ()
    listed = (
        (chosen.ids, event.id),
        (chosen.kinds, event.kind),
        (chosen.verbs, event.verb),
        (chosen.tools, event.tool_id),
        (chosen.callers, event.caller_id),
        (chosen.actors, event.actor),
        (chosen.namespaces, event.namespace),
        (chosen.outcomes, event.outcome),
        (chosen.call_ids, event.call_id),
    )
    return (
        all(not wanted or value in wanted for wanted, value in listed)
        and (not chosen.capabilities or any(c in granted for c in chosen.capabilities))
        and (chosen.after is None or event.created_at_us > chosen.after)
        and (chosen.before is None or event.created_at_us < chosen.before)
        and (
            chosen.min_duration_ms is None
            or event.duration_ms >= chosen.min_duration_ms
        )
    )
