"""Output: every format of a list, documents, and what JSON text is made of."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.output import FORMATS, Column, Item, emit_document, emit_list, to_json
from toolrt_cli.terminal import Terminal

PIPE = Terminal()
TTY = Terminal(is_tty=True, width=60)
COLUMNS = (
    Column("tool", "TOOL"),
    Column("ms", "MS", right=True),
    Column("caps", "CAPABILITIES"),
)
ITEMS: Sequence[Item] = (
    {"tool": "fs.read", "ms": 5, "caps": ["fs:read", "net:fetch"]},
    {"tool": "echo.say", "ms": 1204, "caps": []},
    {"tool": "x", "ms": None, "caps": None},
)
#: Cells that have broken other tools.
HOSTILE: Sequence[Item] = (
    {"tool": "[/]", "ms": 1},
    {"tool": "[bold]x[/bold] :smile:", "ms": 2},
    {"tool": "\x1b]0;owned\x07\x1b[2J", "ms": 3},
    {"tool": "a\nb\tc\r", "ms": 4},
    {"tool": "\u202egnp.exe\u2028\x9b31m\udcff", "ms": 5},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def listed(
    fmt: str | None,
    items: Sequence[Item] = ITEMS,
    *,
    terminal: Terminal = PIPE,
    columns: Sequence[Column] = COLUMNS,
    meta: Mapping[str, object] | None = None,
) -> str:
    """Return what `emit_list` writes."""
    out = io.StringIO()
    emit_list(
        out,
        schema="handlers",
        items=items,
        columns=columns,
        name_key="tool",
        meta=meta or {},
        fmt=fmt,
        terminal=terminal,
    )
    return out.getvalue()


def test_pipe_gets_tabs_and_no_header() -> None:
    """Without -o a pipe gets one line an item, values between tabs, no header."""
    assert listed(None) == "fs.read\t5\tfs:read, net:fetch\necho.say\t1204\t\nx\t\t\n"


def test_table_on_a_pipe_is_plain_and_aligned() -> None:
    """A table that is asked for on a pipe has a header and no colour."""
    assert listed("table").splitlines() == [
        "TOOL        MS  CAPABILITIES",
        "fs.read      5  fs:read, net:fetch",
        "echo.say  1204",
        "x",
    ]


@pytest.mark.parametrize("fmt", [None, "table"])
def test_table_on_a_terminal(fmt: str | None) -> None:
    """A terminal gets the same table, drawn by Rich, without colour if it has none."""
    lines = [line.rstrip() for line in listed(fmt, terminal=TTY).splitlines()]

    assert [line.split() for line in lines] == [
        ["TOOL", "MS", "CAPABILITIES"],
        ["fs.read", "5", "fs:read,", "net:fetch"],
        ["echo.say", "1204"],
        ["x"],
    ]


def test_colour_is_in_the_header_only() -> None:
    """A terminal with colour gets it from toolrt and from nothing else."""
    colourful = Terminal(is_tty=True, colour=True, width=60)

    head, *body = listed(None, terminal=colourful).splitlines()

    assert "\x1b[1m" in head
    assert "\x1b" not in "".join(body)


def test_long_cells_are_folded_and_not_cut() -> None:
    """On a narrow terminal a cell takes more lines and stays whole."""
    text = listed(
        None,
        [{"tool": "x" * 100}],
        terminal=Terminal(is_tty=True, width=30),
        columns=[Column("tool", "TOOL", fold=True)],
    )

    assert text.count("x") == 100
    assert max(len(line) for line in text.splitlines()) <= 30


def test_other_cells_stay_on_one_line() -> None:
    """What is to be copied, such as an id, is wider than the terminal if need be."""
    text = listed(
        None,
        [{"tool": "x" * 100}],
        terminal=Terminal(is_tty=True, width=30),
        columns=[Column("tool", "TOOL")],
    )

    assert text.splitlines()[1] == "x" * 100


def test_long_lists_are_not_drawn_by_rich() -> None:
    """Beyond 50 rows a terminal gets the plain table, a line a row at any width."""
    items = [{"tool": "x" * 100}] * 51

    lines = listed(None, items, terminal=TTY, columns=COLUMNS[:1]).splitlines()

    assert lines == ["TOOL", *["x" * 100] * 51]


def test_wide_letters_are_aligned_by_columns() -> None:
    """A letter that takes two columns counts as two."""
    lines = listed("table", [{"tool": "日本", "ms": 1}, {"tool": "a", "ms": 2}])

    assert lines.splitlines()[1:] == ["日本   1", "a      2"]


def test_empty_lists() -> None:
    """A list without items has its header, and is nothing where there is none."""
    assert listed(None, []) == ""
    assert listed("name", []) == ""
    assert listed("table", []) == "TOOL  MS  CAPABILITIES\n"
    assert listed("csv", []) == "tool,ms,caps\n"
    assert json.loads(listed("json", [])) == {
        "schema": "toolrt.handlers/1",
        "items": [],
        "meta": {},
    }


def test_json_has_envelope_and_whole_items() -> None:
    """JSON is one document: its schema first, the items as they are, then meta."""
    text = listed("json", meta={"rows": 3})

    assert text.startswith('{"schema":"toolrt.handlers/1","items":[{"tool":"fs.read"')
    assert text.count("\n") == 1
    assert json.loads(text)["items"] == list(ITEMS)
    assert json.loads(text)["meta"] == {"rows": 3}


def test_json_is_indented_on_a_terminal() -> None:
    """A person gets the same JSON on many lines."""
    text = listed("json", terminal=TTY)

    assert text.startswith('{\n  "schema"')
    assert json.loads(text) == json.loads(listed("json"))


def test_jsonl_is_one_item_a_line() -> None:
    """JSON lines have no envelope, on a terminal neither."""
    lines = listed("jsonl", terminal=TTY).splitlines()

    assert [json.loads(line) for line in lines] == list(ITEMS)


def test_csv() -> None:
    """CSV has the names of the columns, and quotes what needs it."""
    assert listed("csv") == (
        'tool,ms,caps\nfs.read,5,"fs:read, net:fetch"\necho.say,1204,\nx,,\n'
    )


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        pytest.param("=1+1", "'=1+1", id="equals"),
        pytest.param("+1", "'+1", id="plus"),
        pytest.param("-1", "'-1", id="minus"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="at"),
        pytest.param("\t=1", "'\\t=1", id="tab"),
        pytest.param("\r=1", "'\\x0d=1", id="carriage return"),
        pytest.param(["=1", "x"], "'=1, x", id="list"),
        pytest.param("a=1", "a=1", id="equals inside"),
        pytest.param(-5, "-5", id="a number is no formula"),
    ],
)
def test_csv_cells_are_no_formulas(cell: object, shown: str) -> None:
    """A spreadsheet that opens the file runs nothing of it."""
    text = listed("csv", [{"tool": cell}], columns=COLUMNS[:1])

    assert list(csv.reader(io.StringIO(text))) == [["tool"], [shown]]


def test_markdown() -> None:
    """Markdown is a table whose numbers are aligned to the right."""
    assert listed("md").splitlines()[:3] == [
        "| TOOL | MS | CAPABILITIES |",
        "| --- | ---: | --- |",
        "| fs.read | 5 | fs:read, net:fetch |",
    ]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        pytest.param("a|b", r"a\|b", id="cell border"),
        pytest.param("<img src=x>&", "&lt;img src=x&gt;&amp;", id="HTML"),
        pytest.param("[x](http://y)", r"\[x\](http://y)", id="link"),
        pytest.param("*a* _b_ `c` ~d~", r"\*a\* \_b\_ \`c\` \~d\~", id="emphasis"),
        pytest.param("a\\|b\nc", r"a\\\\\|b\\nc", id="escapes of our own"),
    ],
)
def test_markdown_cells_are_text(cell: str, shown: str) -> None:
    """A cell is shown as it is and marks nothing up."""
    text = listed("md", [{"tool": cell}], columns=COLUMNS[:1])

    assert text.splitlines()[2] == f"| {shown} |"


def test_names() -> None:
    """The format name is one name a line, for other programs."""
    assert listed("name") == "fs.read\necho.say\nx\n"


@pytest.mark.parametrize("terminal", [PIPE, TTY], ids=["pipe", "terminal"])
@pytest.mark.parametrize("fmt", [None, *FORMATS])
def test_hostile_cells_do_nothing(fmt: str | None, terminal: Terminal) -> None:
    """No format lets a cell move the cursor, break its line or reach Rich's markup."""
    text = listed(fmt, HOSTILE, terminal=terminal)

    assert set(text) <= {"\n", "\t", *map(chr, range(32, 127))}
    assert ("\t" in text) == (fmt is None and terminal is PIPE)
    bold = "[bold]x[/bold] :smile:"
    assert (bold.replace("[", "\\[").replace("]", "\\]") if fmt == "md" else bold) in (
        text
    )


@pytest.mark.parametrize("terminal", [PIPE, TTY], ids=["pipe", "terminal"])
@pytest.mark.parametrize("fmt", ["table", "csv", "md"])
def test_hostile_headers_do_nothing(fmt: str, terminal: Terminal) -> None:
    """A header that comes from a tool's result is as harmless as a cell."""
    name = "[/]\x1b[2J\n"
    columns = [Column(name, name)]

    text = listed(fmt, [{name: "x"}], terminal=terminal, columns=columns)

    assert set(text) <= {"\n", *map(chr, range(32, 127))}
    assert text.count("x1b") == 1


@pytest.mark.parametrize("terminal", [PIPE, TTY], ids=["pipe", "terminal"])
def test_no_columns(terminal: Terminal) -> None:
    """Items without a key make no table."""
    assert listed("table", [{}], terminal=terminal, columns=()) == ""


def test_columns_may_compute() -> None:
    """A column may be made of the whole item; booleans and objects are JSON."""
    columns = (
        Column("both", "BOTH", get=lambda item: f"{item['tool']}={item['ms']}"),
        Column("flag", "FLAG"),
        Column("object", "OBJECT"),
    )
    items = [{"tool": "x", "ms": 1, "flag": True, "object": {"a": None}}]

    assert listed(None, items, columns=columns) == 'x=1\ttrue\t{"a":null}\n'


def test_unknown_format() -> None:
    """A format that does not exist is an error that lists those that do."""
    with pytest.raises(ValueError, match="table, json, jsonl, csv, md, name"):
        listed("yaml")


@pytest.mark.parametrize(
    ("fmt", "terminal", "text"),
    [
        pytest.param("json", PIPE, '{"schema":"toolrt.run/1","ok":true}\n', id="json"),
        pytest.param("jsonl", TTY, '{"schema":"toolrt.run/1","ok":true}\n', id="jsonl"),
        pytest.param(
            "json",
            TTY,
            '{\n  "schema": "toolrt.run/1",\n  "ok": true\n}\n',
            id="json on a terminal",
        ),
        pytest.param(None, PIPE, "rendered\n", id="nothing asked"),
        pytest.param("table", TTY, "rendered\n", id="table"),
    ],
)
def test_documents(fmt: str | None, terminal: Terminal, text: str) -> None:
    """A document is JSON where that is asked for and text for people elsewhere."""
    out = io.StringIO()

    def render() -> None:
        out.write("rendered\n")

    emit_document(out, "run", {"ok": True}, fmt, terminal, render)

    assert out.getvalue() == text


def test_schema_is_first_and_ours() -> None:
    """A document cannot claim another schema than the one it is given."""
    out = io.StringIO()
    document = {"ok": True, "schema": "other/9"}

    emit_document(out, "run", document, "json", PIPE, lambda: None)

    assert out.getvalue() == '{"schema":"toolrt.run/1","ok":true}\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("é\x7f\x9b\u2028", r'"\u00e9\u007f\u009b\u2028"', id="not ASCII"),
        pytest.param("🎉", r'"\ud83c\udf89"', id="surrogate pair"),
        pytest.param("\udcff\x7f", r'"\udcff\u007f"', id="lone surrogate"),
        pytest.param("\x1b\n", r'"\u001b\n"', id="controls"),
        pytest.param(float("nan"), "null", id="NaN"),
        pytest.param([float("-inf"), "\udcff"], r'[null,"\udcff"]', id="both at once"),
        pytest.param({"b", "a", "c"}, '["a","b","c"]', id="set"),
        pytest.param({"z": (1,), "a": None}, '{"z":[1],"a":null}', id="order kept"),
        pytest.param(2**70, "1180591620717411303424", id="large integer"),
        pytest.param(Column("a", "A").name, '"a"', id="text"),
    ],
)
def test_json_text(value: object, text: str) -> None:
    """JSON text is printable ASCII, and one text for one value."""
    assert to_json(value) == text


def test_json_refuses_what_it_cannot_say() -> None:
    """A value that is no JSON is an error, never a guess."""
    with pytest.raises(TypeError):
        to_json(object())


@given(json_values, st.booleans())
@settings(max_examples=60)
def test_json_is_read_back(value: object, indent: bool) -> None:
    """What is written is printable ASCII and reads as the value, NaN as null."""
    text = to_json(value, indent=indent)

    assert text.replace("\n", "").isprintable()
    assert text.isascii()
    expected = json.loads(json.dumps(value), parse_constant=lambda _: None)
    assert json.loads(text) == expected


def test_nothing_slow_is_imported() -> None:
    """The modules of every run load neither Rich nor what only some formats need."""
    slow = ("csv", "difflib", "json", "rich", "shutil", "unicodedata", "zoneinfo")
    code = (
        "import sys; import toolrt_cli.arguments, toolrt_cli.output;"
        f"sys.exit(', '.join(set(sys.modules) & set({slow!r})) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
