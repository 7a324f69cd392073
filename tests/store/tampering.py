"""Attacks on a closed store, one method each, by somebody who has SQL and its files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from toolrt.audit.call_event import ExecutionFailed, InvalidArgs
from toolrt.capability import CapabilitySet, ChainLink, Grant
from toolrt.event import Event
from toolrt_store import SqliteEventStore, blocks, sqlite
from toolrt_store.chain import genesis, link
from toolrt_store.checkpoint import (
    NO_NOTE,
    Checkpoint,
    note_digest,
    parse_note,
    public_key,
    seal,
)
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.merkle import Frontier
from toolrt_store.resolved import read_resolved
from toolrt_store.verify import Verification

from .samples import FS_GRANTS, FS_RULE, call_event, details, gate_event

#: A full block and a bit, in batches that let every checkpoint come when it is due.
CALLS = 2_600
EVENTS = 2 * CALLS
_BATCH = 256
_CHAIN_GRANTS = CapabilitySet(
    (
        Grant("fs:read", FS_RULE),
        Grant("net:fetch", ChainLink(issuer="did:key:z6Mk", depth=1, digest="ef")),
    )
)


def attempt(number: int, process: str | None = None) -> list[Event]:
    """Return the two events of call *number*; every seventh is out of the ordinary."""
    told = details(
        process=process,
        caller=f"caller-{number % 5}",
        grants=(CapabilitySet(), FS_GRANTS, _CHAIN_GRANTS)[number % 3],
        reason=f"because of {number}" if number % 7 == 0 else None,
        labels={"ticket": f"T-{number}"} if number % 7 == 1 else {},
    )
    id_ = f"call {number}" if number % 7 == 2 else None
    outcome = [None, InvalidArgs(f"$.path: no {number}"), ExecutionFailed("E", True)]
    shared: dict[str, Any] = {"details": told, "caller": told.caller, "id_": id_}
    return [
        gate_event(number, **shared),
        call_event(number, outcome=outcome[number % 3], duration_ms=number, **shared),
    ]


def fill(path: Path, *, calls: int = CALLS, first: int = 1, **options: Any) -> None:
    """Append the attempts of *calls* calls, and close the store."""
    with SqliteEventStore.open(path, **options) as store:
        events = [
            event
            for number in range(first, first + calls)
            for event in attempt(number, store.process)
        ]
        for start in range(0, len(events), _BATCH):
            store.append_events(events[start : start + _BATCH])


def copy_store(source: Path, target: Path) -> Path:
    """Copy a closed store with its key."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    for suffix in ("", ".key"):
        shutil.copy(f"{source}{suffix}", f"{target}{suffix}")
    return target


def verified(path: Path, **options: Any) -> Verification:
    """Return what verifying the store at *path* finds."""
    with SqliteEventStore.open(path, read_only=True) as store:
        return store.verify(**options)


class Tamperer:
    """
    Edits the closed store at *path*. Nothing stays of it but what it stored: the schema
    is as it was, to the letter.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def editing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection without triggers; they come back with their exact text."""
        with closing(sqlite.connect(self.path, isolation_level=None)) as connection:
            sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
            triggers = connection.execute(sql).fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            try:
                yield connection
            finally:
                for _, text in triggers:
                    connection.execute(text)

    def run(self, sql: str, *values: object) -> None:
        """Run one statement, which has to change something."""
        with self.editing() as connection:
            assert connection.execute(sql, values).rowcount > 0

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT."""
        with closing(sqlite.connect(self.path)) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql, values).fetchall()
        return found

    def swap(self, first: int, second: int) -> None:
        """Let two events change places."""
        with self.editing() as connection:
            for old, new in ((first, -1), (second, first), (-1, second)):
                for table in ("events", "texts"):
                    sql = f"UPDATE {table} SET seq = ? WHERE seq = ?"
                    connection.execute(sql, (new, old))

    def delete(self, first: int, last: int) -> None:
        """Remove events and their texts."""
        with self.editing() as connection:
            for table in ("events", "texts"):
                sql = f"DELETE FROM {table} WHERE seq BETWEEN ? AND ?"
                connection.execute(sql, (first, last))

    def insert_copy(self, of: int, at: int, **changes: object) -> None:
        """Insert an event like another one; *changes* are its columns."""
        columns = [name for _, name, *_ in self.ask("PRAGMA table_info(events)")]
        (row,) = self.ask("SELECT * FROM events WHERE seq = ?", of)
        made = dict(zip(columns, row, strict=True))
        made |= {"seq": at, "gate": None, "call_id": f"forged {at}", **changes}
        marks = ", ".join("?" * len(made))
        self.run(f"INSERT INTO events VALUES ({marks})", *made.values())

    def shift(self, first: int, by: int) -> None:
        """Renumber every event from *first* on."""
        with self.editing() as connection:
            for table in ("events", "texts"):
                # By way of negative numbers, so that none meets another on its way.
                sql = f"UPDATE {table} SET seq = -seq WHERE seq >= ?"
                connection.execute(sql, (first,))
                sql = f"UPDATE {table} SET seq = ? - seq WHERE seq < 0"
                connection.execute(sql, (by,))

    def take_rows(self, other: Path, tables: tuple[str, ...]) -> None:
        """Put the rows of another store in the place of one's own."""
        with self.editing() as connection:
            connection.execute("ATTACH ? AS other", (str(other),))
            for table in tables:
                connection.execute(f"DELETE FROM {table}")
                sql = f"INSERT INTO {table} SELECT * FROM other.{table}"
                connection.execute(sql)
            connection.execute("DETACH other")

    def rechain(self, *, index: bool = True) -> None:
        """Compute every link anew, and the index, as anybody can who reads the code."""
        with self.editing() as connection:
            dictionary = Dictionary(connection)
            sets = GrantSets(connection, dictionary)
            store_id = _store_id(connection)
            head = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
            chain = genesis(store_id)
            connection.execute("BEGIN")
            for rows in read_resolved(connection, dictionary, sets, 0, head):
                links = link(store_id, chain, rows)
                chain = links.chains[-1]
                pairs = zip(links.chains, (row[0] for row in rows), strict=True)
                sql = "UPDATE events SET chain = ? WHERE seq = ?"
                connection.executemany(sql, list(pairs))
            if index:
                blocks.rebuild(connection, 0, head)
            connection.execute("COMMIT")

    def reseal(self, seed: bytes) -> None:
        """Sign every checkpoint anew with *seed*, over what the store holds now."""
        with self.editing() as connection:
            dictionary = Dictionary(connection)
            sets = GrantSets(connection, dictionary)
            store_id = _store_id(connection)
            sizes = connection.execute("SELECT size, note FROM checkpoints").fetchall()
            frontier, previous = Frontier(), NO_NOTE
            for size, note in sorted(sizes):
                sql = "SELECT chain FROM events WHERE seq = ?"
                (head,) = connection.execute(sql, (size,)).fetchone()
                for rows in read_resolved(
                    connection, dictionary, sets, frontier.size, size
                ):
                    frontier = frontier.extended(link(store_id, b"", rows).leaves)
                signed = seal(
                    Checkpoint(
                        store_id=store_id,
                        size=size,
                        root=frontier.root(),
                        head=head,
                        at_us=parse_note(note).at_us,
                        previous=previous,
                        key=public_key(seed),
                    ),
                    seed,
                )
                previous = note_digest(signed.note)
                connection.execute(
                    "UPDATE checkpoints SET note = ?, signature = ?, frontier = ?"
                    " WHERE size = ?",
                    (signed.note, signed.signature, frontier.to_bytes(), size),
                )

    def rebuild_index(self, pruned: int = 0) -> None:
        """Make the index fit the events above *pruned*."""
        with self.editing() as connection:
            head = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
            blocks.rebuild(connection, pruned, head)


def _store_id(connection: sqlite3.Connection) -> bytes:
    sql = "SELECT value FROM store WHERE key = 'id'"
    found: bytes = connection.execute(sql).fetchone()[0]
    return found
