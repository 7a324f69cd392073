"""
Sets of grants, content-addressed: one row for each set, each grant with its source.

An event that came without details tells of its grants in wire form only: which
mechanism, and for old schemas not even that. It is kept as what it is; nothing is made
up for it.
"""

# ruff: noqa: S608 - SQL is put together from constants; values are always bound

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from toolrt.audit.call_event import CapProvenance, StringAllowList, UcanChain
from toolrt.capability import AllowRule, CapabilitySet, ChainLink, Grant, Link
from toolrt_store import sqlite
from toolrt_store.dictionary import Dictionary, Memo, cut

#: Where a grant came from; None where the event does not say.
Source: TypeAlias = AllowRule | ChainLink | StringAllowList | UcanChain | None


class StatedGrant(msgspec.Struct, frozen=True):
    """A grant of an event that came without details."""

    capability: str
    source: Source


Grants: TypeAlias = tuple[Grant | StatedGrant, ...]

_MOST_KNOWN: Final = 4_096
#: The number of a set, and its wire forms: the two in a CallEvent, and of the second
#: what an Event's payload has.
Known: TypeAlias = tuple[
    int | None,
    tuple[str, ...],
    tuple[CapProvenance, ...] | None,
    list[dict[str, Any]],
]
_RULE, _CHAIN, _ALLOW_LIST, _UCAN, _UNSTATED = range(5)

#: What `GrantSets.source` takes, of ``grant_sources AS s``.
SOURCE_COLUMNS: Final = (
    's.kind, s.pattern, s.file, s."line", s."column", s.config, s.issuer, s.depth,'
    " s.digest, s.links, s.bearer"
)
_INSERT_SOURCE: Final = """
INSERT INTO grant_sources
  (content, kind, pattern, file, "line", "column", config, issuer, depth, digest,
    links, bearer)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_GRANTS: Final = f"""
SELECT g.capability, {SOURCE_COLUMNS}
FROM grants AS g JOIN grant_sources AS s ON s.id = g.source
WHERE g.grant_set = ? ORDER BY g.position
"""


class GrantSets:
    """
    The grant sets of one connection. Used under the store's mutex only.

    ``numbers`` gives the number of a set and makes its rows if there are none; ``sets``
    gives the grants of a number, ``digests`` what the chain holds of them.
    """

    def __init__(self, connection: sqlite.Connection, dictionary: Dictionary) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._rows = dictionary.rows
        self.numbers: Memo[Grants, int] = Memo(self._number)
        self.sets: Memo[int, Grants] = Memo(self._grants)
        self.digests: Memo[int, bytes] = Memo(self._digest)
        self._known: dict[int, tuple[CapabilitySet, Known]] = {}

    def forget(self) -> None:
        """Forget what the transaction made: it was rolled back."""
        self.numbers.clear()
        self.sets.clear()
        self.digests.clear()
        self._known.clear()

    def known(self, granted: CapabilitySet) -> Known:
        """
        Return what events that grant *granted* hold of it.

        Remembered for the very object: callers are granted the same one again and again,
        and to hash all its parts takes longer than the rest of an event.
        """
        found = self._known.get(id(granted))
        if found is not None and found[0] is granted:
            return found[1]
        number = self.numbers[granted.grants] if granted.grants else None
        provenance = granted.provenance
        wire = [msgspec.to_builtins(one) for one in provenance]
        known = (number, granted.granted, provenance or None, wire)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[id(granted)] = (granted, known)
        return known

    def source(self, kind: int, *columns: Any) -> Source:
        """Return the source that SOURCE_COLUMNS describe."""
        text = self._dictionary.text_of
        pattern, file, line, column, config, issuer, depth, digest = columns[:8]
        links, bearer = columns[8:]
        if kind == _RULE:
            return AllowRule(
                pattern=text(pattern) or "",
                file=text(file),
                line=line,
                column=column,
                config=text(config),
            )
        if kind == _CHAIN:
            return ChainLink(
                issuer=text(issuer) or "",
                depth=depth or 0,
                digest=text(digest) or "",
                links=() if links is None else _LINKS(links),
                bearer=bool(bearer),
            )
        if kind == _UCAN:
            return UcanChain(text(issuer) or "", depth or 0)
        return StringAllowList() if kind == _ALLOW_LIST else None

    def is_set_sound(self, number: int) -> bool:
        """Return whether a set is found by what it holds."""
        sql = "SELECT digest FROM grant_sets WHERE id = ?"
        (digest,) = self._connection.execute(sql, (number,)).fetchone()
        sql = "SELECT position FROM grants WHERE grant_set = ? ORDER BY position"
        found = [row[0] for row in self._connection.execute(sql, (number,))]
        return bool(
            digest == self.digests[number]
            and found == list(range(len(self.sets[number])))
        )

    def is_source_sound(self, number: int) -> bool:
        """Return whether a source is found by what it is, and says nothing else."""
        sql = f"SELECT s.content, {SOURCE_COLUMNS} FROM grant_sources AS s WHERE id = ?"
        content, *columns = self._connection.execute(sql, (number,)).fetchone()
        source = self.source(*columns)
        return bool(
            content == _source_digest(source)
            and tuple(columns) == self._columns(source)
        )

    def _number(self, grants: Grants) -> int:
        # What is too long is kept cut, and the set found by what is kept.
        grants = tuple(
            grant_of(cut(one.capability), _cut(one.source)) for one in grants
        )
        digest = _digest([(one.capability, one.source) for one in grants])
        found = self._rows.find("SELECT id FROM grant_sets WHERE digest = ?", digest)
        if found is not None:
            return found
        number = self._rows.insert("INSERT INTO grant_sets (digest) VALUES (?)", digest)
        self._connection.executemany(
            "INSERT INTO grants VALUES (?, ?, ?, ?)",
            [
                (
                    number,
                    position,
                    self._dictionary.names[one.capability],
                    self._source_number(one.source),
                )
                for position, one in enumerate(grants)
            ],
        )
        return number

    def _digest(self, number: int) -> bytes:
        # From the grants and not from the column, which nobody vouches for.
        return _digest([(one.capability, one.source) for one in self.sets[number]])

    def _grants(self, number: int) -> Grants:
        rows = self._connection.execute(_SELECT_GRANTS, (number,)).fetchall()
        return tuple(
            grant_of(self._dictionary.texts[capability], self.source(*columns))
            for capability, *columns in rows
        )

    def _source_number(self, source: Source) -> int:
        content = _source_digest(source)
        sql = "SELECT id FROM grant_sources WHERE content = ?"
        found = self._rows.find(sql, content)
        if found is not None:
            return found
        return self._rows.insert(_INSERT_SOURCE, content, *self._columns(source))

    def _columns(self, source: Source) -> tuple[int | str | None, ...]:
        name = self._dictionary.number_of
        if isinstance(source, AllowRule):
            place = (name(source.file), source.line, source.column)
            return (_RULE, name(source.pattern), *place, name(source.config), *_NO_LINK)
        if isinstance(source, ChainLink):
            link = (name(source.issuer), source.depth, name(source.digest))
            links = msgspec.json.encode(source.links).decode() if source.links else None
            return (_CHAIN, *_NO_RULE, *link, links, int(source.bearer) or None)
        if isinstance(source, UcanChain):
            link = (name(source.issuer_did), source.chain_depth, None)
            return (_UCAN, *_NO_RULE, *link, None, None)
        kind = _UNSTATED if source is None else _ALLOW_LIST
        return (kind, *_NO_RULE, *_NO_LINK)


_LINKS: Final = msgspec.json.Decoder(tuple[Link, ...]).decode
_NO_RULE: Final = (None,) * 5
_NO_LINK: Final = (None,) * 5


def grant_of(capability: str, source: Source) -> Grant | StatedGrant:
    """Return the grant of *capability* by *source*, which may say little."""
    if isinstance(source, AllowRule | ChainLink):
        return Grant(capability, source)
    return StatedGrant(capability, source)


def granted(grants: Iterable[Grant | StatedGrant]) -> tuple[str, ...]:
    """Return the capabilities of *grants*, each once, in their order."""
    return tuple(dict.fromkeys(one.capability for one in grants))


def _cut(source: Source) -> Source:
    """Return *source* with its names as the dictionary keeps them."""
    if isinstance(source, AllowRule):
        names = {
            "pattern": source.pattern,
            "file": source.file,
            "config": source.config,
        }
    elif isinstance(source, ChainLink):
        names = {"issuer": source.issuer, "digest": source.digest}
    elif isinstance(source, UcanChain):
        names = {"issuer_did": source.issuer_did}
    else:
        return source
    kept = {name: text and cut(text) for name, text in names.items()}
    return msgspec.structs.replace(source, **kept)


def _source_digest(source: Source) -> bytes:
    return _digest(source)[:16]


def _digest(value: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()
