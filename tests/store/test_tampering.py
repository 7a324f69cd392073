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


Attack = Callable[[Tamperer], object]


def with_sql(sql: str, *values: object) -> Attack:
    """Return the attack that runs one statement."""
    return lambda tamperer: tamperer.run(sql, *values)


def edited(column: str, value: object, seq: int = 4_500) -> object:
    """Return the attack that sets a column of one event."""
    attack = with_sql(f"UPDATE events SET {column} = ? WHERE seq = ?", value, seq)
    return pytest.param(attack, seq, id=f"{column} of event {seq}, {value!r:.9}")


def swapped_digests(table: str, column: str) -> Attack:
    """Return the attack that lets two rows answer for each other's content."""

    def attack(tamperer: Tamperer) -> None:
        (one, first), (two, second) = tamperer.ask(
            f"SELECT id, {column} FROM {table} ORDER BY id LIMIT 2"
        )
        sql = f"UPDATE {table} SET {column} = ? WHERE id = ?"
        for value, number in ((b"x", one), (first, two), (second, one)):
            tamperer.run(sql, value, number)

    return attack


def shifted_salt(tamperer: Tamperer) -> None:
    """Move the beginning of a free text into its salt: the digest stays the same."""
    tamperer.run(
        "UPDATE texts SET salt = CAST(salt || substr(text, 1, 8) AS BLOB),"
        " text = substr(text, 9) WHERE seq = 13 AND field = 1"
    )


def retyped_call_id(tamperer: Tamperer) -> None:
    """Let a call id be a text that reads like the bytes it was."""
    from base64 import b64encode

    ((stored,),) = tamperer.ask("SELECT call_id FROM events WHERE seq = 41")
    tamperer.run(
        "UPDATE events SET call_id = ? WHERE seq = 41", b64encode(stored).decode()
    )


def spelled_call_id(tamperer: Tamperer) -> None:
    """Let a call id be the text of the ULID that it was: no look-up finds it."""
    from toolrt_store.call_id import decode_id

    ((stored,),) = tamperer.ask("SELECT call_id FROM events WHERE seq = 41")
    tamperer.run("UPDATE events SET call_id = ? WHERE seq = 41", decode_id(stored))


def forged_before_the_first(tamperer: Tamperer) -> None:
    """Put an event where no verification looks."""
    tamperer.insert_copy(of=41, at=0)


def redacted_unseen(tamperer: Tamperer) -> None:
    """Redact a text as the store does, and leave out that it was done."""
    from toolrt_store.rows import text_digest

    ((salt, text),) = tamperer.ask("SELECT salt, text FROM texts WHERE seq = 13")
    tamperer.run(
        "UPDATE texts SET digest = ?, salt = NULL, text = NULL WHERE seq = 13",
        text_digest(salt, text),
    )


def cut_unseen(tamperer: Tamperer) -> None:
    """Raise ``pruned`` to a checkpoint, so that the next open removes the events."""
    tamperer.run("UPDATE store SET value = 4096 WHERE key = 'pruned'")
    tamperer.rebuild_index(4_096)


def pruned_unseen(tamperer: Tamperer) -> None:
    """Prune like the store, and leave out that it was done."""
    cut_unseen(tamperer)
    tamperer.delete(1, 4_096)


def edited_and_rechained(tamperer: Tamperer) -> None:
    """Edit an event and compute all that follows from it, without the key."""
    tamperer.run("UPDATE events SET duration_ms = 1 WHERE seq = 1500")
    tamperer.rechain()


def stripped_middle(tamperer: Tamperer) -> None:
    """Take one checkpoint out."""
    tamperer.run("DELETE FROM checkpoints WHERE size = 3072")


def stripped_first(tamperer: Tamperer) -> None:
    """Take the first checkpoint away."""
    tamperer.run("DELETE FROM checkpoints WHERE size = 1024")


def made_invalid(table: str, column: str, where: str) -> Attack:
    """Return the attack that stores text that is no UTF-8."""
    return with_sql(
        f"UPDATE {table} SET {column} = CAST(x'41ff' AS TEXT) WHERE {where}"
    )


@pytest.mark.parametrize(
    ("attack", "first_seq"),
    [
        edited("kind", 2),
        edited("at_us", 5),
        edited("gate", 99_999),
        edited("call_id", b"0123456789abcdef", 4_501),
        edited("context", 1),
        edited("actor", 2),
        edited("caller", 2),
        edited("caller", None),
        edited("outcome", 2),
        edited("duration_ms", 10**6),
        edited("flags", 0),
        edited("grant_set", 2),
        edited("process", 99, 4_501),
        edited("args_digest", b"0123456789abcdeg", 4_501),
        edited("code", 3),
        edited("extra", '{"missing":["x"]}'),
        edited("chain", b"0" * 32),
        edited("chain", b"0" * 32, EVENTS),
        pytest.param(retyped_call_id, 41, id="call id as text"),
        pytest.param(spelled_call_id, 41, id="call id spelled"),
        pytest.param(
            with_sql("UPDATE names SET text = 'eve' WHERE text = 'caller-3'"),
            5,
            id="name",
        ),
        pytest.param(
            with_sql("UPDATE names SET text = 'refused' WHERE text = 'denied'"),
            1,
            id="name of an outcome that no event has",
        ),
        pytest.param(
            with_sql("UPDATE contexts SET effect = NULL WHERE id = 1"), 1, id="context"
        ),
        pytest.param(
            swapped_digests("contexts", "content"), 1, id="digests of contexts"
        ),
        pytest.param(
            swapped_digests("grant_sets", "digest"), 1, id="digests of grant sets"
        ),
        pytest.param(
            swapped_digests("grant_sources", "content"), 1, id="digests of sources"
        ),
        pytest.param(
            with_sql('UPDATE grant_sources SET "line" = 8 WHERE "line" = 7'),
            1,
            id="line of a grant source",
        ),
        pytest.param(
            with_sql("UPDATE grants SET capability = 1 WHERE position = 1"),
            3,
            id="grant",
        ),
        pytest.param(
            with_sql("DELETE FROM grants WHERE position = 1"), 3, id="grant taken away"
        ),
        pytest.param(
            with_sql("UPDATE processes SET process = 'p' WHERE id = 1"),
            1,
            id="process",
        ),
        pytest.param(
            with_sql("UPDATE texts SET text = 'x' WHERE seq = 13"), 13, id="text"
        ),
        pytest.param(
            with_sql("UPDATE texts SET field = 2 WHERE seq = 13"), 13, id="text's field"
        ),
        pytest.param(
            with_sql("UPDATE texts SET salt = NULL WHERE seq = 13"),
            13,
            id="text's salt",
        ),
        pytest.param(
            with_sql("UPDATE texts SET digest = x'00' WHERE seq = 13"),
            13,
            id="digest of a text that is there",
        ),
        pytest.param(shifted_salt, 13, id="text moved into its salt"),
        pytest.param(with_sql("DELETE FROM texts WHERE seq = 13"), 13, id="text gone"),
        pytest.param(
            with_sql("INSERT INTO texts VALUES (40, 1, x'00', 'why', NULL)"),
            40,
            id="text that was never there",
        ),
        pytest.param(
            with_sql("INSERT INTO texts VALUES (99999, 1, x'00', 'why', NULL)"),
            99_999,
            id="text of no event",
        ),
        pytest.param(redacted_unseen, 13, id="text redacted without a record"),
        pytest.param(lambda t: t.swap(2_000, 2_001), 2_000, id="two events swapped"),
        pytest.param(lambda t: t.swap(13, 4_900), 13, id="two far events swapped"),
        pytest.param(lambda t: t.delete(3_000, 3_000), 3_000, id="event deleted"),
        pytest.param(lambda t: t.delete(1, 1), 1, id="first event deleted"),
        pytest.param(
            lambda t: t.delete(5_000, EVENTS), 5_000, id="signed tail deleted"
        ),
        pytest.param(
            lambda t: t.insert_copy(of=41, at=EVENTS + 1),
            EVENTS + 1,
            id="event appended",
        ),
        pytest.param(
            lambda t: t.insert_copy(of=41, at=10**9), EVENTS + 1, id="event far away"
        ),
        pytest.param(forged_before_the_first, 0, id="event before the first"),
        pytest.param(lambda t: t.shift(2_000, 1), 2_000, id="renumbered"),
        pytest.param(
            with_sql("UPDATE store SET value = zeroblob(16) WHERE key = 'id'"),
            1,
            id="store id",
        ),
        pytest.param(cut_unseen, 4_096, id="pruned raised"),
        pytest.param(pruned_unseen, 4_096, id="pruned without a record"),
        pytest.param(
            with_sql("UPDATE store SET value = 9999999 WHERE key = 'pruned'"),
            EVENTS + 1,
            id="pruned beyond the last event",
        ),
        pytest.param(
            with_sql(
                "DELETE FROM block_names WHERE role = 2 AND name ="
                " (SELECT id FROM names WHERE text = 'caller-3')"
            ),
            1,
            id="caller hidden from the index",
        ),
        pytest.param(
            with_sql("UPDATE block_names SET events = 1 WHERE role = 0"),
            1,
            id="events miscounted by the index",
        ),
        pytest.param(
            with_sql("INSERT INTO block_names VALUES (2, 1, 0, 5)"),
            1,
            id="name added to the index",
        ),
        pytest.param(
            with_sql("UPDATE blocks SET last_us = first_us"), 1, id="times of a block"
        ),
        pytest.param(with_sql("DELETE FROM blocks"), 1, id="block hidden"),
        pytest.param(
            with_sql("INSERT INTO blocks VALUES (7, 0, 1)"), 1, id="block added"
        ),
        pytest.param(with_sql("UPDATE uses SET calls = 0"), 1, id="uses"),
        pytest.param(
            with_sql("UPDATE checkpoints SET note = zeroblob(9) WHERE size = 2048"),
            1_025,
            id="note",
        ),
        pytest.param(
            with_sql("UPDATE checkpoints SET signature = zeroblob(64) WHERE size=2048"),
            1_025,
            id="signature",
        ),
        pytest.param(
            with_sql("UPDATE checkpoints SET successor_signature = x'00'"),
            1,
            id="signature of a successor",
        ),
        pytest.param(
            with_sql("UPDATE checkpoints SET frontier = zeroblob(32) WHERE size=1024"),
            1,
            id="frontier",
        ),
        pytest.param(
            with_sql("UPDATE checkpoints SET size = 1025 WHERE size = 1024"),
            1_025,
            id="size of a checkpoint",
        ),
        pytest.param(stripped_first, 1, id="first checkpoint stripped"),
        pytest.param(stripped_middle, 2_049, id="middle checkpoint stripped"),
        pytest.param(edited_and_rechained, 1_025, id="edited and chained anew"),
        pytest.param(
            made_invalid("names", "text", "text = 'caller-3'"), 5, id="name not UTF-8"
        ),
        pytest.param(
            made_invalid("texts", "text", "seq = 13"), 13, id="text not UTF-8"
        ),
        pytest.param(
            made_invalid("events", "extra", "seq = 4500"), 4_500, id="extra not UTF-8"
        ),
    ],
)
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
