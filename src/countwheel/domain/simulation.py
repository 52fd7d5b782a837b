"""What a job's policies would make of an outage: which occurrences would run, wait, be skipped, expire. Pure.

The decisions are the engine's own (`planning.plan`, `overlap.decide`); what is modelled is only when they are made: an
occurrence is claimed at its time, or when the outage is over; a call takes as long as it is said to; and one that the
outage cuts short is made again after it.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace as replaced

from countwheel.domain import overlap
from countwheel.domain.job import JobStatus
from countwheel.domain.planning import Candidate, next_occurrence, plan
from countwheel.domain.policy import Overlap
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import Recurring

STEPS_AT_MOST = 5_000
"""So many claims and ends are followed: a day of every 15 seconds, and a second of work at the worst."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens: from `start` to `end` every call takes `run_time`, and nothing is alive during the outage."""

    start: datetime
    end: datetime
    run_time: timedelta
    outage: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What would stand in the ledger for an occurrence or a dropped range; SCHEDULED or RUNNING if still live."""

    scheduled_for: datetime
    status: RunStatus
    started_at: datetime | None = None
    reason: str = ""
    occurrences: int = 1
    superseded_by: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class _Call:
    ends_at: datetime
    scheduled_for: datetime
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What would become of each occurrence, in the order of time, and whether the story was followed to its end."""

    rows: tuple[Row, ...]
    is_whole: bool


def simulate(schedule: Recurring, scenario: Scenario) -> Told:
    """Return what would become of each occurrence, for STEPS_AT_MOST claims and ends at the most."""
    story = _Story(schedule, scenario)
    rows = sorted(story.tell(), key=lambda row: row.scheduled_for)
    return Told(tuple(rows), story.is_whole)


class _Story:
    def __init__(self, schedule: Recurring, scenario: Scenario) -> None:
        self._schedule = schedule
        self._scenario = scenario
        self._policy = schedule.terms.overlap or Overlap.SKIP
        self._armed = next_occurrence(schedule, scenario.start)
        self._calls: list[_Call] = []  # a heap: the first to end is in front
        self._waiting: deque[datetime] = deque()
        self._rows: list[Row] = []
        self._begun = 0
        self.is_whole = False
        """Whether it was told to its end."""

    def tell(self) -> Iterator[Row]:
        for _ in range(STEPS_AT_MOST):
            if not self._step():
                self.is_whole = True
                break
            yield from self._rows
            self._rows.clear()
        for call in sorted(self._calls):
            yield Row(call.scheduled_for, RunStatus.RUNNING, call.started_at)
        for waits in self._waiting:
            yield Row(waits, RunStatus.SCHEDULED)

    def _step(self) -> bool:
        """Let the next thing happen. Returns False at the end."""
        claimed_at = None if self._armed is None else self._alive_from(self._schedule.due_at(self._armed))
        if self._calls and (claimed_at is None or self._calls[0].ends_at <= claimed_at):
            if self._calls[0].ends_at > self._scenario.end:
                return False
            self._end(heapq.heappop(self._calls))
            return True
        if claimed_at is None or claimed_at > self._scenario.end:
            return False
        self._claim(claimed_at)
        return True

    def _claim(self, now: datetime) -> None:
        if self._armed is None:
            return
        instant = self._armed
        planned = plan(_candidate(self._schedule, instant, self._begun), now=now)
        self._armed = planned.following
        self._begun += planned.counts
        if planned.ending is None:
            self._be_due(instant, now)
            return
        ending = planned.ending
        self._rows.append(
            Row(
                instant,
                ending.status,
                reason=ending.reason,
                occurrences=ending.occurrences,
                superseded_by=ending.superseded_by,
            )
        )

    def _be_due(self, instant: datetime, now: datetime) -> None:
        match overlap.decide(self._policy, len(self._calls) + len(self._waiting)):
            case overlap.Run():
                self._start(instant, now)
            case overlap.Skip(reason):
                self._rows.append(Row(instant, RunStatus.SKIPPED, reason=reason))
            case overlap.Wait(_, cancel_earlier) if cancel_earlier:
                self._cancel_all()
                self._start(instant, now)
            case _:
                self._waiting.append(instant)

    def _cancel_all(self) -> None:
        reason = overlap.REPLACED
        self._rows += [Row(call.scheduled_for, RunStatus.CANCELED, call.started_at, reason) for call in self._calls]
        self._rows += [Row(waits, RunStatus.CANCELED, reason=reason) for waits in self._waiting]
        self._calls.clear()
        self._waiting.clear()

    def _start(self, instant: datetime, now: datetime) -> None:
        ends_at = now + self._scenario.run_time
        outage = self._scenario.outage
        if outage is not None and now < outage[0] < ends_at:  # cut short, and made again
            ends_at = outage[1] + self._scenario.run_time
        heapq.heappush(self._calls, _Call(ends_at, instant, now))

    def _end(self, call: _Call) -> None:
        self._rows.append(Row(call.scheduled_for, RunStatus.SUCCEEDED, call.started_at))
        while self._waiting and not self._calls:
            instant = self._waiting.popleft()
            again = replaced(_candidate(self._schedule, instant, self._begun), first_claim=False)
            planned = plan(again, now=call.ends_at)
            if planned.ending is None:
                self._start(instant, call.ends_at)
            else:
                self._rows.append(Row(instant, planned.ending.status, reason=planned.ending.reason))

    def _alive_from(self, instant: datetime) -> datetime:
        """Return the first moment, from an instant on, at which something is alive."""
        outage = self._scenario.outage
        return outage[1] if outage is not None and outage[0] <= instant < outage[1] else instant


def _candidate(schedule: Recurring, instant: datetime, runs_begun: int) -> Candidate:
    return Candidate(
        scheduled_for=instant,
        due_at=schedule.due_at(instant),
        first_claim=True,
        job_status=JobStatus.ACTIVE,
        begun=False,
        cancel_reason=None,
        lost_attempts=0,
        schedule=schedule,
        terms=schedule.terms,
        runs_begun=runs_begun,
    )
