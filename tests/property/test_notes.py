"""A note is read in one way, and no change to signed checkpoints goes unseen."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from toolrt_store.checkpoint import (
    Checkpoint,
    check_sequence,
    is_signed,
    note,
    parse_note,
)

from ..store.seals import STORE_ID, five

digests = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 2**63 - 1)
FIELDS = ("note", "signature", "successor_signature")


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Any checkpoint that can be made."""
    pruned, size = sorted((draw(sizes), draw(sizes)))
    key = draw(digests)
    return Checkpoint(
        store_id=draw(st.binary(min_size=16, max_size=16)),
        size=size,
        root=draw(digests),
        head=draw(digests),
        at_us=draw(st.integers(0, 253_402_300_800_000_000 - 1)),
        pruned=pruned,
        previous=draw(digests),
        key=key,
        next_key=draw(st.none() | digests.filter(lambda other: other != key)),
    )


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Return *data* with a few stretches cut out, copied, or written anew."""
    pieces = st.binary(max_size=3) | st.sampled_from(
        [b"\n", b"\r", b" ", b"0", b"=", b"A", b"Z", b"-0", b"next-key ", b"\xc2\xb2"]
    )
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        if draw(st.booleans()):
            end = min(end, start + draw(st.integers(0, 2)))
        place = draw(st.integers(0, len(data)))
        new = draw(pieces | st.just(data[start:end]) | st.just(data[place : place + 1]))
        data = data[:start] + new + data[end:]
    return data


@given(checkpoints())
def test_what_is_written_is_read(made: Checkpoint) -> None:
    """Every checkpoint has a note, and the note gives it back."""
    assert parse_note(note(made)) == made


@given(checkpoints().map(note).flatmap(mutations))
def test_what_is_read_is_written(data: bytes) -> None:
    """A mutated note is refused, or is the one note of what it now states."""
    try:
        found = parse_note(data)
    except ValueError:
        return
    assert note(found) == data


@given(st.binary(max_size=400))
def test_bytes_are_a_note_or_a_value_error(data: bytes) -> None:
    """Nothing else comes out of the parser."""
    try:
        found = parse_note(data)
    except ValueError:
        return
    assert note(found) == data


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=40))
def test_no_signature_or_key_raises(text: bytes, signature: bytes, key: bytes) -> None:
    """Whatever their lengths; that one verifies by chance does not happen."""
    assert not is_signed(text, signature, key)


@given(st.data())
def test_any_changed_byte_of_a_sequence_is_found(data: st.DataObject) -> None:
    """In a note, a signature or a successor's, at any place."""
    log = list(five().log)
    at = data.draw(st.integers(0, len(log) - 1))
    field = data.draw(st.sampled_from(FIELDS))
    old = getattr(log[at], field) or bytes(64)
    new = data.draw(mutations(old).filter(lambda changed: changed != old))
    changes: dict[str, Any] = {field: new}
    log[at] = msgspec.structs.replace(log[at], **changes)

    assert check_sequence(log, store_id=STORE_ID, first_key=None)


@given(st.lists(st.integers(0, 4), max_size=8))
def test_only_the_beginning_of_a_sequence_is_sound(chosen: list[int]) -> None:
    """Any choice and order of its checkpoints but the first few is found."""
    log = five().log
    found = check_sequence(
        [log[at] for at in chosen], store_id=STORE_ID, first_key=None
    )

    assert (not found) == (chosen == list(range(len(chosen))))
