"""What a claim decides: does this occurrence run, and which one comes next. Pure; the claim's transaction obeys.

Two laws are kept here. Every occurrence is accounted for: one that does not run ends with a reason. The chain is
never broken: whenever an occurrence is taken up or ended for the first time, the one after it is named.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace as replaced

from countwheel.domain.errors import ScheduleError
from countwheel.domain.job import JobStatus
from countwheel.domain.policy import (
    DROPPED_COUNT_LIMIT,
    FIRE_ALL_LIMIT,
    LOST_ATTEMPTS_LIMIT,
    MISFIRE_GRACE,
    Misfire,
)  # fmt: skip
from countwheel.domain.run import ERRANDS, RunStatus, Trigger
from countwheel.domain.schedule import Recurring, Scheduled, recurring_of
from countwheel.domain.terms import NO_TERMS, Terms, decode

_AN_INSTANT = timedelta(microseconds=1)
_LEFT_OUT_LOOKS = 500
"""So many stretches of excluded time are looked past, backwards, for an occurrence that may run."""


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


class Plan(Struct, frozen=True):
    """What to do with a claimed run: dispatch it unless `ending` is given, and insert `following` if there is one."""

    ending: Ending | None = None
    following: datetime | None = None
    counts: bool = False
    """It is one of the `max_runs` of its job."""


AS_IT_IS = Plan()
"""The run is simply to be sent."""


class Candidate(Struct, frozen=True):
    """What planning must know of a run that was just claimed."""

    scheduled_for: datetime
    due_at: datetime
    """At the first claim: when it was to be called, in the window after its instant."""
    first_claim: bool
    job_status: JobStatus
    begun: bool
    """An attempt was made before: a pause stops new runs, not those that have begun."""
    cancel_reason: str | None
    """Why somebody has asked for its end, or None."""
    lost_attempts: int
    schedule: Recurring | None
    """None for a one-off job, and for a run that is not of the schedule."""
    terms: Terms = NO_TERMS
    trigger: Trigger = Trigger.SCHEDULE
    runs_begun: int = 0
    """How many of its `max_runs` the job has had before this one."""
    tenant_is_suspended: bool = False


class JustClaimed(Scheduled, Protocol):
    """A run that was just claimed, with what decides whether it is simply to be sent."""

    @property
    def trigger(self) -> str: ...  # noqa: D102 (the names of the columns)
    @property
    def due_at(self) -> datetime: ...  # noqa: D102
    @property
    def fence(self) -> int: ...  # noqa: D102
    @property
    def job_state(self) -> str: ...  # noqa: D102
    @property
    def cancel_reason(self) -> str | None: ...  # noqa: D102
    @property
    def lost_attempts(self) -> int: ...  # noqa: D102
    @property
    def tenant_is_suspended(self) -> bool: ...  # noqa: D102


def is_sent_as_it_is(run: JustClaimed, now: datetime) -> bool:
    """Whether a one-off job's run is claimed in time, for the first time, and nothing is known against it.

    Then its plan is `AS_IT_IS`. `plan` would find the same in three times the time: 0.6 us, and 1.1 in a node at work.
    """
    return (
        run.schedule_recurring is None
        and run.terms is None
        and run.fence == 1
        and run.trigger == Trigger.SCHEDULE
        and run.job_state == JobStatus.ACTIVE
        and run.cancel_reason is None
        and not run.tenant_is_suspended
        and run.lost_attempts == 0
        and now - run.due_at <= MISFIRE_GRACE
    )


def plan(candidate: Candidate, *, now: datetime, cancelled: Container[datetime] = frozenset()) -> Plan:
    """Decide about a claimed run at the database time `now`.

    `cancelled` are the future occurrences of the job that were cancelled before their rows existed. What it raises when
    it is asked about one (`countwheel.domain.cancelled`) is passed on.
    """
    if candidate.trigger in ERRANDS:
        return _plan_errand(candidate)
    return _plan_of_job(candidate, now, cancelled)


def _plan_of_job(candidate: Candidate, now: datetime, cancelled: Container[datetime]) -> Plan:
    if candidate.job_status is JobStatus.DELETED:
        chain = candidate.schedule if candidate.first_claim else None
        return Plan(end_with_job(chain, candidate.scheduled_for, "its job was deleted", now=now))
    following = _following(candidate, cancelled)
    if (ending := _not_to_be_sent(candidate)) is not None:
        return Plan(ending, following)
    if candidate.trigger is Trigger.BACKFILL:  # somebody wants it although it is late
        return Plan()
    if not candidate.first_claim and not candidate.begun and _has_waited_too_long(candidate, now):
        window = candidate.terms.catchup_window.total_seconds()
        return Plan(Ending(RunStatus.EXPIRED, f"waited for longer than its catch-up window of {window:.0f} s"))
    if not candidate.first_claim:
        return Plan()
    if candidate.schedule is not None and (why := candidate.schedule.exclusion(candidate.scheduled_for)) is not None:
        return _leave_out(candidate.schedule, candidate.scheduled_for, why, now=now, cancelled=cancelled)
    planned = Plan(following=following)
    if now - candidate.due_at > MISFIRE_GRACE:
        planned = _plan_missed(candidate, following, now=now, cancelled=cancelled)
    return _counted(planned, candidate)


def _plan_errand(candidate: Candidate) -> Plan:
    """An errand is sent whatever has become of its job meanwhile: that may be what it is about."""
    if candidate.cancel_reason is not None:
        return Plan(Ending(RunStatus.CANCELED, candidate.cancel_reason))
    if candidate.tenant_is_suspended:
        return Plan(_suspended(candidate))
    return Plan(_parked(candidate) if candidate.lost_attempts >= LOST_ATTEMPTS_LIMIT else None)


def _not_to_be_sent(candidate: Candidate) -> Ending | None:
    """Return how a run ends that is not to be sent, whenever it was due."""
    if candidate.job_status is JobStatus.PAUSED and not candidate.begun:
        return Ending(RunStatus.SKIPPED, "paused: its job was paused when it was due")
    if candidate.cancel_reason is not None:
        return Ending(RunStatus.CANCELED, candidate.cancel_reason)
    if candidate.tenant_is_suspended:
        return _suspended(candidate)
    return _parked(candidate) if candidate.lost_attempts >= LOST_ATTEMPTS_LIMIT else None


def _suspended(candidate: Candidate) -> Ending:
    """End a run of a suspended tenant: one that was sent before is a dead letter, which can be redriven later."""
    if candidate.begun or candidate.trigger in ERRANDS:
        return Ending(RunStatus.FAILED, "suspended: its tenant was suspended before it had ended")
    return Ending(RunStatus.SKIPPED, "suspended: its tenant was suspended when it was due")


def _parked(candidate: Candidate) -> Ending:
    return Ending(RunStatus.FAILED, f"parked: {candidate.lost_attempts} nodes were lost while they held this run")


def end_with_job(chain: Recurring | None, scheduled_for: datetime, reason: str, *, now: datetime) -> Ending:
    """Return the end of a run whose job is deleted, together with those of its chain that are due and never armed.

    `chain` is the schedule if this run is the armed one of its job, which nobody claimed before; None for any other.
    """
    due_after_it = 0 if chain is None else chain.count_between(scheduled_for, now, DROPPED_COUNT_LIMIT)
    if chain is None or due_after_it == 0:
        return Ending(RunStatus.CANCELED, reason)
    end = chain.next_after(now) or now + _AN_INSTANT
    return Ending(RunStatus.CANCELED, reason, 1 + due_after_it, end)


def next_occurrence(
    schedule: Recurring, after: datetime, cancelled: Container[datetime] = frozenset()
) -> datetime | None:
    """Return the first occurrence later than `after` that nobody cancelled, or None if the schedule has ended."""
    instant = schedule.next_after(after)
    while instant is not None and instant in cancelled:
        instant = schedule.next_after(instant)
    return instant


def is_used_up(terms: Terms, runs_begun: int) -> bool:
    """Whether a job has had all the runs that its `max_runs` allows."""
    return terms.max_runs is not None and runs_begun >= terms.max_runs


def is_last(scheduled_for: datetime, job: Scheduled, runs_begun: int) -> bool:
    """Whether nothing is left of a job after this occurrence. A job whose schedule means nothing is not at its end."""
    if job.schedule_recurring is None or is_used_up(decode(job.terms), runs_begun):
        return True
    try:
        schedule = recurring_of(job)
    except ScheduleError:
        return False
    return schedule is None or schedule.next_after(scheduled_for) is None


class ScheduledRun(Scheduled, Protocol):
    """A run with what is stored of its job's schedule."""

    @property
    def trigger(self) -> str: ...  # noqa: D102 (the names of the columns)
    @property
    def scheduled_for(self) -> datetime: ...  # noqa: D102
    @property
    def runs_begun(self) -> int: ...  # noqa: D102


def ends_its_schedule(run: ScheduledRun) -> bool:
    """Whether nothing is left of a job after this run: its last occurrence, and no run beside its schedule."""
    return run.trigger == Trigger.SCHEDULE and is_last(run.scheduled_for, run, run.runs_begun)


def _following(candidate: Candidate, cancelled: Container[datetime]) -> datetime | None:
    # Only the first claim arms the next occurrence: on a retry it may have run and ended already.
    if candidate.schedule is None or not candidate.first_claim:
        return None
    return next_occurrence(candidate.schedule, candidate.scheduled_for, cancelled)


def _counted(planned: Plan, candidate: Candidate) -> Plan:
    """Return the plan of a job with `max_runs`: what is taken up counts, and nothing follows the last."""
    if candidate.schedule is None or candidate.terms.max_runs is None or planned.ending is not None:
        return planned
    used_up = is_used_up(candidate.terms, candidate.runs_begun + 1)
    return replaced(planned, following=None if used_up else planned.following, counts=True)


def _leave_out(
    schedule: Recurring, first: datetime, why: str, *, now: datetime, cancelled: Container[datetime]
) -> Plan:
    """End an occurrence that the schedule leaves out, together with those after it that are due and left out, too."""
    count, following = 1, next_occurrence(schedule, first, cancelled)
    while (
        following is not None
        and schedule.due_at(following) <= now
        and count < DROPPED_COUNT_LIMIT
        and schedule.exclusion(following) is not None
    ):
        count, following = count + 1, next_occurrence(schedule, following, cancelled)
    if count == 1:
        return Plan(Ending(RunStatus.SKIPPED, f"excluded: {why}"), following)
    end = now if following is None else following
    return Plan(Ending(RunStatus.SKIPPED, f"excluded: {count} occurrences, {why} first", count, end), following)


def _plan_missed(
    candidate: Candidate, following: datetime | None, *, now: datetime, cancelled: Container[datetime]
) -> Plan:
    """Apply the misfire policy to an occurrence that was missed, and to those of its chain after it."""
    if candidate.schedule is not None:
        dropped = _drop(candidate, candidate.schedule, now, cancelled)
        if dropped is not None:
            return dropped
    window = candidate.terms.catchup_window
    if now - candidate.due_at <= window:
        return Plan(following=following)
    reason = f"missed by more than its catch-up window of {window.total_seconds():.0f} s"
    return Plan(Ending(RunStatus.EXPIRED, reason), following)


def _has_waited_too_long(candidate: Candidate, now: datetime) -> bool:
    return now - candidate.scheduled_for > max(candidate.terms.catchup_window, MISFIRE_GRACE)


def _drop(candidate: Candidate, schedule: Recurring, now: datetime, cancelled: Container[datetime]) -> Plan | None:
    """Return the plan that drops this occurrence with those after it up to the one that runs; None where it runs."""
    first, terms = candidate.scheduled_for, candidate.terms
    missed_until = schedule.latest_due(now - MISFIRE_GRACE - _AN_INSTANT) or first
    match terms.misfire or Misfire.FIRE_LATEST:
        case Misfire.FIRE_LATEST:
            resume_at = _latest_missed(schedule, first, now, cancelled)
            if resume_at is None:
                return None
            why = "only the latest missed one runs (misfire policy fire_latest)"
        case Misfire.SKIP:
            resume_at = next_occurrence(schedule, missed_until, cancelled)
            why = "none of those missed runs (misfire policy skip)"
        case Misfire.FIRE_ALL if now - candidate.due_at > terms.catchup_window:
            too_late = schedule.latest_due(now - terms.catchup_window - _AN_INSTANT) or first
            resume_at = next_occurrence(schedule, too_late, cancelled)
            why = f"they are missed by more than the catch-up window of {terms.catchup_window.total_seconds():.0f} s"
            return _range(schedule, first, resume_at, now, Ending(RunStatus.EXPIRED, why))
        case Misfire.FIRE_ALL:
            if schedule.count_between(first, missed_until, FIRE_ALL_LIMIT) < FIRE_ALL_LIMIT:
                return None
            boundary = schedule.latest_few(missed_until, FIRE_ALL_LIMIT)[0]
            resume_at = next_occurrence(schedule, boundary - _AN_INSTANT, cancelled)
            why = f"the latest {FIRE_ALL_LIMIT} of those missed run (misfire policy fire_all)"
    return _range(schedule, first, resume_at, now, Ending(RunStatus.SKIPPED, why))


def _latest_missed(
    schedule: Recurring, after: datetime, now: datetime, cancelled: Container[datetime]
) -> datetime | None:
    """Return the last occurrence later than `after`, due by `now`, that may run and is not cancelled, or None."""
    latest = _latest_allowed(schedule, after, now)
    if latest is not None and latest in cancelled:
        # Rare: walk forward from the front rather than keep a second search that runs backwards.
        latest = None
        step = next_occurrence(schedule, after, cancelled)
        for _ in range(DROPPED_COUNT_LIMIT):
            if step is None or schedule.due_at(step) > now:
                break
            latest = step if schedule.exclusion(step) is None else latest
            step = next_occurrence(schedule, step, cancelled)
    return latest if latest is not None and latest > after else None


def _latest_allowed(schedule: Recurring, after: datetime, now: datetime) -> datetime | None:
    """Return the last occurrence later than `after` and due by `now` that is not left out, or None."""
    latest = schedule.latest_due(now)
    for _ in range(_LEFT_OUT_LOOKS):
        if latest is None or latest <= after or schedule.exclusion(latest) is None:
            return latest
        latest = schedule.latest_until(schedule.begin_of_exclusion(latest) - _AN_INSTANT)
    return None


def _range(schedule: Recurring, first: datetime, resume_at: datetime | None, now: datetime, ending: Ending) -> Plan:
    """Return the plan that ends the occurrences from `first` up to, and without, `resume_at` as one row."""
    end = now if resume_at is None else resume_at
    # [first, end) has as many instants as (first, end] where the end is one too; where it is none, one more.
    count = schedule.count_between(first, end, DROPPED_COUNT_LIMIT) + (resume_at is None)
    more = "at least " if count >= DROPPED_COUNT_LIMIT else ""
    reason = f"missed: {more}{count} occurrence(s) dropped, {ending.reason}"
    return Plan(replace(ending, reason=reason, occurrences=count, superseded_by=end), resume_at)
