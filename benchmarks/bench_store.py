"""
The store's append, with the cheapest equivalent beside it.

The equivalents write the very rows that the store writes, into a database of the same
schema with the same pragmas, with nothing around them: no lock file, no codec, no names.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from toolrt import AuditEvent
from toolrt.capability import AllowRule, CapabilitySet, Grant
from toolrt.clock import new_ulid, rfc3339
from toolrt.event import CallDetails, Event
from toolrt.namespace import ActorRef
from toolrt_store import SqliteEventStore, rows, sqlite

BATCH = 1_000
ROUNDS = 50
GRANTS = CapabilitySet(
    (Grant("fs:read", AllowRule(pattern="fs:*", file="toolrt.toml", line=3, column=9)),)
)


def gate_event(process: str) -> Event:
    """Return an ordinary gate event of now."""
    now_us = time.time_ns() // 1000
    details = CallDetails(
        namespace="local",
        actor="os:ann",
        caller="ci-bot",
        pack="std",
        effect="read",
        args_digest=bytes(16),
        grants=GRANTS,
        policy="cd" * 32,
        process=process,
    )
    actor = ActorRef("os", "ann")
    audit_event = AuditEvent(
        rfc3339(now_us), actor, "local", "fs.read", "allow", "RuleGate"
    )
    return Event.from_audit(
        audit_event,
        call_id=new_ulid(now_us),
        tool_id="std:fs.read",
        caller_id="ci-bot",
        details=details,
    )


def measure(
    benchmark: BenchmarkFixture,
    target: Callable[[Any], object],
    make: Callable[[], object],
    rounds: int,
) -> None:
    """Time *target* of what *make* made outside of the measured time."""
    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(target, setup=lambda: ((make(),), {}), rounds=rounds)


class BareWriter:
    """Writes prepared rows into the tables of a store, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteEventStore.open(path)
        template = self.store.append_event(gate_event(self.store.process))
        self._row = rows.encode(template, 0, self.store._dictionary, self.store._sets)
        self._seqs = itertools.count(2)
        self._connection: sqlite.Connection = self.store._connection

    def rows(self, count: int) -> list[tuple[Any, ...]]:
        """Return new rows that differ from the template in sequence and call id."""
        seqs = itertools.islice(self._seqs, count)
        return [
            (seq, *self._row[1:3], seq.to_bytes(16, "big"), *self._row[4:])
            for seq in seqs
        ]

    def write(self, values: list[tuple[Any, ...]]) -> None:
        """Commit *values* durably."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(rows.INSERT, values)
        self._connection.execute("COMMIT")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEventStore]:
    """A store that knows the names already."""
    with SqliteEventStore.open(tmp_path / "audit.db") as opened:
        opened.append_event(gate_event(opened.process))
        yield opened


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[BareWriter]:
    """The cheapest equivalent."""
    writer = BareWriter(tmp_path / "bare.db")
    yield writer
    writer.store.close()


@pytest.mark.benchmark(group="one durable gate event")
def bench_append_event(benchmark: BenchmarkFixture, store: SqliteEventStore) -> None:
    """One gate event, durable when append_event returns."""
    measure(benchmark, store.append_event, lambda: gate_event(store.process), 500)


@pytest.mark.benchmark(group="one durable gate event")
def bench_bare_commit(benchmark: BenchmarkFixture, bare: BareWriter) -> None:
    """The same row, durable when the commit returns."""
    measure(benchmark, bare.write, lambda: bare.rows(1), 500)


@pytest.mark.benchmark(group="batches of 1,000")
def bench_append_events(benchmark: BenchmarkFixture, store: SqliteEventStore) -> None:
    """A thousand gate events in one commit."""

    def batch() -> list[Event]:
        return [gate_event(store.process) for _ in range(BATCH)]

    measure(benchmark, store.append_events, batch, ROUNDS)


@pytest.mark.benchmark(group="batches of 1,000")
def bench_bare_executemany(benchmark: BenchmarkFixture, bare: BareWriter) -> None:
    """The same thousand rows, prepared beforehand."""
    measure(benchmark, bare.write, lambda: bare.rows(BATCH), ROUNDS)


def bench_ratios(store: SqliteEventStore, bare: BareWriter) -> None:
    """Print both ratios, the sides taken in turn so that the disk treats them alike."""
    one = _medians(
        lambda: store.append_event(gate_event(store.process)),
        lambda: bare.write(bare.rows(1)),
        500,
    )
    events = [[gate_event(store.process) for _ in range(BATCH)] for _ in range(ROUNDS)]
    values = [bare.rows(BATCH) for _ in range(ROUNDS)]
    many = _medians(
        lambda: store.append_events(events.pop()),
        lambda: bare.write(values.pop()),
        ROUNDS,
    )

    print(f"\none durable gate event: {one[0] / one[1]:.2f} x a bare durable commit")
    print(f"batches of {BATCH}: {many[1] / many[0]:.2f} of the rate of executemany")


def _medians(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for one, taken in zip((ours, theirs), times, strict=True):
            began = time.perf_counter()
            one()
            taken.append(time.perf_counter() - began)
    return sorted(times[0])[rounds // 2], sorted(times[1])[rounds // 2]
