"""Which handler a name reaches."""

from typing import Any

import pytest

from toolrt import (
    CallContext,
    InvalidInputError,
    Pack,
    ToolCall,
    ToolNotFound,
    ToolNotFoundError,
)
from toolrt.testing import MemoryEventStore, MemorySink

from .samples import AuditingGate, Echo, build, builder, desk, inner, shelf, verb


def test_each_verb_reaches_the_pack_that_offers_it() -> None:
    """Verbs of different packs are told apart by name alone."""
    registry = build(shelf(), desk())

    assert registry.dispatch("find") == {"from": "shelf", "verb": "find"}
    assert registry.dispatch("remind") == {"from": "desk", "verb": "remind"}


def test_an_unknown_verb_is_named_beside_those_there_are() -> None:
    """The error is invalid input of its own class; only public verbs are listed."""
    hiding = Echo("hiding", [inner("secret")])

    with pytest.raises(ToolNotFoundError, match=r"'burn'.*lend") as caught:
        build(shelf(), desk(), hiding).dispatch("burn")

    error = caught.value
    assert isinstance(error, InvalidInputError)
    assert (error.code, error.name) == ("tool_not_found", "burn")
    assert error.available == ("lend", "find", "remind")
    assert "secret" not in str(error)


def test_an_unknown_verb_is_gated_and_recorded_like_any_other() -> None:
    """The gate is asked with the name as given; the CallEvent says not found."""
    gate, store, sink = AuditingGate(), MemoryEventStore(), MemorySink()
    made = builder().with_gate(gate).with_event_store(store).with_audit_sink(sink)

    made.build().run(ToolCall("burn"))

    assert [request.verb for request in gate.asked] == ["burn"]
    assert [(event.kind, event.tool_id) for event in store.events] == [("gate", "burn")]
    assert sink.events[0].outcome == ToolNotFound()


def test_a_sub_handler_never_shadows_a_public_verb() -> None:
    """The public owner is reached also where the sub-handler's pack loads first."""
    hidden = Echo("hidden", [inner("lend")])

    registry = build(hidden, shelf())

    assert registry.dispatch("lend")["from"] == "shelf"
    assert hidden.asked == []


@pytest.mark.parametrize("name", ["secret", "hiding:secret"])
def test_a_sub_handler_cannot_be_called_from_outside(name: str) -> None:
    """It answers neither to its verb nor to its tool id."""
    hiding = Echo("hiding", [verb("open"), inner("secret")])

    with pytest.raises(ToolNotFoundError):
        build(hiding).dispatch(name)

    assert hiding.asked == []


def test_a_sub_handler_serves_its_own_pack() -> None:
    """A handler of the same pack reaches it with a call that is gated as well."""
    pack, gate = Pack("hiding"), AuditingGate()

    @pack.handler("open")
    def open_up(*, ctx: CallContext) -> Any:
        return ctx.registry.dispatch("secret")

    @pack.handler("secret", visibility="subhandler")
    def secret() -> str:
        return "a key"

    assert builder(pack).with_gate(gate).build().dispatch("open") == "a key"
    assert [request.verb for request in gate.asked] == ["open", "secret"]
