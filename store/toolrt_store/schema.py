"""
Which schema a database has, in plain SQL: one integer and one hash.

``PRAGMA application_id`` says that it is a toolrt store, ``user_version`` which schema,
and the hash over ``sqlite_schema`` that nothing was added or changed: a trigger could
swallow events without any error.
"""

from __future__ import annotations

import hashlib
from typing import Final

from toolrt_store import errors, sqlite

#: "trts", in the database header of every toolrt store.
APPLICATION_ID: Final = 0x74727473
SCHEMA_VERSION: Final = 3

#: SHA-256 of each released schema; see `schema_digest`.
SCHEMA_DIGESTS: Final = {
    1: "0d8636077da4028a5dbdadda664f5d57718a15a1ce7c6c48ac0229337f09d444",
    2: "0866f10faceeb8e360f0ad05062371657b2a5c8e74bc099ca5c69edc23910433",
    3: "a1cdfc90c1779e68b9a6ec74950e3d3b3e9dc7824faf444d1f10b1cb6c71151c",
}

# sqlite-utils owns the text of its own table and index; ANALYZE owns the statistics.
# By name and type, so that a trigger or a view of such a name still counts.
_SCHEMA: Final = """
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE NOT (type = 'table' AND name = '_sqlite_migrations')
  AND NOT (type = 'index' AND tbl_name = '_sqlite_migrations'
           AND name = 'idx__sqlite_migrations_migration_set_name')
  AND NOT (type = 'table' AND name GLOB 'sqlite_stat[0-9]')
ORDER BY type, name
"""


def schema_digest(connection: sqlite.Connection) -> str:
    """Return the SHA-256, in hex, of every object of the schema and its text."""
    digest = hashlib.sha256()
    for row in connection.execute(_SCHEMA):
        for value in row:
            text = "" if value is None else value
            digest.update(f"{len(text)}:{text};".encode())
    return digest.hexdigest()


def check_schema(connection: sqlite.Connection, path: str) -> int:
    """
    Return the version of the schema, SCHEMA_VERSION or an earlier one.

    Raises:
        ForeignStoreError: It is no toolrt store, or its schema was changed.
        StoreTooNewError: A later toolrt wrote it.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise errors.ForeignStoreError(path, "is not a toolrt store")
    version = _pragma(connection, "user_version")
    if version > SCHEMA_VERSION:
        raise errors.StoreTooNewError(path, version, SCHEMA_VERSION)
    if version not in SCHEMA_DIGESTS:
        raise errors.ForeignStoreError(path, f"has the unknown schema {version}")
    if schema_digest(connection) != SCHEMA_DIGESTS[version]:
        raise errors.ForeignStoreError(
            path, f"its schema is not schema {version} of toolrt: {_oddity(connection)}"
        )
    return version


def _pragma(connection: sqlite.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


_EXPECTED_OBJECTS: Final = frozenset(
    {
        *(
            ("table", name)
            for name in (
                "admissions",
                "block_names",
                "blocks",
                "checkpoints",
                "contexts",
                "events",
                "grant_sets",
                "grant_sources",
                "grants",
                "names",
                "places",
                "policies",
                "processes",
                "store",
                "texts",
                "uses",
            )
        ),
        ("index", "events_by_call"),
        ("index", "events_by_gate"),
        ("index", "grants_by_capability"),
        ("index", "processes_to_sweep"),
        ("trigger", "events_refuse_delete"),
        ("trigger", "events_refuse_update"),
        ("trigger", "texts_refuse_delete"),
        ("trigger", "texts_refuse_update"),
        ("view", "event_log"),
    }
)


def _oddity(connection: sqlite.Connection) -> str:
    found = {
        (kind, name)
        for kind, name, _, text in connection.execute(_SCHEMA)
        if text is not None
    }
    for kind, name in sorted(found - _EXPECTED_OBJECTS):
        return f"it has the {kind} {name!r}"
    for kind, name in sorted(_EXPECTED_OBJECTS - found):
        return f"it lacks the {kind} {name!r}"
    return "the text of an object was changed"
