"""What the tests of the pipeline work with: a pack, its runs, a store and a clock."""

from collections.abc import Callable
from typing import Any

from toolrt import (
    Allow,
    AllowRule,
    Authority,
    CallContext,
    CallResult,
    Deny,
    GateRequest,
    Grant,
    Pack,
    Registry,
    RegistryBuilder,
    ToolCall,
    ToolError,
)
from toolrt.testing import ManualClock, MemoryEventStore, MemorySink

ALICE = Grant("notes:write", AllowRule(pattern="notes:*", file="f", line=1, column=2))


class RecordingGate:
    """A gate that answers as it is told and remembers what it was asked."""

    def __init__(self, answer: Callable[[GateRequest], Any]) -> None:
        self.answer = answer
        self.asked: list[GateRequest] = []

    def check(self, request: GateRequest) -> Allow | Deny:
        self.asked.append(request)
        found: Allow | Deny = self.answer(request)
        return found


class Runs:
    """What the handlers of `notes` were called with."""

    def __init__(self) -> None:
        self.params: list[dict[str, Any]] = []
        self.contexts: list[CallContext] = []


def notes(runs: Runs, clock: ManualClock) -> Pack:
    pack = Pack("notes")

    @pack.handler("note.add", capabilities=["notes:write"], effect="write")
    def add(title: str, size: int = 3, *, ctx: CallContext) -> dict[str, Any]:
        runs.params.append({"title": title, "size": size})
        runs.contexts.append(ctx)
        return {"title": title}

    @pack.handler("scoped")
    def scoped(namespace: str) -> str:
        return namespace

    @pack.handler("fail", errors=["NO_ROOM"])
    def fail(code: str = "NO_ROOM") -> None:
        raise ToolError(code, "the hush disk is full", retryable=True)

    @pack.handler("crash")
    def crash() -> None:
        raise OSError("hush path")

    @pack.handler("slow")
    def slow(seconds: float) -> str:
        clock.advance(seconds)
        return "late"

    @pack.handler("big", tier="hot")
    def big(size: int) -> str:
        return "x" * size

    @pack.handler("odd")
    def odd() -> object:
        return object()

    @pack.handler("limited", rate_limit_per_min=1)
    def limited() -> None: ...

    @pack.handler("inner", visibility="subhandler")
    def inner() -> None: ...

    @pack.handler("shy", hidden=True)
    def shy() -> str:
        return "found"

    return pack


class Bench:
    """One registry with everything around it within reach."""

    def __init__(self, *, fail_on: tuple[str, ...] = (), calls: bool = True) -> None:
        self.clock = ManualClock()
        self.runs = Runs()
        self.store = MemoryEventStore(fail_on=fail_on)
        self.sink = MemorySink()
        self.builder = (
            RegistryBuilder()
            .register(notes(self.runs, self.clock))
            .with_clock(self.clock)
            .with_event_store(self.store, calls=calls)
            .with_audit_sink(self.sink)
            .with_authority(Authority({"alice": [ALICE]}))
        )

    @property
    def registry(self) -> Registry:
        return self.builder.build()

    def run(self, tool: str, params: Any = None, **fields: Any) -> CallResult:
        return self.registry.run(ToolCall(tool, params, **fields))

    def add(self, title: Any = "t", **fields: Any) -> CallResult:
        return self.run("note.add", {"title": title}, caller="alice", **fields)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.outcome) for event in self.store.events]
