"""On which days of a month an expression fires: day of month and day of week, and how they go together.

Both must match where one of them begins with `*` or `?`; otherwise either is enough, as Debian has it. Which days of
a month match depends on two things only: how long it is, and on which weekday it begins.
"""

from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from countwheel.domain.cron.fields import DAY, WEEKDAY, parse_values

_SATURDAY, _SUNDAY = 6, 0
_WEEK = 7
_FEBRUARY = 2
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Days:
    """Which days match. Weekdays count from Sunday, 0; bit masks have bit n for n."""

    of_month: int
    last: bool
    last_weekday: bool
    nearest_weekdays: tuple[int, ...]
    of_week: int
    nth_of_week: tuple[tuple[int, int], ...]
    """Pairs of a weekday and which one in the month it is, from 1."""
    last_of_week: tuple[int, ...]
    either: bool
    """One of day of month and day of week is enough."""
    _found: dict[tuple[int, int], int] = field(default_factory=dict, compare=False, repr=False)

    def in_month(self, year: int, month: int) -> int:
        """Return the days of a month that match, as a bit mask (bit 1 for the first)."""
        length = _LENGTHS[month]
        if month == _FEBRUARY and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
            length += 1
        key = (length, date(year, month, 1).isoweekday() % _WEEK)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._match(*key)
        return found

    def _match(self, length: int, begins: int) -> int:
        by_month, by_week = self._by_month(length, begins), self._by_week(length, begins)
        every = (2 << length) - 2
        return (by_month | by_week if self.either else by_month & by_week) & every

    def _by_month(self, length: int, begins: int) -> int:
        mask = self.of_month
        if self.last:
            mask |= 1 << length
        if self.last_weekday:
            mask |= 1 << _weekday_near(length, length, begins)
        for day in self.nearest_weekdays:
            if day <= length:
                mask |= 1 << _weekday_near(day, length, begins)
        return mask

    def _by_week(self, length: int, begins: int) -> int:
        mask = 0
        for weekday in range(_WEEK):
            if self.of_week >> weekday & 1:
                mask |= sum(1 << day for day in _all_of(weekday, length, begins))
        for weekday, which in self.nth_of_week:
            days = _all_of(weekday, length, begins)
            if which <= len(days):
                mask |= 1 << days[which - 1]
        for weekday in self.last_of_week:
            mask |= 1 << _all_of(weekday, length, begins)[-1]
        return mask


def parse_days(day: str, weekday: str, job_id: UUID) -> Days:
    """Return what the checked fields for days mean. Raises `CronError` for a range that runs backwards."""
    of_week = parse_values(WEEKDAY, weekday, job_id)
    day_marks = [term.upper() for term in day.split(",") if DAY.is_mark(term)]
    week_marks = [term.upper() for term in weekday.split(",") if WEEKDAY.is_mark(term)]
    return Days(
        of_month=parse_values(DAY, day, job_id),
        last="L" in day_marks,
        last_weekday="LW" in day_marks,
        nearest_weekdays=tuple(int(mark[:-1]) for mark in day_marks if mark not in {"L", "LW"}),
        of_week=(of_week | of_week >> _WEEK) & 0x7F,  # 7 is Sunday too
        nth_of_week=tuple(
            (WEEKDAY.value(mark.partition("#")[0]) % _WEEK, int(mark.partition("#")[2]))
            for mark in week_marks
            if "#" in mark
        ),
        last_of_week=tuple(WEEKDAY.value(mark[:-1]) % _WEEK for mark in week_marks if "#" not in mark),
        either=day[0] not in "*?" and weekday[0] not in "*?",
    )


def _all_of(weekday: int, length: int, begins: int) -> range:
    """Return the days of a month that are a given weekday."""
    return range(1 + (weekday - begins) % _WEEK, length + 1, _WEEK)


def _weekday_near(day: int, length: int, begins: int) -> int:
    """Return the day from Monday to Friday that is nearest to a day, in the same month."""
    weekday = (begins + day - 1) % _WEEK
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day
