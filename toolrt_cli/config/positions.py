"""
Where each key of a TOML document stands in its source, which tomllib does not tell.

`scan` reads a document that tomllib has accepted and builds the same tree with places
instead of values. It checks nothing, decodes only keys, and takes time linear in the
source. Run it when a position is asked for, not before.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from toolrt_cli.config.faults import Key, Path, Position

Span = tuple[int, int]


class _Node:
    """The place of one key (or item), of its value, and what the value holds."""

    __slots__ = ("children", "key", "tables", "value")

    def __init__(self, key: Span) -> None:
        self.key = key
        self.value = key
        self.children: dict[Key, _Node] = {}
        #: How many ``[[tables]]`` the array holds; 0 for everything else.
        self.tables = 0

    def child(self, key: Key, span: Span) -> _Node:
        """Return the child *key*, first seen at *span*."""
        found = self.children.get(key)
        if found is None:
            found = self.children[key] = _Node(span)
        return found

    def current(self) -> _Node:
        """Return where a header goes on: the last table of an array of tables."""
        return self.children[self.tables - 1] if self.tables else self


class Positions:
    """The places of all keys and items of one source. Immutable."""

    __slots__ = ("_line_starts", "_root", "source")

    def __init__(self, source: str, root: _Node | None = None) -> None:
        self.source = source
        self._root = root or _Node((0, 0))
        ends = re.finditer("\n", source)
        self._line_starts = [0, *(end.end() for end in ends)]

    def key(self, path: Path) -> Position | None:
        """
        Return the place of the last key of *path*.

        An item of an array is where its value is, a table of an array of tables where
        its ``[[header]]`` is. None if the document has no such path.
        """
        node = self._find(path)
        return None if node is None else self._position(node.key)

    def value(self, path: Path) -> Position | None:
        """Return the place of the value at *path*; a table's is its header."""
        node = self._find(path)
        return None if node is None else self._position(node.value)

    def at(self, offset: int) -> Position:
        """Return the place of the character at *offset*, counted from 0."""
        return self._position((offset, offset + 1))

    def line(self, number: int) -> str:
        """Return line *number* of the source, counted from 1, without its end."""
        start = self._line_starts[number - 1]
        return self.source[start : self._line_end(start)]

    def paths(self) -> Iterator[Path]:
        """Yield every path of the document, parents before children."""
        stack: list[tuple[Path, _Node]] = [((), self._root)]
        while stack:
            path, node = stack.pop()
            for key, child in node.children.items():
                yield (*path, key)
                stack.append(((*path, key), child))

    def _find(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for key in path:
            if node is None:
                return None
            node = node.children.get(key)
        return node if path else None

    def _position(self, span: Span) -> Position:
        start, end = span
        line = bisect_right(self._line_starts, start)
        length = min(end, self._line_end(start)) - start
        return Position(line, start - self._line_starts[line - 1] + 1, max(length, 1))

    def _line_end(self, start: int) -> int:
        end = self.source.find("\n", start)
        end = len(self.source) if end < 0 else end
        return end - 1 if end > start and self.source[end - 1] == "\r" else end


def scan(source: str) -> Positions:
    """Return the places of all that *source*, valid TOML, holds."""
    scanner = _Scanner(source)
    # Nested about as deep as tomllib itself can read: what was found then serves.
    with suppress(RecursionError):
        scanner.run()
    return Positions(source, scanner.root)


# Compiled at the first use of each (re keeps them): most files need four of the eight.
_BLANK: Final = r"[ \t]*"
_BETWEEN: Final = r"(?:[ \t\r\n]+|#[^\n]*)*"
_BARE_KEY: Final = r"[A-Za-z0-9_-]+"
_BASIC: Final = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_LITERAL: Final = r"'[^'\n]*'"
# Up to two quotes may stand before the three that close a string over lines.
_LONG_BASIC: Final = r'"""[^"\\]*(?:(?:\\[\s\S]|"{1,2}(?!"))[^"\\]*)*"{3,5}'
_LONG_LITERAL: Final = r"'''[^']*(?:'{1,2}(?!')[^']*)*'{3,5}"
# Numbers, booleans, and dates with their one inner blank.
_SCALAR: Final = r"[^,\]}#\s]+(?: [^,\]}#\s]+)?"


class _Scanner:
    """One pass over a source; `root` grows as it goes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.root = _Node((0, 0))
        self.table = self.root

    def run(self) -> None:
        self.skip(_BETWEEN)
        while self.at < len(self.source):
            if self.peek("[["):
                self.array_header()
            elif self.peek("["):
                self.header()
            else:
                self.pair(self.table)
            self.skip(_BETWEEN)

    def peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def skip(self, pattern: str) -> Span:
        found = re.compile(pattern).match(self.source, self.at)
        assert found is not None, f"no {pattern} at {self.at}"
        self.at = found.end()
        return found.span()

    def header(self) -> None:
        start = self.at
        self.at += 1
        keys = self.dotted()
        node = self.root
        for key, span in keys:
            node = node.current().child(key, span)
        self.at += 1
        # `[a.b]` may have named `a` before `[a]` itself does.
        node.key, node.value = keys[-1][1], (start, self.at)
        self.table = node

    def array_header(self) -> None:
        start = self.at
        self.at += 2
        array = self.root
        for key, span in self.dotted():
            array = array.current().child(key, span)
        self.at += 2
        self.table = array.child(array.tables, (start, self.at))
        array.tables += 1

    def dotted(self) -> list[tuple[str, Span]]:
        """Read a dotted key and the blanks around it."""
        found = []
        while True:
            self.skip(_BLANK)
            found.append(self.one_key())
            self.skip(_BLANK)
            if not self.peek("."):
                return found
            self.at += 1

    def one_key(self) -> tuple[str, Span]:
        if self.peek('"'):
            span = self.skip(_BASIC)
        elif self.peek("'"):
            span = self.skip(_LITERAL)
        else:
            span = self.skip(_BARE_KEY)
        text = self.source[slice(*span)]
        if "\\" in text and text[0] == '"':
            return tomllib.loads(f"key = {text}")["key"], span
        return text[1:-1] if text[0] in "\"'" else text, span

    def pair(self, table: _Node) -> None:
        node = table
        for key, span in self.dotted():
            node = node.child(key, span)
        self.at += 1  # the equals sign
        self.skip(_BLANK)
        self.read_value(node)

    def read_value(self, node: _Node) -> None:
        start = self.at
        if self.peek("["):
            self.array(node)
        elif self.peek("{"):
            self.inline_table(node)
        else:
            self.skip(self.scalar_pattern())
        node.value = (start, self.at)

    def scalar_pattern(self) -> str:
        if self.peek('"'):
            return _LONG_BASIC if self.peek('"""') else _BASIC
        if self.peek("'"):
            return _LONG_LITERAL if self.peek("'''") else _LITERAL
        return _SCALAR

    def array(self, node: _Node) -> None:
        self.at += 1
        self.skip(_BETWEEN)
        while not self.peek("]"):
            item = node.child(len(node.children), (self.at, self.at))
            self.read_value(item)
            item.key = item.value
            self.skip_comma()
        self.at += 1

    def inline_table(self, node: _Node) -> None:
        self.at += 1
        # TOML 1.1 allows lines and comments in here.
        self.skip(_BETWEEN)
        while not self.peek("}"):
            self.pair(node)
            self.skip_comma()
        self.at += 1

    def skip_comma(self) -> None:
        self.skip(_BETWEEN)
        if self.peek(","):
            self.at += 1
            self.skip(_BETWEEN)
