"""A cron expression as a whole: what it means, and which wall-clock time it names next.

Five fields as Debian runs them, with seconds in front and a year at the end for those who want them. Zones are not
known here: wall time goes in and comes out, and `countwheel.domain.schedule` gives it a place.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from countwheel.domain.cron import fields
from countwheel.domain.cron.days import Days, parse_days
from countwheel.domain.cron.fields import FIRST_YEAR, LAST_YEAR, BackwardsError, CronError, Field, parse_values

MAX_EXPRESSION_CHARACTERS = 256

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_HASHED = re.compile("(?<![a-z])h(?![a-z])", re.IGNORECASE)

NO_JOB = UUID(int=0)
"""Whose `H` it is where there is no job yet."""

_FIVE = (fields.MINUTE, fields.HOUR, fields.DAY, fields.MONTH, fields.WEEKDAY)
_LAYOUTS: dict[int, tuple[Field, ...]] = {5: _FIVE, 6: (fields.SECOND, *_FIVE), 7: (fields.SECOND, *_FIVE, fields.YEAR)}
_ALL_YEARS = (2 << (LAST_YEAR - FIRST_YEAR)) - 1

_FEBRUARY = "(?:0?2|[fF][eE][bB])"
_SHORT_MONTH = "(?:0?[2469]|11|[fF][eE][bB]|[aA][pP][rR]|[jJ][uU][nN]|[sS][eE][pP]|[nN][oO][vV])"
_BEFORE = "(?:[^ ]+ )?[^ ]+ [^ ]+"
_NEVER = (
    rf"(?:{_BEFORE} (?:3[01](?:-3[01])?(?:,3[01])*) {_FEBRUARY}(?:,{_FEBRUARY})*"
    rf"|{_BEFORE} 31(?:,31)* {_SHORT_MONTH}(?:,{_SHORT_MONTH})*) [*?](?: |$)"
)

CRON_PATTERN = (
    f"(?:{'|'.join(NICKNAMES)}|(?!{_NEVER})"
    f"(?:(?:{fields.SECOND.pattern}) )?{' '.join(f'(?:{field.pattern})' for field in _FIVE)}"
    f"|(?!{_NEVER}){' '.join(f'(?:{field.pattern})' for field in _LAYOUTS[7])})"
)
"""What an expression looks like. Left out, because a pattern cannot say it: ranges that run backwards (`5-1`), and rare
spellings of days that never come (`0 0 30 2-2 *`)."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression; `parse_cron` makes it. Bit masks have bit n for n, those of years for 1970 + n."""

    seconds: int
    minutes: int
    hours: int
    days: Days
    months: int
    years: int
    repeats: bool
    """It says how often (minute or hour is a star or a bare step), instead of naming moments: see `schedule`."""

    def next_after(self, wall: datetime) -> datetime | None:
        """Return the first time that matches and is later than `wall` (naive, whole seconds), or None."""
        year, month, day = wall.year, wall.month, wall.day
        if (
            self.months >> month & 1
            and FIRST_YEAR <= year <= LAST_YEAR
            and self.years >> (year - FIRST_YEAR) & 1
            and self.days.in_month(year, month) >> day & 1
        ):
            time = self._time_from(wall.hour, wall.minute, wall.second + 1)
            if time is not None:
                return datetime(year, month, day, *time)  # noqa: DTZ001 (wall time)
        found = self._day_from(year, month, day + 1)
        if found is None:
            return None
        return datetime(*found, _lowest(self.hours), _lowest(self.minutes), _lowest(self.seconds))  # noqa: DTZ001

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the first time of day that matches, from a given one on (`second` may be 60), or None."""
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1 and (rest := self.seconds >> second):
                return hour, minute, second + _lowest(rest)
            if rest := self.minutes >> minute + 1:
                return hour, minute + 1 + _lowest(rest), _lowest(self.seconds)
        if rest := self.hours >> hour + 1:
            return hour + 1 + _lowest(rest), _lowest(self.minutes), _lowest(self.seconds)
        return None

    def _day_from(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        """Return the first day that matches, from a given one on (which may be one past the month's last), or None."""
        if year < FIRST_YEAR:
            year, month, day = FIRST_YEAR, 1, 1
        while year <= LAST_YEAR:
            rest = self.years >> year - FIRST_YEAR
            if not rest & 1:
                if not rest:
                    return None
                year, month, day = year + _lowest(rest), 1, 1
            while months := self.months >> month:
                if not months & 1:
                    month, day = month + _lowest(months), 1
                if days := self.days.in_month(year, month) >> day:
                    return year, month, day + _lowest(days)
                month, day = month + 1, 1
            year, month, day = year + 1, 1, 1
        return None


def parse_cron(expression: str, job_id: UUID = NO_JOB) -> Cron:
    """Return what an expression means; `H` is `job_id`'s own. Raises `CronError`."""
    return _parse(expression, job_id if has_hash(expression) else NO_JOB)


def has_hash(expression: str) -> bool:
    """Whether an expression means something else for each job: it has an `H`."""
    return _HASHED.search(expression) is not None


@lru_cache(maxsize=4096)
def _parse(expression: str, job_id: UUID) -> Cron:
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise CronError(f"longer than {MAX_EXPRESSION_CHARACTERS} characters")
    parts = split_fields(expression)
    try:
        parsed = _of_fields(parts, job_id)
    except BackwardsError as error:
        raise CronError(
            f"bad {error.field.name} {error.term!r} at position {_position(parts, error.field)}: "
            f"the range runs backwards{error.instead}"
        ) from error
    if parsed.next_after(datetime.min) is None:  # noqa: DTZ901 (wall time)
        raise CronError("never fires: no such day exists in the named months")
    return parsed


def _of_fields(parts: dict[str, str], job_id: UUID) -> Cron:
    minute, hour, day, month, weekday = (
        parts["minute"],
        parts["hour"],
        parts["day of month"],
        parts["month"],
        parts["day of week"],
    )
    return Cron(
        seconds=parse_values(fields.SECOND, parts.get("second", "0"), job_id),
        minutes=parse_values(fields.MINUTE, minute, job_id),
        hours=parse_values(fields.HOUR, hour, job_id),
        days=parse_days(day, weekday, job_id),
        months=parse_values(fields.MONTH, month, job_id),
        years=parse_values(fields.YEAR, parts["year"], job_id) >> FIRST_YEAR if "year" in parts else _ALL_YEARS,
        repeats=_is_repeated(minute) or _is_repeated(hour),
    )


def _position(parts: dict[str, str], field: Field) -> int:
    """Return where a field begins in its expression; the first character is 1."""
    before = list(parts)[: list(parts).index(field.name)]
    return 1 + sum(len(parts[name]) + 1 for name in before)


def split_fields(expression: str) -> dict[str, str]:
    """Return the text of each field by its name, each checked against its pattern. Raises `CronError`."""
    if expression.startswith("@"):
        expression = _nickname(expression)
    parts = expression.split(" ")
    layout = _LAYOUTS.get(len(parts))
    if layout is None:
        raise CronError(
            "not five fields with one space between: give minute, hour, day of month, month and day of week, "
            "like '*/5 * * * *' (a sixth one in front is seconds, a seventh one at the end years)"
        )
    position = 1
    for field, part in zip(layout, parts, strict=True):
        if not field.matches(part):
            raise CronError(f"bad {field.name} {part!r} at position {position}: give {field.takes()}")
        position += len(part) + 1
    return {field.name: part for field, part in zip(layout, parts, strict=True)}


def _nickname(expression: str) -> str:
    if expression in NICKNAMES:
        return NICKNAMES[expression]
    if expression == "@reboot":
        raise CronError("@reboot means nothing to a scheduler that has no boot: give five fields")
    raise CronError(f"unknown nickname: give one of {', '.join(NICKNAMES)}, or @every 90s")


def _is_repeated(field: str) -> bool:
    span, _, step = field.partition("/")
    return span.startswith("*") or (step != "" and span in {"0", "H", "h"})


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
