"""Creating a record of a kind, between the hooks of the pack that owns it."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from toolrt import (
    CallContext,
    Pack,
    Registry,
    ToolError,
    ToolFailedError,
    create_with_hook,
)
from toolrt.testing import registry_for


class Hook:
    """Fills in a state, refuses what has no title, and remembers what was made."""

    def __init__(self, *, late: BaseException | None = None) -> None:
        self.late = late
        self.made: list[tuple[str, dict[str, Any]]] = []

    def prepare_create(self, registry: Registry, args: dict[str, Any]) -> None:
        if not args["title"]:
            raise ToolError("NO_TITLE", "a memo needs a title")
        args["state"] = "open"

    def after_create(
        self, registry: Registry, id: str, args: Mapping[str, Any]
    ) -> None:
        self.made.append((id, dict(args)))
        if self.late is not None:
            raise self.late


class Desk:
    """A pack that owns memos, and the rows that it has written."""

    def __init__(self, hook: Hook | None) -> None:
        self.rows: list[dict[str, Any]] = []
        hooks = {} if hook is None else {"memo": hook}
        pack = Pack("desk", note_kinds=["memo"], kind_hooks=hooks)

        @pack.handler("memo.create")
        def create(title: str, *, ctx: CallContext) -> str:
            given = {"title": title}
            made = create_with_hook(ctx.registry, "memo", given, self.insert)
            assert given == {"title": title}
            return made

        self.registry = registry_for(pack)

    def insert(self, args: dict[str, Any]) -> str:
        self.rows.append(args)
        return f"memo-{len(self.rows)}"

    def create(self, title: str) -> Any:
        return self.registry.dispatch("memo.create", {"title": title})


def test_the_hook_prepares_what_is_written_and_learns_of_it() -> None:
    """The write has what the hook filled in; the hook gets id and arguments."""
    hook = Hook()
    desk = Desk(hook)

    assert desk.create("a") == "memo-1"
    assert desk.rows == [{"title": "a", "state": "open"}]
    assert hook.made == [("memo-1", {"title": "a", "state": "open"})]


def test_an_error_before_the_write_aborts_it() -> None:
    """The tool fails with the hook's own code, and nothing was written."""
    hook = Hook()
    desk = Desk(hook)

    with pytest.raises(ToolFailedError) as caught:
        desk.create("")

    assert caught.value.code == "NO_TITLE"
    assert (desk.rows, hook.made) == ([], [])


@pytest.mark.parametrize("late", [OSError("no index"), SystemExit(3)])
def test_an_error_after_the_write_is_logged_and_not_raised(
    caplog: pytest.LogCaptureFixture, late: BaseException
) -> None:
    """The record stands: to fail the call would tell that it does not."""
    desk = Desk(Hook(late=late))

    assert desk.create("a") == "memo-1"
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == "the hook of memo raised after memo-1"
    assert record.exc_info is not None
    assert record.exc_info[1] is late


def test_an_interrupt_after_the_write_is_no_error_of_the_hook() -> None:
    """Ctrl-C ends the call, whoever is running."""
    with pytest.raises(KeyboardInterrupt):
        Desk(Hook(late=KeyboardInterrupt())).create("a")


def test_a_kind_without_a_hook_is_written_as_given() -> None:
    """The handler need not know whether there is one."""
    desk = Desk(None)

    assert desk.create("") == "memo-1"
    assert desk.rows == [{"title": ""}]
