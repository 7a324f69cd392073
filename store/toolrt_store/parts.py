"""What an open store that is written to is made of, and how it was opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from toolrt_store import sqlite
from toolrt_store.database import Durability
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import GrantSets
from toolrt_store.guard import Guard
from toolrt_store.liveness import Liveness
from toolrt_store.writer import Writer

if TYPE_CHECKING:
    from toolrt_store.sealing import Sealer


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How a store was opened for writing, and which one it is."""

    path: str
    store_id: bytes
    durability: Durability
    lock_timeout_s: float
    group: str | None
    reserve: int
    anchor: str | None


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one store. Its mutex is held where they are used."""

    path: str
    connection: sqlite.Connection
    dictionary: Dictionary
    sets: GrantSets
    liveness: Liveness
    writer: Writer
    guard: Guard
    #: Makes the sealer on first use.
    sealer: Callable[[], Sealer]
    lock_timeout_s: float
