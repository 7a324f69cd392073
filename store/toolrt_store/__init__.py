"""The SQLite event store of toolrt: durable, append-only, shared by processes."""

from toolrt_store.answers import GROUP_FIELDS, VALUE_FIELDS
from toolrt_store.attempts import (
    ATTEMPT_FIELDS,
    DECISIONS,
    DRY_VALUES,
    OUTCOMES,
    Attempt,
    AttemptFilter,
    Term,
)
from toolrt_store.errors import (
    EventMissingError,
    ForeignStoreError,
    IdentityConflictError,
    RecordSpooledError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
    StoreTooNewError,
    StoreUnavailableError,
    UnstorableEventError,
)
from toolrt_store.schema import SCHEMA_VERSION
from toolrt_store.sink import StoreWriter
from toolrt_store.sqlite import SQLITE_VERSION
from toolrt_store.store import SqliteEventStore
from toolrt_store.usage import Coverage, SourceUsage, Usage

__all__ = [
    "ATTEMPT_FIELDS",
    "DECISIONS",
    "DRY_VALUES",
    "GROUP_FIELDS",
    "OUTCOMES",
    "SCHEMA_VERSION",
    "SQLITE_VERSION",
    "VALUE_FIELDS",
    "Attempt",
    "AttemptFilter",
    "Coverage",
    "EventMissingError",
    "ForeignStoreError",
    "IdentityConflictError",
    "RecordSpooledError",
    "SourceUsage",
    "SqliteEventStore",
    "StoreError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "StoreWriter",
    "Term",
    "UnstorableEventError",
    "Usage",
]
