"""What somebody with SQL and the files of a store can change, and how it shows."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import ForeignStoreError, SqliteEventStore, anchor, keys, sqlite
from toolrt_store.verify import Verification

from .attacks import (
    ATTACKS,
    Attack,
    cut_unseen,
    edited_and_rechained,
    forged_before_the_first,
    with_sql,
)
from .seals import seed
from .tampering import (
    EVENTS,
    Tamperer,
    copy_store,
    fill,
    verified,
)

#: Positions of the random test; ``make tamper`` takes many more.
POSITIONS = int(os.environ.get("TOOLRT_TAMPER", "25"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nobody has touched, and beside it what its anchor was told."""
    directory = tmp_path_factory.mktemp("sound")
    directory.chmod(0o700)
    path = directory / "audit.db"
    fill(path, anchor=str(directory / "anchor"))
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another store, of as many events."""
    directory = tmp_path_factory.mktemp("other")
    directory.chmod(0o700)
    path = directory / "audit.db"
    fill(path, first=5)
    return path


@pytest.fixture
def attacked(sound: Path, tmp_path: Path) -> Tamperer:
    """A copy of the sound store, in the hands of an attacker."""
    return Tamperer(copy_store(sound, tmp_path / "state" / "audit.db"))


def against_anchor(sound: Path, path: Path) -> Verification:
    """Verify the store at *path* with what the anchor of the sound one was told."""
    told = anchor.read(str(sound.parent / "anchor"))
    return verified(path, anchored=told.checkpoints)


def test_a_sound_store_is_intact(sound: Path) -> None:
    """The control: nothing is wrong, and only the newest events are unsigned."""
    found = against_anchor(sound, sound)

    assert found.mismatches == ()
    assert (found.events, found.signed_up_to) == (EVENTS, 5_120)
    assert found.anchored_up_to == 5_120


@pytest.mark.parametrize(("attack", "first_seq"), ATTACKS)
def test_an_attack_shows_at_its_first_event(
    attacked: Tamperer, attack: Attack, first_seq: int
) -> None:
    """Verifying names the first event that is not, or may not be, what was recorded."""
    attack(attacked)

    found = verified(attacked.path)

    assert not found.is_intact
    assert found.mismatches[0].seq == first_seq, found.mismatches[:3]


def put_back(tamperer: Tamperer, sound: Path) -> None:
    """Leave of the record what an older copy would hold."""
    tamperer.run("DELETE FROM checkpoints WHERE size > 4096")
    tamperer.delete(4_500, EVENTS)


def cut_after_a_checkpoint(tamperer: Tamperer, sound: Path) -> None:
    """Cut the newest events off, with the checkpoint over them."""
    tamperer.run("DELETE FROM checkpoints WHERE size > 4096")
    tamperer.delete(4_097, EVENTS)


def strip_newest(tamperer: Tamperer, sound: Path) -> None:
    """Take the newest checkpoint away."""
    tamperer.run("DELETE FROM checkpoints WHERE size = 5120")


def strip_all(tamperer: Tamperer, sound: Path) -> None:
    """Take every checkpoint away."""
    tamperer.run("DELETE FROM checkpoints")


def rewrite_without_checkpoints(tamperer: Tamperer, sound: Path) -> None:
    """Edit an event, chain all anew and leave nothing that is signed."""
    strip_all(tamperer, sound)
    edited_and_rechained(tamperer)


def rewrite_with_the_key(tamperer: Tamperer, sound: Path) -> None:
    """Edit an event, chain all anew and sign it with the store's own key."""
    edited_and_rechained(tamperer)
    tamperer.reseal(keys.read_key(keys.key_path(str(tamperer.path))))


@pytest.mark.parametrize(
    ("attack", "first_seq"),
    [
        (put_back, 4_500),
        (cut_after_a_checkpoint, 4_097),
        (strip_newest, 4_097),
        (strip_all, 1),
        (rewrite_without_checkpoints, 1),
        (rewrite_with_the_key, 1_025),
    ],
)
def test_only_an_anchor_shows_what_is_sound_by_itself(
    attacked: Tamperer,
    sound: Path,
    attack: Callable[[Tamperer, Path], None],
    first_seq: int,
) -> None:
    """Without an anchor it is said that it cannot be excluded."""
    attack(attacked, sound)

    alone = verified(attacked.path)
    anchored = against_anchor(sound, attacked.path)

    assert alone.is_intact
    assert any("without an anchor" in text for text in alone.not_proven)
    assert anchored.mismatches[0].seq == first_seq


def test_another_store_in_its_place_shows_against_the_anchor(
    attacked: Tamperer, sound: Path, other: Path
) -> None:
    """All rows of another store, its id and its checkpoints are sound by themselves."""
    tables = tuple(
        name
        for (name,) in attacked.ask(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
            " AND name NOT GLOB '_sqlite*' ORDER BY name = 'store'"
        )
    )
    attacked.take_rows(other, tables)
    shutil.copy(f"{other}.key", f"{attacked.path}.key")

    assert verified(attacked.path).is_intact
    assert against_anchor(sound, attacked.path).mismatches[0].seq == 1


def test_rows_of_another_store_are_not_this_store(
    attacked: Tamperer, other: Path
) -> None:
    """Its id is in every link: events cannot move between stores."""
    tables = ("names", "contexts", "grants", "grant_sets", "grant_sources", "texts")
    attacked.take_rows(other, (*tables, "processes", "events", "checkpoints"))
    attacked.rebuild_index()

    assert verified(attacked.path).mismatches[0].seq == 1


def test_one_row_of_another_store_is_noticed(attacked: Tamperer, other: Path) -> None:
    """Even one that both stores have word for word, save its link."""
    with attacked.editing() as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        connection.execute(
            "UPDATE events SET chain = (SELECT chain FROM other.events AS o"
            " WHERE o.seq = events.seq) WHERE seq = 700"
        )
        connection.execute("DETACH other")

    assert verified(attacked.path).mismatches[0].seq == 700


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM store WHERE key = 'pruned'",
        "DELETE FROM store WHERE key = 'id'",
        "UPDATE store SET value = 'x' WHERE key = 'id'",
        "UPDATE store SET value = 7 WHERE key = 'args_key'",
        "UPDATE store SET value = -4 WHERE key = 'pruned'",
        "UPDATE store SET value = 'x' WHERE key = 'pruned'",
    ],
)
def test_what_no_store_says_of_itself_is_refused(attacked: Tamperer, sql: str) -> None:
    """There is nothing to verify where the store does not know what it is."""
    attacked.run(sql)

    for read_only in (True, False):
        with pytest.raises(ForeignStoreError, match="do not agree"):
            SqliteEventStore.open(attacked.path, read_only=read_only)


@pytest.mark.parametrize(
    "attack",
    [cut_unseen, with_sql("UPDATE store SET value = 9999999 WHERE key = 'pruned'")],
)
def test_nothing_is_removed_that_no_event_lets_go(
    attacked: Tamperer, attack: Attack
) -> None:
    """An open for writing ends a pruning that was begun, but only a recorded one."""
    attack(attacked)

    with pytest.raises(ForeignStoreError, match="no event says"):
        SqliteEventStore.open(attacked.path)

    assert attacked.ask("SELECT count(*) FROM events") == [(EVENTS,)]


def test_another_key_is_no_key_of_this_store(attacked: Tamperer) -> None:
    """Who signs all anew with a key of his own is shown by the key beside the store."""
    edited_and_rechained(attacked)
    attacked.reseal(seed(1))

    found = verified(attacked.path)

    assert found.mismatches[0].seq == 1
    assert "key" in found.mismatches[0].what


def test_an_index_that_hides_is_not_believed(attacked: Tamperer) -> None:
    """The attack that verifying finds is a real one: the events are gone from a query."""
    from toolrt import EventFilter

    asked = EventFilter(callers=("caller-3",))
    with SqliteEventStore.open(attacked.path, read_only=True) as store:
        before = store.count_events(asked)
    ((number,),) = attacked.ask("SELECT id FROM names WHERE text = 'caller-3'")
    attacked.run("DELETE FROM block_names WHERE role = 2 AND name = ?", number)

    with SqliteEventStore.open(attacked.path, read_only=True) as store:
        assert store.count_events(asked) < before / 2
        assert "index" in store.verify().mismatches[0].what


def test_forged_events_below_the_first_are_not_read(attacked: Tamperer) -> None:
    """What verifying does not cover no query returns."""
    forged_before_the_first(attacked)

    with SqliteEventStore.open(attacked.path, read_only=True) as store:
        assert store.count_events() == EVENTS
        assert store.get_event("forged 0/gate") is None
        assert store.coverage().events == EVENTS


#: What is part of the record; the rest is working state (places, admissions, when a
#: process began, whether it was swept) or made again from it.
RECORD = {
    "events": "seq",
    "texts": "seq",
    "contexts": "id",
    "names": "id",
    "grants": "grant_set",
    "grant_sets": "id",
    "grant_sources": "id",
    "checkpoints": "size",
    "blocks": "block",
    "block_names": "name",
    "uses": "calls",
}


def changed(value: object, kind: str, chance: random.Random) -> object:
    """Return another value of the same column."""
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 2, 1 << 20))
    if isinstance(value, str):
        return value + chance.choice("x 0")
    if isinstance(value, bytes):
        at = chance.randrange(len(value)) if value else 0
        return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] if value else b"x"
    return {"INTEGER": 1, "TEXT": "{}", "BLOB": b"x"}.get(kind, b"0123456789abcdef")


def edit_at_random(path: Path, chance: random.Random) -> tuple[str, str, int]:
    """Change one value of one row; return table, column and key of the row."""
    tamperer = Tamperer(path)
    while True:
        table = chance.choice(["events"] * 5 + list(RECORD))
        _, column, kind, *_ = chance.choice(tamperer.ask(f"PRAGMA table_info({table})"))
        ((rows,),) = tamperer.ask(f"SELECT count(*) FROM {table}")
        (row,) = tamperer.ask(
            f"SELECT * FROM {table} LIMIT 1 OFFSET ?", chance.randrange(rows)
        )
        names = [name for _, name, *_ in tamperer.ask(f"PRAGMA table_info({table})")]
        values = dict(zip(names, row, strict=True))
        new = changed(values[column], kind, chance)
        where = " AND ".join(f'"{name}" IS ?' for name in names)
        sql = f'UPDATE {table} SET "{column}" = ? WHERE {where}'
        try:
            tamperer.run(sql, new, *row)
        except sqlite.IntegrityError:
            continue
        return table, column, values[RECORD[table]]


@pytest.mark.slow
def test_no_random_edit_goes_unnoticed(sound: Path, tmp_path: Path) -> None:
    """Any value of any row of the record; an event's own values at the event itself."""
    chance = random.Random(POSITIONS)
    missed = []
    for number in range(POSITIONS):
        path = copy_store(sound, tmp_path / str(number) / "audit.db")
        table, column, key = edit_at_random(path, chance)
        found = verified(path)
        if found.is_intact:
            missed.append((table, column, key))
        elif table == "events" and column != "seq":
            assert found.mismatches[0].seq == key, (column, key, found.mismatches[:2])
        shutil.rmtree(path.parent)

    sys.stdout.write(f"\n{POSITIONS} random edits, {len(missed)} missed\n")
    assert missed == []
