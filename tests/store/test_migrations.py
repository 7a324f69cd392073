"""Stores of every released schema open, are migrated whole, and keep what they hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt.event import CallDetails, Event
from toolrt_store import AttemptFilter, SqliteEventStore, StoreUnavailableError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the store of schema 1."""
    path = tmp_path / "audit.db"
    shutil.copy(GOLDEN / "schema-1.db", path)
    path.chmod(0o600)
    return path


def expected() -> list[Event]:
    """Return the events that the store of schema 1 was made of."""
    found = json.loads((GOLDEN / "schema-1.json").read_text())
    return [_event(one) for one in found]


def _event(fields: dict[str, Any]) -> Event:
    del fields["id"]
    told = fields.pop("details")
    details = None if told is None else msgspec.convert(told, CallDetails)
    return Event(**fields, details=details)


def test_a_store_of_schema_1_keeps_every_event(old: Path) -> None:
    """Every event reads back as the old schema told it, and the store goes on."""
    with SqliteEventStore.open(old) as store:
        found = store.query_events().items[::-1]

        assert list(found[: len(expected())]) == expected()


def test_reading_a_store_of_schema_1_says_what_to_do(old: Path) -> None:
    """A reader never migrates."""
    before = old.read_bytes()

    with pytest.raises(StoreUnavailableError, match="next open for writing"):
        SqliteEventStore.open(old, read_only=True)

    assert old.read_bytes() == before


def test_attempts_of_schema_1_have_their_outcomes(old: Path) -> None:
    """Attempts are the same, whichever schema wrote their events."""
    with SqliteEventStore.open(old) as store:
        found = store.query_attempts(AttemptFilter(), order="oldest")

    assert [attempt.outcome for attempt in found] == [
        "success",
        "denied",
        "error",
        "execution_failed",
        "invalid_args",
        "capability_denied",
        "rate_limited",
        "success",
        "success",
        "interrupted",
    ]
