"""Durations and sizes of the config: what they are after loading, and their parsers."""

from __future__ import annotations

import math
import re
from typing import ClassVar, Final, Self, cast

from toolrt_cli.config.faults import shown

# Compiled at the first use: most configs have no size.
_SIZE: Final = r"([0-9]+)\s*(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)?"
_UNITS: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
#: SQLite and the operating system count in signed 64 bits.
_MAX_BYTES: Final = 2**63 - 1


def parse_size(text: str) -> int:
    """
    Return the bytes that *text*, such as ``64KiB`` or ``1 MB``, stands for.

    Raises:
        ValueError: *text* is no size; the message says what a size looks like.
    """
    found = re.fullmatch(_SIZE, text.strip())
    # 19 digits hold every size; int() of more would be slow, then refused.
    if found is None or len(found[1]) > len(str(_MAX_BYTES)):
        raise ValueError(_no_size(text))
    return int(found[1]) * _UNITS[found[2] or "B"]


class _Plain(type):
    """
    Makes classes that stand in annotations alone; what they make is a float or an int.

    The class tells how a value is written and what bounds it has. A value of it must
    pass for one, since msgspec asks, but be a plain number: nothing encodes subclasses.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        return type(instance) in cls.__mro__


class Duration(float, metaclass=_Plain):
    """Seconds, written as text such as ``"10s"`` or ``"180d"``."""

    __slots__ = ()

    def __new__(cls, seconds: float) -> Self:
        """Return *seconds* as a float."""
        return cast("Self", float(seconds))

    #: The shortest and the longest allowed, in seconds.
    least: ClassVar[float] = 0.0
    most: ClassVar[float] = math.inf

    @classmethod
    def decode(cls, raw: object) -> Self:
        """
        Return the value that *raw* writes down.

        Raises:
            ValueError: It is no such value; the message says what was expected.
        """
        from toolrt_cli.times import parse_duration

        if not isinstance(raw, str):
            raise ValueError(f'expected a duration such as "10s", got {shown(raw)}')  # noqa: TRY004 - msgspec asks for ValueError
        seconds = parse_duration(raw)
        if seconds < cls.least:
            wanted = f"a duration of at least {cls.least:g} s"
            raise ValueError(f"expected {wanted}, got {shown(raw)}")
        if seconds > cls.most:
            wanted = f"a duration of at most {cls.most:g} s"
            raise ValueError(f"expected {wanted}, got {shown(raw)}")
        return cls(seconds)


class Timeout(Duration):
    """A deadline: more than nothing."""

    __slots__ = ()
    least = 0.001


class Leeway(Duration):
    """Tolerance between clocks; more than a minute would hide a broken one."""

    __slots__ = ()
    most = 60.0


class ByteSize(int, metaclass=_Plain):
    """Bytes, written as an integer or as text such as ``"64KiB"``."""

    __slots__ = ()

    def __new__(cls, size: int) -> Self:
        """Return *size* as an int."""
        return cast("Self", int(size))

    #: The smallest allowed, in bytes.
    least: ClassVar[int] = 1

    @classmethod
    def decode(cls, raw: object) -> Self:
        """
        Return the value that *raw* writes down.

        Raises:
            ValueError: It is no such value; the message says what was expected.
        """
        size = parse_size(raw) if isinstance(raw, str) else raw
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(_no_size(raw))  # noqa: TRY004 - msgspec asks for ValueError
        if not cls.least <= size <= _MAX_BYTES:
            wanted = f"a size of at least {cls.least} and less than 2**63 bytes"
            raise ValueError(f"expected {wanted}, got {shown(raw)}")
        return cls(size)


class FreeSpace(ByteSize):
    """Bytes kept free; 0 keeps none."""

    __slots__ = ()
    least = 0


def _no_size(raw: object) -> str:
    return f'expected a size such as 65536, "64KiB" or "1MiB", got {shown(raw)}'


def decode(kind: type, raw: object) -> object:
    """Return *raw* as a *kind* of this module; for ``msgspec.convert``."""
    if issubclass(kind, Duration | ByteSize):
        return kind.decode(raw)
    raise NotImplementedError(kind)
