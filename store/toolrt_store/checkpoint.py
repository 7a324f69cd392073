"""
Checkpoints: signed statements over all events up to one sequence number.

What is signed is the note, a text of one line a fact in the manner of C2SP's
tlog-checkpoint. A checkpoint names the digest of the one before it and the key that
signs it, so a sequence of them shows by itself which key may sign which: the first one's
key stays in force until a checkpoint names the next, which signs that one as well.
Nothing here does I/O.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from toolrt.clock import parse_rfc3339, rfc3339
from toolrt_store.merkle import HASH_BYTES

ORIGIN: Final = "toolrt/checkpoint/1"
STORE_ID_BYTES: Final = 16
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
#: What stands for the digest of a note before the first.
NO_NOTE: Final = bytes(HASH_BYTES)

_MAX_SIZE: Final = 2**63 - 1  # SQLite's largest row number
_MAX_AT_US: Final = 253_402_300_800 * 1_000_000 - 1  # the last of year 9999
_HEX_16: Final = r"([0-9a-f]{32})"
_HEX_32: Final = r"([0-9a-f]{64})"
_NUMBER: Final = r"(0|[1-9][0-9]{0,18})"
# A line of a note: what it tells, and its form. All are there, in this order, but for
# the last. What else a form lets through does not print as it was read.
_LINES: Final = (
    ("origin", re.compile(f"{ORIGIN} {_HEX_16}")),
    ("size", re.compile(_NUMBER)),
    ("root", re.compile(r"([A-Za-z0-9+/]{43}=)")),
    ("head", re.compile(f"head {_HEX_32}")),
    ("time", re.compile(r"time ([0-9T:.-]{26}\+00:00)")),
    ("pruned", re.compile(f"pruned {_NUMBER}")),
    ("previous", re.compile(f"previous {_HEX_32}")),
    ("key", re.compile(f"key {_HEX_32}")),
    ("next-key", re.compile(f"next-key {_HEX_32}")),
)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint states. Values that no note can hold are a ValueError."""

    #: The store that it is about.
    store_id: bytes
    #: How many events it covers: the sequence number of the last one.
    size: int
    #: The RFC 6962 root over them.
    root: bytes
    #: The chain value of the last one.
    head: bytes
    #: When it was made, by the clock of then.
    at_us: int
    #: Events up to this sequence number were pruned before it; 0 for none.
    pruned: int = 0
    #: The digest of the note of the checkpoint before it; `NO_NOTE` for the first.
    previous: bytes = NO_NOTE
    #: The public key that signs it.
    key: bytes
    #: The public key that signs from the next one on, if that is another.
    next_key: bytes | None = None

    def __post_init__(self) -> None:
        _require_length("the store id", self.store_id, STORE_ID_BYTES)
        for what, digest in (
            ("the root", self.root),
            ("the head", self.head),
            ("the previous digest", self.previous),
            ("the key", self.key),
            ("the next key", self.key if self.next_key is None else self.next_key),
        ):
            _require_length(what, digest, HASH_BYTES)
        if not 0 <= self.pruned <= self.size <= _MAX_SIZE:
            raise ValueError(f"size {self.size}, of which {self.pruned} pruned")
        if not 0 <= self.at_us <= _MAX_AT_US:
            raise ValueError(f"{self.at_us} us is before 1970 or after 9999")
        if self.next_key == self.key:
            raise ValueError("the next key is the key")

    @property
    def next_signer(self) -> bytes:
        """The public key that has to sign the checkpoint after this one."""
        return self.key if self.next_key is None else self.next_key


def _require_length(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise ValueError(f"{what} is of {len(value)} bytes, not {length}")


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A note as it was signed. Nothing is verified by being in one of these."""

    note: bytes
    signature: bytes
    #: Of the same note by the next key that it names, to show that somebody has it.
    successor_signature: bytes | None = None


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with checkpoints."""

    #: The checkpoint concerned covers so many events.
    size: int
    what: str
    #: The first event that no sound checkpoint before this one vouches for.
    first_seq: int

    def __str__(self) -> str:
        return f"checkpoint of {self.size} events: {self.what}"


def note(checkpoint: Checkpoint) -> bytes:
    """Return the text that is signed; it ends in a newline."""
    root = base64.b64encode(checkpoint.root).decode("ascii")
    lines = [
        f"{ORIGIN} {checkpoint.store_id.hex()}",
        f"{checkpoint.size}",
        root,
        f"head {checkpoint.head.hex()}",
        f"time {rfc3339(checkpoint.at_us)}",
        f"pruned {checkpoint.pruned}",
        f"previous {checkpoint.previous.hex()}",
        f"key {checkpoint.key.hex()}",
    ]
    if checkpoint.next_key is not None:
        lines.append(f"next-key {checkpoint.next_key.hex()}")
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def parse_note(data: bytes) -> Checkpoint:
    """
    Return what the note *data* states; `note` gives exactly *data* for it.

    Raises:
        ValueError: It is not a note, or not as `note` would write it.
    """
    facts = _facts(data)
    try:
        at_us = parse_rfc3339(facts["time"])
    except (ValueError, OverflowError):
        raise ValueError("the line of the time is not a time") from None
    next_key = facts.get("next-key")
    checkpoint = Checkpoint(
        store_id=bytes.fromhex(facts["origin"]),
        size=int(facts["size"]),
        root=binascii.a2b_base64(facts["root"]),
        head=bytes.fromhex(facts["head"]),
        at_us=at_us,
        pruned=int(facts["pruned"]),
        previous=bytes.fromhex(facts["previous"]),
        key=bytes.fromhex(facts["key"]),
        next_key=None if next_key is None else bytes.fromhex(next_key),
    )
    # Base64 with spare bits, a leap second: what is read in two ways can be signed twice.
    if note(checkpoint) != data:
        raise ValueError("the note is not written in the one way")
    return checkpoint


def _facts(data: bytes) -> dict[str, str]:
    """Return the text of each fact by its name; the forms are right, not the values."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("the note is not ASCII") from None
    *lines, rest = text.split("\n")
    if rest:
        raise ValueError("the note does not end in a newline")
    if len(lines) not in (len(_LINES) - 1, len(_LINES)):
        raise ValueError(f"the note has {len(lines)} lines")
    facts = {}
    for (name, form), line in zip(_LINES, lines, strict=False):
        found = form.fullmatch(line)
        if found is None:
            raise ValueError(f"the line of the {name} is malformed")
        facts[name] = found[1]
    return facts


def note_digest(note: bytes) -> bytes:
    """Return the digest by which the next checkpoint names *note*."""
    return hashlib.sha256(note).digest()


def public_key(seed: bytes) -> bytes:
    """
    Return the public key of the private key that *seed* is.

    Raises:
        ValueError: *seed* is not of 32 bytes.
    """
    from nacl.bindings import crypto_sign_seed_keypair

    _require_length("the seed", seed, KEY_BYTES)
    return crypto_sign_seed_keypair(seed)[0]


def sign(note: bytes, seed: bytes) -> bytes:
    """
    Return the Ed25519 signature of *note*, 64 bytes.

    Raises:
        ValueError: *seed* is not of 32 bytes.
    """
    from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

    _require_length("the seed", seed, KEY_BYTES)
    _, private = crypto_sign_seed_keypair(seed)
    return crypto_sign(note, private)[:SIGNATURE_BYTES]


def is_signed(note: bytes, signature: bytes, public_key: bytes) -> bool:
    """
    Return whether *signature* is that of *note* by *public_key*; never raises.

    As strict as libsodium: keys of small order or in another than their one encoding
    sign nothing.
    """
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    # Exactly: of a longer one, the rest would count as the beginning of the note.
    if len(signature) != SIGNATURE_BYTES or len(public_key) != KEY_BYTES:
        return False
    try:
        crypto_sign_open(signature + note, public_key)
    except BadSignatureError:
        return False
    return True


def seal(
    checkpoint: Checkpoint, seed: bytes, successor_seed: bytes | None = None
) -> SignedCheckpoint:
    """
    Return *checkpoint* signed with *seed*, and with *successor_seed* if it names a key.

    Raises:
        ValueError: It names other keys than those of the seeds.
    """
    if public_key(seed) != checkpoint.key:
        raise ValueError("the seed is not that of the key")
    successor = None if successor_seed is None else public_key(successor_seed)
    if successor != checkpoint.next_key:
        raise ValueError("the successor's seed is not that of the next key")
    text = note(checkpoint)
    return SignedCheckpoint(
        text,
        sign(text, seed),
        None if successor_seed is None else sign(text, successor_seed),
    )


def check_sequence(
    checkpoints: Sequence[SignedCheckpoint], *, store_id: bytes, first_key: bytes | None
) -> tuple[Problem, ...]:
    """
    Return what is wrong with all *checkpoints* of a store, oldest first.

    One that is missing, changed, moved or signed by another key is found. Not so the
    newest ones being gone: only an anchor shows that. Times need not rise, as clocks
    are set back.

    Args:
        checkpoints: As the store has them. Untrusted.

        store_id: The store that they have to be about.

        first_key: The public key that signs the first one, if it is known.
    """
    walk = _Walk(store_id, first_key)
    for signed in checkpoints:
        walk.step(signed)
    return tuple(walk.problems)


class _Walk:
    """How far a sequence was followed, and what the next checkpoint has to keep to."""

    def __init__(self, store_id: bytes, first_key: bytes | None) -> None:
        self.problems: list[Problem] = []
        self._store_id = store_id
        self._key = first_key
        self._previous = NO_NOTE
        self._size = -1  # a checkpoint over no events comes after nothing
        self._sizes = {0}
        self._pruned = 0
        self._sound = 0

    def step(self, signed: SignedCheckpoint) -> None:
        """Check the next checkpoint, then hold the ones after it to what it says."""
        previous, self._previous = self._previous, note_digest(signed.note)
        try:
            found = parse_note(signed.note)
        except ValueError as error:
            self._add(max(self._size, 0), [f"the one after it cannot be read: {error}"])
            return
        faults = list(self._faults(found, previous))
        is_by_key = self._is_by_key(signed, found)
        if not is_by_key:
            faults.append("is not signed by the key in force")
        handing_fault = _handing_fault(signed, found)
        if handing_fault is not None:
            faults.append(handing_fault)
        self._add(found.size, faults)
        if is_by_key:
            self._take(found, is_handed=handing_fault is None)

    def _faults(self, found: Checkpoint, previous: bytes) -> Iterator[str]:
        if found.store_id != self._store_id:
            yield "is about another store"
        if found.previous != previous:
            yield "does not name the one before it"
        if found.size <= self._size:
            yield "covers no more than the one before it"
        if found.pruned < self._pruned:
            yield "says that less was pruned than before"
        if found.pruned not in self._sizes:
            yield "was pruned up to where no checkpoint is"

    def _take(self, found: Checkpoint, *, is_handed: bool) -> None:
        """Hold what comes to what *found* says: whoever has the key said so."""
        if is_handed:
            self._key = found.next_signer
        self._size = found.size
        self._sizes.add(found.size)
        self._pruned = found.pruned
        if not self.problems:
            self._sound = found.size

    def _is_by_key(self, signed: SignedCheckpoint, found: Checkpoint) -> bool:
        if self._key is None:
            self._key = found.key
        return found.key == self._key and is_signed(
            signed.note, signed.signature, self._key
        )

    def _add(self, size: int, faults: list[str]) -> None:
        self.problems.extend(Problem(size, fault, self._sound + 1) for fault in faults)


def _handing_fault(signed: SignedCheckpoint, found: Checkpoint) -> str | None:
    """Return what is wrong with how *found* hands over to the next key, if it does."""
    signature = signed.successor_signature
    if found.next_key is None:
        return None if signature is None else "is signed by a next key and names none"
    if signature is not None and is_signed(signed.note, signature, found.next_key):
        return None
    return "is not signed by the next key that it names"
