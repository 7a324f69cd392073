"""The fixed part of each script: a file in ``templates`` with ``@NAME@`` to fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_PLACE = re.compile(r"@([A-Z]+)@")


def fill(name: str, tables: Mapping[str, str]) -> str:
    """
    Return the template *name* with each ``@TABLE@`` replaced by its text.

    Raises:
        KeyError: The template names a table that *tables* has not.
    """
    path = files("toolrt_cli.completion") / "templates" / name
    text = path.read_text(encoding="utf-8")
    return _PLACE.sub(lambda found: tables[found[1]], text)
