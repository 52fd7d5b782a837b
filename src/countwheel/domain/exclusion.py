"""Days and times that a schedule leaves out, and what becomes of an occurrence that falls on one. Pure.

All of it is said in wall time, in the zone of the job: a holiday begins at midnight where the job lives.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

from countwheel.domain.cron import Cron, CronError, parse_cron
from countwheel.domain.errors import ScheduleError

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
ROLL_DAYS_LIMIT = 366
"""So far an occurrence rolls at the most; where no day is free by then, it is left out."""
LEFT_OUT_DAYS_LIMIT = 3_660
"""So many days that are left out are passed over, ten years, for a free one that something is named for or rolls to.
Where there is none by then, nothing is left.
"""

_MONTH_AND_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_LEAP_YEAR_PATTERN = "(?:19(?:7[26]|8[048]|9[26])|20(?:[02468][048]|[13579][26])|21(?:0[48]|[2468][048]|[13579][26]))"
DATE_PATTERN = f"^(?:(?:(?:19[7-9][0-9]|2[01][0-9][0-9])-)?{_MONTH_AND_DAY}|(?:{_LEAP_YEAR_PATTERN}-)?02-29)$"
"""What a date looks like, of one of the years 1970 to 2199 or of every year: exactly what is accepted."""

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_DATE = re.compile(DATE_PATTERN, re.ASCII)
_SPACES_WITH_SECONDS = 5


class OnExcluded(StrEnum):
    """What becomes of an occurrence on a day that is left out."""

    SKIP = "skip"
    """It does not run, and the ledger says why."""
    NEXT = "next"
    """It is on the next day that is not left out, at the same wall-clock time."""
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What is left out: dates (`2027-12-24`, or `12-24` of every year), weekdays (`SAT`), and what a cron expression
    matches: the minutes of five fields, the seconds of six or seven.
    """

    dates: tuple[str, ...] = ()
    weekdays: tuple[str, ...] = ()
    cron: tuple[str, ...] = ()
    _dates: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Keep the dates as a set, too: ten years of days may be looked for in them at once."""
        object.__setattr__(self, "_dates", frozenset(self.dates))

    def day(self, day: date) -> str | None:
        """Say why a day is left out as a whole, or None."""
        if (weekday := WEEKDAYS[day.weekday()]) in self.weekdays:
            return weekday
        text = day.isoformat()
        return text if text in self._dates or text[5:] in self._dates else None

    def time(self, wall: datetime) -> str | None:
        """Say why a wall-clock time is left out, whatever its day is, or None."""
        return next((expression for expression in self.cron if _matches(expression, wall)), None)


@dataclass(frozen=True, slots=True)
class CalendarCopy:
    """A named calendar as a job knows it: its own copy, so that planning asks nobody."""

    name: str
    version: int
    exclusion: Exclusion


@dataclass(frozen=True, slots=True)
class Exclude:
    """What a job leaves out by itself, and by the calendars that it names."""

    own: Exclusion = field(default_factory=Exclusion)
    calendars: tuple[str, ...] = ()
    copies: tuple[CalendarCopy, ...] = ()
    _free: dict[int, int] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What `free_days` has found: rolling asks for the same years again and again."""

    def day(self, day: date) -> str | None:
        """Say why a day is left out as a whole, or None."""
        return self._first(lambda exclusion: exclusion.day(day))

    def time(self, wall: datetime) -> str | None:
        """Say why a wall-clock time is left out, whatever its day is, or None."""
        return self._first(lambda exclusion: exclusion.time(wall))

    def free_days(self, year: int) -> int:
        """Return the days of a year that are not left out, as a bit mask (bit 0 for 1 January)."""
        found = self._free.get(year)
        if found is None:
            every = self._together()
            first, end = date(year, 1, 1), date(year + 1, 1, 1)
            found = sum(1 << place for place in range((end - first).days) if every.day(first + place * _DAY) is None)
            self._free[year] = found
        return found

    def _together(self) -> Exclusion:
        """Return all the days that are left out, as one: to ask it is cheaper than to ask each calendar."""
        parts = (self.own, *(copy.exclusion for copy in self.copies))
        return Exclusion(
            dates=tuple(chain.from_iterable(part.dates for part in parts)),
            weekdays=tuple(chain.from_iterable(part.weekdays for part in parts)),
        )

    def next_free(self, day: date, days: int) -> date | None:
        """Return the first day that is not left out: `day`, or one that is later by `days` at the most; or None."""
        last = day + days * _DAY
        while day <= last:
            if rest := self.free_days(day.year) >> _place(day):
                found = day + ((rest & -rest).bit_length() - 1) * _DAY
                return found if found <= last else None
            day = date(day.year + 1, 1, 1)
        return None

    def last_free(self, day: date, days: int) -> date | None:
        """Return the last day that is not left out: `day`, or one that is earlier by `days` at the most; or None."""
        first = day - days * _DAY
        while day >= first:
            january = date(day.year, 1, 1)
            if rest := self.free_days(day.year) & (2 << _place(day)) - 1:
                found = january + (rest.bit_length() - 1) * _DAY
                return found if found >= first else None
            day = january - _DAY
        return None

    def _first(self, ask: Callable[[Exclusion], str | None]) -> str | None:
        if (found := ask(self.own)) is not None:
            return found
        for copy in self.copies:
            if (found := ask(copy.exclusion)) is not None:
                return f"{found} (calendar {copy.name})"
        return None


@dataclass(frozen=True, slots=True)
class RolledCron:
    """A cron expression whose days roll to days that are not left out (business-day convention); as `Cron`.

    What rolls onto a time that is named already is that one occurrence: no wall-clock time is named twice.
    """

    cron: Cron
    exclude: Exclude
    on_excluded: OnExcluded

    @property
    def repeats(self) -> bool:
        """As the expression has it."""
        return self.cron.repeats

    def next_after(self, wall: datetime) -> datetime | None:
        """Return the first time that is named and is later than `wall` (naive, whole seconds), or None."""
        day = wall.date()
        found = self._first_named(day)
        if found is not None and found[0] == day:
            named = found[1].date()  # one for all that roll here: the days that are named have the same times
            later = self.cron.next_after(datetime.combine(named, wall.time()))
            if later is not None and later.date() == named:
                return datetime.combine(day, later.time())
            found = self._first_named(day + _DAY)
        return None if found is None else datetime.combine(found[0], found[1].time())

    def _first_named(self, day: date) -> tuple[date, datetime] | None:
        """Return the first free day, from `day` on, that something named falls on or rolls to, and the first that does.

        Days keep their order when they roll, so that the first one named that comes to lie there is the one.
        """
        begin, left = self._first_that_may_come_to(day), LEFT_OUT_DAYS_LIMIT
        while left >= 0 and (named := self.cron.next_after(_midnight(begin) - _SECOND)) is not None:
            source = named.date()
            target = self._rolled(source)
            if target is not None and target >= day:
                return target, named
            left_out = max(day, source)
            free = self.exclude.next_free(left_out, left)
            if free is None:
                return None
            begin = self._first_that_may_come_to(free)
            left -= max(ROLL_DAYS_LIMIT, (free - left_out).days)
        return None

    def _first_that_may_come_to(self, day: date) -> date:
        """Return the first day that rolls to a given one or to one after it, if anything is named for it."""
        if self.on_excluded is OnExcluded.PREVIOUS:
            return day
        free = self.exclude.last_free(day - _DAY, ROLL_DAYS_LIMIT - 1)
        return day - ROLL_DAYS_LIMIT * _DAY if free is None else free + _DAY

    def _rolled(self, day: date) -> date | None:
        look = self.exclude.next_free if self.on_excluded is OnExcluded.NEXT else self.exclude.last_free
        return look(day, ROLL_DAYS_LIMIT)


def read_exclusion(body: Mapping[str, Any]) -> Exclusion:
    """Return what a body leaves out. A field of the wrong type is passed over: the contract's fault says it better.

    Raises `ScheduleError`, whose field is the path within the body, for what means nothing.
    """
    dates, weekdays, cron = (_texts(body, name) for name in ("dates", "weekdays", "cron"))
    for place, text in enumerate(dates):
        if not _DATE.fullmatch(text):
            raise ScheduleError(
                f"dates/{place}", f"not a date: {text[:20]!r}; give 2027-12-24, or 12-24 for every year"
            )
    for place, text in enumerate(weekdays):
        if text not in WEEKDAYS:
            raise ScheduleError(
                f"weekdays/{place}", f"unknown weekday {text[:20]!r}: give one of {', '.join(WEEKDAYS)}"
            )
    if set(weekdays) == set(WEEKDAYS):
        raise ScheduleError("weekdays", "every day is left out: leave one of them in")
    for place, text in enumerate(cron):
        try:
            parse_cron(text)
        except CronError as error:
            raise ScheduleError(f"cron/{place}", str(error)) from error
    return Exclusion(dates, weekdays, cron)


def write_exclusion(exclusion: Exclusion) -> dict[str, Any]:
    """Return the body that says this."""
    found = {"dates": exclusion.dates, "weekdays": exclusion.weekdays, "cron": exclusion.cron}
    return {name: list(values) for name, values in found.items() if values}


def _texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = body.get(name)
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def _place(day: date) -> int:
    """Return which day of its year it is, from 0."""
    return (day - date(day.year, 1, 1)).days


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 (wall time)


def _matches(expression: str, wall: datetime) -> bool:
    has_seconds = expression.count(" ") >= _SPACES_WITH_SECONDS
    moment = wall.replace(microsecond=0) if has_seconds else wall.replace(second=0, microsecond=0)
    return parse_cron(expression).next_after(moment - _SECOND) == moment
