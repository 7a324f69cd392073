"""
Verifying an export by its lines alone: no store is needed, and nothing does I/O.

The chain and the tree are computed anew from the values of each event; free texts and
definitions are held against their digests; and the payload that people read has to be
the one that those values amount to.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec

from toolrt.audit.call_event import StringAllowList, UcanChain
from toolrt.capability import AllowRule, ChainLink, Grant
from toolrt.event import Event
from toolrt_store.anchor import compare
from toolrt_store.call_id import encode_id
from toolrt_store.chain import link
from toolrt_store.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    check_sequence,
    parse_note,
)
from toolrt_store.dictionary import Context
from toolrt_store.errors import ForeignStoreError
from toolrt_store.export import SCHEMA, encoded
from toolrt_store.grant_sets import Grants, Source, StatedGrant
from toolrt_store.merkle import Frontier
from toolrt_store.rows import (
    GATE,
    LABELS,
    REASON,
    REDACTED,
    SHARED,
    TEXTS,
    decode,
    text_digest,
)
from toolrt_store.verify import Mismatch, Verification

_BATCH: Final = 1_024
_MOST_MISMATCHES: Final = 100
_VALUES: Final = 17
#: What a line raises that speaks of others that are not there, or holds what none can.
_UNREADABLE: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)
_Stated = list[tuple[str, AllowRule | ChainLink | StringAllowList | UcanChain | None]]


class ExportVerification(Verification, frozen=True, kw_only=True):
    """What verifying an export found; of a selection nothing is said as a whole."""

    is_whole: bool


class _Signed(msgspec.Struct):
    note: str
    signature: bytes
    successor_signature: bytes | None = None


class _Header(msgspec.Struct, tag=SCHEMA, tag_field="schema"):
    store: str
    whole: bool
    first: int
    last: int
    before: bytes = b""
    frontier: bytes = b""
    checkpoints: list[_Signed] = []


class _Text(msgspec.Struct):
    field: int
    salt: bytes = b""
    text: str | None = None
    digest: bytes = b""


class _Line(msgspec.Struct):
    """Any line but the first: an event, a definition, or the end."""

    event: list[Any] | None = None
    id: str = ""
    call_id: str | None = None
    chain: bytes = b""
    leaf: bytes = b""
    payload: dict[str, Any] = {}
    texts: list[_Text] = []
    context: bytes | None = None
    grants: bytes | None = None
    value: Any = None
    events: int | None = None


_DECODE: Final = msgspec.json.Decoder(_Line).decode


def verify_export(
    name: str,
    lines: Iterable[bytes],
    *,
    anchored: Sequence[SignedCheckpoint] | None = None,
    first_key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportVerification:
    """
    Verify the *lines* of an export; *name* is what it is called in an error.

    Args:
        anchored: What an anchor holds; None without one.

        first_key: The public key known to sign the first checkpoint.

        progress: Told now and then how many events of how many are done.

    Raises:
        ForeignStoreError: The first line is not that of an export.
    """
    numbered = iter(enumerate(lines, 1))
    try:
        header = msgspec.json.decode(next(numbered, (1, b""))[1], type=_Header)
        check = _Check(header, first_key)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ForeignStoreError(name, f"its first line is not of {SCHEMA}") from None
    for number, line in numbered:
        check.take(number, line)
        if progress is not None and not number % _BATCH:
            progress(check.count, header.last - header.first + 1)
    return check.result(anchored)


class _Same(dict[Any, Any]):
    """Gives what it is asked with: values that are resolved stand for themselves."""

    def __missing__(self, key: Any) -> Any:
        return key


class _Definitions:
    """Stands for the dictionary and the grant sets of a store where rows are decoded."""

    def __init__(self) -> None:
        self.texts = _Same()
        self.process_texts = _Same()
        self.context_values: dict[str, Context] = {}
        self.sets: dict[str, Grants] = {}

    def text_of(self, text: str | None) -> str | None:
        """Return *text*."""
        return text

    def define(self, line: _Line) -> bool:
        """Keep what *line* defines; return whether it is what its digest says."""
        digest = hashlib.sha256(msgspec.json.encode(line.value)).digest()
        if line.context is not None:
            self.context_values[encoded(line.context)] = Context._make(line.value)
            return digest == line.context
        assert line.grants is not None
        stated = msgspec.convert(line.value, _Stated)
        self.sets[encoded(line.grants)] = tuple(_grant(*one) for one in stated)
        return digest == line.grants


def _grant(capability: str, source: Source) -> Grant | StatedGrant:
    if isinstance(source, AllowRule | ChainLink):
        return Grant(capability, source)
    return StatedGrant(capability, source)


class _Gate(msgspec.Struct, frozen=True):
    """What the end of an attempt takes from its gate event."""

    columns: tuple[Any, ...]
    texts: dict[int, str]


class _Check:
    """How far an export was followed. Once it breaks, the tree is not compared further."""

    def __init__(self, header: _Header, first_key: bytes | None) -> None:
        self.count = 0
        self._header = header
        self._store_id = bytes.fromhex(header.store)
        self._signed = [
            SignedCheckpoint(one.note.encode(), one.signature, one.successor_signature)
            for one in header.checkpoints
        ]
        self._definitions = _Definitions()
        self._gates: dict[int, _Gate] = {}
        self._mismatches: list[Mismatch] = []
        self._chain = header.before
        self._seq = header.first - 1
        self._leaves: list[bytes] = []
        self._signed_up_to = 0
        self._is_ended = False
        pruned = header.first - 1
        said = [found for found in map(_said, self._signed) if found is not None]
        self._due = {one.size: one for one in said if one.size > pruned}
        self._key = said[-1].next_signer if said else None
        self._frontier = Frontier.from_bytes(header.frontier, pruned)
        if header.whole:
            self._check_header(first_key, pruned, said)
        self._is_whole = header.whole and not self._mismatches

    def _check_header(
        self, first_key: bytes | None, pruned: int, said: Sequence[Checkpoint]
    ) -> None:
        for problem in check_sequence(
            self._signed, store_id=self._store_id, first_key=first_key
        ):
            self._add(problem.first_seq, str(problem))
        if not pruned:
            from toolrt_store.chain import genesis

            if self._chain != genesis(self._store_id):
                self._add(1, "the chain does not begin as that of this store")
            return
        start = [one for one in said if one.size == pruned]
        if not start or (start[0].head, start[0].root) != (
            self._chain,
            self._frontier.root(),
        ):
            what = "no checkpoint vouches for the end of what was pruned"
            self._add(pruned, what)
        else:
            self._signed_up_to = pruned

    def take(self, number: int, line: bytes) -> None:
        """Check one line; *number* counts from 1."""
        try:
            read = _DECODE(line)
            if self._is_ended:
                raise ValueError
            if read.event is not None:
                self._take_event(read, read.event)
            elif read.events is not None:
                self._take_end(read)
            elif not self._definitions.define(read):
                self._add(self._seq + 1, f"line {number}: a definition was changed")
        except (msgspec.MsgspecError, RecursionError, *_UNREADABLE):
            self._add(self._seq + 1, f"line {number} cannot be read")
            self._is_whole = False

    def _take_event(self, line: _Line, values: list[Any]) -> None:
        if len(values) != _VALUES or type(values[0]) is not int:
            raise ValueError
        seq, self.count = values[0], self.count + 1
        if self._header.whole and seq != self._seq + 1:
            gap = f"events {self._seq + 1} to {seq - 1} are missing or moved"
            self._add(self._seq + 1, gap)
            self._is_whole = False
        links = link(self._store_id, self._chain, [tuple(values)])
        is_same = (
            links.chains[0] == line.chain
            if self._header.whole
            else links.leaves[0] == line.leaf and seq > self._seq
        )
        if not is_same:
            self._add(seq, "it is not what was recorded")
            self._is_whole = False
        self._seq, self._chain = seq, line.chain
        self._grow(links.leaves[0])
        if not _is_read_as(line, self._decoded(line, values)):
            what = "its payload or its texts are not those of its record"
            self._add(seq, what)

    def _grow(self, leaf: bytes) -> None:
        if not self._is_whole:
            return
        self._leaves.append(leaf)
        said = self._due.pop(self._seq, None)
        if said is None and len(self._leaves) < _BATCH:
            return
        self._frontier = self._frontier.extended(self._leaves)
        self._leaves.clear()
        if said is None:
            return
        if (said.root, said.head) != (self._frontier.root(), self._chain):
            what = f"these events are not those of the checkpoint of {said.size} events"
            self._add(self._signed_up_to + 1, what)
            self._is_whole = False
        else:
            self._signed_up_to = said.size

    def _decoded(self, line: _Line, values: list[Any]) -> Event | None:
        """Return the event that *values* amount to; None if the texts are not theirs."""
        own = {one.field: one for one in line.texts}
        digests = [[field, encoded(_digest(own[field]))] for field in sorted(own)]
        if digests != values[16]:
            return None
        texts = {f: REDACTED if t.text is None else t.text for f, t in own.items()}
        columns = [*values[:16]]
        if columns[4] is not None:
            stored = encode_id(line.call_id or "")
            if columns[4] != (
                encoded(stored) if isinstance(stored, bytes) else [stored]
            ):
                return None
            columns[4] = stored
        columns[13] = None if columns[13] is None else b64decode(columns[13])
        gate = None if columns[3] is None else self._gates.pop(columns[3])
        flags = columns[10]
        if gate is not None and flags & SHARED and gate.columns[4] & TEXTS:
            of_gate = {f: t for f, t in gate.texts.items() if f in (REASON, LABELS)}
            texts = of_gate | texts
        if columns[1] == GATE:
            kept = (columns[4], columns[12], columns[13], columns[15], flags)
            self._gates[columns[0]] = _Gate(kept, texts)
        row = (*columns, *(gate.columns if gate is not None else (None,) * 5))
        # Rows are decoded by what gives values for numbers: here they are values.
        names = cast("Any", self._definitions)
        return decode(row, texts, names, names)

    def _take_end(self, line: _Line) -> None:
        self._is_ended = True
        if line.events != self.count:
            what = f"{self.count} events are here, {line.events} were written"
            self._add(self._seq + 1, what)
        elif self._header.whole and line.chain != self._chain:
            self._add(self._seq + 1, "the last event is not the one that was written")

    def result(self, anchored: Sequence[SignedCheckpoint] | None) -> ExportVerification:
        """Return what was found, *anchored* compared with it."""
        header = self._header
        if not self._is_ended:
            self._add(self._seq + 1, "it ends without its last line")
        if header.whole and self._seq != header.last:
            what = f"it ends at event {self._seq}, and says that it has {header.last}"
            self._add(self._seq + 1, what)
        for size in sorted(self._due) if self._is_whole else ():
            self._add(self._seq + 1, f"a checkpoint speaks of {size} events")
        agreed = self._compared(anchored)
        self._mismatches.sort(key=lambda one: one.seq)
        return ExportVerification(
            is_whole=header.whole,
            store_id=self._store_id,
            first_seq=header.first,
            last_seq=self._seq,
            events=self.count,
            signed_up_to=self._signed_up_to,
            checkpoints=len(self._signed),
            pruned_up_to=header.first - 1,
            anchored_up_to=agreed,
            key=self._key,
            mismatches=tuple(self._mismatches[:_MOST_MISMATCHES]),
            not_proven=tuple(self._not_proven(agreed)),
        )

    def _compared(self, anchored: Sequence[SignedCheckpoint] | None) -> int:
        if not anchored or not self._header.whole:
            return 0
        problems = compare(anchored, self._signed, self._seq)
        for problem in problems:
            self._add(problem.first_seq, f"against the anchor: {problem}")
        return 0 if problems else max(parse_note(one.note).size for one in anchored)

    def _not_proven(self, agreed: int) -> Iterator[str]:
        if not self._header.whole:
            yield "a selection: that no event is missing, added or of another store"
        elif agreed < self._seq:
            yield (
                f"that nothing after event {agreed} was cut off"
                if agreed
                else "without an anchor: that this is the store as it was then, and not"
                " one that was written anew with the key"
            )

    def _add(self, seq: int, what: str) -> None:
        self._mismatches.append(Mismatch(seq, what))


def _said(signed: SignedCheckpoint) -> Checkpoint | None:
    try:
        return parse_note(signed.note)
    except ValueError:
        return None


def _digest(text: _Text) -> bytes:
    return text.digest if text.text is None else text_digest(text.salt, text.text)


def _is_read_as(line: _Line, event: Event | None) -> bool:
    """Return whether *line* tells people what *event* is."""
    if event is None or (event.id, event.call_id) != (line.id, line.call_id):
        return False
    # Encoded, as a tuple is a list to whoever reads it.
    payload: Any = msgspec.json.decode(msgspec.json.encode(event.payload))
    return bool(payload == line.payload)
