"""Writes data down as TOML in varied styles, for tests of the position scanner."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any


def toml_source(data: Mapping[str, Any], random: Random) -> str:
    """Return *data* as TOML; *random* chooses quotes, headers, blanks and comments."""
    return _Writer(random).document(data)


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []

    def document(self, data: Mapping[str, Any]) -> str:
        self.table(data, ())
        end = self.random.choice(["\n", "\r\n"])
        return end.join(self.lines) + self.random.choice(["", end])

    def chance(self) -> bool:
        return self.random.random() < 0.5

    def blank(self) -> str:
        return self.random.choice(["", "", " ", "\t "])

    def line(self, text: str) -> None:
        if self.random.random() < 0.2:
            self.lines.append(self.random.choice(["", '# "[x] = {', "\t# é"]))
        comment = self.random.choice(["", "", "  # not = [a] 'value"])
        self.lines.append(f"{self.blank()}{text}{self.blank()}{comment}")

    def table(self, data: Mapping[str, Any], path: tuple[str, ...]) -> None:
        tables = {k: v for k, v in data.items() if _is_table(v) and self.chance()}
        arrays = {k: v for k, v in data.items() if _is_tables(v) and self.chance()}
        for key, value in data.items():
            if key not in tables and key not in arrays:
                self.pair((key,), value)
        for key, value in tables.items():
            self.header("[", (*path, key), "]")
            self.table(value, (*path, key))
        for key, items in arrays.items():
            for item in items:
                self.header("[[", (*path, key), "]]")
                self.table(item, (*path, key))

    def header(self, opening: str, path: Sequence[str], closing: str) -> None:
        self.line(f"{opening}{self.dotted(path)}{closing}")

    def pair(self, path: tuple[str, ...], value: Any) -> None:
        if _is_table(value) and value and self.chance():
            for key, item in value.items():
                self.pair((*path, key), item)
        else:
            text = f"{self.dotted(path)}={self.blank()}{self.value(value)}"
            self.line(text)

    def dotted(self, path: Sequence[str]) -> str:
        return ".".join(self.blank() + self.key(key) + self.blank() for key in path)

    def key(self, key: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_-]+", key) and self.chance():
            return key
        if "'" not in key and key.isprintable() and self.chance():
            return f"'{key}'"
        return _basic(key)

    def value(self, value: Any) -> str:
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return self.array(value)
        if isinstance(value, dict):
            pairs = (
                f"{self.dotted([key])}={self.blank()}{self.value(item)}{self.blank()}"
                for key, item in value.items()
            )
            return "{" + self.blank() + ",".join(pairs) + "}"
        if isinstance(value, dt.datetime):
            return value.isoformat(self.random.choice([" ", "T"]))
        return repr(value)

    def array(self, value: list[Any]) -> str:
        between = ["", " ", "\n", "\n # ], [\n\t"]
        items = [
            self.random.choice(between) + self.value(one) + self.random.choice(between)
            for one in value
        ]
        last = self.random.choice(["", ","]) if items else ""
        return "[" + ",".join(items) + last + self.random.choice(between) + "]"

    def string(self, text: str) -> str:
        forms = [
            _basic(text),
            f'"""{_basic(text)[1:-1]}"""',
            f'"""\n{_basic(text)[1:-1]}"""',
        ]
        if "'" not in text and text.isprintable():
            forms += [f"'{text}'", f"'''{text}'''"]
        if '"' not in text and "\\" not in text and text.isprintable():
            forms.append(f'"""{text}\\\n   """')
        if text.startswith('"') and text.count('"') == 1 and text[1:].isalnum():
            forms.append(f'"""{text}"""')
        return self.random.choice(forms)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def _basic(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")
