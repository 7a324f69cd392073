"""The packs, gates and hooks that the conformance tests share."""

from collections.abc import Sequence
from typing import Any

from toolrt import (
    Allow,
    AuditEvent,
    AuditObligation,
    Deny,
    EventView,
    GateRequest,
    HandlerDef,
    NamespaceToken,
    Pack,
    Registry,
    RegistryBuilder,
    VerbCategory,
    Visibility,
)


class Echo(Pack):
    """A pack in class form that answers with what it was asked."""

    def __init__(self, name: str, handlers: Sequence[HandlerDef], **declared: Any):
        super().__init__(name, handlers=handlers, **declared)
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[NamespaceToken] = []

    def dispatch(
        self, verb: str, params: dict[str, Any], registry: Any, token: NamespaceToken
    ) -> dict[str, str]:
        self.asked.append(params)
        self.tokens.append(token)
        return {"from": self.name, "verb": verb}


def verb(name: str, category: VerbCategory = VerbCategory.ASSERTIVE) -> HandlerDef:
    return HandlerDef(name=name, category=category)


def inner(name: str) -> HandlerDef:
    return HandlerDef(name=name, visibility=Visibility.SUBHANDLER)


def shelf() -> Echo:
    """Two public verbs, two note kinds, one entity kind."""
    return Echo(
        "shelf",
        [verb("lend", VerbCategory.COMMISSIVE), verb("find")],
        note_kinds=["card", "ledger"],
        entity_kinds=["book"],
    )


def desk() -> Echo:
    """One public verb, and a sub-handler named like a verb of the shelf."""
    return Echo(
        "desk",
        [verb("remind"), inner("lend")],
        note_kinds=["notice"],
        entity_kinds=["book", "reader"],
    )


def builder(*packs: Pack) -> RegistryBuilder:
    made = RegistryBuilder()
    for pack in packs or (shelf(),):
        made.register(pack)
    return made


def build(*packs: Pack) -> Registry:
    return builder(*packs).build()


class AuditingGate:
    """Denies the verbs it is told to, obliges the others, remembers every question."""

    impl_name = "auditing"

    def __init__(self, *denied: str, reason: str = "closed today") -> None:
        self.denied = denied
        self.reason = reason
        self.asked: list[GateRequest] = []
        self.events: list[AuditEvent] = []

    def check(self, request: GateRequest) -> Allow | Deny:
        decision: Allow | Deny
        if request.verb in self.denied:
            decision = Deny(self.reason)
        else:
            decision = Allow((AuditObligation(f"{request.verb}.asked"),))
        self.asked.append(request)
        event = AuditEvent.from_check(request, decision, self.impl_name)
        self.events.append(event)
        return decision

    @property
    def namespaces(self) -> list[str]:
        return [str(request.namespace) for request in self.asked]


class BrokenGate:
    """A gate whose backend is gone."""

    def check(self, request: GateRequest) -> Allow | Deny:
        raise OSError("db-7.internal: connection refused")


class Hook:
    """Keeps every view."""

    def __init__(self) -> None:
        self.views: list[EventView] = []

    def on_dispatch(self, view: EventView) -> None:
        self.views.append(view)
