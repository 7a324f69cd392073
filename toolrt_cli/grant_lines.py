"""The lines that would grant a capability, and the file they belong in."""

from __future__ import annotations

from collections.abc import Sequence

from toolrt_cli.output import to_json
from toolrt_cli.wiring import Session


def grant_lines(
    session: Session, caller: str, capabilities: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """
    Return the file to edit and the lines that grant *capabilities* to *caller*.

    Where the file has a table of that caller already, the lines replace its list: TOML
    does not let a table be written twice.
    """
    table = session.config.config.callers.get(caller)
    listed = [*(table.capabilities if table else ()), *capabilities]
    # A basic TOML string is a JSON string.
    names = ", ".join(to_json(name) for name in listed)
    header = f"[callers.{to_json(caller)}]"
    if table is not None:
        at = session.config.position("callers", caller)
        header += f"    # line {at.line}: in place of its list" if at else ""
    return session.config_to_edit, (header, f"capabilities = [{names}]")
