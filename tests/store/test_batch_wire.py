"""Batches on their way to the process that stores them."""

from __future__ import annotations

import socket
import threading
from typing import Any

import msgspec
import pytest

from toolrt.audit.call_event import (
    CallEvent,
    CapabilityDenied,
    CapProvenance,
    ExecutionFailed,
    InvalidArgs,
    RateLimited,
    StringAllowList,
    Success,
    ToolNotFound,
    UcanChain,
)
from toolrt.capability import AllowRule, CapabilitySet, ChainLink, Grant, Link, Refusal
from toolrt.event import CallDetails
from toolrt_store.batch_wire import (
    Pair,
    _Row,
    decode_batch,
    encode_batch,
    receive,
    send,
)

from .samples import FS_GRANTS, details

LINK = Link(
    issuer="did:key:a",
    audience="did:key:b",
    subject="did:key:a",
    capabilities=("fs:read",),
    bindings=(("path", '"/x"'),),
    not_before=1,
    expires=2,
    digest="ef" * 32,
)
CHAIN = ChainLink(issuer="did:key:a", depth=1, digest="ab" * 32, links=(LINK,))
BOTH = CapabilitySet((Grant("fs:read", AllowRule(pattern="*")), Grant("x", CHAIN)))
FULL = CallDetails(
    namespace="n",
    actor="os:x",
    caller="c",
    pack="p",
    effect="read",
    args_digest=b"\0" * 16,
    grants=CapabilitySet(refusal=Refusal("ttl", "ab" * 32)),
    policy="cd" * 32,
    process="01ARZ3NDEKTSV4RRFFQ69G5FAV",
    parent_call_id="q",
    reason="because",
    labels={"k": "v"},
)


def wire(**changes: Any) -> CallEvent:
    """Return an event that says as little as it can."""
    told = CallEvent("2026-01-01T00:00:00Z", "a", "std:x", 1, Success(), "hot")
    return told.replace(**changes)


PAIRS: list[Pair] = [
    (wire(), None),
    (wire(granted_capabilities=("fs:read",)), FULL),
    (
        wire(
            caller_id="c",
            dry_run=True,
            schema_version=2,
            secrets_resolved=True,
            cursor_page=3,
            capability_provenance=(
                CapProvenance("a", StringAllowList()),
                CapProvenance("b", UcanChain("did:key:a", 2)),
            ),
        ),
        details(grants=BOTH),
    ),
    (wire(outcome=ExecutionFailed("E", retryable=True)), details(grants=FS_GRANTS)),
    (wire(outcome=InvalidArgs("no")), details(grants=BOTH)),
    (wire(outcome=CapabilityDenied(("a", "b"))), details(grants=FS_GRANTS)),
    (wire(outcome=RateLimited(5)), None),
    (wire(outcome=RateLimited()), None),
    (wire(outcome=ToolNotFound(), capability_provenance=()), None),
]


@pytest.mark.parametrize("pairs", [[], PAIRS, PAIRS * 200], ids=["0", "9", "1800"])
def test_a_batch_arrives_as_it_was_sent(pairs: list[Pair]) -> None:
    """Every field of every event, of its details and of its grants."""
    assert decode_batch(encode_batch(pairs)) == pairs


def test_every_field_of_the_details_is_sent() -> None:
    """One that is new is not forgotten: the row has all of them."""
    sent = {*_Row.__struct_fields__} - {"event"}

    assert sent == {*CallDetails.__struct_fields__}
    empty = CallDetails(namespace="", actor="")
    assert all(
        getattr(FULL, name) != getattr(empty, name)
        for name in CallDetails.__struct_fields__
    )


def test_a_set_of_grants_is_sent_once() -> None:
    """And arrives as one object, which the store remembers."""
    one, two = encode_batch(PAIRS[3:4]), encode_batch(PAIRS[3:4] * 2)
    (_, first), (_, second) = decode_batch(two)

    assert two.count(b"/etc/toolrt.toml") == one.count(b"/etc/toolrt.toml") == 1
    assert first is not None
    assert second is not None
    assert first.grants is second.grants


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param((wire(tool_id="\udc80"), None), id="no text"),
        pytest.param((wire(duration_ms=2**70), None), id="no integer of 64 bits"),
        pytest.param((wire(tier=object()), None), id="no data"),
    ],
)
def test_what_does_not_fit_is_not_sent(pair: Pair) -> None:
    """It is told with one of the errors that are documented."""
    with pytest.raises((TypeError, ValueError, OverflowError, msgspec.EncodeError)):
        encode_batch([pair])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(encode_batch(PAIRS)[:-1], id="cut"),
        pytest.param(encode_batch([(wire(duration_ms="1"), None)]), id="a text"),
        pytest.param(
            msgspec.msgpack.encode(([[(wire(), 0, "", "")]], [])), id="grants"
        ),
    ],
)
def test_what_is_no_batch_is_not_read(data: bytes) -> None:
    """It is told with one of the errors that are documented."""
    with pytest.raises((msgspec.MsgspecError, IndexError)):
        decode_batch(data)


@pytest.mark.parametrize("size", [0, 1, 65_528, 65_529, 3_000_000])
def test_frames_arrive_whole(size: int) -> None:
    """However the kernel cuts them."""
    here, there = socket.socketpair()
    body = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    with here, there:
        sender = threading.Thread(target=send, args=(here, body[:size]))
        sender.start()
        found = receive(there)
        sender.join()

    assert found == body[:size]


@pytest.mark.parametrize("data", [b"", b"\0\0", (9).to_bytes(8) + b"12345678"])
def test_a_frame_that_is_cut_short_is_none(data: bytes) -> None:
    """What the sender did not say to the end was not said."""
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(data)
        assert receive(there) is None
