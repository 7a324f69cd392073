"""What an operator sets for the built-in pack."""

from __future__ import annotations

from typing import Final

import msgspec


class StdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limits of the built-in tools.

    ``roots`` are the absolute directories that ``fs.*`` may touch; none means the
    working directory at the time of the call. ``max_bytes`` is the most that one call
    reads or writes of one file, or fetches. ``fetch_private`` lets ``http.fetch`` reach
    private addresses.
    """

    roots: tuple[str, ...] = ()
    max_bytes: int = 1024 * 1024
    fetch_private: bool = False


DEFAULT_SETTINGS: Final = StdSettings()
