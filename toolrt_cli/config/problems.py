"""One fault before its place in the file is known, and the words that faults share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from toolrt_cli.config.faults import Path, quote


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong at a path of the config."""

    path: Path
    message: str
    suggestion: str | None = None
    #: What to point at: the key, or the value where there is one.
    at: Literal["key", "value"] = "value"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a question that offers the nearest of *known*, or None if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {quote(near[0])}?" if near else None


def one_of(names: Iterable[str]) -> str:
    """Return *names* as a choice in words."""
    return "one of " + ", ".join(quote(name) for name in names)
