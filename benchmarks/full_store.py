"""
A store of many events, what an operator asks of it, and the cheapest way to ask.

The cheapest way is one statement over a table of the same rows that has an index made for
that one question, with no names, no details and no count beside it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from mix import CALLERS, events

from toolrt.event import EventFilter, PageRequest
from toolrt_cli.commands.provenance import Options, explain_command
from toolrt_cli.grammar import Globals
from toolrt_cli.streams import open_streams
from toolrt_cli.wiring import open_session
from toolrt_store import SqliteEventStore, sqlite

BATCH: Final = 10_000
CALLER: Final = CALLERS[7]
CAPABILITY: Final = "area19:read"
DEPTH: Final = 1_000 * 50
MINE: Final = EventFilter(callers=(CALLER,))
PLAIN: Final = "the same rows in one table, one index for this question"
_CONFIG: Final = f"""
[store]
path = "audit.db"
[runtime]
packs = ["area"]
[callers."{CALLER}"]
capabilities = ["area19:*"]
[pack.area.handler."area.read"]
command = ["true"]
capabilities = ["{CAPABILITY}"]
"""

Ask = Callable[[], object]


def build(directory: Path, count: int) -> Path:
    """Return a store of *count* events in *directory*, made or gone on with."""
    (directory / "toolrt.toml").write_text(_CONFIG, encoding="utf-8")
    path = directory / "audit.db"
    with SqliteEventStore.open(path) as store:
        done = store.coverage().events
        source = events(store.process, seed=done, first=done)
        while done < count:
            some = list(itertools.islice(source, min(BATCH, count - done)))
            store.append_events(some)
            done += len(some)
        store.checkpoint()
    return path


def questions(store: SqliteEventStore) -> dict[str, Ask]:
    """Return what is asked, by name; some need only the file that *store* has open."""
    deep = max(1, store.coverage().events - DEPTH)
    call_id = store.query_events(MINE, PageRequest(0, 1)).items[0].call_id or ""
    page = PageRequest(limit=50, before_seq=deep)
    return {
        "last 20 of a caller": lambda: store.query_events(MINE, PageRequest(0, 20)),
        "use of a capability": lambda: store.usage(CALLER, CAPABILITY),
        "explain, the store opened": Explained(Path(store.path).parent),
        "a page 1,000 pages deep": lambda: store.query_events(page=page),
        "one attempt by call id": lambda: store.get_attempt(call_id),
        "count of a caller": lambda: store.count_events(MINE),
    }


class Explained:
    """What ``provenance explain`` does, with its config read and its commands made."""

    def __init__(self, directory: Path) -> None:
        settings = Globals(config=str(directory / "toolrt.toml"), output="json")
        self._session = open_session(settings, os.environ)
        self._streams = open_streams(settings, os.environ)

    def __call__(self) -> str:
        """Open the store, find the answer and return it as it is printed."""
        out = io.StringIO()
        streams = msgspec.structs.replace(self._streams, out=out)
        code = explain_command(self._session, streams, CALLER, CAPABILITY, Options())
        if code or '"used"' not in out.getvalue():
            raise RuntimeError(f"explain: exit {code}: {out.getvalue()}")
        return out.getvalue()


class Plain:
    """The rows of a store in a table of their own, with the index for each question."""

    def __init__(self, path: Path) -> None:
        """Copy the events of the store at *path*; that takes some seconds a million."""
        copy = path.with_name("plain.db")
        copy.unlink(missing_ok=True)  # the store has grown since
        self._connection = sqlite.connect(str(copy))
        run = self._connection.execute
        run("ATTACH ? AS store", (str(path),))
        run("CREATE TABLE plain AS SELECT rowid AS id, * FROM store.events")
        run("CREATE INDEX by_caller ON plain (caller, seq)")
        run("CREATE INDEX by_use ON plain (caller, grant_set, at_us)")
        run("CREATE INDEX by_call ON plain (call_id)")
        run("CREATE UNIQUE INDEX by_seq ON plain (seq)")
        self._connection.commit()
        name = "SELECT id FROM store.names WHERE text = ?"
        self._caller = self._one(name, CALLER)
        self._call_id = self._one(
            "SELECT call_id FROM plain WHERE caller = ? AND call_id IS NOT NULL"
            " ORDER BY seq DESC LIMIT 1",
            self._caller,
        )
        self._last = self._one("SELECT max(seq) FROM plain")
        grants = self._connection.execute(
            f"SELECT DISTINCT grant_set FROM store.grants WHERE capability = ({name})",
            (CAPABILITY,),
        ).fetchall()
        self._sets = ", ".join(str(number) for (number,) in grants)
        run("DETACH store")

    def close(self) -> None:
        """Close the copy."""
        self._connection.close()

    def questions(self) -> dict[str, Ask]:
        """Return the cheapest way to ask what `questions` asks."""
        caller, page = self._caller, "SELECT * FROM plain"
        by_seq = "ORDER BY seq DESC LIMIT"
        use = (
            "SELECT count(*), min(at_us), max(at_us) FROM plain"
            f" WHERE caller = ? AND grant_set IN ({self._sets})"
        )
        asked: dict[str, tuple[str, Any]] = {
            "last 20 of a caller": (f"{page} WHERE caller = ? {by_seq} 20", caller),
            "use of a capability": (use, caller),
            "explain, the store opened": (use, caller),
            "a page 1,000 pages deep": (
                f"{page} WHERE seq < ? {by_seq} 50",
                max(1, self._last - DEPTH),
            ),
            "one attempt by call id": (f"{page} WHERE call_id = ?", self._call_id),
            "count of a caller": (
                "SELECT count(*) FROM plain WHERE caller = ?",
                caller,
            ),
        }
        return {name: self._ask(sql, value) for name, (sql, value) in asked.items()}

    def hash_all(self) -> int:
        """Read every row and hash as many bytes as a row has; return how many rows."""
        digest, count = b"", 0
        for row in self._connection.execute("SELECT * FROM plain ORDER BY seq"):
            digest = hashlib.sha256(digest + repr(row).encode()).digest()
            count += 1
        return count

    def _one(self, sql: str, *values: object) -> Any:
        return self._connection.execute(sql, values).fetchone()[0]

    def _ask(self, sql: str, value: object) -> Ask:
        return lambda: self._connection.execute(sql, (value,)).fetchall()
