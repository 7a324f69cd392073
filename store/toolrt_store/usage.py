"""What the record says about grants, callers and itself."""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolrt.audit.call_event import StringAllowList, UcanChain
from toolrt.capability import AllowRule, ChainLink
from toolrt_store import sqlite
from toolrt_store.blocks import BLOCK, IS_USE
from toolrt_store.grant_sets import SOURCE_COLUMNS, GrantSets, Source


class SourceUsage(msgspec.Struct, frozen=True):
    """
    How often one source of a grant was used: calls, and the first and last of them.

    Times are Unix microseconds.
    """

    source: AllowRule | ChainLink
    calls: int
    first_us: int
    last_us: int


class Usage(msgspec.Struct, frozen=True):
    """
    How often a caller used a capability: calls, and the first and last of them.

    Calls that were refused, and dry runs, used nothing. A call that several sources
    grant counts once here and in each of ``sources``, which come in the order of first
    use. Times are Unix microseconds, None without a call.
    """

    calls: int
    first_us: int | None
    last_us: int | None
    sources: tuple[SourceUsage, ...]


class Coverage(msgspec.Struct, frozen=True):
    """
    How much the store holds: events, and the times of the first and the last stored.

    Times are Unix microseconds, None for an empty store.
    """

    events: int
    first_us: int | None
    last_us: int | None


# What the full blocks hold is summed up; only the events of the last one are read.
_USED: Final = f"""
FROM (
  SELECT grant_set, calls, first_us, last_us FROM uses WHERE caller = ?1
  UNION ALL
  SELECT grant_set, count(*), min(at_us), max(at_us) FROM events
  WHERE seq > (SELECT max(seq) / {BLOCK} * {BLOCK} FROM events)
    AND caller = ?1 AND {IS_USE} GROUP BY grant_set
) AS u
"""
_CALLER: Final = "SELECT id FROM names WHERE text = ?"
_USAGE: Final = f"""
SELECT coalesce(sum(calls), 0), min(first_us), max(last_us) {_USED}
WHERE u.grant_set IN (SELECT grant_set FROM grants WHERE capability = ?2)
"""
_USAGE_BY_SOURCE: Final = f"""
SELECT sum(calls), min(first_us), max(last_us), {SOURCE_COLUMNS} {_USED}
JOIN (SELECT DISTINCT grant_set, source FROM grants WHERE capability = ?2) AS g
  ON g.grant_set = u.grant_set
JOIN grant_sources AS s ON s.id = g.source
GROUP BY s.id ORDER BY min(first_us), s.id
"""
_LOWEST: Final = (
    "SELECT min(seq) FROM events"
    " WHERE seq > (SELECT value FROM store WHERE key = 'pruned')"
)
_COVERAGE: Final = f"""
SELECT
  coalesce((SELECT max(seq) FROM events) - ({_LOWEST}) + 1, 0),
  (SELECT at_us FROM events WHERE seq = ({_LOWEST})),
  (SELECT at_us FROM events ORDER BY seq DESC LIMIT 1)
"""


def read_usage(
    connection: sqlite.Connection, sets: GrantSets, caller: str, capability: str
) -> Usage:
    """Return the use of a capability, as a whole and by source."""
    named = tuple(
        row[0] if row else None
        for row in (
            connection.execute(_CALLER, (text,)).fetchone()
            for text in (caller, capability)
        )
    )
    found = []
    for row in connection.execute(_USAGE_BY_SOURCE, named).fetchall():
        calls, first_us, last_us, *columns = row
        source = as_told(sets.source(*columns), capability)
        if source is not None:
            found.append(SourceUsage(source, calls, first_us, last_us))
    calls, first_us, last_us = connection.execute(_USAGE, named).fetchone()
    return Usage(calls, first_us, last_us, tuple(found))


def as_told(source: Source, capability: str) -> AllowRule | ChainLink | None:
    """Return *source* as a grant has it; None where the event does not name one."""
    # Events without details name the mechanism only.
    if isinstance(source, StringAllowList):
        return AllowRule(pattern=capability)
    if isinstance(source, UcanChain):
        return ChainLink(issuer=source.issuer_did, depth=source.chain_depth, digest="")
    return source


def read_coverage(connection: sqlite.Connection) -> Coverage:
    """Return the coverage. The sequence has no gaps, so its ends tell the count."""
    row: Any = connection.execute(_COVERAGE).fetchone()
    return Coverage(*row)
