"""Every way to change a closed store that its own verification has to notice."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from toolrt_store.call_id import decode_id
from toolrt_store.rows import text_digest

from .tampering import EVENTS, Tamperer

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
    ((stored,),) = tamperer.ask("SELECT call_id FROM events WHERE seq = 41")
    tamperer.run(
        "UPDATE events SET call_id = ? WHERE seq = 41", b64encode(stored).decode()
    )


def spelled_call_id(tamperer: Tamperer) -> None:
    """Let a call id be the text of the ULID that it was: no look-up finds it."""
    ((stored,),) = tamperer.ask("SELECT call_id FROM events WHERE seq = 41")
    tamperer.run("UPDATE events SET call_id = ? WHERE seq = 41", decode_id(stored))


def forged_before_the_first(tamperer: Tamperer) -> None:
    """Put an event where no verification looks."""
    tamperer.insert_copy(of=41, at=0)


def redacted_unseen(tamperer: Tamperer) -> None:
    """Redact a text as the store does, and leave out that it was done."""
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


#: Each with the first event that is not, or may not be, what was recorded.
ATTACKS = [
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
    pytest.param(swapped_digests("contexts", "content"), 1, id="digests of contexts"),
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
    pytest.param(with_sql("UPDATE texts SET text = 'x' WHERE seq = 13"), 13, id="text"),
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
    pytest.param(lambda t: t.delete(5_000, EVENTS), 5_000, id="signed tail deleted"),
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
    pytest.param(with_sql("INSERT INTO blocks VALUES (7, 0, 1)"), 1, id="block added"),
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
    pytest.param(made_invalid("texts", "text", "seq = 13"), 13, id="text not UTF-8"),
    pytest.param(
        made_invalid("events", "extra", "seq = 4500"), 4_500, id="extra not UTF-8"
    ),
]
