"""
Times and durations as people write them: one grammar for every option and filter.

Everything here is a function of its arguments: the clock and the time zone are given.
``m`` is minutes and ``mo`` is months, always; nothing depends on the locale.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as clock_time
from itertools import pairwise
from typing import Final

_SECOND_US: Final = 1_000_000
_DAY_S: Final = 86_400.0
_LONGEST_S: Final = 1000 * 365 * _DAY_S
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Longest first: parts of a compound stand in this order. A month is 30 days and a year
# is 365: a duration has no calendar to count in.
_UNITS: Final = {
    "y": 365 * _DAY_S,
    "mo": 30 * _DAY_S,
    "w": 7 * _DAY_S,
    "d": _DAY_S,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
_ISO_UNITS: Final = ("y", "mo", "w", "d", "h", "m", "s")

# Pattern texts, compiled on first use: most commands parse no time.
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_PARTS: Final = rf"(?:{_NUMBER}(?:mo|ms|[ywdhms])\s*)+"
_PART: Final = rf"({_NUMBER})([a-z]+)"
_ISO: Final = (
    r"P(?=[0-9T])"
    rf"(?:({_NUMBER})Y)?(?:({_NUMBER})M)?(?:({_NUMBER})W)?(?:({_NUMBER})D)?"
    r"(?:T(?=[0-9])"
    rf"(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?"
)
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_DATE_TIME: Final = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[Tt ]{_CLOCK}(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?)?"

DURATION_FORMS: Final = "90s, 15m, 2h, 7d, 2w, 250ms, 1h30m, 1.5h, PT2H"
TIME_FORMS: Final = (
    "now, today, yesterday, 7d, 2h ago, -2h, PT2H, 2026-11-20, 2026-11-20 10:00[:00],"
    " 2026-11-20T10:00:00Z, 10:00, @1763632800"
)


def parse_duration(text: str) -> float:
    """
    Return the seconds that *text* stands for, zero or more.

    A month counts as 30 days and a year as 365. Parts of a compound stand from the
    longest unit to the shortest.

    >>> parse_duration("1h30m"), parse_duration("250ms"), parse_duration("P1DT2H30M")
    (5400.0, 0.25, 95400.0)

    Raises:
        ValueError: *text* is no duration, or is longer than 1000 years.
    """
    stripped = text.strip()
    seconds = _iso_seconds(stripped)
    if seconds is None:
        seconds = _compound_seconds(stripped)
    if seconds is None:
        raise ValueError(_duration_problem(stripped))
    if seconds > _LONGEST_S:
        raise ValueError(f"{stripped[:40]!r} is longer than 1000 years")
    return seconds


def _iso_seconds(text: str) -> float | None:
    found = re.fullmatch(_ISO, text)
    if found is None:
        return None
    pairs = zip(found.groups(), _ISO_UNITS, strict=True)
    return sum(float(number) * _UNITS[unit] for number, unit in pairs if number)


def _compound_seconds(text: str) -> float | None:
    if not re.fullmatch(_PARTS, text):
        return None
    parts = re.findall(_PART, text)
    sizes = [_UNITS[unit] for _, unit in parts]
    if any(left <= right for left, right in pairwise(sizes)):
        raise ValueError(f"{text!r}: units go from the longest to the shortest, once")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _duration_problem(text: str) -> str:
    if re.fullmatch(rf"-?{_NUMBER}M", text):
        return f"{text!r}: m is minutes and mo is months; M is neither"
    if re.fullmatch(_NUMBER, text):
        return f"{text!r} has no unit: ms, s, m, h, d, w, mo or y"
    return f"{text!r} is no duration; accepted: {DURATION_FORMS}"


def parse_time(text: str, *, now_us: int, tz: tzinfo | None) -> int:
    """
    Return the Unix microseconds that *text* names.

    A duration is that long ago; ``today`` and ``yesterday`` are their first instants.

    Args:
        now_us: The time now, in Unix microseconds.

        tz: The zone of times without an offset; None is the zone of the system.

    Raises:
        ValueError: *text* is no time; the message lists the accepted forms.
    """
    stripped = text.strip()
    try:
        at_us = _absolute_us(stripped, now_us, tz)
        return _ago_us(stripped, now_us) if at_us is None else at_us
    except (ValueError, OverflowError, OSError) as exc:
        why = _time_problem(stripped, exc)
        raise ValueError(f"{why}; accepted: {TIME_FORMS}") from exc


def _absolute_us(text: str, now_us: int, tz: tzinfo | None) -> int | None:
    if text == "now":
        return now_us
    if text in ("today", "yesterday"):
        day = _local(now_us, tz).date() - timedelta(days=text == "yesterday")
        return _from_local(datetime.combine(day, clock_time()), tz)
    if re.fullmatch(rf"@-?{_NUMBER}", text):
        return _from_datetime(_EPOCH + timedelta(seconds=float(text[1:])))
    if re.fullmatch(_CLOCK, text):
        today: date = _local(now_us, tz).date()
        return _from_local(datetime.combine(today, clock_time.fromisoformat(text)), tz)
    if re.fullmatch(_DATE_TIME, text):
        return _from_local(datetime.fromisoformat(text.upper()), tz)
    return None


def _ago_us(text: str, now_us: int) -> int:
    length = text[1:] if text.startswith("-") else re.sub(r"\s+ago$", "", text)
    return now_us - round(parse_duration(length) * _SECOND_US)


def _time_problem(text: str, exc: Exception) -> str:
    if re.fullmatch(rf"-?{_NUMBER}M(?:\s+ago)?", text):
        return f"{text!r}: m is minutes and mo is months; M is neither"
    if re.match(r"[0-9]{4}-|[0-9]{2}:|@", text) and not isinstance(exc, ValueError):
        return f"{text[:40]!r} is out of range"
    if re.fullmatch(rf"{_DATE_TIME}|{_CLOCK}", text):
        return f"{text!r} is no time of the calendar: {exc}"
    return f"{text[:40]!r} is no time"


def _local(at_us: int, tz: tzinfo | None) -> datetime:
    return (_EPOCH + timedelta(microseconds=at_us)).astimezone(tz)


def _from_local(at: datetime, tz: tzinfo | None) -> int:
    # Without a zone, astimezone() below takes the system's.
    return _from_datetime(at if at.tzinfo or tz is None else at.replace(tzinfo=tz))


def _from_datetime(at: datetime) -> int:
    # Whole microseconds: timestamp() is a float and loses the last ones.
    return (at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def parse_range(
    since: str | None, until: str | None, *, now_us: int, tz: tzinfo | None
) -> tuple[int | None, int | None]:
    """
    Return the bounds that ``--since`` and ``--until`` name, in Unix microseconds.

    Raises:
        ValueError: A bound is no time, *since* is in the future, or the range is empty.
    """
    after_us = None if since is None else parse_time(since, now_us=now_us, tz=tz)
    before_us = None if until is None else parse_time(until, now_us=now_us, tz=tz)
    if after_us is None:
        return None, before_us
    if after_us > now_us:
        raise ValueError(f"since {since!r} is in the future: {show_utc(after_us)}")
    if before_us is not None and after_us >= before_us:
        raise ValueError(
            f"since {since!r} ({show_utc(after_us)}) is not before"
            f" until {until!r} ({show_utc(before_us)})"
        )
    return after_us, before_us


def show_utc(at_us: int) -> str:
    """
    Return *at_us* (Unix microseconds) as RFC 3339 in UTC, to the millisecond.

    A number that no calendar holds, as a damaged store may give, is shown as ``@``
    and its seconds.

    >>> show_utc(1_795_171_327_118_000)
    '2026-11-20T10:42:07.118Z'
    """
    try:
        at = _local(at_us, UTC)
    except OverflowError:
        return f"@{at_us // _SECOND_US}"
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def show_local(at_us: int, tz: tzinfo | None) -> str:
    """Return *at_us* as a clock on the wall in *tz* (None: the system's) shows it."""
    try:
        at = _local(at_us, tz)
    except (OverflowError, OSError, ValueError):
        return show_utc(at_us)
    return at.replace(tzinfo=None).isoformat(" ", timespec="milliseconds")


def local_clock(text: str, now_us: int) -> str:
    """Return the RFC 3339 *text* as the wall clock shows it; without date if of today."""
    from toolrt.clock import parse_rfc3339

    if text.startswith("@"):  # as `show_utc` gives what no calendar has
        return text
    at = show_local(parse_rfc3339(text), None)
    return at[11:] if at[:10] == show_local(now_us, None)[:10] else at[:19]
