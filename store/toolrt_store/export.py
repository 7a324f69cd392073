"""
Exports: the events of a store as lines that verify without it, or as flat rows.

The lines are JSON objects. First a header: the store, the range, the chain value and the
tree before it, every checkpoint. Then, each before its first use, what contexts and
grant sets hold, by their digests; and a line for each event with the values that the
chain is over, its free texts with their salts, and its payload as people read it. Last
the number of events. `toolrt_store.export_check` verifies them.

A selection (not *whole*) has gaps, so its events hold the hash of their leaf and not
their chain value: each can be checked, that none is missing cannot.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import msgspec

from toolrt.clock import rfc3339
from toolrt.event import Event
from toolrt_store import database, errors, sqlite
from toolrt_store.chain import genesis, link
from toolrt_store.checkpoint import parse_note
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.resolved import BATCH, read_digests
from toolrt_store.rows import FROM_EVENTS, SELECTED, decode, resolve
from toolrt_store.texts import read_texts

SCHEMA: Final = "toolrt.export/1"

_ROWS: Final = f"""
SELECT {SELECTED}, e.chain {FROM_EVENTS} WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq
"""
_TEXTS: Final = """
SELECT seq, field, salt, text, digest FROM texts WHERE seq > ? AND seq <= ?
ORDER BY seq, field
"""
_FACTS: Final = "SELECT key, value FROM store WHERE key IN ('id', 'pruned')"
_HEAD: Final = "SELECT max(seq) FROM events"
_CHECKPOINTS: Final = """
SELECT size, note, signature, successor_signature, frontier FROM checkpoints
ORDER BY size
"""
#: The places of a row: what the chain is over, the context, the grants, the chain.
_RESOLVED, _CONTEXT, _GRANTS, _CHAIN = 16, 5, 11, -1


class _Read(NamedTuple):
    """One event as it is stored, resolved, and as it reads."""

    row: tuple[Any, ...]
    resolved: tuple[Any, ...]
    event: Event
    texts: list[dict[str, Any]]


class Export:
    """One moment of a store, read from its first event to its last."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        self._dictionary = Dictionary(connection)
        self._sets = GrantSets(connection, self._dictionary)
        facts = dict(connection.execute(_FACTS).fetchall())
        self._store_id: bytes = facts["id"]
        self._pruned: int = facts["pruned"]
        self.last_seq: int = connection.execute(_HEAD).fetchone()[0] or 0

    def lines(self, chosen: Collection[str] | None = None) -> Iterator[str]:
        """Yield the lines, without their ends; *chosen* are call ids, None for all."""
        yield _json(self._header(is_whole=chosen is None))
        defined: set[bytes] = set()
        count, chain = 0, self._before()
        for read in self._events(chosen):
            yield from self._definitions(read, defined)
            count, chain = count + 1, read.row[_CHAIN]
            yield _json(self._event_line(read, is_whole=chosen is None))
        last = {"chain": chain} if chosen is None else {}
        yield _json({"events": count, **last})

    def rows(self, chosen: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events as flat rows with FLAT_COLUMNS."""
        return (flat(read.event) for read in self._events(chosen))

    def _header(self, *, is_whole: bool) -> dict[str, Any]:
        header: dict[str, Any] = {
            "schema": SCHEMA,
            "store": self._store_id.hex(),
            "whole": is_whole,
            "first": self._pruned + 1,
            "last": self.last_seq,
        }
        if not is_whole:
            text = "a selection: each event can be checked, that none is missing cannot"
            return {**header, "note": text}
        header["before"] = self._before()
        header["frontier"] = b""
        header["checkpoints"] = []
        for size, note, *signatures, frontier in self._connection.execute(_CHECKPOINTS):
            names = ("signature", "successor_signature")
            signed = dict(zip(names, signatures, strict=True))
            header["checkpoints"].append({"note": note.decode("ascii"), **signed})
            if size == self._pruned:
                header["frontier"] = frontier
        return header

    def _before(self) -> bytes:
        if not self._pruned:
            return genesis(self._store_id)
        sql = "SELECT note FROM checkpoints WHERE size = ?"
        note = self._connection.execute(sql, (self._pruned,)).fetchone()[0]
        return parse_note(note).head

    def _events(self, chosen: Collection[str] | None) -> Iterator[_Read]:
        for start in range(self._pruned, self.last_seq, BATCH):
            bounds = (start, min(start + BATCH, self.last_seq))
            rows = self._connection.execute(_ROWS, bounds).fetchall()
            texts = read_texts(self._connection, rows)
            digests = read_digests(self._connection, *bounds)
            told = self._told_texts(bounds)
            whole = [row[: _RESOLVED + 1] for row in rows]
            for row, resolved in zip(
                rows,
                resolve(whole, digests, self._dictionary, self._sets),
                strict=True,
            ):
                event = decode(row, texts.get(row[0], {}), self._dictionary, self._sets)
                if chosen is not None and event.call_id not in chosen:
                    continue
                yield _Read(row, resolved, event, told.get(row[0], []))

    def _told_texts(self, bounds: tuple[int, int]) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for seq, field, salt, text, digest in self._connection.execute(_TEXTS, bounds):
            told = {"digest": digest} if text is None else {"salt": salt, "text": text}
            found.setdefault(seq, []).append({"field": field, **told})
        return found

    def _definitions(self, read: _Read, defined: set[bytes]) -> Iterator[str]:
        context, grants = read.row[_CONTEXT], read.row[_GRANTS]
        digest = self._dictionary.context_digests[context]
        if digest not in defined:
            defined.add(digest)
            value: Any = self._dictionary.context_values[context]
            yield _json({"context": digest, "value": value})
        if grants is None:
            return
        digest = self._sets.digests[grants]
        if digest not in defined:
            defined.add(digest)
            value = [(one.capability, one.source) for one in self._sets.sets[grants]]
            yield _json({"grants": digest, "value": value})

    def _event_line(self, read: _Read, *, is_whole: bool) -> dict[str, Any]:
        if is_whole:
            proof = {"chain": read.row[_CHAIN]}
        else:
            proof = {"leaf": link(self._store_id, b"", [read.resolved]).leaves[0]}
        line = {
            "event": read.resolved,
            "id": read.event.id,
            "call_id": read.event.call_id,
            **proof,
            "payload": read.event.payload,
        }
        return {**line, "texts": read.texts} if read.texts else line


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


@contextmanager
def open_export(path: str) -> Iterator[Export]:
    """
    Read the store at *path* as it is now, whatever is committed meanwhile.

    Raises:
        StoreMissingError: There is none.
        ForeignStoreError: Its rows do not agree: there is no telling what they say.
        StoreError: It cannot be read.
    """
    with closing(database.open_reader(path)) as connection:
        try:
            connection.execute("BEGIN")
            yield Export(connection)
        except sqlite.Error as error:
            raise errors.from_sqlite(
                path, error, waited_s=database.BUSY_TIMEOUT_S
            ) from error
        except (KeyError, TypeError) as error:
            raise errors.ForeignStoreError(path, "its rows do not agree") from error


#: The columns of a flat row, and the type of each in SQLite.
FLAT_COLUMNS: Final[dict[str, type]] = {
    "seq": int,
    "id": str,
    "kind": str,
    "time": str,
    "call_id": str,
    "caller": str,
    "actor": str,
    "tool": str,
    "verb": str,
    "namespace": str,
    "pack": str,
    "effect": str,
    "outcome": str,
    "code": str,
    "duration_ms": int,
    "dry_run": int,
    "capabilities": str,
    "reason": str,
    "payload": str,
}


def flat(event: Event) -> dict[str, Any]:
    """Return *event* as one row of FLAT_COLUMNS: texts and numbers only."""
    details, payload = event.details, event.payload
    outcome = payload.get("outcome")
    granted = payload.get("granted_capabilities")
    code = outcome.get("code") if isinstance(outcome, dict) else None
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "time": _time(event.created_at_us),
        "call_id": event.call_id,
        "caller": event.caller_id,
        "actor": event.actor,
        "tool": event.tool_id,
        "verb": event.verb,
        "namespace": event.namespace,
        "pack": details.pack if details else None,
        "effect": details.effect if details else None,
        "outcome": event.outcome,
        "code": code if isinstance(code, str) else None,
        "duration_ms": event.duration_ms if event.kind == "call" else None,
        "dry_run": int(payload.get("dry_run") is True),
        "capabilities": " ".join(granted) if isinstance(granted, list) else None,
        "reason": details.reason if details else None,
        "payload": msgspec.json.encode(payload).decode(),
    }


def _time(at_us: int) -> str | None:
    try:
        return rfc3339(at_us)
    except (ValueError, OverflowError, OSError):
        return None  # beyond the years that anybody can write


def write_sqlite(path: str, rows: Iterable[dict[str, Any]]) -> int:
    """
    Write *rows* as the table ``events`` into the empty file *path*; return how many.

    Raises:
        StoreUnavailableError: It cannot be written.
    """
    from sqlite_utils import Database

    count = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal count
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last one is the number
            yield row

    try:
        with closing(sqlite.connect(path)) as connection:
            # Plugins are other people's code: none of it runs over the record.
            database_ = Database(connection, execute_plugins=False)
            table = database_.table("events")
            table.create(FLAT_COLUMNS, pk="seq", strict=True)
            table.insert_all(counted(), batch_size=BATCH)
            connection.commit()
    except sqlite.Error as error:
        raise errors.StoreUnavailableError(path, str(error)) from error
    return count


def encoded(value: bytes) -> str:
    """Return how the lines write *value*."""
    return b64encode(value).decode("ascii")
