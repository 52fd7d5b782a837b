"""What a recurring schedule will do, said before it runs: its meaning, the next occurrences, the clock changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from countwheel.domain.cron import cron_in_words, doubts, parse_cron
from countwheel.domain.interval import is_every
from countwheel.domain.schedule import Recurring
from countwheel.domain.zones import Change, changes, zone

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_AFTER_THE_GAP = "it runs right after the gap"
_THE_FIRST_TIME = "it runs the first time"
_LEFT_OUT_LOOKS = 500
"""So many occurrences that are left out are looked past for those that run."""


class Note(StrEnum):
    """What a change of the clocks does to an occurrence."""

    SHIFTED = "shifted"
    """Its wall-clock time is left out: it is right after the gap."""
    FIRST_OF_TWO = "first of two"
    """Its wall-clock time comes twice: this is the first time."""
    SECOND_OF_TWO = "second of two"
    ROLLED = "rolled"
    """It was named for a day that is left out."""


@dataclass(frozen=True, slots=True)
class Fire:
    """An occurrence, with what is special about it."""

    instant: datetime
    note: Note | None
    due_at: datetime
    """When it is called, in the window after its instant."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An occurrence that will not run, and why."""

    instant: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clocks that falls on wall-clock times that the schedule names."""

    at: datetime
    effect: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What there is to say of a schedule."""

    meaning: str
    fires: tuple[Fire, ...]
    left_out: tuple[LeftOut, ...]
    clock_changes: tuple[ClockChange, ...]
    warnings: tuple[str, ...]


def preview(schedule: Recurring, after: datetime, count: int) -> Preview:
    """Return what a schedule means and does after an instant, up to `count` occurrences."""
    if is_every(schedule.expression):
        meaning = f"every {schedule.expression.removeprefix('@every ')} of real time, counted from {_anchor(schedule)}"
        warnings: list[str] = []
    else:
        meaning = f"{cron_in_words(schedule.expression)}, by the clock of {schedule.timezone}"
        warnings = doubts(schedule.expression)
    occurrences = list(_occurrences(schedule, after, count))
    fires = tuple(found for found in occurrences if isinstance(found, Fire))
    left_out = tuple(found for found in occurrences if isinstance(found, LeftOut))[:count]
    if not occurrences:
        warnings.append("nothing is left: the last occurrence is past")
    elif not fires:
        warnings.append(f"the next {len(occurrences)} occurrences are all left out")
    clock_changes = tuple(_clock_changes(schedule, after, fires[-1].instant)) if fires else ()
    return Preview(meaning, fires, left_out, clock_changes, tuple(warnings))


def preview_once(instant: datetime, due_at: datetime, wall: datetime | None, timezone: str) -> Preview:
    """Return what there is to say of a one-off time: `wall` by the clock of `timezone`, or (None) an instant."""
    if wall is None:
        return Preview("once", (Fire(instant, None, due_at),), (), (), ())
    note, effect = _twice_or_never(wall, timezone)
    meaning = f"once, at {wall} by the clock of {timezone}"
    touched = () if effect is None else (ClockChange(_change_at(wall, instant, timezone), effect),)
    return Preview(meaning, (Fire(instant, note, due_at),), (), touched, ())


def _twice_or_never(wall: datetime, timezone: str) -> tuple[Note | None, str | None]:
    """Return what a change of the clocks does to one wall-clock time, as a mark and in words."""
    place = zone(timezone)
    # The offsets before and after the change, for a time that it leaves out as for one that it brings twice.
    one, other = (wall.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1))
    if one is None or other is None or one == other:
        return None, None
    if one < other:
        return Note.SHIFTED, f"{wall} does not exist: {_AFTER_THE_GAP}"
    return Note.FIRST_OF_TWO, f"{wall} comes twice: {_THE_FIRST_TIME}"


def _change_at(wall: datetime, instant: datetime, timezone: str) -> datetime:
    near = changes(timezone, instant - _DAY, instant + _DAY)
    return next(change.at for change in near if _touched(change)[0] <= wall < _touched(change)[1])


def _anchor(schedule: Recurring) -> str:
    return "the creation of the job" if schedule.terms.start_at is None else "start_at"


def _occurrences(schedule: Recurring, after: datetime, count: int) -> Iterator[Fire | LeftOut]:
    """Yield what comes, with what is left out in between, up to `count` that run."""
    instant = schedule.next_after(after)
    limit = min(count, schedule.terms.max_runs or count)
    fires = 0
    for _ in range(count + _LEFT_OUT_LOOKS):
        if instant is None or fires == limit:
            return
        if (reason := schedule.exclusion(instant)) is not None:
            yield LeftOut(instant, reason)
        else:
            fires += 1
            yield Fire(instant, _note(schedule, instant), schedule.due_at(instant))
        instant = schedule.next_after(instant)


def _note(schedule: Recurring, instant: datetime) -> Note | None:
    if is_every(schedule.expression):
        return None
    place = zone(schedule.timezone)
    local = instant.astimezone(place)
    wall = local.replace(tzinfo=None, fold=0)
    if schedule.cron().next_after(wall - _SECOND) != wall:
        return Note.SHIFTED
    if parse_cron(schedule.expression, schedule.job_id).next_after(wall - _SECOND) != wall:
        return Note.ROLLED
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return None
    return Note.SECOND_OF_TWO if local.fold else Note.FIRST_OF_TWO


def _clock_changes(schedule: Recurring, after: datetime, until: datetime) -> Iterator[ClockChange]:
    if is_every(schedule.expression):
        return
    cron = schedule.cron()
    for change in changes(schedule.timezone, after, until):
        begin, end = _touched(change)
        wall = cron.next_after(begin - _SECOND)
        if wall is None or wall >= end:
            continue
        runs = schedule.next_after(change.at - _SECOND) == change.at
        if change.repeated > timedelta(0):
            effect = f"{wall} comes twice: {_passes(schedule, change, wall)}"
        else:
            effect = f"{wall} does not exist: {_AFTER_THE_GAP if runs else 'it does not run that day'}"
        yield ClockChange(change.at, effect)


def _passes(schedule: Recurring, change: Change, wall: datetime) -> str:
    first = wall.replace(tzinfo=change.at.tzinfo) - change.before
    second = wall.replace(tzinfo=change.at.tzinfo) - change.after
    match schedule.is_occurrence(first), schedule.is_occurrence(second):
        case True, True:
            return "it runs both times"
        case False, True:
            return "it runs the second time"
        case _:
            return _THE_FIRST_TIME


def _touched(change: Change) -> tuple[datetime, datetime]:
    """Return the wall times, from and up to, that a change leaves out or repeats."""
    walls = sorted((change.at + offset).replace(tzinfo=None) for offset in (change.before, change.after))
    return walls[0], walls[1]
