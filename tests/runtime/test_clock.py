"""RFC 3339 text, ULIDs and the clock of the machine."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt import SystemClock
from toolrt.clock import (
    UlidSource,
    new_ulid,
    parse_rfc3339,
    rfc3339,
    ulid_number,
    ulid_text,
)

microseconds = st.integers(min_value=0, max_value=253_402_300_799_999_999)


@given(at_us=microseconds)
def test_a_time_survives_the_way_to_text_and_back(at_us: int) -> None:
    """Microseconds are kept over the whole range of years."""
    assert parse_rfc3339(rfc3339(at_us)) == at_us


@given(at_us=microseconds)
def test_the_text_is_what_the_standard_library_writes(at_us: int) -> None:
    """The text equals datetime's own, microseconds always written."""
    whole, micros = divmod(at_us, 1_000_000)
    at = datetime.fromtimestamp(whole, UTC).replace(microsecond=micros)

    assert rfc3339(at_us) == at.isoformat(timespec="microseconds")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-20t10:00:00z", "2026-11-20T10:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31T18:59:60.5-05:00", "2017-01-01T00:00:00.5+00:00"),
        ("2026-11-20T10:00:00.123456789Z", "2026-11-20T10:00:00.123456+00:00"),
    ],
)
def test_any_rfc3339_text_is_read(text: str, same: str) -> None:
    """Lower case, leap seconds and long fractions are allowed by the standard."""
    assert parse_rfc3339(text) == parse_rfc3339(same)


@pytest.mark.parametrize("text", ["2026-11-20T10:60:00Z", "yesterday", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Minutes have no leap."""
    with pytest.raises(ValueError):
        parse_rfc3339(text)


def test_a_time_without_offset_is_refused() -> None:
    """A time that may mean any zone is no RFC 3339 time."""
    with pytest.raises(ValueError, match="no UTC offset"):
        parse_rfc3339("2026-11-20T10:00:00")


@given(number=st.integers(min_value=0, max_value=2**128 - 1))
def test_a_ulid_survives_the_way_to_text_and_back(number: int) -> None:
    """128 bits are 26 characters and back."""
    text = ulid_text(number)

    assert len(text) == 26
    assert ulid_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("01J", id="short"),
        pytest.param("8" + "0" * 25, id="129 bits"),
        pytest.param("0" * 25 + "U", id="U is no digit"),
        pytest.param("0" * 25 + "a", id="lower case is not canonical"),
    ],
)
def test_what_is_no_canonical_ulid_has_no_number(text: str) -> None:
    """Only the one canonical spelling of a ULID counts as one."""
    assert ulid_number(text) is None


def test_new_ulids_sort_by_their_millisecond() -> None:
    """Later milliseconds sort later as text; the known example of the spec holds."""
    assert new_ulid(1_469_918_176_385_000).startswith("01ARYZ6S41")
    assert new_ulid(1_000_000) < new_ulid(2_000_000)


def decoded(text: str) -> int:
    """The number of a ULID, as the specification says it: five bits a character."""
    number = 0
    for char in text:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    return number


@given(at_us=st.integers(min_value=0, max_value=(2**48 - 1) * 1000))
def test_a_ulid_holds_its_millisecond(at_us: int) -> None:
    """26 characters, 128 bits, the first 48 of them the time."""
    text = UlidSource().draw(at_us)

    assert len(text) == 26
    assert decoded(text) >> 80 == at_us // 1000
    assert decoded(text) == ulid_number(text)


def test_the_ulids_of_one_millisecond_differ_and_sort_as_drawn() -> None:
    """Up to 1,024 of them; after that they still differ."""
    source = UlidSource()

    drawn = [source.draw(5_000_000) for _ in range(5_000)]

    assert len(set(drawn)) == 5_000
    assert drawn[:1_024] == sorted(drawn[:1_024])
    assert {text[:10] for text in drawn} == {ulid_text(5_000 << 80)[:10]}


def test_no_two_threads_draw_one_ulid() -> None:
    """Also where they go on to another millisecond at different times."""
    source = UlidSource()

    def draw(start: int) -> list[str]:
        return [source.draw((start + n // 300) * 1000) for n in range(20_000)]

    with ThreadPoolExecutor(8) as pool:
        drawn = [text for texts in pool.map(draw, range(8)) for text in texts]

    assert len(set(drawn)) == len(drawn)


def test_two_sources_have_nothing_in_common() -> None:
    """What is random differs, in the same millisecond."""
    assert UlidSource().draw(0)[10:24] != UlidSource().draw(0)[10:24]


def test_a_forked_process_draws_ulids_of_its_own() -> None:
    """In the millisecond of the fork, too."""
    readable, writable = os.pipe()
    new_ulid(7_000_000)
    child = os.fork()
    if not child:
        try:
            os.write(writable, new_ulid(7_000_000).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(readable, 100).decode()
    os.close(readable)
    os.close(writable)

    assert theirs[:24] != new_ulid(7_000_000)[:24]
    assert theirs.startswith(ulid_text(7_000 << 80)[:10])


def test_the_system_clock_goes_on() -> None:
    """Both clocks of the machine give numbers of their unit."""
    clock = SystemClock()

    assert clock.now_us() > 1_700_000_000_000_000
    assert clock.monotonic_ns() <= clock.monotonic_ns()
