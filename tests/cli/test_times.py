"""Times and durations: every accepted form, and what is refused with which words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrt_cli.times import (
    parse_duration,
    parse_range,
    parse_time,
    show_local,
    show_utc,
)

# 2026-11-20T10:42:07.118Z
NOW_US = 1_795_171_327_118_000
EAST = timezone(timedelta(hours=5, minutes=30))
HOUR_US = 3_600_000_000

instants = st.integers(-(10**15), 10**16).map(lambda ms: ms // 1000 * 1000)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system's zone is New York, where it is winter at NOW_US."""
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("90s", 90, id="seconds"),
        pytest.param("15m", 900, id="m is minutes"),
        pytest.param("2h", 7200, id="hours"),
        pytest.param("7d", 604_800, id="days"),
        pytest.param("2w", 1_209_600, id="weeks"),
        pytest.param("3mo", 90 * 86_400, id="a month is 30 days"),
        pytest.param("1y", 365 * 86_400, id="a year is 365 days"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("1h30m", 5400, id="compound"),
        pytest.param("1m 500ms", 60.5, id="compound with blanks"),
        pytest.param("1.5h", 5400, id="decimals"),
        pytest.param("0s", 0, id="zero"),
        pytest.param(" 2h ", 7200, id="blanks around"),
        pytest.param("PT2H", 7200, id="ISO hours"),
        pytest.param("P1DT2H30M", 95_400, id="ISO days and time"),
        pytest.param("P2W", 1_209_600, id="ISO weeks"),
        pytest.param("PT1.5S", 1.5, id="ISO decimals"),
        pytest.param("P1M", 30 * 86_400, id="ISO M before T is months"),
        pytest.param("PT1M", 60, id="ISO M after T is minutes"),
    ],
)
def test_duration_forms(text: str, seconds: float) -> None:
    """Every written form of a duration is read as its seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("5M", "m is minutes and mo is months", id="M is ambiguous"),
        pytest.param("30", "has no unit", id="no unit"),
        pytest.param("30m1h", "from the longest to the shortest", id="wrong order"),
        pytest.param("1h1h", "from the longest to the shortest", id="unit twice"),
        pytest.param("", "is no duration; accepted: 90s", id="empty"),
        pytest.param("-2h", "is no duration", id="negative"),
        pytest.param("P", "is no duration", id="ISO without a part"),
        pytest.param("P1DT", "is no duration", id="ISO without a time part"),
        pytest.param("1e3s", "is no duration", id="exponent"),
        pytest.param("٣h", "is no duration", id="digits that are not ASCII"),
        pytest.param("2hours", "is no duration", id="unit in words"),
        pytest.param("1001y", "longer than 1000 years", id="too long"),
        pytest.param("9" * 400 + "d", "longer than 1000 years", id="infinite"),
    ],
)
def test_refused_durations(text: str, match: str) -> None:
    """What is no duration is refused with the reason."""
    with pytest.raises(ValueError, match=match):
        parse_duration(text)


@given(st.integers(0, 10**8))
@settings(max_examples=100)
def test_units_agree(count: int) -> None:
    """One length is the same in every unit that it can be written in."""
    assert parse_duration(f"{count}m") == parse_duration(f"{count * 60}s")
    assert parse_duration(f"PT{count}S") == parse_duration(f"{count}s")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("now", "2026-11-20T10:42:07.118Z", id="now"),
        pytest.param("today", "2026-11-20T00:00:00.000Z", id="today"),
        pytest.param("yesterday", "2026-11-19T00:00:00.000Z", id="yesterday"),
        pytest.param("7d", "2026-11-13T10:42:07.118Z", id="a duration is ago"),
        pytest.param("2h ago", "2026-11-20T08:42:07.118Z", id="ago in words"),
        pytest.param("-2h", "2026-11-20T08:42:07.118Z", id="minus"),
        pytest.param("PT2H", "2026-11-20T08:42:07.118Z", id="ISO duration"),
        pytest.param("2026-11-20", "2026-11-20T00:00:00.000Z", id="date"),
        pytest.param("2026-11-20 10:00", "2026-11-20T10:00:00.000Z", id="minutes"),
        pytest.param("2026-11-20 10:00:05", "2026-11-20T10:00:05.000Z", id="seconds"),
        pytest.param("2026-11-20T10:00:00Z", "2026-11-20T10:00:00.000Z", id="Z"),
        pytest.param("2026-11-20t10:00:00z", "2026-11-20T10:00:00.000Z", id="small z"),
        pytest.param(
            "2026-11-20T10:00:00.250+02:00", "2026-11-20T08:00:00.250Z", id="offset"
        ),
        pytest.param("10:00", "2026-11-20T10:00:00.000Z", id="clock is today"),
        pytest.param("10:00:01", "2026-11-20T10:00:01.000Z", id="clock with seconds"),
        pytest.param("@1763632800", "2025-11-20T10:00:00.000Z", id="Unix seconds"),
        pytest.param("@1763632800.5", "2025-11-20T10:00:00.500Z", id="Unix decimals"),
    ],
)
def test_time_forms(text: str, shown: str) -> None:
    """Every written form of a time is read as its instant."""
    assert show_utc(parse_time(text, now_us=NOW_US, tz=UTC)) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("today", "2026-11-19T18:30:00.000Z", id="today"),
        pytest.param("10:00", "2026-11-20T04:30:00.000Z", id="clock"),
        pytest.param("2026-11-20", "2026-11-19T18:30:00.000Z", id="date"),
        pytest.param("2026-11-20T10:00Z", "2026-11-20T10:00:00.000Z", id="own offset"),
    ],
)
def test_times_without_offset_are_local(text: str, shown: str) -> None:
    """A time without an offset is in the given zone; an offset of its own wins."""
    assert show_utc(parse_time(text, now_us=NOW_US, tz=EAST)) == shown


@pytest.mark.usefixtures("new_york")
def test_no_zone_is_the_zone_of_the_system() -> None:
    """Without a zone the system's counts, with the offset of the day in question."""
    summer = parse_time("2026-07-01 12:00", now_us=NOW_US, tz=None)
    winter = parse_time("2026-11-20 12:00", now_us=NOW_US, tz=None)

    assert show_utc(summer) == "2026-07-01T16:00:00.000Z"
    assert show_utc(winter) == "2026-11-20T17:00:00.000Z"
    assert show_local(winter, None) == "2026-11-20 12:00:00.000"


def test_today_is_the_day_of_the_zone() -> None:
    """Late in the evening in UTC it is tomorrow already further east."""
    late_us = parse_time("2026-11-20T23:00:00Z", now_us=NOW_US, tz=UTC)

    today_us = parse_time("today", now_us=late_us, tz=EAST)

    assert show_local(today_us, EAST) == "2026-11-21 00:00:00.000"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("tomorrow", "is no time; accepted: now, today", id="unknown word"),
        pytest.param("", "is no time", id="empty"),
        pytest.param("ago", "is no time", id="ago alone"),
        pytest.param("5M", "m is minutes and mo is months", id="M is ambiguous"),
        pytest.param("5M ago", "m is minutes and mo is months", id="M ago"),
        pytest.param("2026-13-01", "is no time of the calendar", id="month 13"),
        pytest.param("2026-02-29", "is no time of the calendar", id="no leap year"),
        pytest.param("25:00", "is no time of the calendar", id="hour 25"),
        pytest.param("20261120", "is no time", id="date without signs"),
        pytest.param("0001-01-01T00:00+14:00", "is out of range", id="before year 1"),
        pytest.param("@99999999999999999", "is out of range", id="beyond year 9999"),
        pytest.param("@" + "9" * 400, "is out of range", id="infinite"),
    ],
)
def test_refused_times(text: str, match: str) -> None:
    """What is no time is refused with the reason and the accepted forms."""
    with pytest.raises(ValueError, match=match) as caught:
        parse_time(text, now_us=NOW_US, tz=UTC)
    assert "@1763632800" in str(caught.value)


@given(st.text(max_size=30))
@settings(max_examples=150)
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        at_us = parse_time(text, now_us=NOW_US, tz=UTC)
    except ValueError:
        return
    assert isinstance(at_us, int)


@given(instants)
@settings(max_examples=100)
def test_shown_times_are_read_back(at_us: int) -> None:
    """What is shown, in UTC or locally, names the same instant when typed again."""
    assert parse_time(show_utc(at_us), now_us=NOW_US, tz=EAST) == at_us
    assert parse_time(show_local(at_us, EAST), now_us=NOW_US, tz=EAST) == at_us


def test_microseconds_survive() -> None:
    """An instant is exact to the microsecond, far from 1970 too."""
    text = "2286-11-20T17:46:39.999999Z"

    assert parse_time(text, now_us=NOW_US, tz=UTC) % 1_000_000 == 999_999


def test_range_of_both_bounds() -> None:
    """Both bounds are read against one clock."""
    bounds = parse_range("2h", "1h ago", now_us=NOW_US, tz=UTC)

    assert bounds == (NOW_US - 2 * HOUR_US, NOW_US - HOUR_US)


def test_open_ranges() -> None:
    """A bound that is not given is None, and the end may lie in the future."""
    assert parse_range(None, None, now_us=NOW_US, tz=UTC) == (None, None)
    assert parse_range("1h", None, now_us=NOW_US, tz=UTC) == (NOW_US - HOUR_US, None)
    assert parse_range(None, "@9999999999", now_us=NOW_US, tz=UTC) == (
        None,
        9_999_999_999_000_000,
    )


@pytest.mark.parametrize(
    ("since", "until", "match"),
    [
        pytest.param("1h", "2h", "is not before until '2h'", id="reversed"),
        pytest.param("1h", "1h", "is not before", id="empty"),
        pytest.param("2026-11-21", None, "is in the future: 2026-11-21", id="future"),
        pytest.param("1h", "5M", "m is minutes", id="bad bound"),
    ],
)
def test_refused_ranges(since: str, until: str | None, match: str) -> None:
    """A range that can hold nothing is a mistake and said to be one."""
    with pytest.raises(ValueError, match=match):
        parse_range(since, until, now_us=NOW_US, tz=UTC)


def test_numbers_beyond_the_calendar_are_shown() -> None:
    """A damaged record is shown and does not end the command."""
    assert show_utc(10**24) == "@1000000000000000000"
    assert show_local(10**24, EAST) == "@1000000000000000000"
