"""
System events: what was done to the store itself, by whom and why.

They stand in the same chain as all others, in the default namespace.
"""

from __future__ import annotations

import os
import pwd
from typing import Any, Final

from toolrt.event import Event
from toolrt.namespace import DEFAULT_NAMESPACE

#: The tool that system events name.
STORE_TOOL: Final = "toolrt:store"


def system_event(what: str, now_us: int, **facts: Any) -> Event:
    """
    Return the event that says that *what* was done to the store.

    Args:
        facts: Plain JSON, into the payload.
    """
    return Event(
        kind="system",
        namespace=DEFAULT_NAMESPACE,
        verb=what,
        tool_id=STORE_TOOL,
        actor=_actor(),
        outcome="success",
        call_id=None,
        created_at_us=now_us,
        payload={"what": what, **facts},
    )


def _actor() -> str:
    uid = os.getuid()
    try:
        return f"os:{pwd.getpwuid(uid).pw_name}"
    except KeyError:  # a uid without a name, as in many containers
        return f"os:{uid}"
