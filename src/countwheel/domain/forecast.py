"""How many runs each minute of the next hours will have, from the schedules alone. Pure, and bounded in cost.

Jobs that fire alike are one group, however many they are; of groups whose jobs each have a place of their own (`H`, a
window, an interval from their creation) some jobs stand for the others. The largest groups are followed one by one;
where there are too many of the others, every nth of them stands for its neighbours.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from countwheel.domain.cron import parse_cron
from countwheel.domain.interval import is_every
from countwheel.domain.schedule import Recurring

LOOKS_LIMIT = 300_000
"""So many occurrences are followed: about two seconds of work."""

_SPREAD = 64
"""Into so many parts groups are cut that are looked at here and there."""

_LOOKS_A_MINUTE = 4
"""So many minutes of an interval cost as much as one look."""

_MINUTE = timedelta(minutes=1)
_LONGEST_WINDOW = timedelta(days=1)
_AN_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that fire alike, and what they call."""

    schedule: Recurring
    target: str
    jobs: int
    stands_for_others: bool = False
    """Its jobs fire as often as the one of its schedule, each at a place of its own."""


@dataclass(slots=True)
class Forecast:
    """Runs by minute: index 0 is the minute that begins at `start`."""

    start: datetime
    minutes: int
    runs: Counter[int] = field(default_factory=Counter)
    by_target: dict[str, Counter[int]] = field(default_factory=dict)
    estimated: bool = False
    """Some jobs stand for others."""

    def add(self, target: str, minute: int, runs: int) -> None:
        """Count runs of a minute; those outside are left out."""
        if 0 <= minute < self.minutes:
            self.by_target.setdefault(target, Counter())[minute] += runs
            self.runs[minute] += runs

    def add_weighted(self, sample: "Forecast", weight: float) -> None:
        """Count what a sample has, each of its runs for so many."""
        for target, counted in sample.by_target.items():
            for minute, runs in counted.items():
                self.add(target, minute, round(runs * weight))


def follow(groups: Sequence[Group], start: datetime, minutes: int, others: int = 0) -> Forecast:
    """Return the forecast for groups that come largest first. `others` jobs are in groups that were not even listed."""
    found, sample = Forecast(start, minutes), Forecast(start, minutes)
    looks, place = 0, 0
    one_by_one = len(groups) // 2 if others else len(groups)
    while place < one_by_one and looks < LOOKS_LIMIT // 2:
        looks += _count(found, groups[place])
        place += 1
    rest, sampled = groups[place:], 0
    for group in _scattered(rest):
        if looks >= LOOKS_LIMIT:
            break
        looks += _count(sample, group)
        sampled += group.jobs
    stood_for = sum(group.jobs for group in rest) + others
    found.add_weighted(sample, stood_for / sampled if sampled else 1.0)
    found.estimated = stood_for > sampled or any(group.stands_for_others for group in groups)
    return found


def _scattered(groups: Sequence[Group]) -> Iterator[Group]:
    """Yield all groups, in an order in which any first few are spread over all of them."""
    step = max(1, -(-len(groups) // _SPREAD))
    for first in range(step):
        yield from groups[first::step]


def _count(found: Forecast, group: Group) -> int:
    """Add what a group does. Returns how many occurrences were looked at."""
    schedule, a_minute = _once_a_minute(group.schedule)
    if is_every(schedule.expression):
        return _count_interval(found, group)
    end = found.start + found.minutes * _MINUTE
    begin = found.start if schedule.terms.window is None else found.start - _LONGEST_WINDOW
    instant = schedule.next_after(begin - _AN_INSTANT)
    looks = 1
    while instant is not None and instant < end:
        looks += 1
        if schedule.exclusion(instant) is None:
            found.add(group.target, (schedule.due_at(instant) - found.start) // _MINUTE, group.jobs * a_minute)
        instant = schedule.next_after(instant)
    return looks


def _count_interval(found: Forecast, group: Group) -> int:
    """Count the runs of an interval minute by minute: how many there are needs no look at each."""
    before = _fired_until(group.schedule, found.start)
    for minute in range(found.minutes):
        until = _fired_until(group.schedule, found.start + (minute + 1) * _MINUTE)
        if until > before:
            found.add(group.target, minute, (until - before) * group.jobs)
        before = until
    return found.minutes // _LOOKS_A_MINUTE


def _fired_until(schedule: Recurring, moment: datetime) -> int:
    """Return how many occurrences an interval has had before a moment, counted from anywhere."""
    first, second = schedule.anchor(), schedule.distance()
    terms = schedule.terms
    if terms.end_at is not None:
        moment = min(moment, terms.end_at + _AN_INSTANT)
    if terms.start_at is not None and moment <= terms.start_at:
        moment = terms.start_at
    return -((first - moment) // second)


def _once_a_minute(schedule: Recurring) -> tuple[Recurring, int]:
    """Return a schedule that fires once in each minute in which this one does, and how often this one does then."""
    if is_every(schedule.expression):
        return schedule, 1
    cron = parse_cron(schedule.expression, schedule.job_id)
    seconds = cron.seconds.bit_count()
    if seconds == 1:
        return schedule, 1
    first = (cron.seconds & -cron.seconds).bit_length() - 1
    fields = schedule.expression.split(" ")
    return replace(schedule, expression=" ".join([str(first), *fields[1:]])), seconds
