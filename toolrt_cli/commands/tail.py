"""``toolrt audit tail``: the last attempts, and with ``-f`` those that come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from toolrt import Event, PageRequest
from toolrt_cli.cursor_file import CursorFileError, read_cursor, write_cursor
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import attempt_filter, emit_attempts, now_us, parse_limit
from toolrt_cli.reading import open_to_read
from toolrt_cli.streams import Streams
from toolrt_cli.times import parse_duration
from toolrt_cli.wiring import Session
from toolrt_store import Attempt, AttemptFilter, SqliteEventStore, Term

_WAIT_S: Final = 0.2


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """When a tail that follows ends, as it was typed; None: not by this."""

    max: str | None = None
    idle: str | None = None
    for_: str | None = None
    until_match: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether one of them is there: then the tail follows."""
        return self != Ends()


def tail_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    limit: str,
    follow: bool,
    ends: Ends,
    cursor_file: str | None,
) -> int:
    """
    Print the last attempts, newest last; with *follow* those that come, too.

    Raises:
        UsageError: A word or an option is wrong.
        CursorFileError: The cursor file is broken, or of another store.
    """
    chosen = attempt_filter(words, since, until)
    follow = follow or ends.is_given
    if follow and streams.settings.output == "json":
        raise UsageError("a list without an end has no -o json: use -o jsonl")
    most = parse_limit(limit)
    watch = _Watch(chosen, streams, ends)
    is_new = False
    while True:
        with open_to_read(session) as store:
            if store is not None:
                tail = _Tail(store, chosen, streams, watch, cursor_file)
                return tail.run(most, follow=follow, is_new=is_new)
            if cursor_file is not None:
                # Its store was there once; without a file there is nothing to compare.
                _require_no_cursor(cursor_file)
        if not follow:
            emit_attempts([], {"count": 0}, streams)
            return Exit.OK
        if watch.is_over():
            return watch.exit_code()
        is_new = True
        time.sleep(_WAIT_S)


def _require_no_cursor(path: str) -> None:
    if read_cursor(path, store_id="", last_seq=0) is not None:
        raise CursorFileError(path, "its store is not there")


class _Watch:
    """Says when a tail that follows is over, and whether it saw what it waited for."""

    def __init__(self, chosen: AttemptFilter, streams: Streams, ends: Ends) -> None:
        self._chosen = chosen
        self._streams = streams
        self._most = _number("--max", ends.max)
        self._idle_s = _seconds("--idle", ends.idle)
        self._for_s = _seconds("--for", ends.for_)
        match = ends.until_match
        self._match = None if match is None else attempt_filter([match], None, None)
        self._began = self._last = time.monotonic()
        self._printed = 0
        self._is_matched = False

    def saw(self, store: SqliteEventStore, call_ids: Sequence[str]) -> None:
        """Count what was printed."""
        self._last = time.monotonic()
        self._printed += len(call_ids)
        if self._match is not None and call_ids:
            call = Term("call", "=", tuple(call_ids))
            terms = (*self._match.terms, call)
            self._is_matched |= store.count_attempts(AttemptFilter(terms=terms)) > 0

    @property
    def room(self) -> int | None:
        """How many may still be printed; None for any number."""
        return None if self._most is None else self._most - self._printed

    def at_most(self, most: int | None) -> int | None:
        """Return *most*, or how many may still be printed where that is less."""
        if self.room is None:
            return most
        return self.room if most is None else min(most, self.room)

    def is_over(self) -> bool:
        """Whether there is nothing more to wait for, or nobody to print for."""
        now, before_us = time.monotonic(), self._chosen.before_us
        return (
            self._is_matched
            or (self.room is not None and self.room <= 0)
            or (self._for_s is not None and now - self._began >= self._for_s)
            or (self._idle_s is not None and now - self._last >= self._idle_s)
            or (before_us is not None and now_us() > before_us)
            or _is_reader_gone(self._streams)
        )

    def exit_code(self) -> int:
        """Return 8 where the wait ran out before what was waited for came."""
        if self._match is not None:
            return Exit.OK if self._is_matched else Exit.INCOMPLETE
        is_short = self.room is not None and self.room > 0
        return Exit.INCOMPLETE if is_short else Exit.OK


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"{name} {text}: must be a number from 1 on")
    return int(text)


def _seconds(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"{name}: {exc}", next_step="toolrt help time") from exc


class _Tail:
    """One tail over a store that is open; remembers how far it came."""

    def __init__(
        self,
        store: SqliteEventStore,
        chosen: AttemptFilter,
        streams: Streams,
        watch: _Watch,
        cursor_file: str | None,
    ) -> None:
        self._store = store
        self._chosen = chosen
        self._streams = streams
        self._watch = watch
        self._cursor_file = cursor_file
        self._seq = 0

    def run(self, most: int | None, *, follow: bool, is_new: bool) -> int:
        """
        Print the backlog, at most *most*, then with *follow* what comes.

        A store that *is_new* was waited for: it is followed from its first event.
        """
        # The head first: what is committed after it is followed, whatever was listed.
        head = 0 if is_new else self._head()
        read_up_to = self._read_up_to(head)
        if read_up_to is not None:
            # By events, so that --max leaves the rest for the next tail.
            found = [] if follow else self._ended(read_up_to, head)
            head = read_up_to if follow else head
        else:
            most = self._watch.at_most(0 if is_new else most)
            found = self._store.query_attempts(self._chosen, limit=most)
            found.reverse()
        emit_attempts(found, {"count": len(found)}, self._streams)
        self._streams.out.flush()
        self._keep(head)
        if not follow:
            return Exit.OK
        self._watch.saw(self._store, [one.call_id for one in found])
        listed = {one.call_id for one in found if one.last_seq > head}
        try:
            self._follow(head, listed)
        finally:
            self._keep(self._seq)
        return self._watch.exit_code()

    def _ended(self, after: int, head: int) -> list[Attempt]:
        """Return the attempts that match and ended above *after*, up to *head*."""
        found: list[Attempt] = []
        self._seq = after
        for event in self._store.follow(after, stop=lambda: self._seq >= head):
            self._seq = event.seq or 0
            if self._seq <= head and _is_end(event):
                found += self._matching(event)
        return found

    def _head(self) -> int:
        newest = self._store.query_events(page=PageRequest(limit=1)).items
        return newest[0].seq or 0 if newest else 0

    def _read_up_to(self, head: int) -> int | None:
        if self._cursor_file is None:
            return None
        store_id = self._store.store_id.hex()
        return read_cursor(self._cursor_file, store_id=store_id, last_seq=head)

    def _keep(self, seq: int) -> None:
        self._seq = seq
        if self._cursor_file is not None:
            store_id = self._store.store_id.hex()
            write_cursor(self._cursor_file, store_id=store_id, seq=seq)

    def _follow(self, head: int, listed: set[str]) -> None:
        """
        Print each attempt as it ends: by its call event, or by the gate's refusal.

        *listed* are the calls after *head* that were printed already.
        """
        for event in self._store.follow(head, stop=self._watch.is_over):
            assert event.seq is not None
            if _is_end(event) and event.call_id not in listed:
                self._print(event)
            self._seq = event.seq
            if self._watch.is_over():
                return

    def _print(self, event: Event) -> None:
        found = self._matching(event)
        if found:
            emit_attempts(found, {}, self._streams, header=False)
            self._streams.out.flush()
            self._watch.saw(self._store, [found[0].call_id])

    def _matching(self, event: Event) -> list[Attempt]:
        assert event.call_id is not None
        call = Term("call", "=", (event.call_id,))
        terms = (*self._chosen.terms, call)
        matching = msgspec.structs.replace(self._chosen, terms=terms)
        return self._store.query_attempts(matching, limit=1)


def _is_end(event: Event) -> bool:
    is_end = event.kind == "call" or event.outcome != "success"
    return is_end and event.call_id is not None


def _is_reader_gone(streams: Streams) -> bool:
    """Whether what is written goes into a pipe that nobody reads any more."""
    import select

    poll = select.poll()
    try:
        poll.register(streams.out.fileno(), 0)
    except OSError:  # no file behind it
        return False
    return bool(poll.poll(0))
