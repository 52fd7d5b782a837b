"""Which occurrences of the past a backfill runs. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from countwheel.domain.run import LIVE, RunStatus
from countwheel.domain.schedule import Recurring

BACKFILL_LIMIT = 1_000
"""So many runs one backfill creates at the most."""

LOOKS_LIMIT = 100_000
"""So many occurrences of its range one backfill looks at: a second of work at the worst."""

_AN_INSTANT = timedelta(microseconds=1)


class Only(StrEnum):
    """Which occurrences are wanted."""

    MISSING = "missing"
    """Those that nobody was called for: skipped, expired, or never planned. Not those that were cancelled."""
    FAILED = "failed"
    """Those whose last end is FAILED."""
    ALL = "all"


class BackfillOverlap(StrEnum):
    """How the runs of a backfill go: one after another, in the order of time, or side by side."""

    QUEUE_ALL = "queue_all"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Known:
    """What became of one run of an occurrence, by its schedule or by an earlier backfill."""

    scheduled_for: datetime
    status: RunStatus
    finished_at: datetime | None


class TooManyError(ValueError):
    """The range holds more than one backfill takes on."""


def choose(named: Iterable[datetime], known: Iterable[Known], only: Only) -> list[datetime]:
    """Return which of the named occurrences are to run, in order. What is live is left alone.

    Raises `TooManyError` for more than BACKFILL_LIMIT of them.
    """
    of_instant: dict[datetime, list[Known]] = {}
    for run in known:
        of_instant.setdefault(run.scheduled_for, []).append(run)
    chosen = []
    for instant in named:
        if _is_wanted(of_instant.get(instant, []), only):
            chosen.append(instant)
            if len(chosen) > BACKFILL_LIMIT:
                raise TooManyError(f"more than {BACKFILL_LIMIT} runs: give a shorter range")
    return chosen


def named_between(schedule: Recurring, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the occurrences from `start` up to, and without, `end` that the schedule does not leave out.

    Raises `TooManyError` where there are more than LOOKS_LIMIT to look at.
    """
    instant = schedule.next_after(start - _AN_INSTANT)
    for _ in range(LOOKS_LIMIT):
        if instant is None or instant >= end:
            return
        if schedule.exclusion(instant) is None:
            yield instant
        instant = schedule.next_after(instant)
    raise TooManyError(f"more than {LOOKS_LIMIT} occurrences to look at: give a shorter range")


_DECIDED: Mapping[Only, frozenset[RunStatus]] = {
    Only.MISSING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.UNKNOWN}),
    Only.FAILED: frozenset({RunStatus.SUCCEEDED, RunStatus.CANCELED, RunStatus.UNKNOWN}),
    Only.ALL: frozenset(),
}
"""An occurrence that has such an end is not wanted any more."""


def _is_wanted(runs: list[Known], only: Only) -> bool:
    statuses = {run.status for run in runs}
    if statuses & LIVE or statuses & _DECIDED[only]:
        return False
    return only is not Only.FAILED or RunStatus.FAILED in statuses
