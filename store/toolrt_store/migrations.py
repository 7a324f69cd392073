"""
How each version of the schema is made from the one before; never edited once released.

Imported only when a migration is pending: sqlite-utils takes longer to import than a
whole call takes to record. The statements are written by hand, and the store's hash of
the schema is over their text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from toolrt_store import sqlite
from toolrt_store.schema import APPLICATION_ID

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations


def migrate(connection: sqlite.Connection, *, now_us: int) -> None:
    """
    Bring the schema of *connection* up to date, each step in one transaction.

    The writing lock must be held. *now_us*, Unix microseconds, becomes the birth of a
    new store.
    """
    from sqlite_utils import Database

    # Plugins are other people's code: none of it runs over the record.
    _migrations(now_us).apply(Database(connection, execute_plugins=False))


def _migrations(now_us: int) -> Migrations:
    from sqlite_utils import Migrations

    migrations = Migrations("toolrt_store")

    @migrations()
    def m001_events(db: Database) -> None:
        for statement in _M001:
            db.execute(statement)
        db.execute(
            "INSERT INTO store (key, value) VALUES ('id', ?), ('args_key', ?),"
            " ('created_us', ?)",
            (os.urandom(16), os.urandom(32), now_us),
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")

    return migrations


_M001: Final = (
    """CREATE TABLE store (
  key TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID""",
    # Every text that repeats: tools, callers, actors, namespaces, verbs, codes, files.
    """CREATE TABLE names (
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
) STRICT""",
    # The outcomes, with numbers that queries rely on.
    """INSERT INTO names (id, text) VALUES
  (1, 'success'), (2, 'denied'), (3, 'error'), (4, 'running'), (5, 'interrupted'),
  (6, 'execution_failed'), (7, 'invalid_args'), (8, 'capability_denied'),
  (9, 'rate_limited'), (10, 'tool_not_found'), (11, 'unknown')""",
    # kind: 0 rule, 1 chain; of events that came without details 2 string_allow_list,
    # 3 ucan_chain, 4 not stated. content is a digest of the rest.
    """CREATE TABLE grant_sources (
  id INTEGER PRIMARY KEY,
  content BLOB NOT NULL UNIQUE,
  kind INTEGER NOT NULL,
  pattern INTEGER REFERENCES names,
  file INTEGER REFERENCES names,
  "line" INTEGER,
  "column" INTEGER,
  config INTEGER REFERENCES names,
  issuer INTEGER REFERENCES names,
  depth INTEGER,
  digest INTEGER REFERENCES names
) STRICT""",
    """CREATE TABLE grant_sets (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE
) STRICT""",
    """CREATE TABLE grants (
  grant_set INTEGER NOT NULL REFERENCES grant_sets,
  position INTEGER NOT NULL,
  capability INTEGER NOT NULL REFERENCES names,
  source INTEGER NOT NULL REFERENCES grant_sources,
  PRIMARY KEY (grant_set, position)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX grants_by_capability ON grants (capability, grant_set, source)",
    # id is the offset of the byte in the .live file that the process holds.
    """CREATE TABLE processes (
  id INTEGER PRIMARY KEY,
  process ANY NOT NULL UNIQUE,
  pid INTEGER,
  started_us INTEGER
) STRICT""",
    # call_id, parent_call_id and process: 16 bytes for a canonical ULID, else text.
    # flags: 1 dry_run, 2 secrets_resolved, 4 retryable, 8 has details. message: why a
    # gate denied, or what invalid_args says. extra: JSON of what no column holds,
    # nearly always NULL.
    """CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  call_id ANY,
  namespace INTEGER NOT NULL REFERENCES names,
  verb INTEGER NOT NULL REFERENCES names,
  tool INTEGER NOT NULL REFERENCES names,
  actor INTEGER NOT NULL REFERENCES names,
  caller INTEGER REFERENCES names,
  outcome INTEGER NOT NULL REFERENCES names,
  duration_ms INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  grant_set INTEGER REFERENCES grant_sets,
  pack INTEGER REFERENCES names,
  effect INTEGER REFERENCES names,
  args_digest BLOB,
  policy INTEGER REFERENCES names,
  process INTEGER REFERENCES processes,
  parent_call_id ANY,
  reason TEXT,
  gate_impl INTEGER REFERENCES names,
  tier INTEGER REFERENCES names,
  code INTEGER REFERENCES names,
  retry_after_ms INTEGER,
  schema_version INTEGER,
  cursor_page INTEGER,
  message TEXT,
  extra TEXT
) STRICT""",
    # One gate event and one call event a call; system events may be many.
    """CREATE UNIQUE INDEX events_by_call
ON events (call_id, CASE kind WHEN 2 THEN -seq ELSE kind END)
WHERE call_id IS NOT NULL""",
    "CREATE INDEX events_by_caller ON events (caller, seq)",
    """CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    """CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    # A ULID is 130 bits of text over 128 bits of blob: with one hex zero in front, the
    # character i is bits 5i + 2 to 5i + 6, which lie in two hex digits.
    """CREATE VIEW event_log AS
SELECT
  e.seq,
  strftime('%Y-%m-%dT%H:%M:%S', e.at_us / 1000000, 'unixepoch')
    || printf('.%06dZ', e.at_us % 1000000) AS time,
  CASE e.kind WHEN 0 THEN 'gate' WHEN 1 THEN 'call' ELSE 'system' END AS kind,
  CASE typeof(e.call_id) WHEN 'blob' THEN (
    WITH RECURSIVE place(i) AS (
      SELECT 0 UNION ALL SELECT i + 1 FROM place WHERE i < 25
    )
    SELECT group_concat(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + (
      (instr('0123456789ABCDEF', substr('0' || hex(e.call_id), 1 + (5*i + 2) / 4, 1)) * 16
        + instr('0123456789ABCDEF', substr('0' || hex(e.call_id), 2 + (5*i + 2) / 4, 1))
        - 17) >> (3 - (5*i + 2) % 4) & 31), 1), '') FROM place
  ) ELSE e.call_id END AS call_id,
  caller.text AS caller,
  actor.text AS actor,
  tool.text AS tool,
  verb.text AS verb,
  namespace.text AS namespace,
  outcome.text AS outcome,
  e.duration_ms,
  code.text AS code,
  e.message,
  e.reason,
  (SELECT group_concat(capability, ' ') FROM (
    SELECT DISTINCT names.text AS capability FROM grants
    JOIN names ON names.id = grants.capability WHERE grants.grant_set = e.grant_set
  )) AS granted,
  gate_impl.text AS gate_impl,
  pack.text AS pack,
  effect.text AS effect,
  tier.text AS tier,
  e.extra
FROM events AS e
JOIN names AS actor ON actor.id = e.actor
JOIN names AS tool ON tool.id = e.tool
JOIN names AS verb ON verb.id = e.verb
JOIN names AS namespace ON namespace.id = e.namespace
JOIN names AS outcome ON outcome.id = e.outcome
LEFT JOIN names AS caller ON caller.id = e.caller
LEFT JOIN names AS code ON code.id = e.code
LEFT JOIN names AS gate_impl ON gate_impl.id = e.gate_impl
LEFT JOIN names AS pack ON pack.id = e.pack
LEFT JOIN names AS effect ON effect.id = e.effect
LEFT JOIN names AS tier ON tier.id = e.tier""",
)
