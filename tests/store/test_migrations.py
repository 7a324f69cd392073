"""Stores of every released schema open, are migrated whole, and keep what they hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt.capability import ChainLink
from toolrt.event import CallDetails, Event
from toolrt_store import AttemptFilter, SqliteEventStore, StoreUnavailableError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the store of schema 1."""
    return copy_of(1, tmp_path)


def expected(schema: int = 1) -> list[Event]:
    """Return the events that the store of *schema* was made of."""
    found = json.loads((GOLDEN / f"schema-{schema}.json").read_text())
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


def copy_of(schema: int, directory: Path) -> Path:
    """Return a copy of the store of *schema*."""
    path = directory / "audit.db"
    shutil.copy(GOLDEN / f"schema-{schema}.db", path)
    path.chmod(0o600)
    return path


def test_a_store_of_schema_2_reads_and_verifies(tmp_path: Path) -> None:
    """What was released is never written in another way: the old chain still holds."""
    with SqliteEventStore.open(copy_of(2, tmp_path)) as store:
        count = len(expected(2))
        assert list(store.query_events().items[::-1])[:count] == expected(2)
        found = store.verify()

    assert found.is_intact
    assert found.signed_up_to == count


def test_a_store_of_schema_3_reads_and_verifies(tmp_path: Path) -> None:
    """Every link of a chain, whose key was not asked for, which token was refused."""
    with SqliteEventStore.open(copy_of(3, tmp_path), read_only=True) as store:
        assert list(store.query_events().items[::-1]) == expected(3)
        found = store.verify()

    assert found.is_intact
    assert found.signed_up_to == len(expected(3))
    chains = [
        (len(one.source.links), one.source.bearer)
        for one in expected(3)[2].details.grants.grants  # type: ignore[union-attr]
        if isinstance(one.source, ChainLink)
    ]
    assert chains == [(2, False), (1, True), (0, False)]


def test_a_migrated_store_verifies(old: Path) -> None:
    """The chain of a migrated store begins with its first event."""
    with SqliteEventStore.open(old) as store:
        store.checkpoint()
        found = store.verify()

    assert found.is_intact
    assert found.first_seq == 1
    assert found.signed_up_to == found.last_seq > len(expected())
