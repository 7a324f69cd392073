"""``toolrt audit export|import``: the record as lines that others can check, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, TextIO

import msgspec

from toolrt_cli.commands.verify import (
    parse_key,
    progress_on,
    read_anchor,
    show_verification,
)
from toolrt_cli.documents import emit, write_facts
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.listing import attempt_filter
from toolrt_cli.new_file import new_file
from toolrt_cli.output import Column, to_ascii, write_csv
from toolrt_cli.streams import Streams
from toolrt_cli.wiring import Session
from toolrt_cli.writing import open_existing, open_to_write
from toolrt_store import SqliteEventStore, StoreError, StoreMissingError

if TYPE_CHECKING:
    from toolrt_store.export import Export

FORMATS: Final = ("jsonl", "csv", "sqlite")
#: What begins so is a filter; ./a=b is a file.
_FILTER: Final = r"(?:not:)?[A-Za-z_-]*(?:=|!=|<|>)"
_BY_SUFFIX: Final = {".csv": "csv", ".db": "sqlite", ".sqlite": "sqlite"}


def export_command(
    session: Session,
    streams: Streams,
    words: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    fmt: str | None,
) -> int:
    """
    Write the events to the file that *words* name, a new one, or to standard output.

    With filters only those of the attempts that match: such a selection cannot be
    verified as a whole.

    Raises:
        StoreMissingError: There is no store.
        UsageError: A filter, the format or the file is wrong.
        StoreError: The store cannot be read.
    """
    from toolrt_store.export import open_export

    filters, target = _split(words)
    fmt = _format(fmt, target)
    chosen = attempt_filter(filters, since, until)
    is_whole = not (filters or since or until)
    doubt = _seal(session)
    calls = None if is_whole else _calls(session, chosen)
    with open_export(session.store_path) as export:
        if target is None:
            count = _write_text(export, calls, fmt, streams.out)
        else:
            count = _write_file(export, calls, fmt, target)
    if doubt:
        streams.remark(f"no checkpoint was written before: {doubt}")
    if target is None:
        streams.remark(f"{count} events")
        return Exit.OK
    document = {"file": os.path.abspath(target), "format": fmt, "events": count}
    document |= {"whole": is_whole, "checkpoint_problem": doubt}
    what = "all events" if is_whole else "a selection, which is not verified as a whole"
    facts = [("file", document["file"]), ("events", f"{count}, {what}")]
    emit(streams, "exported", document, lambda: write_facts(streams, _texts(facts)))
    return Exit.OK


def _split(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the filters of *words*, and the file that one of them names."""
    import re

    filters = [word for word in words if re.match(_FILTER, word)]
    files = [word for word in words if not re.match(_FILTER, word)]
    if len(files) > 1:
        raise UsageError(f"one file, not {len(files)}: {', '.join(files)}")
    return filters, files[0] if files and files[0] != "-" else None


def _texts(facts: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts]


def _format(fmt: str | None, target: str | None) -> str:
    if fmt is None:
        suffix = os.path.splitext(target or "")[1]
        fmt = _BY_SUFFIX.get(suffix, "jsonl")
    if fmt not in FORMATS:
        raise UsageError(f"--format {fmt!r}: must be one of {', '.join(FORMATS)}")
    if fmt == "sqlite" and target is None:
        raise UsageError("--format sqlite needs a file: a database is no stream")
    return fmt


def _seal(session: Session) -> str | None:
    """Write a checkpoint over what is exported; return why not, if it cannot be."""
    try:
        with open_existing(session) as store:
            store.checkpoint()
    except StoreMissingError:
        raise
    except StoreError as exc:  # an auditor may only read: then the tail is unsigned
        return str(exc)
    return None


def _calls(session: Session, chosen: Any) -> frozenset[str]:
    with SqliteEventStore.open(session.store_path, read_only=True) as store:
        return frozenset(one.call_id for one in store.query_attempts(chosen))


def _write_file(
    export: Export, calls: Collection[str] | None, fmt: str, target: str
) -> int:
    from toolrt_store.export import write_sqlite

    with new_file(target) as part:
        if fmt == "sqlite":
            return write_sqlite(part, export.rows(calls))
        with open(part, "w", encoding="utf-8", newline="") as file:
            return _write_text(export, calls, fmt, file)


def _write_text(
    export: Export, calls: Collection[str] | None, fmt: str, out: TextIO
) -> int:
    """Write lines or CSV, in ASCII as far as JSON goes; return how many events."""
    from toolrt_store.export import FLAT_COLUMNS

    if fmt == "csv":
        columns = [Column(name, name) for name in FLAT_COLUMNS]
        return write_csv(out, columns, export.rows(calls))
    count = 0
    for line in export.lines(calls):
        count += line.startswith('{"event":')
        out.write(to_ascii(line) + "\n")
    return count


def verify_export_command(
    streams: Streams, file: str, *, anchor: str | None, key: str | None
) -> int:
    """
    Verify an export by itself; exit 7 if it is not what was recorded.

    Raises:
        ForeignStoreError: It is no export.
        AnchorError: The anchor cannot be read.
        UsageError: The file cannot be read, or *key* is no public key.
    """
    from toolrt_store.export_check import verify_export

    first_key = parse_key(key)
    anchored, doubts = (None, []) if anchor is None else read_anchor(anchor)
    with _lines_of(file) as lines:
        found = verify_export(
            file,
            lines,
            anchored=anchored,
            first_key=first_key,
            progress=progress_on(streams),
        )
    show_verification(streams, found, file, anchor, doubts, is_whole=found.is_whole)
    return Exit.OK if found.is_intact else Exit.INTEGRITY


def import_command(session: Session, streams: Streams, file: str) -> int:
    """
    Store the CallEvents of *file* as call events; exit 1 if lines were refused.

    Raises:
        UsageError: The file cannot be read.
        StoreError: The store cannot be written.
    """
    from toolrt_store.importing import import_calls

    namespace = session.config.config.runtime.namespace
    with _lines_of(file) as lines, open_to_write(session) as store:
        found = import_calls(store, lines, namespace=namespace)
    document = {"file": file, **msgspec.to_builtins(found)}

    def show() -> None:
        facts = [
            ("stored", f"{found.stored}"),
            ("skipped", f"{found.skipped}, stored already"),
            ("refused", f"{found.refused}"),
        ]
        facts += [(f"line {one.line}", one.why) for one in found.refusals]
        write_facts(streams, facts)

    emit(streams, "import", document, show)
    return Exit.FAILED if found.refused else Exit.OK


@contextmanager
def _lines_of(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed below
        file.peek(1)  # a directory is opened, but not read
    except OSError as exc:
        raise UsageError(f"{name}: {exc.strerror}", next_step="name a file") from exc
    with file:
        yield file
