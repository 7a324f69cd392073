"""
The events of schema 1, read once more: only the migration to schema 2 needs them.

Frozen like the migration itself. Schema 1 kept everything of an event in its own row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from toolrt.capability import CapabilitySet, Grant
from toolrt.event import CallDetails, Event
from toolrt_store import sqlite
from toolrt_store.append import Appender
from toolrt_store.call_id import decode_id
from toolrt_store.dictionary import Dictionary
from toolrt_store.grant_sets import Grants, GrantSets, grant_of
from toolrt_store.payload import Facts, expected_payload

_KINDS: Final = ("gate", "call", "system")
_DRY_RUN, _SECRETS, _RETRYABLE, _DETAILS = (1 << bit for bit in range(4))
_BATCH: Final = 1_000
_SELECT: Final = """
SELECT seq, kind, at_us, call_id, namespace, verb, tool, actor, caller, outcome,
  duration_ms, flags, grant_set, pack, effect, args_digest, policy, process,
  parent_call_id, reason, gate_impl, tier, code, retry_after_ms, schema_version,
  cursor_page, message, extra
FROM events_1 ORDER BY seq
"""


_SELECT_GRANTS: Final = """
SELECT g.capability, s.kind, s.pattern, s.file, s."line", s."column", s.config,
  s.issuer, s.depth, s.digest
FROM grants AS g JOIN grant_sources AS s ON s.id = g.source
WHERE g.grant_set = ? ORDER BY g.position
"""


class _GrantSets(GrantSets):
    """
    The grant sets of before schema 3, whose sources hold no links.

    All that the events need are there already: none is made.
    """

    def _grants(self, number: int) -> Grants:
        rows = self._connection.execute(_SELECT_GRANTS, (number,)).fetchall()
        return tuple(
            grant_of(
                self._dictionary.texts[capability], self.source(*columns, None, None)
            )
            for capability, *columns in rows
        )


def copy_events(connection: sqlite.Connection) -> None:
    """Append the events of ``events_1``, in their order, to the new tables."""
    connection.execute(
        "INSERT INTO processes SELECT id, process, pid, started_us, 0, 0"
        " FROM processes_1"
    )
    dictionary = Dictionary(connection)
    sets = _GrantSets(connection, dictionary)
    found = connection.execute(_SELECT)
    appender = Appender(connection, dictionary, sets)
    while rows := found.fetchmany(_BATCH):
        appender.begin()
        appender.append([_decode(row, dictionary, sets) for row in rows])
        appender.settle()


def _decode(row: Sequence[Any], dictionary: Dictionary, sets: GrantSets) -> Event:
    _, kind, at_us, call_id, namespace, verb, tool, actor, caller, outcome = row[:10]
    name = dictionary.texts
    extra = {} if row[27] is None else msgspec.json.decode(row[27])
    grants: Grants = () if row[12] is None else sets.sets[row[12]]
    payload: dict[str, Any] = {}
    event = Event(
        kind=_KINDS[kind],
        namespace=name[namespace],
        verb=name[verb],
        tool_id=name[tool],
        actor=name[actor],
        outcome=name[outcome],
        call_id=None if call_id is None else decode_id(call_id),
        created_at_us=at_us,
        payload=payload,
        caller_id=dictionary.text_of(caller),
        duration_ms=row[10],
        substrate=extra.get("substrate", "event"),
        details=_details(row, dictionary, grants, extra),
    )
    payload.update(expected_payload(event, _facts(row, dictionary, extra), grants))
    payload.update(extra.get("payload", {}))
    for key in extra.get("absent", ()):
        del payload[key]
    return event


def _details(
    row: Sequence[Any], dictionary: Dictionary, grants: Grants, extra: Mapping[str, Any]
) -> CallDetails | None:
    if not row[11] & _DETAILS:
        return None
    pack, effect, args_digest, policy, process, parent_call_id, reason = row[13:20]
    text = dictionary.text_of
    fields: dict[str, Any] = {
        "namespace": dictionary.texts[row[4]],
        "actor": dictionary.texts[row[7]],
        "caller": text(row[8]),
    }
    return CallDetails(
        **(fields | extra.get("details", {})),
        pack=text(pack),
        effect=text(effect),
        args_digest=args_digest,
        grants=CapabilitySet(tuple(one for one in grants if isinstance(one, Grant))),
        policy=text(policy),
        process=None if process is None else dictionary.process_texts[process],
        parent_call_id=None if parent_call_id is None else decode_id(parent_call_id),
        reason=reason,
    )


def _facts(
    row: Sequence[Any], dictionary: Dictionary, extra: Mapping[str, Any]
) -> Facts:
    flags = row[11]
    gate_impl, tier, code, retry_after_ms, schema_version, page, message = row[20:27]
    text = dictionary.text_of
    return Facts(
        gate_impl=text(gate_impl),
        tier=text(tier),
        code=text(code),
        retryable=bool(flags & _RETRYABLE),
        retry_after_ms=retry_after_ms,
        schema_version=schema_version,
        cursor_page=page,
        dry_run=bool(flags & _DRY_RUN),
        secrets_resolved=bool(flags & _SECRETS),
        message=message,
        missing=tuple(extra.get("missing", ())),
    )
