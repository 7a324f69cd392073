"""``toolrt __complete KIND``: the names that TAB offers, without Typer or a store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from toolrt.errors import ToolrtError
from toolrt.pack import Visibility
from toolrt_cli import identities
from toolrt_cli.escape import escape
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import Globals
from toolrt_cli.packs import need_no_module
from toolrt_cli.remembered import Seen
from toolrt_cli.wiring import Session, open_session


def complete(
    words: list[str],
    settings: Globals,
    environ: Mapping[str, str],
    *,
    typed: list[str],
) -> int:
    """
    Print the names of one kind, one a line; nothing where there are none.

    Args:
        words: The kind, and what narrows it.

        typed: The whole command line, to remember the answer by.
    """
    names = _KINDS.get(words[0] if words else "")
    if names is None:
        return Exit.USAGE
    seen = Seen()
    try:
        session = open_session(settings, environ, seen.look)
        answer = "".join(f"{escape(name)}\n" for name in names(session, words[1:]))
    except ToolrtError:
        # A broken config has its say when a command runs, not in the middle of a line.
        return Exit.OK
    sys.stdout.write(answer)
    if need_no_module(session.config):
        for path in _own_files():
            seen.look(path)
        seen.remember(typed, answer)
    return Exit.OK


def _own_files() -> Iterable[str]:
    """Return the files of the built-in pack, and one that every installation renews."""
    return [
        str(module.__file__)
        for name, module in sys.modules.items()
        if name.startswith(("toolrt.std", "toolrt_cli.remembered"))
    ]


def _tools(session: Session, _words: list[str]) -> Iterable[str]:
    return (
        handler.name
        for pack in session.packs
        for handler in pack.handlers
        if handler.visibility is Visibility.VERB and not handler.hidden
    )


def _arguments(session: Session, words: list[str]) -> Iterable[str]:
    """Return ``name=`` for each argument of the tool that *words* begins with."""
    tool = words[0] if words else ""
    for pack in session.packs:
        for handler in pack.handlers:
            if tool in (handler.name, f"{pack.name}:{handler.name}"):
                return [f"{n}=" for n in handler.input_schema.get("properties", ())]
    return ()


def _packs(session: Session, _words: list[str]) -> Iterable[str]:
    return (pack.name for pack in session.packs)


def _callers(session: Session, _words: list[str]) -> Iterable[str]:
    named = session.config.config.callers
    own = identities.names(session.environ)
    return dict.fromkeys([*named, session.default_caller, *own])


def _identities(session: Session, _words: list[str]) -> Iterable[str]:
    return identities.names(session.environ)


def _capabilities(session: Session, _words: list[str]) -> Iterable[str]:
    return session.capabilities


#: What can be completed, and how.
_KINDS: Final[Mapping[str, Callable[[Session, list[str]], Iterable[str]]]] = {
    "tools": _tools,
    "arguments": _arguments,
    "packs": _packs,
    "callers": _callers,
    "identities": _identities,
    "capabilities": _capabilities,
}
