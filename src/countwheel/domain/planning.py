"""What a claim decides: does this occurrence run, and which one comes next. Pure; the claim's transaction obeys.

Two laws are kept here. Every occurrence is accounted for: one that does not run ends with a reason. The chain is
never broken: whenever an occurrence is taken up or ended for the first time, the one after it is named.
"""

from dataclasses import dataclass
from datetime import datetime

from countwheel.domain.job import JobStatus
from countwheel.domain.policy import CATCHUP_WINDOW, DROPPED_COUNT_LIMIT, LOST_ATTEMPTS_LIMIT, MISFIRE_GRACE
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import Recurring


@dataclass(frozen=True, slots=True)
class Ending:
    """A run that will not be sent, and why.

    `occurrences` is how many instants of the schedule this one ledger row stands for. A dropped range is one row: from
    the run's own instant up to, and without, `superseded_by`, the occurrence that runs in its place.
    """

    status: RunStatus
    reason: str
    occurrences: int = 1
    superseded_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a claimed run: dispatch it unless `ending` is given, and insert `following` if there is one."""

    ending: Ending | None = None
    following: datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What planning must know of a run that was just claimed."""

    scheduled_for: datetime
    first_claim: bool
    job_status: JobStatus
    begun: bool
    """An attempt was made before: a pause stops new runs, not those that have begun."""
    cancel_requested: bool
    lost_attempts: int
    schedule: Recurring | None
    """None for a one-off job."""


def plan(candidate: Candidate, *, now: datetime, cancelled: frozenset[datetime] = frozenset()) -> Plan:
    """Decide about a claimed run at the database time `now`.

    `cancelled` are the future occurrences of the job that were cancelled before their rows existed.
    """
    if candidate.job_status is JobStatus.DELETED:
        return Plan(Ending(RunStatus.CANCELED, "its job was deleted"))
    following = _following(candidate, cancelled)
    if candidate.job_status is JobStatus.PAUSED and not candidate.begun:
        return Plan(Ending(RunStatus.SKIPPED, "paused: its job was paused when it was due"), following)
    if candidate.cancel_requested:
        return Plan(Ending(RunStatus.CANCELED, "cancelled by request"), following)
    if candidate.lost_attempts >= LOST_ATTEMPTS_LIMIT:
        reason = f"parked: {candidate.lost_attempts} nodes were lost while they held this run"
        return Plan(Ending(RunStatus.FAILED, reason), following)
    if candidate.first_claim and now - candidate.scheduled_for > MISFIRE_GRACE:
        return _plan_missed(candidate, following, now=now, cancelled=cancelled)
    return Plan(following=following)


def next_occurrence(
    schedule: Recurring, after: datetime, cancelled: frozenset[datetime] = frozenset()
) -> datetime | None:
    """Return the first occurrence later than `after` that nobody cancelled, or None if the schedule has ended."""
    instant = schedule.next_after(after)
    while instant is not None and instant in cancelled:
        instant = schedule.next_after(instant)
    return instant


def _following(candidate: Candidate, cancelled: frozenset[datetime]) -> datetime | None:
    # Only the first claim arms the next occurrence: on a retry it may have run and ended already.
    if candidate.schedule is None or not candidate.first_claim:
        return None
    return next_occurrence(candidate.schedule, candidate.scheduled_for, cancelled)


def _plan_missed(
    candidate: Candidate, following: datetime | None, *, now: datetime, cancelled: frozenset[datetime]
) -> Plan:
    """Apply misfire policy `fire_latest`: of all that was missed, run only the latest."""
    schedule = candidate.schedule
    latest = _latest_missed(schedule, candidate.scheduled_for, now, cancelled) if schedule else None
    if schedule is not None and latest is not None:
        return Plan(_dropped(schedule, candidate.scheduled_for, latest), latest)
    if now - candidate.scheduled_for <= CATCHUP_WINDOW:
        return Plan(following=following)
    reason = f"missed by more than its catch-up window of {CATCHUP_WINDOW.total_seconds():.0f} s"
    return Plan(Ending(RunStatus.EXPIRED, reason), following)


def _latest_missed(
    schedule: Recurring, after: datetime, now: datetime, cancelled: frozenset[datetime]
) -> datetime | None:
    """Return the last occurrence in (after, now] that nobody cancelled, or None."""
    latest = schedule.latest_until(now)
    if latest is not None and latest in cancelled:
        # Rare: walk forward from the front rather than keep a second search that runs backwards.
        latest = None
        step = next_occurrence(schedule, after, cancelled)
        for _ in range(DROPPED_COUNT_LIMIT):
            if step is None or step > now:
                break
            latest, step = step, next_occurrence(schedule, step, cancelled)
    return latest if latest is not None and latest > after else None


def _dropped(schedule: Recurring, first: datetime, latest: datetime) -> Ending:
    # (first, latest] has as many instants as [first, latest): those that do not run.
    count = schedule.count_between(first, latest, DROPPED_COUNT_LIMIT)
    more = "at least " if count >= DROPPED_COUNT_LIMIT else ""
    reason = (
        f"missed: {more}{count} occurrence(s) dropped, only the latest missed one runs (misfire policy fire_latest)"
    )
    return Ending(RunStatus.SKIPPED, reason, occurrences=count, superseded_by=latest)
