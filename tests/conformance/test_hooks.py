"""What the dispatch hook is told, and when."""

import logging

import pytest

from toolrt import (
    EventView,
    Pack,
    PermissionDeniedError,
    ToolCall,
    ToolError,
    ToolNotFoundError,
)

from .samples import AuditingGate, Hook, builder


def test_a_success_fires_the_hook_once() -> None:
    """The view holds the call's event: its kind, verb, outcome and actor."""
    hook = Hook()

    builder().with_dispatch_hook(hook).build().dispatch("find", caller="ann")

    (view,) = hook.views
    assert (view.event.verb, view.event.tool_id) == ("find", "shelf:find")
    assert (view.event.kind, view.event.outcome) == ("call", "success")
    assert view.event.actor == "caller:ann"
    assert view.observations == ()


def test_every_success_fires_the_hook() -> None:
    """Three calls are three views."""
    hook = Hook()
    registry = builder().with_dispatch_hook(hook).build()

    for _ in range(3):
        registry.dispatch("find")

    assert len(hook.views) == 3


def test_an_unknown_verb_does_not_fire_the_hook() -> None:
    """There was no success to tell of."""
    hook = Hook()

    with pytest.raises(ToolNotFoundError):
        builder().with_dispatch_hook(hook).build().dispatch("burn")

    assert hook.views == []


def test_a_denial_does_not_fire_the_hook() -> None:
    """The gate refused, so nothing ran."""
    hook = Hook()
    registry = (
        builder().with_gate(AuditingGate("find")).with_dispatch_hook(hook).build()
    )

    with pytest.raises(PermissionDeniedError):
        registry.dispatch("find")

    assert hook.views == []


def test_the_hook_sees_the_namespace_of_the_call() -> None:
    """It is the one that the call names, not the registry's default."""
    hook = Hook()
    registry = builder().with_dispatch_hook(hook).build()

    registry.dispatch("find", {"namespace": "south"})

    assert hook.views[0].event.namespace == "south"


def test_without_a_hook_a_call_succeeds() -> None:
    """A hook is an option."""
    assert builder().build().dispatch("find")["verb"] == "find"


def test_a_failure_or_a_dry_run_does_not_fire_the_hook() -> None:
    """Neither is a success of the tool."""
    hook, pack = Hook(), Pack("frail")

    @pack.handler("fail")
    def fail() -> None:
        raise ToolError("TORN")

    registry = builder(pack).with_dispatch_hook(hook).build()
    registry.run(ToolCall("fail"))
    registry.run(ToolCall("fail", dry_run=True))

    assert hook.views == []


def test_a_hook_that_raises_does_not_fail_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it raises is logged."""

    class Clumsy:
        def on_dispatch(self, view: EventView) -> None:
            raise OSError("tripped")

    registry = builder().with_dispatch_hook(Clumsy()).build()

    assert registry.dispatch("find")["from"] == "shelf"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
