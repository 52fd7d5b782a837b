"""When a recurring job fires: cron in a zone, or an interval, as strictly increasing UTC instants.

What a change of the clocks does to a cron expression is for the job to say, and by default as Debian has it (C4):

- One that names moments fires once for each: one that falls into a gap right after the gap (`dst_gap: shift`), one that
  comes twice in a fold in the first pass (`dst_overlap: first`).
- One that says how often (minute or hour begins with `*`, or is a bare step like `0/15` or `H/15`) follows elapsed
  time: it fires whenever the wall clock shows a match, in both passes of a fold (`both`), never inside a gap (`skip`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from countwheel.domain import ids
from countwheel.domain.cron import (
    CRON_PATTERN,
    MAX_EXPRESSION_CHARACTERS,
    NO_JOB,
    Cron,
    CronError,
    has_hash,
    parse_cron,
)
from countwheel.domain.errors import ScheduleError
from countwheel.domain.exclusion import OnExcluded, RolledCron
from countwheel.domain.interval import EVERY_PATTERN, IntervalError, is_every, parse_every
from countwheel.domain.terms import NO_TERMS, DstGap, DstOverlap, Terms, decode
from countwheel.domain.zones import Change, changes, offset_at, zone, zones

RECURRING_PATTERN = f"^(?:{EVERY_PATTERN}|{CRON_PATTERN})$"
"""What the contract says a recurring schedule looks like; see the note at CRON_PATTERN."""

RECURRING_IN_ZONE_PATTERN = f"^(?:CRON_)?TZ=[A-Za-z0-9_+/-]{{1,64}} (?:{EVERY_PATTERN}|{CRON_PATTERN})$"
"""What it looks like with its zone in front. Left out: which zones exist."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = _EPOCH - timedelta(days=1)
_SECOND = timedelta(seconds=1)
_AN_INSTANT = timedelta(microseconds=1)
_LONGEST_FOLD = timedelta(days=1)
_NEAR = timedelta(days=3)
_PREFIX = re.compile(r"(?:CRON_)?TZ=([^ ]*) (.*)", re.DOTALL)


class Scheduled(Protocol):
    """What is stored of a job's schedule."""

    @property
    def job_id(self) -> UUID: ...  # noqa: D102 (the names of the columns)
    @property
    def schedule_recurring(self) -> str | None: ...  # noqa: D102
    @property
    def timezone(self) -> str | None: ...  # noqa: D102
    @property
    def terms(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Recurring:
    """A checked schedule in a zone; `parse_recurring` makes it.

    `job_id` is whose `H` it is. An interval is counted from the start that the terms name, or else from the time that
    stands in that id: the job's creation.
    """

    expression: str
    timezone: str = "UTC"
    job_id: UUID = NO_JOB
    terms: Terms = NO_TERMS

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence later than `instant` (UTC), or None if there is none."""
        start, end = self.terms.start_at, self.terms.end_at
        if start is not None and instant < start:
            instant = start - _AN_INSTANT
        following = self._next_unbounded(instant)
        return following if end is None or following is None or following <= end else None

    def _next_unbounded(self, instant: datetime) -> datetime | None:
        if is_every(self.expression):
            return _parse_every(self.expression).next_after(instant, self.anchor())
        if self.terms is NO_TERMS and not has_hash(self.expression):
            return _next_of_all(self.expression, self.timezone, instant)
        return _next_in_zone(self.cron(), self, instant)

    def anchor(self) -> datetime:
        """Return from when an interval is counted."""
        return self.terms.start_at or ids.time_of(self.job_id) or _EPOCH

    def distance(self) -> timedelta:
        """Return how far apart the occurrences of an interval are. Not for a cron expression."""
        return _parse_every(self.expression).distance

    def cron(self) -> Cron | RolledCron:
        """Return the wall-clock times that it names. Not for an interval."""
        cron = parse_cron(self.expression, self.job_id)
        exclude, on_excluded = self.terms.exclude, self.terms.on_excluded or OnExcluded.SKIP
        rolls = exclude is not None and on_excluded is not OnExcluded.SKIP
        return RolledCron(cron, exclude, on_excluded) if exclude is not None and rolls else cron

    def exclusion(self, instant: datetime) -> str | None:
        """Say why an occurrence is left out: it does not run, and stands in the ledger. None for one that may run."""
        exclude = self.terms.exclude
        if exclude is None:
            return None
        wall = instant.astimezone(zone(self.timezone)).replace(tzinfo=None)
        return exclude.day(wall.date()) or exclude.time(wall)  # what rolls is on no day that is left out

    def begin_of_exclusion(self, instant: datetime) -> datetime:
        """Return from when on an occurrence that is left out has neighbours that are, for certain."""
        exclude, local = self.terms.exclude, instant.astimezone(zone(self.timezone))
        if exclude is None or exclude.day(local.date()) is None:
            return instant
        return min(instant, local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC))

    def due_at(self, instant: datetime) -> datetime:
        """Return when an occurrence is due: at its instant, or at the job's own place in the window after it."""
        window = self.terms.window
        return instant if window is None else window.due_at(self.job_id, instant, self.next_after(instant))

    def latest_due(self, moment: datetime) -> datetime | None:
        """Return the last occurrence that is due by a moment, or None."""
        latest = self.latest_until(moment)
        if latest is None or self.due_at(latest) <= moment:
            return latest
        return self.latest_until(latest - _AN_INSTANT)  # a window ends before the next occurrence

    def is_occurrence(self, instant: datetime) -> bool:
        """Whether the schedule fires at exactly this instant."""
        return self.next_after(instant - _AN_INSTANT) == instant

    def latest_until(self, instant: datetime) -> datetime | None:
        """Return the last occurrence that is not later than `instant`, or None.

        By steps back that grow, and then by halves: some fifty looks forward, however dense or rare occurrences are.
        """
        back = _SECOND
        while (low := self.next_after(max(_EARLIEST, instant - back))) is None or low > instant:
            if instant - back <= _EARLIEST:
                return None
            back = min(back * 4, instant - _EARLIEST)
        high = instant
        while (following := self.next_after(low)) is not None and following <= instant:
            middle = low + (high - low) / 2
            found = self.next_after(middle)
            if found is not None and found <= instant:
                low = found
            else:
                low, high = following, middle
        return low

    def latest_few(self, instant: datetime, count: int) -> list[datetime]:
        """Return the last occurrences that are not later than `instant`, in order: `count`, or as many as there are."""
        found: list[datetime] = []
        while len(found) < count and (latest := self.latest_until(instant)) is not None:
            found.append(latest)
            instant = latest - _AN_INSTANT
        return found[::-1]

    def count_between(self, after: datetime, until: datetime, limit: int) -> int:
        """Return how many occurrences lie in (after, until]; counting stops at `limit`."""
        count, step = 0, self.next_after(after)
        while step is not None and step <= until and count < limit:
            count, step = count + 1, self.next_after(step)
        return count


def parse_recurring(
    expression: str,
    timezone: str | None,
    job_id: UUID = NO_JOB,
    terms: Terms = NO_TERMS,
) -> Recurring:
    """Return the schedule of an expression (cron, a nickname, `@every 90s`) in a zone, by default UTC.

    The zone may stand in front of the expression instead (`CRON_TZ=Europe/Berlin 0 9 * * *`).

    Raises `ScheduleError` that names the field, the fault and what would be right (criteria C1 and C2).
    """
    expression, place, is_own = _read(expression, timezone)
    if is_own:
        _check(expression, job_id)
    return Recurring(expression, place, job_id, terms)


@lru_cache(maxsize=4096)
def _read(expression: str, timezone: str | None) -> tuple[str, str, bool]:
    """Return an expression without its zone, the zone, and whether each job reads it in its own way.

    What all read alike is checked here: once, and not for each run. Raises `ScheduleError`.
    """
    if (prefix := _PREFIX.fullmatch(expression)) is not None:
        if timezone is not None:
            raise ScheduleError("timezone", "the expression names its zone already: leave one of them out")
        timezone, expression = prefix[1], prefix[2]
    place = "UTC" if timezone is None else timezone
    if place not in zones():
        field = "timezone" if prefix is None else "schedule_recurring"
        raise ScheduleError(field, f"{place[:64]!r} is not an IANA time zone: give one like Europe/Berlin")
    is_own = has_hash(expression) and not is_every(expression)
    if not is_own or len(expression) > MAX_EXPRESSION_CHARACTERS:  # what is too long is for all, and not remembered
        _check(expression, NO_JOB)
    return expression, place, is_own


def _check(expression: str, job_id: UUID) -> None:
    try:
        if is_every(expression):
            _parse_every(expression)
        else:
            parse_cron(expression, job_id)
    except (CronError, IntervalError) as error:
        raise ScheduleError("schedule_recurring", str(error)) from error


def names_its_zone(expression: str) -> bool:
    """Whether an expression has its zone in front."""
    return _PREFIX.fullmatch(expression) is not None


def recurring_of(job: Scheduled) -> Recurring | None:
    """Return the schedule of a stored job, or None for a one-off one. Raises `ScheduleError` if it means nothing."""
    if job.schedule_recurring is None:
        return None
    return parse_recurring(job.schedule_recurring, job.timezone, job.job_id, decode(job.terms))


_parse_every = lru_cache(maxsize=1024)(parse_every)


@lru_cache(maxsize=4096)
def _next_of_all(expression: str, timezone: str, instant: datetime) -> datetime | None:
    """Return the next occurrence of every job that says the same: those of a herd are planned with one look."""
    return _next_in_zone(parse_cron(expression), Recurring(expression, timezone), instant)


def _next_in_zone(cron: Cron | RolledCron, schedule: Recurring, instant: datetime) -> datetime | None:
    """Return the next occurrence: from one change of the clocks to the next, with the wall time that is looked for.

    `wall` is the next match in wall time. It is sought again only where a change takes the clock to times before it.
    """
    gap = schedule.terms.dst_gap or (DstGap.SKIP if cron.repeats else DstGap.SHIFT)
    overlap = schedule.terms.dst_overlap or (DstOverlap.BOTH if cron.repeats else DstOverlap.FIRST)
    place = schedule.timezone
    offset = offset_at(place, instant)
    begin = _end_of_second_pass(place, instant) if overlap is DstOverlap.FIRST else instant
    ahead = _LONGEST_FOLD if overlap is DstOverlap.LAST else timedelta(0)
    since = instant
    wall = cron.next_after((begin + offset).replace(tzinfo=None))
    while wall is not None:
        candidate = wall.replace(tzinfo=UTC) - offset
        change = next(changes(place, since, min(candidate + ahead, since + _NEAR)), None)
        if change is None and candidate + ahead > since + _NEAR:
            # A change that is near neither end of the search has no part in it: there is no match around it.
            since = max(since + _NEAR, candidate - _NEAR)
            offset = offset_at(place, since)
            continue
        if change is None or candidate < _usable_until(change, overlap):
            return candidate
        first_shown = (change.at + change.after).replace(tzinfo=None)
        if wall < first_shown:  # the clock is put forward past it
            if gap is DstGap.SHIFT:
                return change.at
            wall = cron.next_after(first_shown - _SECOND)
        elif (
            change.repeated > timedelta(0) and overlap is not DstOverlap.FIRST
        ):  # the clock may be put back to earlier matches
            wall = cron.next_after(first_shown - _SECOND)
        since, offset = change.at, change.after
    return None


def _usable_until(change: Change, overlap: DstOverlap) -> datetime:
    """Return up to when wall times before a change are meant: those that come again may be left to the second pass."""
    is_left_to_the_second = overlap is DstOverlap.LAST and change.repeated > timedelta(0)
    return change.at - change.repeated if is_left_to_the_second else change.at


def _end_of_second_pass(place: str, instant: datetime) -> datetime:
    """Return the last second of the second pass that `instant` is in; `instant` itself outside of any."""
    for change in changes(place, instant - _LONGEST_FOLD, instant):
        if change.at + change.repeated > instant:
            return change.at + change.repeated - _SECOND
    return instant
