"""``toolrt audit export|import``: what leaves verifies by itself, what comes counts once."""

import base64
import csv
import io
import json
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt import SCHEMA_VERSION
from toolrt_store import SqliteEventStore
from toolrt_store.chain import link

from .conftest import Cli
from .stores import fill, store_path

WriteConfig = Callable[[str], Path]
Lines = list[dict[str, Any]]


@pytest.fixture
def history(cli: Cli, config: WriteConfig) -> None:
    """Eight events with grants, free texts, a refusal, and one of the store itself."""
    config('[callers.alice]\ncapabilities = ["fs:read"]\n')
    Path("a.txt").write_text("text")
    cli("run", "fs.read", "path=a.txt", "--as", "alice", "--reason", "=1+1 \u202e")
    cli("run", "fs.read", "path=a.txt", "--as", "bob")
    cli("run", "fs.read", "--as", "alice", "--reason", "secret")
    cli("audit", "checkpoint", "--rotate-key")
    cli("audit", "redact", "@last", "-y")


def exported(cli: Cli, *words: str) -> Lines:
    return [
        json.loads(line) for line in cli("audit", "export", *words).out.splitlines()
    ]


def verify(cli: Cli, lines: Lines) -> Any:
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    Path("x.jsonl").write_text(text)
    return cli("audit", "verify", "--export", "x.jsonl", "--json")


@pytest.mark.usefixtures("history")
def test_a_whole_export_verifies_without_the_store(cli: Cli) -> None:
    """A checkpoint is written first, so that all of it is signed."""
    done = cli("audit", "export", "all.jsonl", "--json").document
    Path("elsewhere").mkdir()
    Path("all.jsonl").rename("elsewhere/all.jsonl")
    store_path().unlink()

    ran = cli("audit", "verify", "--export", "elsewhere/all.jsonl", "--json")

    assert (done["events"], done["whole"]) == (9, True)
    assert ran.code == 0
    assert (ran.document["signed_up_to"], ran.document["last_seq"]) == (9, 9)
    assert ran.document["mismatches"] == []
    assert ran.document["key"] is not None


@pytest.mark.usefixtures("history")
def test_an_export_is_a_private_new_file(cli: Cli) -> None:
    """0600, never over a file, and no half of one is left."""
    assert cli("audit", "export", "e.jsonl").code == 0
    assert stat.S_IMODE(Path("e.jsonl").stat().st_mode) == 0o600
    before = Path("e.jsonl").read_bytes()

    again = cli("audit", "export", "e.jsonl")
    nowhere = cli("audit", "export", "no/such/e.jsonl")

    assert (again.code, nowhere.code) == (2, 2)
    assert "is there already" in again.err
    assert Path("e.jsonl").read_bytes() == before
    assert not list(Path().glob("*.part"))


def _payload(lines: Lines) -> None:
    lines[at(lines, 2)]["payload"]["caller_id"] = "mallory"


def _actor(lines: Lines) -> None:
    lines[at(lines, 1)]["event"][6] = "os:mallory"


def _text(lines: Lines) -> None:
    lines[at(lines, 1)]["texts"][0]["text"] = "another reason"


def _call_id(lines: Lines) -> None:
    lines[at(lines, 1)]["call_id"] = "01M7Y51MK9G5MQ7B62YAMTB7T3"


def _missing(lines: Lines) -> None:
    del lines[at(lines, 3)]


def _swapped(lines: Lines) -> None:
    first, second = at(lines, 3), at(lines, 4)
    lines[first], lines[second] = lines[second], lines[first]


def _cut(lines: Lines) -> None:
    del lines[-1]


def _shortened(lines: Lines) -> None:
    del lines[at(lines, 9)]
    lines[-1]["events"] = 8


def _grants(lines: Lines) -> None:
    next(one for one in lines if "grants" in one)["value"][0][0] = "fs:write"


def _context(lines: Lines) -> None:
    next(one for one in lines if "context" in one)["value"][1] = "fs.write"


def _note(lines: Lines) -> None:
    signed = lines[0]["checkpoints"][0]
    signed["note"] = signed["note"].replace("pruned 0", "pruned 1")


def _no_checkpoint(lines: Lines) -> None:
    del lines[0]["checkpoints"][0]


def _before(lines: Lines) -> None:
    lines[0]["before"] = base64.b64encode(bytes(32)).decode()


def _store(lines: Lines) -> None:
    lines[0]["store"] = "00" * 16


def _count(lines: Lines) -> None:
    lines[-1]["events"] = 7


def _more(lines: Lines) -> None:
    lines.append({"events": 9})


def _nonsense(lines: Lines) -> None:
    lines[at(lines, 5)]["event"] = ["x"] * 17


def _rewritten(lines: Lines) -> None:
    first = lines[at(lines, 1)]
    first["event"][6] = "os:mallory"
    first["payload"]["actor"]["id"] = "mallory"
    store_id, chain = bytes.fromhex(lines[0]["store"]), lines[0]["before"]
    for line in lines:
        if "event" in line:
            made = link(store_id, base64.b64decode(chain), [tuple(line["event"])])
            chain = line["chain"] = base64.b64encode(made.chains[0]).decode()
    lines[-1]["chain"] = chain


def at(lines: Lines, seq: int) -> int:
    """Return where the event *seq* stands."""
    return next(
        n for n, line in enumerate(lines) if line.get("event", [None])[0] == seq
    )


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("tamper", "seq"),
    [
        pytest.param(_payload, 2, id="what people read"),
        pytest.param(_actor, 1, id="a value of an event"),
        pytest.param(_text, 1, id="a free text"),
        pytest.param(_call_id, 1, id="a call id"),
        pytest.param(_missing, 3, id="an event left out"),
        pytest.param(_swapped, 3, id="events swapped"),
        pytest.param(_cut, 10, id="the last line left out"),
        pytest.param(_shortened, 9, id="the last event left out"),
        pytest.param(_grants, 1, id="a grant"),
        pytest.param(_context, 1, id="a context"),
        pytest.param(_note, 1, id="a checkpoint"),
        pytest.param(_no_checkpoint, 1, id="a checkpoint left out"),
        pytest.param(_before, 1, id="where the chain begins"),
        pytest.param(_store, 1, id="the store"),
        pytest.param(_count, 10, id="the count"),
        pytest.param(_more, 10, id="a line behind the end"),
        pytest.param(_rewritten, 1, id="all of it written anew, without the key"),
        pytest.param(_nonsense, 5, id="no event at all"),
    ],
)
def test_what_was_changed_in_an_export_is_found(
    cli: Cli, tamper: Callable[[Lines], None], seq: int
) -> None:
    """Exit 7 and the first event concerned, whatever it was."""
    lines = exported(cli)
    assert verify(cli, lines).code == 0

    tamper(lines)
    ran = verify(cli, lines)

    assert ran.code == 7
    assert ran.document["first_bad_seq"] == seq


@pytest.mark.usefixtures("history")
def test_a_selection_is_checked_event_by_event(cli: Cli) -> None:
    """It says that it is one; a change of an event is found, a gap cannot be."""
    lines = exported(cli, "caller=alice")
    whole = verify(cli, lines)
    text = cli("audit", "verify", "--export", "x.jsonl").out
    lines[at(lines, 1)]["event"][6] = "os:mallory"
    changed = verify(cli, lines)

    assert lines[0]["whole"] is False
    assert [line["event"][0] for line in lines if "event" in line] == [1, 2, 5, 6]
    assert (whole.code, whole.document["whole"]) == (0, False)
    assert "a selection" in whole.document["not_proven"][0]
    assert "4 events, each by itself" in text
    assert (changed.code, changed.document["first_bad_seq"]) == (7, 1)


def test_the_rest_of_a_pruned_store_verifies(cli: Cli) -> None:
    """The export begins where a signed checkpoint ends."""
    fill(store_path(), [3] * 4097 + [0] * 3)
    cli("audit", "prune", "--keep", "1d", "-y")
    lines = exported(cli)

    ran = verify(cli, lines)
    lines[0]["frontier"] = base64.b64encode(bytes(32)).decode()

    assert ran.code == 0
    assert (ran.document["first_seq"], ran.document["pruned_up_to"]) == (4097, 4096)
    assert ran.document["unsigned"] == 0
    assert verify(cli, lines).code == 7


@pytest.mark.usefixtures("history")
def test_an_export_is_compared_with_an_anchor_and_a_key(
    cli: Cli, config: WriteConfig, home: Path
) -> None:
    """As a store is."""
    config(f'[store]\nanchor = "{home}/anchor"\n')
    cli("audit", "export", "all.jsonl")
    cli("run", "echo.say")
    check = ("audit", "verify", "--export", "all.jsonl", "--anchor", f"{home}/anchor")

    agreed = cli(*check, "--json").document
    cli("audit", "checkpoint")

    assert (agreed["anchored_up_to"], agreed["not_proven"]) == (9, [])
    assert cli(*check).code == 7
    assert cli("audit", "verify", "--export", "all.jsonl", "--key", "ab" * 32).code == 7


@pytest.mark.parametrize("text", ["", "{}\n", "text\n", '{"schema":"toolrt.export/2"}'])
def test_what_is_no_export_is_7(cli: Cli, text: str) -> None:
    """Not a word of it is believed."""
    Path("x.jsonl").write_text(text)

    assert cli("audit", "verify", "--export", "x.jsonl").code == 7


def test_an_export_that_cannot_be_read_is_a_usage_error(cli: Cli) -> None:
    """A missing file, or a directory."""
    assert cli("audit", "verify", "--export", "nowhere").code == 2
    assert cli("audit", "verify", "--export", ".").code == 2


@pytest.mark.usefixtures("history")
def test_csv_holds_no_formula_and_no_escape(cli: Cli) -> None:
    """A row an event; what a spreadsheet would run, or a terminal obey, is text."""
    rows = list(
        csv.DictReader(io.StringIO(cli("audit", "export", "--format", "csv").out))
    )

    assert len(rows) == 9
    assert rows[0]["reason"] == "'=1+1 \\u{202e}"
    assert (rows[3]["outcome"], rows[3]["caller"]) == ("capability_denied", "bob")
    assert json.loads(rows[0]["payload"])["decision"] == "allow"


@pytest.mark.usefixtures("history")
def test_sqlite_is_a_plain_table(cli: Cli) -> None:
    """By its suffix; private like every export."""
    assert cli("audit", "export", "caller=alice", "e.db").code == 0

    connection = sqlite3.connect("e.db")
    rows = connection.execute("SELECT seq, tool, duration_ms FROM events").fetchall()
    connection.close()

    assert [row[0] for row in rows] == [1, 2, 5, 6]
    assert stat.S_IMODE(Path("e.db").stat().st_mode) == 0o600


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--format", "xml"], id="format"),
        pytest.param(["--format", "sqlite"], id="sqlite to a stream"),
        pytest.param(["a", "b"], id="two files"),
        pytest.param(["tol=x"], id="filter"),
    ],
)
def test_a_bad_export_is_a_usage_error(cli: Cli, words: list[str]) -> None:
    """Before anything is written."""
    assert cli("audit", "export", *words).code == 2


def test_there_is_nothing_to_export_without_a_store(cli: Cli) -> None:
    """Exit 4, and none is made."""
    assert cli("audit", "export").code == 4
    assert not store_path().exists()


@pytest.mark.usefixtures("history")
def test_an_export_goes_on_without_a_checkpoint(cli: Cli) -> None:
    """Whoever may only read gets an export whose tail is unsigned, and is told."""
    Path(f"{store_path()}.key").unlink()

    ran = cli("audit", "export", "-")
    document = verify(cli, [json.loads(line) for line in ran.out.splitlines()]).document

    assert ran.code == 0
    assert "no checkpoint was written before" in ran.err
    assert document["unsigned"] > 0


def wire(call_id: str, **changes: Any) -> str:
    """Return one CallEvent as version 3 writes it."""
    fields = {
        "ts": "2026-01-02T03:04:05.000006+00:00",
        "call_id": call_id,
        "tool_id": "std:fs.read",
        "caller_id": "alice",
        "granted_capabilities": ["fs:read"],
        "duration_ms": 3,
        "outcome": {"kind": "success"},
        "tier": "warm",
        "dry_run": False,
        "schema_version": SCHEMA_VERSION,
        "secrets_resolved": False,
    }
    fields |= changes
    return json.dumps({key: one for key, one in fields.items() if one is not None})


def test_an_import_stores_each_call_once(cli: Cli) -> None:
    """Versions 1, 2 and 3; again, nothing is stored twice."""
    lines = [
        wire("a", schema_version=1, secrets_resolved=None),
        wire("b", schema_version=2, secrets_resolved=None, caller_id=None),
        wire("c"),
        wire("c"),
        "",
    ]
    Path("calls.jsonl").write_text("\n".join(lines) + "\n")

    first = cli("audit", "import", "calls.jsonl", "--json")
    again = cli("audit", "import", "calls.jsonl", "--json")

    assert first.code == 0
    assert first.document == {
        "schema": "toolrt.import/1",
        "file": "calls.jsonl",
        "stored": 3,
        "skipped": 1,
        "refused": 0,
        "refusals": [],
    }
    assert (again.document["stored"], again.document["skipped"]) == (0, 4)
    with SqliteEventStore.open(store_path(), read_only=True) as store:
        event = store.get_event("a/call")
    assert event is not None
    assert (event.actor, event.payload["schema_version"]) == ("caller:alice", 1)
    assert cli("audit", "verify").code == 0


def test_refused_lines_are_named_and_counted(cli: Cli) -> None:
    """Exit 1; the rest is stored; not a value of the line is shown."""
    lines = [
        wire("ok"),
        "no json",
        wire("d", duration_ms="s3cret"),
        wire("e", schema_version=4),
        wire("f", ts="soon"),
        wire("g", duration_ms=2**63),
        wire("h", tool_id="a\0b"),
        wire("i", duration_ms=-1),
        "[" * 100_000,
        '"\\ud800"',
    ]
    Path("calls.jsonl").write_text("\n".join(lines))

    ran = cli("audit", "import", "calls.jsonl", "--json")
    text = cli("audit", "import", "calls.jsonl").out

    assert ran.code == 1
    assert (ran.document["stored"], ran.document["refused"]) == (1, 9)
    assert [one["line"] for one in ran.document["refusals"]] == list(range(2, 11))
    assert "s3cret" not in ran.out + text
    assert "line 4" in text
    assert "schema_version 4 is not known here" in text


def test_more_than_one_batch_is_imported_from_stdin(shell: Cli) -> None:
    """2,001 calls in three commits."""
    text = "".join(f"{wire(f'call-{n}')}\n" for n in range(2001))

    ran = shell("audit", "import", "-", "--json", stdin=text)

    assert (ran.code, ran.document["stored"]) == (0, 2001)


def test_an_import_needs_a_file(cli: Cli) -> None:
    """A missing one is a usage error; no store is made."""
    assert cli("audit", "import", "nowhere").code == 2
    assert not store_path().exists()
