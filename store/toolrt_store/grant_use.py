"""Which grants calls ran with, and under which policy: what provenance asks the record."""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from toolrt.capability import AllowRule, ChainLink
from toolrt.event import Event
from toolrt_store import blocks, sqlite
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import SOURCE_COLUMNS, Grants, GrantSets
from toolrt_store.query import Condition, Named, Span
from toolrt_store.ranges import Range, ranges
from toolrt_store.reader import Reader
from toolrt_store.rows import CALL, DRY_RUN, EXECUTION_FAILED, GATE, SUCCESS
from toolrt_store.usage import as_told


class GrantUse(msgspec.Struct, frozen=True):
    """
    How often one caller used one capability by one source.

    Counted as in `toolrt_store.usage.Usage`: a call that several sources grant counts
    in each. Times are Unix microseconds.
    """

    caller: str
    capability: str
    source: AllowRule | ChainLink
    calls: int
    first_us: int
    last_us: int


class GrantCalls(msgspec.Struct, frozen=True):
    """One set of grants and how many calls ran with it; ``number`` is the set's own."""

    number: int
    grants: Grants
    calls: int


class PolicyInForce(msgspec.Struct, frozen=True):
    """
    The policy that one gate event names.

    ``content`` is None where the store no longer has what it said. ``at_us`` (Unix
    microseconds) and ``seq`` are those of the event.
    """

    digest: str
    content: str | None
    at_us: int
    seq: int


_NAME: Final = "SELECT id FROM names WHERE text = ?"
_USES: Final = f"""
SELECT u.caller, g.capability, sum(u.calls), min(u.first_us), max(u.last_us),
  {SOURCE_COLUMNS}
FROM (
  SELECT caller, grant_set, calls, first_us, last_us FROM uses
  UNION ALL
  SELECT caller, grant_set, count(*), min(at_us), max(at_us) FROM events
  WHERE seq > (SELECT max(seq) / {blocks.BLOCK} * {blocks.BLOCK} FROM events)
    AND {blocks.IS_USE} GROUP BY caller, grant_set
) AS u
JOIN (SELECT DISTINCT grant_set, capability, source FROM grants) AS g
  ON g.grant_set = u.grant_set
JOIN grant_sources AS s ON s.id = g.source
GROUP BY u.caller, g.capability, s.id ORDER BY min(u.first_us), s.id
"""
#: `blocks.IS_USE` where other tables have columns of the same names.
_IS_USE: Final = (
    f"e.kind = {CALL} AND e.outcome IN ({SUCCESS}, {EXECUTION_FAILED})"
    f" AND NOT e.flags & {DRY_RUN} AND e.grant_set IS NOT NULL"
)
_IS_GRANTED: Final = (
    f"SELECT EXISTS (SELECT 1 FROM grants WHERE capability = ({_NAME}))"
)
_HAS_POLICY: Final = (
    f"e.kind = {GATE} AND e.at_us <= ?"
    " AND e.context IN (SELECT id FROM contexts WHERE policy IS NOT NULL)"
)


def read_uses(
    connection: sqlite.Connection, dictionary: Dictionary, sets: GrantSets
) -> list[GrantUse]:
    """Return the use of every grant."""
    found = []
    for row in connection.execute(_USES).fetchall():
        who, what, calls, first_us, last_us, *columns = row
        name = dictionary.texts[what]
        source = as_told(sets.source(*columns), name)
        if source is not None:
            of = dictionary.texts[who]
            found.append(GrantUse(of, name, source, calls, first_us, last_us))
    return found


def is_granted(connection: sqlite.Connection, capability: str) -> bool:
    """Return whether some recorded call was granted *capability*."""
    return bool(connection.execute(_IS_GRANTED, (capability,)).fetchone()[0])


def read_calls_by_grants(
    connection: sqlite.Connection, sets: GrantSets, caller: str, after_us: int
) -> list[GrantCalls]:
    """Return the grants that calls of *caller* ran with after *after_us*."""
    condition = _ran(caller, after_us)
    sql = (
        "SELECT e.grant_set, count(*) FROM events AS e"
        f" WHERE e.seq BETWEEN ? AND ? AND {condition.sql} GROUP BY e.grant_set"
    )
    counted: dict[int, int] = {}
    for one in _where(connection, caller, after_us):
        values = (one.first, one.last, *condition.values)
        for number, calls in connection.execute(sql, values):
            counted[number] = counted.get(number, 0) + calls
    return [GrantCalls(n, sets.sets[n], calls) for n, calls in counted.items()]


def read_newest_with(
    connection: sqlite.Connection,
    reader: Reader,
    caller: str,
    after_us: int,
    *,
    numbers: Collection[int],
    limit: int,
) -> list[Event]:
    """Return the newest calls of *caller* that ran with one of the sets *numbers*."""
    condition = _ran(caller, after_us)
    listed = ", ".join(str(int(number)) for number in numbers)
    found = Condition(
        f"{condition.sql} AND e.grant_set IN ({listed})", condition.values
    )
    return reader.events(found, _where(connection, caller, after_us), limit=limit)


def _ran(caller: str, after_us: int) -> Condition:
    sql = f"{_IS_USE} AND e.at_us > ? AND e.caller = ({_NAME})"
    return Condition(sql, (after_us, caller))


def _where(
    connection: sqlite.Connection, caller: str, after_us: int
) -> Sequence[Range]:
    named = Named(blocks.CALLER, Condition(_NAME, (caller,)))
    return ranges(connection, [named], Span(after_us=after_us))


def read_policy_at(
    connection: sqlite.Connection, reader: Reader, at_us: int
) -> PolicyInForce | None:
    """Return the policy of the newest gate event at or before *at_us* that names one."""
    where = ranges(connection, [], Span(before_us=at_us + 1))
    found = reader.events(Condition(_HAS_POLICY, (at_us,)), where, limit=1)
    if not found or found[0].details is None or found[0].details.policy is None:
        return None
    event, digest = found[0], found[0].details.policy
    sql = "SELECT content FROM policies WHERE digest = ?"
    row: Any = connection.execute(sql, (digest,)).fetchone()
    content = None if row is None else row[0]
    return PolicyInForce(digest, content, event.created_at_us, event.seq or 0)
