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
from toolrt_store.schema_1 import copy_events

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

    @migrations()
    def m002_chain(db: Database) -> None:
        for statement in (*_M002_SET_ASIDE, *_M002):
            db.execute(statement)
        copy_events(db.conn)
        for statement in _M002_DROP:
            db.execute(statement)
        db.execute("PRAGMA user_version = 2")

    @migrations()
    def m003_links(db: Database) -> None:
        for statement in _M003:
            db.execute(statement)
        db.execute("PRAGMA user_version = 3")

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


# Renamed inside the transaction that copies and drops them.
_M002_SET_ASIDE: Final = (
    "DROP VIEW event_log",
    "DROP TRIGGER events_refuse_update",
    "DROP TRIGGER events_refuse_delete",
    "DROP INDEX events_by_call",
    "DROP INDEX events_by_caller",
    "ALTER TABLE events RENAME TO events_1",
    "ALTER TABLE processes RENAME TO processes_1",
)
_M002_DROP: Final = ("DROP TABLE events_1", "DROP TABLE processes_1")

_M002: Final = (
    # What all calls of one tool under one policy share. content is the SHA-256 of the
    # resolved values, as the chain refers to it.
    """CREATE TABLE contexts (
  id INTEGER PRIMARY KEY,
  content BLOB NOT NULL UNIQUE,
  namespace INTEGER NOT NULL REFERENCES names,
  verb INTEGER NOT NULL REFERENCES names,
  tool INTEGER NOT NULL REFERENCES names,
  pack INTEGER REFERENCES names,
  effect INTEGER REFERENCES names,
  policy INTEGER REFERENCES names,
  gate_impl INTEGER REFERENCES names,
  tier INTEGER REFERENCES names,
  schema_version INTEGER
) STRICT""",
    # What the policies in force said, by their digest.
    """CREATE TABLE policies (
  digest TEXT PRIMARY KEY,
  content TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    # id is the offset of the byte in the .live file that the process holds. Its events
    # are above first_seq. swept: all its attempts have an end on record.
    """CREATE TABLE processes (
  id INTEGER PRIMARY KEY,
  process ANY NOT NULL,
  pid INTEGER,
  started_us INTEGER,
  first_seq INTEGER NOT NULL,
  swept INTEGER NOT NULL
) STRICT""",
    "CREATE INDEX processes_to_sweep ON processes (id) WHERE swept = 0",
    # gate: of a call event, or of the system event that ends an attempt, the sequence
    # of the gate event, whose call id it has. call_id: 16 bytes for a canonical ULID,
    # else text; NULL where gate is set. flags: 1 dry_run, 2 secrets_resolved,
    # 4 retryable, 8 has details, 16 has the details of its gate event, 32 has texts,
    # 64 holds one of the places that max_concurrent gives. extra: JSON of what no
    # column holds, nearly always NULL. chain: see chain.py.
    """CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  gate INTEGER,
  call_id ANY,
  context INTEGER NOT NULL,
  actor INTEGER NOT NULL,
  caller INTEGER,
  outcome INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  grant_set INTEGER,
  process INTEGER,
  args_digest BLOB,
  code INTEGER,
  extra TEXT,
  chain BLOB NOT NULL
) STRICT""",
    # One gate event and one call event a call; system events may be many.
    """CREATE UNIQUE INDEX events_by_call
ON events (call_id, CASE kind WHEN 2 THEN -seq ELSE kind END)
WHERE call_id IS NOT NULL""",
    # One end an attempt.
    "CREATE UNIQUE INDEX events_by_gate ON events (gate) WHERE gate IS NOT NULL",
    # Free text, apart so that it can be redacted. field: 0 why a gate denied, or what
    # invalid_args says; 1 the operator's reason; 2 labels, as JSON. The chain holds
    # SHA-256(salt || text), which stays as digest when the text goes.
    """CREATE TABLE texts (
  seq INTEGER NOT NULL,
  field INTEGER NOT NULL,
  salt BLOB,
  text TEXT,
  digest BLOB,
  PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID""",
    # Events 1,024 * block + 1 to 1,024 * (block + 1), once they are all there: when,
    # and which names how often. role: 0 context, 1 actor, 2 caller, 3 outcome,
    # 4 grant set. An index that is written once a block, and made again from events.
    """CREATE TABLE blocks (
  block INTEGER PRIMARY KEY,
  first_us INTEGER NOT NULL,
  last_us INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE block_names (
  role INTEGER NOT NULL,
  name INTEGER NOT NULL,
  block INTEGER NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (role, name, block)
) STRICT, WITHOUT ROWID""",
    # Calls in the blocks above that used what they were granted.
    """CREATE TABLE uses (
  caller INTEGER NOT NULL,
  grant_set INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  first_us INTEGER NOT NULL,
  last_us INTEGER NOT NULL,
  PRIMARY KEY (caller, grant_set)
) STRICT, WITHOUT ROWID""",
    # Signed statements over all events up to size; see checkpoint.py. frontier: the
    # Merkle tree at that size, so that it can grow on.
    """CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,
  note BLOB NOT NULL,
  signature BLOB NOT NULL,
  successor_signature BLOB,
  frontier BLOB NOT NULL
) STRICT""",
    # Limits: calls in flight of tools with max_concurrent, and admissions in a window.
    """CREATE TABLE places (
  seq INTEGER PRIMARY KEY,
  tool INTEGER NOT NULL,
  process INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE admissions (
  key TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (key, at_us, seq)
) STRICT, WITHOUT ROWID""",
    "INSERT INTO store (key, value) VALUES ('pruned', 0)",
    """CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    """CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
WHEN old.seq > (SELECT value FROM store WHERE key = 'pruned')
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    """CREATE TRIGGER texts_refuse_update BEFORE UPDATE ON texts
WHEN new.text IS NOT NULL OR new.digest IS NULL
BEGIN SELECT RAISE(ABORT, 'texts can only be redacted'); END""",
    """CREATE TRIGGER texts_refuse_delete BEFORE DELETE ON texts
WHEN old.seq > (SELECT value FROM store WHERE key = 'pruned')
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    # A ULID is 130 bits of text over 128 bits of blob: with one hex zero in front, the
    # character i is bits 5i + 2 to 5i + 6, which lie in two hex digits.
    """CREATE VIEW event_log AS
SELECT
  e.seq,
  strftime('%Y-%m-%dT%H:%M:%S', e.at_us / 1000000, 'unixepoch')
    || printf('.%06dZ', e.at_us % 1000000) AS time,
  CASE e.kind WHEN 0 THEN 'gate' WHEN 1 THEN 'call' ELSE 'system' END AS kind,
  CASE typeof(coalesce(e.call_id, g.call_id)) WHEN 'blob' THEN (
    WITH RECURSIVE place(i) AS (
      SELECT 0 UNION ALL SELECT i + 1 FROM place WHERE i < 25
    )
    SELECT group_concat(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + (
      (instr('0123456789ABCDEF', substr('0' || hex(coalesce(e.call_id, g.call_id)), 1 + (5*i + 2) / 4, 1)) * 16
        + instr('0123456789ABCDEF', substr('0' || hex(coalesce(e.call_id, g.call_id)), 2 + (5*i + 2) / 4, 1))
        - 17) >> (3 - (5*i + 2) % 4) & 31), 1), '') FROM place
  ) ELSE coalesce(e.call_id, g.call_id) END AS call_id,
  caller.text AS caller,
  actor.text AS actor,
  tool.text AS tool,
  verb.text AS verb,
  namespace.text AS namespace,
  outcome.text AS outcome,
  e.duration_ms,
  code.text AS code,
  (SELECT text FROM texts WHERE seq = e.seq AND field = 0) AS message,
  (SELECT text FROM texts
    WHERE seq = iif(e.flags & 16, e.gate, e.seq) AND field = 1) AS reason,
  (SELECT group_concat(capability, ' ') FROM (
    SELECT DISTINCT names.text AS capability FROM grants
    JOIN names ON names.id = grants.capability WHERE grants.grant_set = e.grant_set
  )) AS granted,
  gate_impl.text AS gate_impl,
  pack.text AS pack,
  effect.text AS effect,
  tier.text AS tier,
  e.extra,
  lower(hex(e.chain)) AS chain
FROM events AS e
JOIN contexts AS c ON c.id = e.context
JOIN names AS actor ON actor.id = e.actor
JOIN names AS tool ON tool.id = c.tool
JOIN names AS verb ON verb.id = c.verb
JOIN names AS namespace ON namespace.id = c.namespace
JOIN names AS outcome ON outcome.id = e.outcome
LEFT JOIN events AS g ON g.seq = e.gate
LEFT JOIN names AS caller ON caller.id = e.caller
LEFT JOIN names AS code ON code.id = e.code
LEFT JOIN names AS gate_impl ON gate_impl.id = c.gate_impl
LEFT JOIN names AS pack ON pack.id = c.pack
LEFT JOIN names AS effect ON effect.id = c.effect
LEFT JOIN names AS tier ON tier.id = c.tier""",
)

_M003: Final = (
    # Of a chain: what each of its links says, the root first, as JSON, NULL where the
    # record does not tell; and 1 where it counted without the key of the caller.
    "ALTER TABLE grant_sources ADD COLUMN links TEXT",
    "ALTER TABLE grant_sources ADD COLUMN bearer INTEGER",
)
