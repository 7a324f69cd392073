"""
What a sink and its writing process say to each other: frames of MessagePack.

First the `toolrt_store.parts.Opening`, answered; then batches, each answered before the next one. Grants
repeat and are the larger part of an event: a batch holds each set of them once.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from toolrt.audit.call_event import CallEvent
from toolrt.capability import CapabilitySet
from toolrt.event import CallDetails

Pair: TypeAlias = tuple[CallEvent, CallDetails | None]

_LENGTH_BYTES: Final = 8
_AT_ONCE: Final = 65_536
#: So many rows are encoded at once: with more of them alive the garbage collector
#: would look through the whole program for nothing, again and again.
_PART: Final = 500


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What became of a batch, or of the opening.

    ``refused``: nothing was stored, for a reason that is found again by who tries again;
    ``locked``: nothing was stored, as another process kept the lock to the deadline.
    """

    status: Literal["stored", "refused", "locked"]
    #: The last event of the store.
    head: int = 0
    #: Why the opening was refused.
    problem: str = ""
    #: Why the last checkpoint was not written, or its anchor not told.
    seal_problem: str = ""


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event with what `msgspec.structs.astuple` makes of its details, but grants."""

    event: CallEvent
    #: The place of the set of grants; None where there are no details.
    grants: int | None
    namespace: str = ""
    actor: str = ""
    caller: str | None = None
    pack: str | None = None
    effect: str | None = None
    args_digest: bytes | None = None
    policy: str | None = None
    process: str | None = None
    parent_call_id: str | None = None
    reason: str | None = None
    labels: dict[str, str] = {}


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    parts: list[list[_Row]]
    grants: list[CapabilitySet]


_ENCODER: Final = msgspec.msgpack.Encoder()
_BATCHES: Final = msgspec.msgpack.Decoder(_Batch)


def encode_batch(pairs: Sequence[Pair]) -> bytes:
    """
    Return the body of the frame that holds *pairs*.

    Raises:
        TypeError, ValueError, OverflowError, msgspec.EncodeError: One of them holds
            something else than its fields say.
    """
    sets = _Sets()
    parts = [
        msgspec.Raw(_ENCODER.encode(_rows(pairs[start : start + _PART], sets)))
        for start in range(0, len(pairs), _PART)
    ]
    return _ENCODER.encode((parts, sets.found))


class _Sets:
    """The sets of grants of a batch, each once."""

    def __init__(self) -> None:
        self.found: list[CapabilitySet] = []
        # By the very object: to compare all its parts takes longer than the rest.
        self.places: dict[int, int] = {}

    def place(self, grants: CapabilitySet) -> int:
        """Return the place of *grants*, which is given one."""
        place = self.places[id(grants)] = len(self.found)
        self.found.append(grants)
        return place


def _rows(pairs: Sequence[Pair], sets: _Sets) -> list[object]:
    """Return what `_Row` is the form of; written out, as a call takes longer."""
    known = sets.places
    rows: list[object] = []
    for event, details in pairs:
        if details is None:
            rows.append((event, None))
            continue
        grants = details.grants
        place = known.get(id(grants))
        rows.append(
            (
                event,
                sets.place(grants) if place is None else place,
                details.namespace,
                details.actor,
                details.caller,
                details.pack,
                details.effect,
                details.args_digest,
                details.policy,
                details.process,
                details.parent_call_id,
                details.reason,
                details.labels,
            )
        )
    return rows


def decode_batch(data: bytes) -> list[Pair]:
    """
    Return the pairs that `encode_batch` made *data* of.

    Raises:
        msgspec.MsgspecError: It is no batch.
        IndexError: It names a set of grants that it does not hold.
    """
    batch = _BATCHES.decode(data)
    sets = batch.grants
    return [(row.event, _details(row, sets)) for rows in batch.parts for row in rows]


def _details(row: _Row, sets: Sequence[CapabilitySet]) -> CallDetails | None:
    if row.grants is None:
        return None
    return CallDetails(
        namespace=row.namespace,
        actor=row.actor,
        caller=row.caller,
        pack=row.pack,
        effect=row.effect,
        args_digest=row.args_digest,
        grants=sets[row.grants],
        policy=row.policy,
        process=row.process,
        parent_call_id=row.parent_call_id,
        reason=row.reason,
        labels=row.labels,
    )


def send(connection: socket.socket, body: bytes) -> None:
    """Send one frame. Raises `OSError`."""
    # In one piece: each call lets go of the interpreter's lock, and waits to have it back.
    connection.sendall(len(body).to_bytes(_LENGTH_BYTES) + body)


def receive(connection: socket.socket) -> bytes | None:
    """Return the body of the next frame; None at the end. Raises `OSError`."""
    data = connection.recv(_AT_ONCE)
    while missing := _missing(data):
        more = connection.recv(missing, socket.MSG_WAITALL)
        if not more:
            return None
        data += more
    return data[_LENGTH_BYTES:]


def _missing(data: bytes) -> int:
    """Return how many bytes follow *data* for sure: of the length, or of the body."""
    if len(data) < _LENGTH_BYTES:
        return _LENGTH_BYTES - len(data)
    return _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES]) - len(data)
