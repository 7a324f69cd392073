"""When the gate is asked, with what, and what its answer does."""

from typing import Any

import pytest

from toolrt import (
    Allow,
    AuditUnavailableError,
    GateUnavailableError,
    InvalidInputError,
    InvalidNamespaceError,
    Pack,
    PermissionDeniedError,
    ToolCall,
)
from toolrt.testing import MemoryEventStore

from .samples import AuditingGate, BrokenGate, Echo, build, builder, shelf, verb


def test_the_gate_is_asked_once_a_call() -> None:
    """Two calls are two questions."""
    gate = AuditingGate()
    registry = builder().with_gate(gate).build()

    registry.dispatch("find")
    registry.dispatch("lend")

    assert [request.verb for request in gate.asked] == ["find", "lend"]


def test_a_denial_is_permission_denied_with_verb_and_reason() -> None:
    """Both are attributes, and both stand in the text."""
    gate = AuditingGate("lend")

    with pytest.raises(PermissionDeniedError, match="lend: closed today") as caught:
        builder().with_gate(gate).build().dispatch("lend")

    assert (caught.value.verb, caught.value.reason) == ("lend", "closed today")
    assert len(gate.asked) == 1


def test_a_denial_of_one_verb_leaves_the_others_alone() -> None:
    """The gate decides call by call."""
    registry = builder().with_gate(AuditingGate("lend")).build()

    assert registry.dispatch("find")["from"] == "shelf"


def test_without_a_gate_a_call_is_allowed() -> None:
    """A builder that is given none uses the gate that allows everything."""
    assert build(shelf()).dispatch("find")["from"] == "shelf"


def test_without_a_gate_every_verb_is_allowed() -> None:
    """The default knows no exceptions."""
    registry = build(shelf())

    answers = [registry.dispatch(verb)["verb"] for verb in ("find", "lend")]

    assert answers == ["find", "lend"]


def test_a_denied_call_never_reaches_the_pack() -> None:
    """The refusal is enforced, not advice."""
    pack = Echo("vault", [verb("open")])

    with pytest.raises(PermissionDeniedError, match="closed today"):
        builder(pack).with_gate(AuditingGate("open")).build().dispatch("open")

    assert pack.asked == []


def test_the_gate_sees_the_namespace_of_the_call() -> None:
    """A given one wins over the registry's default; an empty one is refused ungated."""
    gate = AuditingGate()
    registry = builder().with_gate(gate).with_default_namespace("north").build()

    registry.dispatch("find", {"namespace": "south"})
    registry.dispatch("find")
    with pytest.raises(InvalidNamespaceError) as caught:
        registry.dispatch("find", {"namespace": ""})

    assert isinstance(caught.value, InvalidInputError)
    assert gate.namespaces == ["south", "north"]


def test_the_default_namespace_is_local() -> None:
    """It holds where the builder was given no other."""
    gate = AuditingGate()

    builder().with_gate(gate).build().dispatch("find")

    assert gate.namespaces == ["local"]


@pytest.mark.parametrize("named", [7, None, ["south"], {"name": "south"}])
def test_a_namespace_that_is_no_string_is_refused(named: Any) -> None:
    """It is never taken for a call in the default namespace."""
    gate, pack = AuditingGate(), shelf()

    with pytest.raises(InvalidInputError, match="namespace"):
        builder(pack).with_gate(gate).build().dispatch("find", {"namespace": named})

    assert (gate.asked, pack.asked) == ([], [])


def test_the_namespace_is_not_passed_on_to_the_tool() -> None:
    """The tool gets it with its token, the gate also among the arguments."""
    gate, pack = AuditingGate(), shelf()
    registry = builder(pack).with_gate(gate).build()

    registry.dispatch("find", {"namespace": "south", "title": "Emma"})

    assert gate.asked[0].args == {"namespace": "south", "title": "Emma"}
    assert pack.asked == [{"title": "Emma"}]
    assert str(pack.tokens[0].namespace) == "south"


def test_a_handler_that_declares_a_namespace_is_given_it() -> None:
    """The argument is the tool's own then."""
    pack = Pack("scoped")

    @pack.handler("where")
    def where(namespace: str) -> str:
        return namespace

    assert build(pack).dispatch("where", {"namespace": "south"}) == "south"


def test_a_gate_that_fails_refuses_the_call() -> None:
    """The refusal is recorded, and the backend's words appear nowhere."""
    pack, store = shelf(), MemoryEventStore()
    registry = builder(pack).with_gate(BrokenGate()).with_event_store(store).build()

    with pytest.raises(GateUnavailableError) as caught:
        registry.dispatch("find")

    (event,) = store.events
    assert pack.asked == []
    assert (event.outcome, event.payload["decision"]) == ("error", "gate_unavailable")
    assert "db-7" not in f"{caught.value}{event.payload}"


def test_a_gate_that_fails_can_be_told_to_allow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call goes on with a warning in the log and no event in the store."""
    store = MemoryEventStore()
    made = builder().with_gate(BrokenGate(), on_error="allow").with_event_store(store)

    assert made.build().dispatch("find")["from"] == "shelf"
    assert store.count_events() == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("answer", [True, None, "allow", Allow])
def test_a_gate_that_answers_with_no_decision_refuses(answer: Any) -> None:
    """Only an Allow allows; what merely looks like a yes does not."""

    class Vague:
        def check(self, request: Any) -> Any:
            return answer

    pack = shelf()

    with pytest.raises(GateUnavailableError):
        builder(pack).with_gate(Vague()).build().dispatch("find")

    assert pack.asked == []


@pytest.mark.parametrize("denied", [(), ("find",)], ids=["allowed", "denied"])
def test_a_decision_that_cannot_be_stored_refuses(denied: tuple[str, ...]) -> None:
    """No record, no run: whichever way the gate decided."""
    pack, store = shelf(), MemoryEventStore(fail_on=["gate"])
    made = builder(pack).with_gate(AuditingGate(*denied)).with_event_store(store)

    with pytest.raises(AuditUnavailableError):
        made.build().dispatch("find")

    assert pack.asked == []


def test_a_dry_run_is_gated_and_recorded() -> None:
    """The gate is asked and its answer stored before a dry run answers."""
    gate, pack, store = AuditingGate("lend"), shelf(), MemoryEventStore()
    registry = builder(pack).with_gate(gate).with_event_store(store).build()

    dry = registry.run(ToolCall("find", {"title": "Emma"}, dry_run=True))
    refused = registry.run(ToolCall("lend", dry_run=True))

    assert dry.value["args_preview"] == {"title": "Emma"}
    assert isinstance(refused.error, PermissionDeniedError)
    assert [event.outcome for event in store.events] == ["success", "denied"]
    assert pack.asked == []
