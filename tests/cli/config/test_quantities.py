"""Sizes as text, and quantities as the model decodes them."""

from __future__ import annotations

import pytest

from toolrt_cli.config.quantities import (
    ByteSize,
    Duration,
    FreeSpace,
    Timeout,
    decode,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("7B", 7),
        ("64KiB", 65536),
        ("1 MiB", 1024**2),
        (" 2GiB ", 2 * 1024**3),
        ("1TiB", 1024**4),
        ("3kB", 3000),
        ("3KB", 3000),
        ("3MB", 3_000_000),
        ("1GB", 10**9),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Binary and decimal units each mean what their names say."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "KiB", "-1", "1.5MiB", "1kib", "1 M", "0x10", "٣", "1_000", "1" * 5000],
)
def test_no_sizes(text: str) -> None:
    """Anything else is refused with an example of what is not."""
    with pytest.raises(ValueError, match='expected a size such as 65536, "64KiB"'):
        parse_size(text)


@pytest.mark.parametrize(
    ("kind", "raw", "match"),
    [
        (Timeout, "0s", "at least 0.001 s"),
        (Duration, 3, "such as"),
        (Duration, None, "such as"),
        (ByteSize, 0, "at least 1 "),
        (ByteSize, True, "got true"),
        (ByteSize, 1.5, "got 1.5"),
        (ByteSize, "9EiB", "a size such as"),
        (ByteSize, "9000000000000000000KiB", "less than 2"),
        (FreeSpace, -1, "at least 0 "),
    ],
)
def test_bounds(kind: type, raw: object, match: str) -> None:
    """A value outside its kind's bounds is refused, with the bound and the value."""
    with pytest.raises(ValueError, match=match):
        decode(kind, raw)


def test_other_kinds_are_not_decoded() -> None:
    """A type that is none of these is left to msgspec's own message."""
    with pytest.raises(NotImplementedError):
        decode(complex, 1)


def test_values_pass_for_their_kind() -> None:
    """What is decoded is a plain number and passes as an instance of its kind."""
    size = decode(FreeSpace, 0)

    assert type(size) is int
    assert isinstance(size, FreeSpace)
    assert isinstance(decode(Timeout, "1s"), Duration)
    assert not isinstance(1.5, ByteSize)
    assert not ByteSize.__instancecheck__(True)
