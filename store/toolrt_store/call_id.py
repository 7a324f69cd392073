"""
How ids are kept: a canonical ULID as its 16 bytes, any other text as it is.

A prefix of an id is a range of either form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from toolrt.clock import ULID_LENGTH, ulid_number, ulid_text

StoredId = bytes | str

_LAST: Final = "\U0010ffff"
_SURROGATES: Final = range(0xD800, 0xE000)


# Asked several times for each of the two events of a call.
@lru_cache(maxsize=8_192)
def encode_id(text: str) -> StoredId:
    """Return the form in which the id *text* is kept."""
    number = ulid_number(text)
    return text if number is None else number.to_bytes(16, "big")


def decode_id(stored: StoredId) -> str:
    """Return the id that *stored* stands for."""
    if isinstance(stored, str):
        return stored
    return ulid_text(int.from_bytes(stored, "big"))


def ulid_range(prefix: str) -> tuple[bytes, bytes] | None:
    """Return the first and the last ULID that begin with *prefix*, or None."""
    missing = ULID_LENGTH - len(prefix)
    if missing < 0:
        return None
    first = ulid_number(prefix + "0" * missing)
    if first is None:
        return None
    # The empty prefix and "0" to "7" all fit: the top character has only 3 bits.
    last = min(first + (1 << 5 * missing) - 1, (1 << 128) - 1)
    return first.to_bytes(16, "big"), last.to_bytes(16, "big")


def text_after(prefix: str) -> str | None:
    """Return the least text above all that begin with *prefix*; None if none is."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)
