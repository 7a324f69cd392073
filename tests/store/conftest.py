"""A fresh store, and Hypothesis without deadlines: every example syncs a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolrt_store import SqliteEventStore


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Where a store may be made; its directory is not there yet."""
    return tmp_path / "state" / "audit.db"


@pytest.fixture
def store(db_path: Path) -> Iterator[SqliteEventStore]:
    """A new store."""
    with SqliteEventStore.open(db_path) as opened:
        yield opened
