"""Timestamps as clients write them: RFC 3339 with an offset, or local time with a zone (criterion C5)."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from countwheel.domain.errors import ScheduleError
from countwheel.domain.zones import first_instant, zone, zones

_DATE = r"(?:19[7-9][0-9]|2[01][0-9][0-9])-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_OFFSET = r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

LOCAL_TIME_PATTERN = f"^{_DATE}[tT]{_TIME}$"
"""A local time, to be given together with `timezone`. A pattern cannot say which months have 31 days."""

INSTANT_PATTERN = f"^{_DATE}[tT]{_TIME}{_OFFSET}$"
"""An instant with its offset. A pattern cannot say which months have 31 days, nor where a leap second can be."""

_PARTS = re.compile(r"(\d{4})-(\d\d)-(\d\d)[tT](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([zZ]|[+-]\d\d:\d\d)?", re.ASCII)
_FIELD = "schedule_oneoff"
_EXAMPLE = "give RFC 3339 with an offset, like 2027-01-01T09:00:00+01:00, or local time together with timezone"
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LEAP_SECOND = 60


@lru_cache(maxsize=1024)  # many calls of a herd are scheduled for one instant
def format_instant(instant: datetime) -> str:
    """Return an aware instant as RFC 3339 in UTC with its milliseconds; what is finer is cut off."""
    in_utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds")[:-6] + "Z"  # which ends with +00:00


def is_local(text: str) -> bool:
    """Whether a timestamp has no offset, and so needs a time zone."""
    match = _PARTS.fullmatch(text)
    return match is not None and match[8] is None


def wall_time(text: str) -> datetime | None:
    """Return the wall-clock time, to the second, that a timestamp without an offset names; None for one with an offset.

    Raises `ScheduleError` for what is no timestamp.
    """
    match = _PARTS.fullmatch(text)
    if match is None:
        raise ScheduleError(_FIELD, f"not a timestamp: {_EXAMPLE}")
    return _wall_time([int(number) for number in match.groups()[:6]])[0] if match[8] is None else None


def parse_oneoff(text: str, timezone: str | None) -> datetime:
    """Return the instant (UTC, whole milliseconds) that a timestamp means.

    A fraction beyond milliseconds rounds up: never early. A local time inside a gap means the end of the gap, one that
    comes twice its first pass. Raises `ScheduleError` that names the field, the fault and what would be right.
    """
    match = _PARTS.fullmatch(text)
    if match is None:
        raise ScheduleError(_FIELD, f"not a timestamp: {_EXAMPLE}")
    *numbers, fraction, offset = match.groups()
    if offset is None and timezone is None:
        raise ScheduleError(_FIELD, f"neither offset nor timezone: {_EXAMPLE}")
    if offset is not None and timezone is not None:
        raise ScheduleError("timezone", "the timestamp has an offset already: leave one of them out")
    wall, is_leap = _wall_time([int(number) for number in numbers])
    instant = _from_offset(wall, offset) if offset is not None else _from_zone(wall, timezone or "UTC")
    if is_leap:
        _check_leap_second(instant)
        instant += timedelta(seconds=1)
        fraction = None
    instant += timedelta(milliseconds=_milliseconds(fraction))
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise ScheduleError(_FIELD, f"outside the years {_FIRST_YEAR} to {_LAST_YEAR} (UTC)")
    return instant


def _wall_time(numbers: list[int]) -> tuple[datetime, bool]:
    year, month, day, hour, minute, second = numbers
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ScheduleError(_FIELD, f"outside the years {_FIRST_YEAR} to {_LAST_YEAR}")
    is_leap = second == _LEAP_SECOND
    try:
        return datetime(year, month, day, hour, minute, second - is_leap), is_leap  # noqa: DTZ001 (wall time, made aware by the caller)
    except ValueError as error:
        raise ScheduleError(_FIELD, f"no such date or time ({error}): {_EXAMPLE}") from error


def _from_offset(wall: datetime, offset: str) -> datetime:
    if offset in {"Z", "z"}:
        return wall.replace(tzinfo=UTC)
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 (a clock's own numbers)
        raise ScheduleError(_FIELD, f"no such offset {offset}: give one from -23:59 to +23:59")
    shift = timedelta(hours=hours, minutes=minutes)
    return wall.replace(tzinfo=UTC) + (shift if offset[0] == "-" else -shift)


def _from_zone(wall: datetime, timezone: str) -> datetime:
    if timezone not in zones():
        raise ScheduleError("timezone", f"{timezone[:64]!r} is not an IANA time zone: give one like Europe/Berlin")
    return first_instant(wall, zone(timezone))


def _check_leap_second(before: datetime) -> None:
    following = before + timedelta(seconds=1)
    if (following.day, following.hour, following.minute, following.second) != (1, 0, 0, 0):
        raise ScheduleError(_FIELD, "second 60 exists only at 23:59:60 UTC at the end of a month")


def _milliseconds(fraction: str | None) -> int:
    if fraction is None:
        return 0
    return -(-int(fraction.ljust(9, "0")) // 1_000_000)
