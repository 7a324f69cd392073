"""
What can go wrong with a store, one leaf for each thing that its user would do next.

Every failure of a store leaves as one of these; a bare SQLite error never does.
"""

from __future__ import annotations

from typing import Final

from toolrt.errors import IdentityConflictError, StoreError, UnstorableEventError
from toolrt_store import sqlite

__all__ = [
    "EventMissingError",
    "ForeignStoreError",
    "IdentityConflictError",
    "RecordSpooledError",
    "StoreError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "UnstorableEventError",
    "from_os",
    "from_sqlite",
]


class StoreMissingError(StoreError):
    """There is no store at the path, and a read-only open makes none."""

    code = "store_missing"

    def __init__(self, path: str) -> None:
        super().__init__(path, "there is no store here")


class StoreUnavailableError(StoreError):
    """The store cannot be opened or written: permissions, space, a bad directory."""

    code = "store_unavailable"


class StoreLockedError(StoreError):
    """Another process held the store for all of ``waited_s`` seconds."""

    code = "store_locked"
    retryable = True

    def __init__(self, path: str, waited_s: float) -> None:
        self.waited_s = waited_s
        super().__init__(path, f"locked by another process for {waited_s:g} s")


class RecordSpooledError(StoreError):
    """
    The record could not be committed and is in the emergency spool beside the store.

    The next open for writing takes it from there.
    """

    code = "record_spooled"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, f"{problem}; the record is kept in {path}.spool")


class EventMissingError(StoreError):
    """There is no event with that id; ``event_id`` is what was asked for."""

    code = "not_found"

    def __init__(self, path: str, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(path, f"it holds no event {event_id!r}")


class StoreTooNewError(StoreError):
    """The store's schema is of a later toolrt; it was left as it is."""

    code = "store_too_new"

    def __init__(self, path: str, found: int, supported: int) -> None:
        self.found = found
        self.supported = supported
        super().__init__(
            path, f"schema {found} is newer than {supported}, the latest known here"
        )


class ForeignStoreError(StoreError):
    """What stands at the path is no intact toolrt store; it was left as it is."""

    code = "integrity"


# SQLite's primary result codes (sqlite.org/rescode.html).
_BUSY: Final = (5, 6)
_DAMAGED: Final = (11, 26)
_BAD_VALUE: Final = (18, 19, 20)


def from_sqlite(path: str, error: sqlite.Error, *, waited_s: float) -> StoreError:
    """Return the `StoreError` that *error* amounts to."""
    if "decode to UTF-8" in str(error):  # of the driver, which gives it no code
        return ForeignStoreError(path, "it holds text that is no text")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return StoreLockedError(path, waited_s)
    if code in _DAMAGED:
        return ForeignStoreError(path, str(error))
    if code in _BAD_VALUE:
        return UnstorableEventError(path, str(error))
    return StoreUnavailableError(path, str(error))


def from_os(path: str, error: OSError | ValueError) -> StoreUnavailableError:
    """Return the `StoreUnavailableError` that *error* amounts to."""
    if isinstance(error, NotADirectoryError):
        return StoreUnavailableError(path, "a parent of the path is not a directory")
    reason = getattr(error, "strerror", None) or str(error)
    return StoreUnavailableError(path, reason.lower())
