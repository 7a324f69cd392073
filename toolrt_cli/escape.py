r"""
Stored and foreign text made safe to show on a terminal, piped or not.

Whatever could move the cursor, hide, reorder or break a line becomes visible text. The
backslash itself is escaped too, so two different texts never look the same because of
an escape.
"""

from __future__ import annotations

from typing import Final

_MAX_MARKS: Final = 8

# What a terminal shows as nothing or as an unmarked blank although its category says
# letter, mark or symbol: the Default_Ignorable_Code_Point property outside category Cf,
# then the Braille blank, the Khitan filler and the null notehead.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    "\u2800\U00016fe4\U0001d159"
)
_VARIATION_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{{{code:x}}}"  # noqa: PLR2004


_ASCII: Final = {code: _escaped(code) for code in (*range(32), 127)} | {
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    ord("\\"): "\\\\",
}


def _without(table: dict[int, str], chars: str) -> dict[int, str]:
    return {code: text for code, text in table.items() if chr(code) not in chars}


_ASCII_BLOCK: Final = _without(_ASCII, "\n\t")
_ASCII_SHOWN: Final = _without(_ASCII, "\\")
_ASCII_SHOWN_BLOCK: Final = _without(_ASCII_BLOCK, "\\")


def escape(text: str) -> str:
    r"""
    Return *text* as one line in which nothing is hidden; one text, one result.

    Newline, tab and backslash become ``\n``, ``\t`` and ``\\``; other controls, format
    characters, blanks that are no space, lone surrogates, private and unassigned code
    points ``\xNN`` or ``\u{N…}``; so does each mark after the eighth on one character.

    >>> print(escape("a\x1b[2J\u202eb\n"))
    a\x1b[2J\u{202e}b\n
    """
    if text.isascii():
        if text.isprintable() and "\\" not in text:
            return text
        return text.translate(_ASCII)
    return _escape_unicode(text, _ASCII)


def escape_block(text: str) -> str:
    """Return *text* as `escape` does, but with its newlines and tabs kept."""
    if text.isascii():
        return text.translate(_ASCII_BLOCK)
    return _escape_unicode(text, _ASCII_BLOCK)


def show(text: str) -> str:
    """
    Return *text* as `escape` does, but with its backslashes as they are.

    For text that is to be recognised rather than told apart, such as a line of a file.
    """
    if text.isascii():
        return text if text.isprintable() else text.translate(_ASCII_SHOWN)
    return _escape_unicode(text, _ASCII_SHOWN)


def show_block(text: str) -> str:
    """Return *text* as `show` does, but with its newlines and tabs kept."""
    if text.isascii():
        return text.translate(_ASCII_SHOWN_BLOCK)
    return _escape_unicode(text, _ASCII_SHOWN_BLOCK)


def _escape_unicode(text: str, ascii_table: dict[int, str]) -> str:
    # Imported where it is needed: most text is ASCII and the table takes 3 ms to load.
    from unicodedata import category

    parts = []
    room = 0  # marks that may still follow; none where there is nothing to sit on
    for char in text:
        if char.isascii():
            shown = ascii_table.get(ord(char), char)
            room = _MAX_MARKS if shown == char and char.isprintable() else 0
        elif not _is_visible(char):
            shown, room = _escaped(ord(char)), 0
        elif category(char).startswith("M"):
            shown = char if room else _escaped(ord(char))
            room = max(room - 1, 0)
        else:
            shown, room = char, _MAX_MARKS
        parts.append(shown)
    return "".join(parts)


def _is_visible(char: str) -> bool:
    # isprintable() is false for exactly the categories C* and Z*, the space excepted.
    return (
        char.isprintable()
        and char not in _INVISIBLE
        and not any(ord(char) in block for block in _VARIATION_SELECTORS)
    )


def display_width(text: str) -> int:
    """Return the columns that escaped *text* takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    # Mn and Me are drawn over the character before them.
    return sum(
        1 + (east_asian_width(char) in "WF")
        for char in text
        if category(char) not in ("Mn", "Me")
    )
