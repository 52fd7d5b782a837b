"""Days and times that a schedule leaves out, and what becomes of an occurrence that falls on one. Pure.

All of it is said in wall time, in the zone of the job: a holiday begins at midnight where the job lives.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from countwheel.domain.cron import Cron, CronError, parse_cron
from countwheel.domain.errors import ScheduleError

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
ROLL_DAYS_LIMIT = 366
"""So far an occurrence rolls at the most; where no day is free by then, it is left out."""

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

    def day(self, day: date) -> str | None:
        """Say why a day is left out as a whole, or None."""
        if (weekday := WEEKDAYS[day.weekday()]) in self.weekdays:
            return weekday
        text = day.isoformat()
        if text in _set_of(self.dates):
            return text
        return text if text[5:] in _set_of(self.dates) else None

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

    def day(self, day: date) -> str | None:
        """Say why a day is left out as a whole, or None."""
        return self._first(lambda exclusion: exclusion.day(day))

    def time(self, wall: datetime) -> str | None:
        """Say why a wall-clock time is left out, whatever its day is, or None."""
        return self._first(lambda exclusion: exclusion.time(wall))

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
        found = self._first_on(day, wall - _midnight(day))
        while found is None:
            following = self._following_day(day)
            if following is None:
                return None
            day = following
            found = self._first_on(day, -_SECOND)
        return found

    def _first_on(self, day: date, after: timedelta) -> datetime | None:
        """Return the first time on a day, later than `after` since midnight, that it names or that rolls to it."""
        if self.exclude.day(day) is not None:
            return None
        best: timedelta | None = None
        for source in (day, *self._left_out_beside(day, -self._step)):
            found = self.cron.next_after(_midnight(source) + after)
            if found is not None and found.date() == source and (best is None or found - _midnight(source) < best):
                best = found - _midnight(source)
        return None if best is None else _midnight(day) + best

    def _following_day(self, day: date) -> date | None:
        """Return the first day later than `day` that something named falls on or rolls to, or None.

        Days keep their order when they roll, so that the first one named that comes to lie later is the one.
        """
        begin = _midnight(day) + _DAY
        if self.on_excluded is OnExcluded.NEXT and self.exclude.day(day) is not None:
            begin = _midnight(min((day, *self._left_out_beside(day, -_DAY))))
        found = self.cron.next_after(begin - _SECOND)
        while found is not None:
            target = self._rolled(found.date())
            if target is not None and target > day:
                return target
            found = self.cron.next_after(_midnight(found.date()) + _DAY - _SECOND)
        return None

    @property
    def _step(self) -> timedelta:
        return _DAY if self.on_excluded is OnExcluded.NEXT else -_DAY

    def _left_out_beside(self, day: date, step: timedelta) -> Iterator[date]:
        """Yield the days that are left out next to a day, in one direction."""
        for distance in range(1, ROLL_DAYS_LIMIT + 1):
            neighbour = day + distance * step
            if self.exclude.day(neighbour) is None:
                return
            yield neighbour

    def _rolled(self, day: date) -> date | None:
        for distance in range(ROLL_DAYS_LIMIT + 1):
            if self.exclude.day(day + distance * self._step) is None:
                return day + distance * self._step
        return None


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


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 (wall time)


@lru_cache(maxsize=1024)
def _set_of(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(texts)


def _matches(expression: str, wall: datetime) -> bool:
    has_seconds = expression.count(" ") >= _SPACES_WITH_SECONDS
    moment = wall.replace(microsecond=0) if has_seconds else wall.replace(second=0, microsecond=0)
    return parse_cron(expression).next_after(moment - _SECOND) == moment
