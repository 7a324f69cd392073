"""Checkpoints say one thing in one way, and no change to a sequence goes unseen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from toolrt_store.checkpoint import (
    NO_NOTE,
    Problem,
    SignedCheckpoint,
    check_sequence,
    is_signed,
    note,
    note_digest,
    parse_note,
    public_key,
    seal,
    sign,
)

from .seals import STORE_ID, checkpoint, digest, five, resigned, seed

Log = list[SignedCheckpoint]

NOTE = b"""\
toolrt/checkpoint/1 000102030405060708090a0b0c0d0e0f
1024
QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEA=
head 4141414141414141414141414141414141414141414141414141414141414141
time 2026-01-02T03:04:05.000006+00:00
pruned 512
previous 4242424242424242424242424242424242424242424242424242424242424242
key 4343434343434343434343434343434343434343434343434343434343434343
"""
NEXT_KEY = b"next-key " + b"44" * 32 + b"\n"
FACTS: dict[str, Any] = {
    "root": b"@" * 32,
    "head": b"A" * 32,
    "at_us": 1_767_323_045_000_006,
    "pruned": 512,
    "previous": b"B" * 32,
    "key": b"C" * 32,
}


class TestNote:
    """A note is read only as it is written."""

    def test_the_text(self) -> None:
        """One line a fact, the next key last and only where there is one."""
        plain = checkpoint(1024, **FACTS)
        rotation = checkpoint(1024, **FACTS, next_key=b"D" * 32)

        assert note(plain) == NOTE
        assert note(rotation) == NOTE + NEXT_KEY
        assert parse_note(NOTE) == plain
        assert parse_note(NOTE + NEXT_KEY) == rotation
        assert (plain.next_signer, rotation.next_signer) == (b"C" * 32, b"D" * 32)

    @pytest.mark.parametrize(
        ("old", "new", "match"),
        [
            pytest.param(b"\n", b"\r\n", "line of the origin", id="CRLF"),
            pytest.param(NOTE, b"", "has 0 lines", id="nothing"),
            pytest.param(NOTE, NOTE[:-1], "end in a newline", id="no newline"),
            pytest.param(NOTE, NOTE + b"\n", "line of the next-key", id="blank line"),
            pytest.param(NOTE, NOTE + 2 * NEXT_KEY, "has 10 lines", id="two next keys"),
            pytest.param(NOTE, b"\xef\xbb\xbf" + NOTE, "not ASCII", id="BOM"),
            pytest.param(b"/1 ", b"/2 ", "line of the origin", id="version"),
            pytest.param(b"0a0b", b"0A0B", "line of the origin", id="upper case"),
            pytest.param(b"\n1024", b"\n01024", "line of the size", id="zero before"),
            pytest.param(b"\n1024", b"\n+1024", "line of the size", id="sign"),
            pytest.param(b"\n1024", b"\n" + b"9" * 19, "pruned", id="size over 2^63"),
            pytest.param(b"\n1024", b"\n511", "size 511, of", id="pruned over size"),
            pytest.param(b"QEA=", b"QEB=", "the one way", id="spare bits"),
            pytest.param(b"QEA=", b"QEA", "line of the root", id="no padding"),
            pytest.param(b"head 41", b"head  41", "line of the head", id="two spaces"),
            pytest.param(b"head 41", b"head 4", "line of the head", id="short"),
            pytest.param(b"time 2026-01", b"time 2026-13", "not a time", id="month 13"),
            pytest.param(b"03:04:05", b"03:03:60", "the one way", id="leap second"),
            pytest.param(b"+00:00", b"+01:00", "line of the time", id="offset"),
            pytest.param(b"+00:00", b"Z", "line of the time", id="Z"),
            pytest.param(b"time 2026", b"time 1926", "before 1970", id="before 1970"),
            pytest.param(
                b"2026-01-02T03:04:05.000006",
                b"9999-12-31T23:59:60.000000",
                "not a time",
                id="past all time",
            ),
            pytest.param(
                b"2026-01-02T03:04:05", b"2026-01-02.03:04:05", "one way", id="."
            ),
            pytest.param(b"pruned 512", b"pruned -1", "line of the pruned", id="minus"),
            pytest.param(
                NOTE,
                NOTE + b"next-key " + b"43" * 32 + b"\n",
                "is the key",
                id="same key",
            ),
        ],
    )
    def test_deviations_are_named(self, old: bytes, new: bytes, match: str) -> None:
        """Whatever is not as it would be written is a ValueError that says where."""
        data = NOTE.replace(old, new)
        assert data != NOTE

        with pytest.raises(ValueError, match=match):
            parse_note(data)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"store_id": b"1"}, "the store id is of 1 bytes, not 16"),
            ({"root": bytes(31)}, "the root is of 31 bytes, not 32"),
            ({"head": bytes(33)}, "the head is of 33 bytes"),
            ({"previous": b""}, "the previous digest is of 0 bytes"),
            ({"key": b""}, "the key is of 0 bytes"),
            ({"next_key": b""}, "the next key is of 0 bytes"),
            ({"pruned": 1025}, "size 1024, of which 1025 pruned"),
            ({"pruned": -1}, "of which -1 pruned"),
            ({"size": 2**63}, "size 9223372036854775808"),
            ({"at_us": -1}, "before 1970 or after 9999"),
            ({"at_us": 253_402_300_800_000_000}, "before 1970 or after 9999"),
        ],
    )
    def test_a_checkpoint_holds_only_what_a_note_can(
        self, changes: dict[str, Any], match: str
    ) -> None:
        """It is refused when it is made, not when it is read back."""
        with pytest.raises(ValueError, match=match):
            checkpoint(**changes)


#: All encodings of the eight points whose order divides 8, by their y coordinate:
#: 0, 1, p - 1 and two others, with either sign bit, and 0 and 1 with p added.
SMALL_ORDER = [
    bytes([*bytes.fromhex(head), last])
    for head, lasts in (
        ("00" * 31, (0x00, 0x80)),
        ("01" + "00" * 30, (0x00, 0x80)),
        (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc",
            (0x05, 0x85),
        ),
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03",
            (0x7A, 0xFA),
        ),
        ("ec" + "ff" * 30, (0x7F, 0xFF)),
        ("ed" + "ff" * 30, (0x7F, 0xFF)),
        ("ee" + "ff" * 30, (0x7F, 0xFF)),
    )
    for last in lasts
]
IDENTITY = b"\x01" + bytes(31)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


class TestSignature:
    """A signature is of one note by one key."""

    def test_signing_is_as_in_the_rfc(self) -> None:
        """The first test of RFC 8032, section 7.1."""
        secret = bytes.fromhex(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
        )
        public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

        signature = sign(b"", secret)

        assert public_key(secret).hex() == public
        assert signature.hex() == (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb882"
            "1590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        )
        assert is_signed(b"", signature, public_key(secret))

    def test_another_note_key_or_signature_does_not_verify(self) -> None:
        """Nor does any length but the right one, and nothing of it raises."""
        key, signature = public_key(seed(0)), sign(NOTE, seed(0))

        assert is_signed(NOTE, signature, key)
        assert not is_signed(NOTE + b"\n", signature, key)
        assert not is_signed(NOTE, signature, public_key(seed(1)))
        assert not is_signed(NOTE, sign(NOTE, seed(1)), key)
        for short in (b"", signature[:-1], bytes(64)):
            assert not is_signed(NOTE, short, key)
        assert not is_signed(NOTE, signature, key[:-1])
        assert not is_signed(NOTE, signature, key + b"\0")
        assert not is_signed(NOTE, signature, b"")

    def test_the_note_does_not_begin_in_the_signature(self) -> None:
        """Bytes moved from one to the other are refused, though they join up alike."""
        key, signature = public_key(seed(0)), sign(NOTE, seed(0))

        assert not is_signed(NOTE[1:], signature + NOTE[:1], key)
        assert not is_signed(signature[-1:] + NOTE, signature[:-1], key)

    @pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
    def test_keys_of_small_order_sign_nothing(self, key: bytes) -> None:
        """With such a key, S = 0 and R a small point would sign some or every note."""
        for point in (IDENTITY, key, *SMALL_ORDER):
            assert not is_signed(NOTE, point + bytes(32), key)

    def test_a_signature_has_one_form(self) -> None:
        """S with the order of the group added would verify by the equation alone."""
        key, signature = public_key(seed(0)), sign(NOTE, seed(0))
        other = int.from_bytes(signature[32:], "little") + GROUP_ORDER

        assert not is_signed(NOTE, signature[:32] + other.to_bytes(32, "little"), key)

    @pytest.mark.parametrize("call", [public_key, lambda bad: sign(NOTE, bad)])
    def test_a_seed_has_its_length(self, call: Callable[[bytes], bytes]) -> None:
        """Another one is a usage error of this module, not of the library's."""
        for bad in (b"", bytes(31), bytes(64)):
            with pytest.raises(ValueError, match="the seed is of"):
                call(bad)

    def test_a_seal_is_of_the_keys_that_are_named(self) -> None:
        """A checkpoint is not signed with a key that it does not name."""
        plain = checkpoint()
        rotation = checkpoint(next_key=public_key(seed(1)))

        assert seal(plain, seed(0)) == SignedCheckpoint(
            note(plain), sign(note(plain), seed(0))
        )
        assert seal(rotation, seed(0), seed(1)).successor_signature == sign(
            note(rotation), seed(1)
        )
        with pytest.raises(ValueError, match="not that of the key"):
            seal(plain, seed(1))
        for made, successor in (
            (plain, seed(1)),
            (rotation, None),
            (rotation, seed(2)),
        ):
            with pytest.raises(ValueError, match="not that of the next key"):
                seal(made, seed(0), successor)


def problems(log: Log, first_key: bytes | None = None) -> list[tuple[int, str, int]]:
    """Return what is wrong with *log*, as plain tuples."""
    found = check_sequence(log, store_id=STORE_ID, first_key=first_key)
    return [msgspec.structs.astuple(problem) for problem in found]


UNREAD = "the one after it cannot be read: the note has 0 lines"
STORE = "is about another store"
PREVIOUS = "does not name the one before it"
SIZE = "covers no more than the one before it"
LESS = "says that less was pruned than before"
PRUNED = "was pruned up to where no checkpoint is"
KEY = "is not signed by the key in force"
NEXT = "is not signed by the next key that it names"
NO_NEXT = "is signed by a next key and names none"


def edit(log: Log) -> None:
    text = log[1].note.replace(b"\n2048\n", b"\n2047\n")
    log[1] = msgspec.structs.replace(log[1], note=text)


def forge(log: Log) -> None:
    log[1] = resigned(log[1], seed(9), root=digest("other"))


def forge_with_a_key_of_its_own(log: Log) -> None:
    log[1] = resigned(log[1], seed(9), key=public_key(seed(9)))


def insert(log: Log) -> None:
    previous = note_digest(log[0].note)
    log.insert(1, resigned(log[0], seed(9), size=1500, previous=previous))


def take_over(log: Log) -> None:
    """Hand over to a key of the attacker, who does not have the one in force."""
    log[1] = resigned(log[1], seed(9), seed(9), next_key=public_key(seed(9)))
    log[2] = resigned(
        log[2],
        seed(9),
        key=public_key(seed(9)),
        next_key=None,
        previous=note_digest(log[1].note),
    )
    del log[3:]


def go_on_with_the_old_key(log: Log) -> None:
    log[3] = resigned(log[3], seed(0), key=public_key(seed(0)))
    del log[4:]


def swap_signatures(log: Log) -> None:
    log[0], log[1] = (
        msgspec.structs.replace(log[0], signature=log[1].signature),
        msgspec.structs.replace(log[1], signature=log[0].signature),
    )


def swap(log: Log) -> None:
    log[0], log[1] = log[1], log[0]


def repeat(log: Log) -> None:
    log.insert(1, log[0])
    del log[2:]


def empty(log: Log) -> None:
    log[1] = SignedCheckpoint(b"", b"")


def empty_the_first(log: Log) -> None:
    log[0] = SignedCheckpoint(b"", b"")
    del log[1:]


def strip_the_signature(log: Log) -> None:
    log[1] = msgspec.structs.replace(log[1], signature=b"")


def strip_the_successor(log: Log) -> None:
    log[2] = msgspec.structs.replace(log[2], successor_signature=None)


def countersign_by_another(log: Log) -> None:
    signature = sign(log[2].note, seed(9))
    log[2] = msgspec.structs.replace(log[2], successor_signature=signature)
    del log[3:]


def countersign_what_names_none(log: Log) -> None:
    signature = sign(log[1].note, seed(1))
    log[1] = msgspec.structs.replace(log[1], successor_signature=signature)


def of_another_store(log: Log) -> None:
    log[4] = resigned(log[4], seed(1), store_id=bytes(16))


def pruned_within(log: Log) -> None:
    log[4] = resigned(log[4], seed(1), pruned=2047)


def name_another_key(log: Log) -> None:
    log[4] = resigned(log[4], seed(1), key=public_key(seed(9)))


def pruned_less(log: Log) -> None:
    previous = note_digest(log[4].note)
    log.append(resigned(log[4], seed(1), size=5000, pruned=1024, previous=previous))


def no_larger(log: Log) -> None:
    log[4] = resigned(log[4], seed(1), size=3072)


def remove(at: int) -> Callable[[Log], None]:
    """Return what takes the checkpoint *at* away."""

    def attack(log: Log) -> None:
        del log[at]

    return attack


class TestCheckSequence:
    """Which key may sign which checkpoint follows from the checkpoints alone."""

    def test_a_sound_sequence_has_no_problems(self) -> None:
        """With a rotation, a prune, a clock set back; the first key known or not."""
        log = five().log

        assert problems(log) == []
        assert problems(log, public_key(seed(0))) == []
        assert problems([]) == []

    def test_the_first_may_cover_nothing(self) -> None:
        """An anchor can know of a store before its first event."""
        simulator = five()
        simulator.log.clear()
        simulator.add(0)
        simulator.add(1)

        assert problems(simulator.log) == []

    @pytest.mark.parametrize(
        ("attack", "expected"),
        [
            pytest.param(
                edit,
                [(2047, KEY, 1025), (2500, PREVIOUS, 1025), (4096, PRUNED, 1025)],
                id="edit",
            ),
            pytest.param(
                forge,
                [(2048, KEY, 1025), (2500, PREVIOUS, 1025), (4096, PRUNED, 1025)],
                id="forge",
            ),
            pytest.param(
                forge_with_a_key_of_its_own,
                [(2048, KEY, 1025), (2500, PREVIOUS, 1025), (4096, PRUNED, 1025)],
                id="forge with a key of its own",
            ),
            pytest.param(
                insert, [(1500, KEY, 1025), (2048, PREVIOUS, 1025)], id="insert"
            ),
            pytest.param(
                take_over, [(2048, KEY, 1025), (2500, KEY, 1025)], id="take over"
            ),
            pytest.param(
                go_on_with_the_old_key, [(3072, KEY, 2501)], id="the old key goes on"
            ),
            pytest.param(
                swap_signatures,
                [(1024, KEY, 1), (2048, KEY, 1), (4096, PRUNED, 1)],
                id="swap signatures",
            ),
            pytest.param(
                swap,
                [
                    (2048, PREVIOUS, 1),
                    (1024, PREVIOUS, 1),
                    (1024, SIZE, 1),
                    (2500, PREVIOUS, 1),
                ],
                id="reorder",
            ),
            pytest.param(
                repeat, [(1024, PREVIOUS, 1025), (1024, SIZE, 1025)], id="repeat"
            ),
            pytest.param(remove(0), [(2048, PREVIOUS, 1)], id="remove the first"),
            pytest.param(
                remove(1),
                [(2500, PREVIOUS, 1025), (4096, PRUNED, 1025)],
                id="remove from the middle",
            ),
            pytest.param(
                remove(2),
                [(3072, PREVIOUS, 2049), (3072, KEY, 2049), (4096, KEY, 2049)],
                id="remove the rotation",
            ),
            pytest.param(
                empty,
                [
                    (1024, UNREAD, 1025),
                    (2500, PREVIOUS, 1025),
                    (4096, PRUNED, 1025),
                ],
                id="empty",
            ),
            pytest.param(empty_the_first, [(0, UNREAD, 1)], id="empty the first"),
            pytest.param(
                strip_the_signature,
                [(2048, KEY, 1025), (4096, PRUNED, 1025)],
                id="strip the signature",
            ),
            pytest.param(
                strip_the_successor,
                [(2500, NEXT, 2049), (3072, KEY, 2049), (4096, KEY, 2049)],
                id="strip the successor",
            ),
            pytest.param(
                countersign_by_another, [(2500, NEXT, 2049)], id="another successor"
            ),
            pytest.param(
                countersign_what_names_none,
                [(2048, NO_NEXT, 1025)],
                id="a successor that is not named",
            ),
            pytest.param(of_another_store, [(4096, STORE, 3073)], id="another store"),
            pytest.param(name_another_key, [(4096, KEY, 3073)], id="name another key"),
            pytest.param(pruned_within, [(4096, PRUNED, 3073)], id="pruned within"),
            pytest.param(pruned_less, [(5000, LESS, 4097)], id="pruned less"),
            pytest.param(
                no_larger, [(3072, SIZE, 3073)], id="no larger than the one before"
            ),
        ],
    )
    def test_every_attack_is_named(
        self, attack: Callable[[Log], None], expected: list[tuple[int, str, int]]
    ) -> None:
        """By the size of the checkpoint, with the first event that is in doubt."""
        log = five().log
        attack(log)

        assert problems(log) == expected

    def test_the_newest_ones_can_be_taken_away_unseen(self) -> None:
        """What only an anchor shows: a shorter sequence is as sound as a whole one."""
        log = five().log

        assert [problems(log[:length]) for length in range(5)] == [[]] * 5

    def test_a_sequence_signed_all_anew_needs_the_first_key(self) -> None:
        """Who replaces everything is found by the key that was kept elsewhere."""
        other = five()
        other.log.clear()
        other.seed = seed(7)
        other.add(1024)
        other.add(2048)

        assert problems(other.log) == []
        assert problems(other.log, public_key(seed(0))) == [
            (1024, KEY, 1),
            (2048, KEY, 1),
        ]

    def test_a_problem_reads_as_a_sentence(self) -> None:
        """The size of the checkpoint, then what is wrong."""
        problem = Problem(2048, PREVIOUS, 1025)

        assert str(problem) == f"checkpoint of 2048 events: {PREVIOUS}"

    def test_the_first_names_none(self) -> None:
        """The digest before the first is all zero, which no note gives."""
        assert parse_note(five().log[0].note).previous == NO_NOTE == bytes(32)


def test_signing_is_imported_when_it_is_needed() -> None:
    """A start that signs nothing does not pay 19 ms for the library."""
    code = (
        "import sys\n"
        "from toolrt_store import anchor, checkpoint, keys, merkle\n"
        "print('nacl' in sys.modules, 'cffi' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["False", "False"]
