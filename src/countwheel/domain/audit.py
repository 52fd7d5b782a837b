"""What should have been against what is on record: the question that an auditor asks of a ledger. Pure.

Expected instants and recorded ends come in the order of time and are merged, so that a year of an every-second job
needs no more memory than a day of a daily one.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import Recurring

CLAIMED_AHEAD = timedelta(seconds=1)
"""Around a change of schedule: what was claimed ahead of it still runs, and the new schedule begins after that."""

SETTLING = timedelta(seconds=10)
"""How long after its time an occurrence may still be on its way to the ledger."""


class Finding(StrEnum):
    """What became of an occurrence. The last three are what a scheduler must never have to say."""

    RAN = "ran"
    LATE = "late"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    WAITING = "waiting"
    MISSING = "missing"
    DOUBLED = "doubled"
    UNPLANNED = "unplanned"


BROKEN = frozenset({Finding.MISSING, Finding.DOUBLED, Finding.UNPLANNED})


@dataclass(frozen=True, slots=True)
class Version:
    """A job's schedule and when it was in force. Exactly one of `recurring` and `at` is given."""

    since: datetime
    until: datetime | None
    recurring: Recurring | None
    at: datetime | None
    first: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """An instant that a schedule names. Where not `certain`, it may be on record and need not be."""

    instant: datetime
    callable_from: datetime
    certain: bool


@dataclass(frozen=True, slots=True)
class Record:
    """An ended run, as the ledger has it."""

    scheduled_for: datetime
    status: str
    started_at: datetime | None
    error: str | None
    occurrences: int
    superseded_by: datetime | None
    lost_attempts: int
    retried: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one occurrence, or of a range of them that one row stands for."""

    scheduled_for: datetime
    finding: Finding
    reason: str
    occurrences: int = 1
    repeats: int = 0
    """Attempts whose node was lost before the record: the target may have received them too."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked: from `start` up to, and without, `end`, as things stand at `now`."""

    start: datetime
    end: datetime
    now: datetime
    late_after: timedelta


def expect(versions: Iterable[Version], scope: Scope) -> Iterator[Expected]:
    """Yield what the versions of a job's schedule name within the scope, in order, each instant once."""
    merged = heapq.merge(*(_instants(version, scope) for version in versions), key=lambda expected: expected.instant)
    for _, same in groupby(merged, key=lambda expected: expected.instant):
        candidates = list(same)
        yield next((expected for expected in candidates if expected.certain), candidates[0])


class Judge:
    """Merges the occurrences of one job with its records: `pass_over` and `meet` in turns, in the order of time."""

    def __init__(self, expected: Iterator[Expected], waiting_from: datetime | None, scope: Scope) -> None:
        """`waiting_from` is the earliest live run: what is due after it may not have been taken up yet."""
        self._expected = expected
        self._next = next(expected, None)
        self._waiting_from = waiting_from
        self._scope = scope
        self._covered_until: datetime | None = None

    def pass_over(self, until: datetime | None) -> Iterator[Found]:
        """Judge what was expected before `until` and is not on record by itself."""
        while self._next is not None and (until is None or self._next.instant < until):
            missed = self._next
            self._next = next(self._expected, None)
            covered = self._covered_until is not None and missed.instant < self._covered_until
            if missed.certain and not covered and missed.instant < self._scope.now - SETTLING:
                yield self._missing(missed.instant)

    def meet(self, instant: datetime, records: list[Record]) -> Found:
        """Judge what is on record at an instant; records of a run that was sent again by hand are left out."""
        met = self._next if self._next is not None and self._next.instant == instant else None
        if met is not None:
            self._next = next(self._expected, None)
        if not records:  # sent again by hand, and live once more
            return Found(instant, Finding.WAITING, "sent again by hand")
        record = records[-1]
        if record.superseded_by is not None:
            self._covered_until = record.superseded_by
        if len(records) > 1:
            return Found(instant, Finding.DOUBLED, f"{len(records)} ends on record")
        # What was armed and then cancelled is no occurrence of any schedule any more.
        if met is None and record.status != RunStatus.CANCELED:
            return Found(instant, Finding.UNPLANNED, f"{record.status}, and no schedule in force names it")
        return _found(record, met.callable_from if met is not None else instant, self._scope.late_after)

    def _missing(self, instant: datetime) -> Found:
        if self._waiting_from is not None and self._waiting_from <= instant:
            return Found(instant, Finding.WAITING, "due, and not ended yet")
        return Found(instant, Finding.MISSING, "neither on record nor waiting")


def _found(record: Record, callable_from: datetime, late_after: timedelta) -> Found:
    reason = record.error or ""
    match record.status:
        case RunStatus.SUCCEEDED:
            late = record.started_at - callable_from if record.started_at is not None else timedelta(0)
            is_late = late > late_after
            finding = Finding.LATE if is_late else Finding.RAN
            reason = f"{late.total_seconds():.3f} s late" if is_late else ""
        case RunStatus.FAILED:
            finding = Finding.FAILED
        case RunStatus.CANCELED:
            finding = Finding.CANCELLED
        case RunStatus.EXPIRED:
            finding = Finding.EXPIRED
        case RunStatus.UNKNOWN:
            finding = Finding.UNKNOWN
        case _:
            finding = Finding.SKIPPED
    return Found(record.scheduled_for, finding, reason, record.occurrences, record.lost_attempts)


def _instants(version: Version, scope: Scope) -> Iterator[Expected]:
    """Yield what one version names, in order."""
    begins = version.since if version.first else version.since + CLAIMED_AHEAD
    if version.at is not None:
        if scope.start <= version.at < scope.end:
            replaced = version.until is not None and version.until < version.at
            yield Expected(version.at, max(version.at, version.since), certain=not replaced)
        return
    if version.recurring is None:
        return
    end = min(scope.end, scope.now)
    last = end if version.until is None else min(end, version.until + CLAIMED_AHEAD)
    before_the_start = scope.start - timedelta(milliseconds=1)
    instant = version.recurring.next_after(max(version.since, before_the_start))
    while instant is not None and instant < last:
        certain = instant > begins and (version.until is None or instant <= version.until)
        yield Expected(instant, version.recurring.due_at(instant), certain=certain)
        instant = version.recurring.next_after(instant)
