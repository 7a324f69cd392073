"""``toolrt identity new|list|show``: the keys by which tokens name a caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from toolrt_cli import identities
from toolrt_cli.documents import emit, write_facts
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.identities import KeyFile
from toolrt_cli.listing import now_us, time_or_none
from toolrt_cli.output import Column, emit_list
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.provenance.facts import Document
from toolrt_cli.streams import Streams
from toolrt_cli.times import local_clock

_NAMES: Final = (
    "letters, digits and _.@+-, a letter or digit first, at most 64 characters"
)


def new_command(streams: Streams, name: str) -> int:
    """
    Make an identity and print its DID; its private key is never printed.

    Raises:
        UsageError: No identity can be called so.
        IdentityExistsError: There is one of that name.
        IdentityError: Its file cannot be made.
    """
    if not identities.is_name(name):
        problem = f"an identity cannot be called {name!r}: {_NAMES}"
        raise UsageError(problem, next_step="name it otherwise")
    made = identities.make(name)
    emit(streams, "identity", _item(made), lambda: streams.out.write(f"{made.did}\n"))
    streams.remark(f"identity {name}, its key is in {made.path}: keep a copy")
    return Exit.OK


def list_command(streams: Streams) -> int:
    """Print every identity; one whose key file is not sound is a row."""
    found = [identities.find(name) for name in identities.names()]
    items = [_item(one) for one in found if one is not None]
    emit_list(
        streams.out,
        schema="identities",
        items=items,
        columns=_columns(streams),
        name_key="name",
        meta={"count": len(items)},
        fmt=streams.settings.output,
        terminal=streams.out_terminal,
    )
    if not items:
        streams.remark("there is no identity: toolrt identity new NAME makes one")
    return Exit.OK


def show_command(streams: Streams, name: str) -> int:
    """
    Print one identity; exit 5 if its key file is not sound, as nothing can use it.

    Raises:
        NotFoundError: There is none of that name.
    """
    found = require(name)
    item = _item(found)

    def draw() -> None:
        facts = [
            ("name", found.name),
            ("did", found.did or "unknown: the key was not read"),
            ("created", item["created"] or "unknown"),
            ("key", found.path),
            ("sound", "yes" if found.problem is None else f"no: {found.problem}"),
        ]
        if found.fix is not None:
            facts.append(("do", found.fix))
        write_facts(streams, facts)

    emit(streams, "identity", item, draw)
    return Exit.OK if found.problem is None else Exit.CONFIG


def require(name: str) -> KeyFile:
    """
    Return the identity *name*, sound or not.

    Raises:
        NotFoundError: There is none, with names like it.
    """
    found = identities.find(name)
    if found is None:
        near = near_names(name, tuple(identities.names()))
        raise NotFoundError("identity", name, near)
    return found


def _item(one: KeyFile) -> Document:
    return {
        "name": one.name,
        "did": one.did,
        "created": time_or_none(one.made_us),
        "key_file": one.path,
        "sound": one.problem is None,
        "problem": one.problem,
        "fix": one.fix,
    }


def _columns(streams: Streams) -> list[Column]:
    asked_us = now_us()

    def created(item: Mapping[str, Any]) -> str:
        if item["created"] is None:
            return ""
        # The day will do, or the time of today.
        return local_clock(item["created"], asked_us).partition(" ")[0]

    name = Column("name", "NAME")
    sound = Column("sound", "SOUND", lambda item: "yes" if item["sound"] else "no")
    if streams.out_terminal.is_tty:
        # What has no DID that is known has a problem.
        did = Column("did", "DID", lambda x: x["did"] or x["problem"], fold=True)
        return [name, did, Column("created", "CREATED", created), sound]
    return [
        name,
        Column("did", "DID"),
        Column("created", "CREATED"),
        sound,
        Column("problem", "PROBLEM"),
    ]
