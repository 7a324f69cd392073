"""The lines that would grant a capability, and where they belong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from toolrt_cli.config import LoadedConfig
from toolrt_cli.output import to_json


class Change(msgspec.Struct, frozen=True):
    """Lines for a file: added to it, or in place of one line that it has."""

    file: str
    lines: tuple[str, ...]
    #: The line that they replace, from 1; None: they are added.
    line: int | None = None

    def as_text(self) -> list[str]:
        """Return the change as it is told to a person."""
        head = f"add to {self.file}:"
        if self.line is not None:
            head = f"change the list on line {self.line} of {self.file} to:"
        return [head, *(f"  {line}" for line in self.lines)]


def grant_lines(
    config: LoadedConfig, file: str, caller: str, capabilities: Sequence[str]
) -> Change:
    """
    Return the change of *file* that grants *capabilities* to *caller*.

    A table cannot be written twice in TOML: where the caller has one, its list changes.
    """
    table = config.config.callers.get(caller)
    at = config.position("callers", caller, "capabilities")
    listed = [*(table.capabilities if table else ()), *capabilities]
    # A basic TOML string is a JSON string.
    names = ", ".join(to_json(name) for name in listed)
    assignment = f"capabilities = [{names}]"
    if at is not None:
        return Change(file, (assignment,), at.line)
    header = f"[callers.{to_json(caller)}]"
    if table is not None:
        header += "    # the table is there; add the line below"
    return Change(file, (header, assignment))
