"""C5: what a one-off timestamp may look like, and which instant it means."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.errors import ScheduleError
from countwheel.domain.timestamp import INSTANT_PATTERN, LOCAL_TIME_PATTERN, format_instant, parse_oneoff

BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("2027-01-01T09:00:00+01:00", None, utc(2027, 1, 1, 8)),
        ("2027-01-01T09:00:00Z", None, utc(2027, 1, 1, 9)),
        ("2027-01-01t09:00:00z", None, utc(2027, 1, 1, 9)),
        ("2027-01-01T09:00:00-00:30", None, utc(2027, 1, 1, 9, 30)),
        ("2027-01-01T09:00:00.5Z", None, utc(2027, 1, 1, 9, 0, 0, 500_000)),
        ("2027-01-01T09:00:00.1234Z", None, utc(2027, 1, 1, 9, 0, 0, 124_000)),
        ("2027-01-01T09:00:00.999999999Z", None, utc(2027, 1, 1, 9, 0, 1)),
        ("2028-02-29T00:00:00Z", None, utc(2028, 2, 29)),
        ("2016-12-31T23:59:60Z", None, utc(2017, 1, 1)),
        ("2017-01-01T00:59:60+01:00", None, utc(2017, 1, 1)),
        ("2027-07-01T09:00:00", BERLIN, utc(2027, 7, 1, 7)),
        ("2027-03-28T02:30:00", BERLIN, utc(2027, 3, 28, 1)),
        ("2027-10-31T02:30:00", BERLIN, utc(2027, 10, 31, 0, 30)),
        ("2199-12-31T23:59:59Z", None, utc(2199, 12, 31, 23, 59, 59)),
    ],
)
def test_c5_a_timestamp_means_one_instant(text: str, timezone: str | None, expected: datetime) -> None:
    """C5: offset or zone; a fraction rounds up, a gap means its end, a fold its first pass."""
    assert parse_oneoff(text, timezone) == expected


@pytest.mark.parametrize(
    ("text", "timezone", "named"),
    [
        ("2027-01-01T09:00:00", None, "neither offset nor timezone"),
        ("2027-01-01T24:00:00Z", None, "no such date or time"),
        ("2027-01-01T09:60:00Z", None, "no such date or time"),
        ("2027-02-29T09:00:00Z", None, "no such date or time"),
        ("2027-13-01T09:00:00Z", None, "no such date or time"),
        ("2027-01-01T09:00:00+24:00", None, "no such offset"),
        ("2027-01-01T09:00:00+01:60", None, "no such offset"),
        ("2027-01-01T09:00:00Z ", None, "not a timestamp"),
        ("2027-01-01T09:00:00Zx", None, "not a timestamp"),
        ("2027-01-01T09:00:00Z\n", None, "not a timestamp"),
        ("2027-01-01 09:00:00Z", None, "not a timestamp"),
        ("2027-01-01T09:00Z", None, "not a timestamp"),
        ("2027-01-01", None, "not a timestamp"),
        ("1798794000", None, "not a timestamp"),
        ("2027-01-01T09:00:00.Z", None, "not a timestamp"),
        ("2027-01-01T09:00:00.1234567890Z", None, "not a timestamp"),
        ("20\N{ARABIC-INDIC DIGIT TWO}7-01-01T09:00:00Z", None, "not a timestamp"),
        ("2027-01-01T09:00:60Z", None, "second 60"),
        ("2027-01-30T23:59:60Z", None, "second 60"),
        ("1969-12-31T23:59:59Z", None, "outside the years"),
        ("2200-01-01T00:00:00Z", None, "outside the years"),
        ("2199-12-31T23:59:59-01:00", None, "outside the years"),
        ("2027-01-01T09:00:00Z", BERLIN, "offset already"),
        ("2027-01-01T09:00:00", "Mars/Olympus", "not an IANA time zone"),
    ],
)
def test_c5_what_is_no_timestamp_is_refused(text: str, timezone: str | None, named: str) -> None:
    """C5: no offset and no zone, hour 24, trailing bytes, seconds that never were: each is named."""
    with pytest.raises(ScheduleError, match=named):
        parse_oneoff(text, timezone)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)), st.integers(-23 * 60, 23 * 60))
def test_c5_what_is_written_is_read_back(moment: datetime, offset_minutes: int) -> None:
    """C5: any instant with any offset is read as itself, to the millisecond, never earlier."""
    instant = moment.replace(tzinfo=UTC)
    local = (instant + timedelta(minutes=offset_minutes)).replace(tzinfo=None)
    sign, size = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    read = parse_oneoff(f"{local.isoformat()}{sign}{size // 60:02d}:{size % 60:02d}", None)
    assert timedelta(0) <= read - instant < timedelta(milliseconds=1)
    assert parse_oneoff(format_instant(read), None) == read


@given(st.from_regex(INSTANT_PATTERN, fullmatch=True))
def test_what_the_contract_says_is_an_instant_is_read(text: str) -> None:
    """Whatever fits the contract's pattern is read, but for days and leap seconds that do not exist."""
    try:
        parse_oneoff(text, None)
    except ScheduleError as error:
        assert re.search("no such date|second 60|outside the years", str(error)), text


@given(st.from_regex(LOCAL_TIME_PATTERN, fullmatch=True))
def test_what_the_contract_says_is_a_local_time_is_read(text: str) -> None:
    """Whatever fits the contract's pattern is read in a zone, but for days and leap seconds that do not exist."""
    try:
        parse_oneoff(text, BERLIN)
    except ScheduleError as error:
        assert re.search("no such date|second 60|outside the years", str(error)), text


LOOSE = r"(19|20|21|22)\d\d-[0-3]\d-[0-3]\d[tT ][0-2]\d:[0-6]\d(:[0-6]\d)?(\.\d{0,10})?([zZ]|[+-][0-2]\d:?[0-6]\d)? ?"


@given(st.from_regex(re.compile(LOOSE, re.ASCII), fullmatch=True))
def test_what_is_read_fits_the_contract(text: str) -> None:
    """What the server takes, the contract's pattern takes."""
    try:
        parse_oneoff(text, None)
    except ScheduleError:
        return
    assert re.fullmatch(INSTANT_PATTERN, text)
