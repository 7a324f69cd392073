"""
Lists and single documents on stdout, in every format that ``-o`` names.

Text formats pass each cell through the escaper, on a pipe too; JSON is ASCII only, so
its own escapes make it as safe. Rich draws tables on a terminal and is imported nowhere
else: it takes 30 to 40 ms to load and breaks lines on a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, TextIO

import msgspec

from toolrt_cli.escape import display_width, escape
from toolrt_cli.terminal import Terminal

FORMATS: Final = ("table", "json", "jsonl", "csv", "md", "name")

Item = Mapping[str, object]

#: Rows that Rich may draw; it takes 0.33 ms a row.
_RICH_ROWS: Final = 50
_GAP: Final = "  "
#: The narrowest that Rich may fold a column to.
_FOLDED: Final = 24
_SCALARS: Final = (str, int, bool, type(None))
_MARKDOWN: Final = {ord(char): "\\" + char for char in "\\`*_[]|~$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
# A spreadsheet runs a cell that starts with one of these.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class Column(msgspec.Struct, frozen=True):
    """One column of the text formats; JSON always has the whole item."""

    #: Key of the item, and the column's name in CSV.
    name: str
    #: What stands above the column in a table.
    header: str
    #: How the value is taken from an item; None: by `name`.
    get: Callable[[Item], object] | None = None
    #: Whether a table aligns the column to the right, as numbers are.
    right: bool = False
    #: Whether Rich may break a cell over several lines to fit the terminal.
    fold: bool = False

    def value(self, item: Item) -> object:
        """Return what stands in this column for *item*; None if nothing does."""
        return item.get(self.name) if self.get is None else self.get(item)


def emit_list(
    out: TextIO,
    *,
    schema: str,
    items: Sequence[Item],
    columns: Sequence[Column],
    name_key: str,
    meta: Mapping[str, object],
    fmt: str | None,
    terminal: Terminal,
) -> None:
    """
    Write *items* to *out* in the format *fmt*.

    Args:
        schema: Name of the document, without ``toolrt.`` and its number.

        name_key: Key of an item's name, all that the format ``name`` prints.

        meta: What the JSON document says about the list as a whole.

        fmt: One of `FORMATS`; None is a table on a terminal, and on a pipe values
            with tabs between them and no header.

    Raises:
        ValueError: *fmt* is none of them.
    """
    if fmt == "json":
        whole = {"items": items, "meta": meta}
        out.write(_document(schema, whole, indent=terminal.is_tty))
    elif fmt == "jsonl":
        out.writelines(to_json(item) + "\n" for item in items)
    elif fmt == "name":
        out.writelines(_cell(item.get(name_key)) + "\n" for item in items)
    elif fmt in _TEXT_WRITERS:
        _TEXT_WRITERS[fmt](out, columns, items)
    elif fmt is None and not terminal.is_tty:
        _write_tsv(out, columns, items)
    elif fmt is None or fmt == "table":
        _write_table(out, columns, items, terminal)
    else:
        raise ValueError(f"unknown format {fmt!r}; formats: {', '.join(FORMATS)}")


def emit_document(  # noqa: PLR0917 - one call shape for every command
    out: TextIO,
    schema: str,
    document: Mapping[str, object],
    fmt: str | None,
    terminal: Terminal,
    render: Callable[[], object],
) -> None:
    """
    Write *document* in the format *fmt*; where it names none, let *render* show it.

    CSV and Markdown have a row for each value, with its place in the document; ``name``
    is the value that comes first.
    """
    if fmt in ("json", "jsonl"):
        indent = fmt == "json" and terminal.is_tty
        out.write(_document(schema, document, indent=indent))
    elif fmt in _TEXT_WRITERS:
        rows = [{"key": key, "value": value} for key, value in leaves(document)]
        _TEXT_WRITERS[fmt](out, [Column("key", "KEY"), Column("value", "VALUE")], rows)
    elif fmt == "name":
        out.write(_cell(next(iter(document.values()))) + "\n")
    else:
        render()


def leaves(value: object, path: str = "") -> list[tuple[str, str]]:
    """Return the values of *value* as text, with their dotted places; no empty ones."""
    if isinstance(value, Mapping) and value:
        pairs = value.items()
        return [leaf for key, one in pairs for leaf in leaves(one, f"{path}.{key}")]
    if isinstance(value, list | tuple) and value:
        rows = enumerate(value)
        return [leaf for index, one in rows for leaf in leaves(one, f"{path}[{index}]")]
    if value in (None, [], {}, ()):
        return []
    text = value if isinstance(value, str) else to_json(value)
    return [(path.removeprefix("."), text)]


def to_json(value: object, *, indent: bool = False) -> str:
    """
    Return *value* as JSON in ASCII, on one line unless *indent*.

    One value always gives one text: keys keep their order, sets are sorted, numbers
    that JSON has no text for are null.

    Raises:
        TypeError: *value* holds what JSON cannot say.
    """
    plain = _plain(value)
    try:
        text = msgspec.json.encode(plain).decode()
        if indent:
            text = msgspec.json.format(text, indent=2)
    except UnicodeEncodeError:  # a lone surrogate, as file names may hold
        text = _surrogate_json(msgspec.to_builtins(plain), indent=indent)
    return to_ascii(text)


def _document(schema: str, fields: Item, *, indent: bool) -> str:
    head = {"schema": f"toolrt.{schema}/1"}
    return to_json({**head, **fields, **head}, indent=indent) + "\n"


def _plain(value: object) -> Any:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(one) for one in value), key=to_json)
    return value


def _surrogate_json(value: object, *, indent: bool) -> str:
    import json

    if indent:
        return json.dumps(value, indent=2)
    return json.dumps(value, separators=(",", ":"))


def to_ascii(text: str) -> str:
    """Return the JSON *text* with escapes in place of what is not printable ASCII."""
    if text.isascii() and "\x7f" not in text:
        return text
    import re

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    # Outside its strings JSON is ASCII already.
    return re.sub(r"[^\x00-\x7e]", escaped, text)


def _text(value: object) -> str:
    """Return *value* as a person would write it, not yet escaped."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value)
    return to_json(value)


def _cell(value: object) -> str:
    return escape(_text(value))


def _heads(columns: Sequence[Column]) -> list[str]:
    # Escaped as cells are: a header may be a key of a tool's result.
    return [_cell(column.header) for column in columns]


def _rows(columns: Sequence[Column], items: Sequence[Item]) -> list[list[str]]:
    return [[_cell(column.value(item)) for column in columns] for item in items]


def _write_tsv(out: TextIO, columns: Sequence[Column], items: Sequence[Item]) -> None:
    # An escaped cell holds no tab and no newline.
    out.writelines("\t".join(row) + "\n" for row in _rows(columns, items))


def write_csv(
    out: TextIO,
    columns: Sequence[Column],
    items: Iterable[Item],
    *,
    header: bool = True,
) -> int:
    """Write *items* as CSV, one after the other; return how many."""
    import csv

    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([_csv_cell(column.name) for column in columns])
    count = 0
    for item in items:
        writer.writerow([_csv_cell(column.value(item)) for column in columns])
        count += 1
    return count


def _csv_cell(value: object) -> str:
    # A number is no formula, whatever its sign.
    is_text = not isinstance(value, int | float)
    guard = is_text and _text(value).startswith(_FORMULA_STARTS)
    return f"'{_cell(value)}" if guard else _cell(value)


def write_markdown(
    out: TextIO,
    columns: Sequence[Column],
    items: Sequence[Item],
    *,
    header: bool = True,
) -> None:
    """Write *items* as the rows of a Markdown table."""
    if header:
        rules = ["---:" if column.right else "---" for column in columns]
        heads = [markdown_text(column.header) for column in columns]
        out.write(_markdown_row(heads) + _markdown_row(rules))
    for item in items:
        cells = [markdown_text(column.value(item)) for column in columns]
        out.write(_markdown_row(cells))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def markdown_text(value: object) -> str:
    """Return *value* as text that Markdown shows as it is, on one line."""
    return _cell(value).translate(_MARKDOWN)


_TEXT_WRITERS: Final[
    dict[str | None, Callable[[TextIO, Sequence[Column], Sequence[Item]], object]]
] = {"csv": write_csv, "md": write_markdown}


def _write_table(
    out: TextIO, columns: Sequence[Column], items: Sequence[Item], terminal: Terminal
) -> None:
    rows = _rows(columns, items)
    if not columns:  # rows without a key have nothing to show
        return
    if terminal.is_tty and len(rows) <= _RICH_ROWS:
        _draw(out, columns, rows, terminal)
        return
    heads = _heads(columns)
    # A list, so that max() also has the header of a list without rows.
    widths = [
        max(display_width(row[index]) for row in [heads, *rows])
        for index in range(len(columns))
    ]
    for row in [heads, *rows]:
        padded = map(_pad, row, widths, columns)
        out.write(_GAP.join(padded).rstrip(" ") + "\n")


def _pad(cell: str, width: int, column: Column) -> str:
    blank = " " * (width - display_width(cell))
    return blank + cell if column.right else cell + blank


def _draw(
    out: TextIO,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    terminal: Terminal,
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    heads = _heads(columns)
    for index, (head, column) in enumerate(zip(heads, columns, strict=True)):
        widest = max(display_width(row[index]) for row in [heads, *rows])
        justify: Any = "right" if column.right else "left"
        # Folded or whole, never cut: what a cell says is never left out.
        table.add_column(
            Text(head),
            justify=justify,
            overflow="fold",
            no_wrap=not column.fold,
            min_width=min(widest, _FOLDED) if column.fold else widest,
        )
    needed = sum((column.min_width or 0) + len(_GAP) for column in table.columns)
    for row in rows:
        # Text, never str: Rich would read markup in it and fail on "[/]".
        table.add_row(*(Text(cell) for cell in row))
    console = Console(
        file=out,
        width=max(terminal.width, needed),
        color_system="standard" if terminal.colour else None,
        force_terminal=True,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
