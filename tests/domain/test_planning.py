"""Promises 2 and 3: every occurrence runs or has a reason, and no chain is ever broken."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from countwheel.domain.exclusion import Exclude, Exclusion, OnExcluded
from countwheel.domain.job import JobStatus
from countwheel.domain.planning import AS_IT_IS, Candidate, Ending, Plan, is_sent_as_it_is, next_occurrence, plan
from countwheel.domain.policy import (
    CATCHUP_WINDOW,
    DROPPED_COUNT_LIMIT,
    FIRE_ALL_LIMIT,
    LOST_ATTEMPTS_LIMIT,
    MISFIRE_GRACE,
    Misfire,
)  # fmt: skip
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import Terms, decode
from countwheel.domain.window import parse_window

HOURLY = parse_recurring("0 * * * *", None)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def candidate(**changes) -> Candidate:
    fields = {
        "scheduled_for": NOON,
        "first_claim": True,
        "job_status": JobStatus.ACTIVE,
        "begun": False,
        "cancel_reason": None,
        "lost_attempts": 0,
        "schedule": HOURLY,
    }
    fields |= changes
    schedule, instant = fields["schedule"], fields["scheduled_for"]
    due_at = instant if schedule is None else schedule.due_at(instant)
    return Candidate(**({"due_at": due_at} | fields))


def test_an_occurrence_in_time_runs_and_names_the_next() -> None:
    """Claimed a little ahead: it runs, and the following one is armed."""
    planned = plan(candidate(), now=NOON - timedelta(milliseconds=400))
    assert (planned.ending, planned.following) == (None, NOON + HOUR)


@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "trigger": st.sampled_from(Trigger),
            "job_state": st.sampled_from(JobStatus),
            "fence": st.integers(1, 3),
            "cancel_reason": st.just("by request"),
            "lost_attempts": st.sampled_from([1, LOST_ATTEMPTS_LIMIT]),
            "tenant_is_suspended": st.just(value=True),
            "terms": st.just('{"catchup_window_seconds":1}'),
            "schedule_recurring": st.just("0 * * * *"),
            "due_at": st.sampled_from([NOON + HOUR, NOON - HOUR, NOON - timedelta(days=2)]),
        },
    )
)
def test_what_is_sent_as_it_is_would_be_planned_so(changes: dict[str, Any]) -> None:
    """The short way to a plan never finds another one than the long way; and nothing but what is usual goes it."""
    usual = {
        "trigger": Trigger.SCHEDULE, "job_state": JobStatus.ACTIVE, "fence": 1, "cancel_reason": None,
        "lost_attempts": 0, "tenant_is_suspended": False, "terms": None, "schedule_recurring": None, "due_at": NOON,
    }  # fmt: skip
    run = SimpleNamespace(**usual | changes)
    is_recurring = run.schedule_recurring is not None and run.trigger is Trigger.SCHEDULE
    asked = candidate(
        scheduled_for=min(run.due_at, NOON),
        due_at=run.due_at,
        first_claim=run.fence == 1,
        job_status=run.job_state,
        cancel_reason=run.cancel_reason,
        lost_attempts=run.lost_attempts,
        schedule=HOURLY if is_recurring else None,
        terms=decode(run.terms),
        trigger=run.trigger,
        tenant_is_suspended=run.tenant_is_suspended,
    )
    as_it_is = is_sent_as_it_is(run, NOON)
    assert as_it_is == (run.__dict__ | {"due_at": NOON} == usual and run.due_at >= NOON)
    assert not as_it_is or plan(asked, now=NOON) == AS_IT_IS


def walk_chain(terms: Terms, first: datetime, now: datetime, schedule=HOURLY) -> tuple[list[datetime], list[Ending]]:
    """Claim one occurrence after another until the chain has come to the future: what runs, and what ends."""
    ran, ended, instant = [], [], first
    while instant is not None and instant <= now:
        planned = plan(candidate(scheduled_for=instant, schedule=schedule, terms=terms), now=now)
        if planned.ending is None:
            ran.append(instant)
        else:
            ended.append(planned.ending)
        instant = planned.following
    return ran, ended


@given(
    expression=st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 4 * * *", "*/20 * * * * *"]),
    misfire=st.sampled_from([None, *Misfire]),
    outage=st.timedeltas(timedelta(seconds=61), timedelta(days=2)),
    window=st.sampled_from([None, 10.0, 3600.0, 86400.0 * 3]),
    ends=st.booleans(),
)
def test_p2_each_missed_occurrence_runs_or_is_counted(
    expression: str, misfire: Misfire | None, outage: timedelta, window: float | None, ends: bool
) -> None:
    """P2: after an outage, whatever the policy: what runs and what the ledger counts is every occurrence, each once."""
    first = parse_recurring(expression, None).next_after(NOON)
    assert first is not None
    now = first + outage
    terms = Terms(misfire=misfire, catchup_window_seconds=window, end_at=now - HOUR / 2 if ends else None)
    schedule = replace(parse_recurring(expression, None), terms=terms)
    every = [first]
    while (step := schedule.next_after(every[-1])) is not None and step <= now:
        every.append(step)
    if terms.end_at is not None and first > terms.end_at:
        return
    ran, ended = walk_chain(terms, first, now, schedule)
    dropped = len(every) - len(ran)
    assert set(ran) <= set(every)
    if dropped < DROPPED_COUNT_LIMIT:
        assert sum(ending.occurrences for ending in ended) == dropped
    missed = [instant for instant in every if now - instant > MISFIRE_GRACE]
    worth_it = [instant for instant in every if now - instant <= max(terms.catchup_window, MISFIRE_GRACE)]
    late = [instant for instant in ran if instant in set(missed)]
    match misfire:
        case Misfire.SKIP:
            assert late == []
        case Misfire.FIRE_ALL:
            assert late == [instant for instant in missed if instant in set(worth_it)][-FIRE_ALL_LIMIT:]
        case _:
            assert ran == every[-1:] or (ran == [] and every[-1] not in worth_it)


def test_p2_what_was_cancelled_does_not_come_back_with_the_missed() -> None:
    """P2: the first of the hundred that run after all is one that nobody cancelled."""
    minutely = replace(parse_recurring("* * * * *", None), terms=Terms(misfire=Misfire.FIRE_ALL))
    now = NOON + timedelta(hours=5)
    missed = candidate(schedule=minutely, terms=minutely.terms)
    first = plan(missed, now=now).following
    assert first is not None
    again = plan(missed, now=now, cancelled=frozenset({first}))
    assert again.following == first + timedelta(minutes=1)


def test_p1_what_waits_too_long_is_expired() -> None:
    """P1 and P2: a run that was given back unsent again and again ends when its catch-up window does."""
    waits = candidate(first_claim=False, terms=Terms(catchup_window_seconds=600.0))
    assert plan(waits, now=NOON + timedelta(seconds=600)).ending is None
    ended = plan(waits, now=NOON + timedelta(seconds=601)).ending
    assert ended is not None
    assert (ended.status, "catch-up window of 600 s" in ended.reason) == (RunStatus.EXPIRED, True)
    assert plan(replaced(waits, begun=True), now=NOON + timedelta(seconds=601)).ending is None


def test_a_retry_does_not_arm_again() -> None:
    """The chain went on with the first claim; a second row for the next occurrence would be its double."""
    assert plan(candidate(first_claim=False), now=NOON).following is None


def test_a_oneoff_has_no_following() -> None:
    """One occurrence, and no more."""
    assert plan(candidate(schedule=None), now=NOON).following is None


def test_cancelled_occurrences_are_left_out_of_the_chain() -> None:
    """The one after a cancelled occurrence stands."""
    planned = plan(candidate(), now=NOON, cancelled=frozenset({NOON + HOUR, NOON + 2 * HOUR}))
    assert planned.following == NOON + 3 * HOUR


def test_a_cancelled_run_still_keeps_the_chain_going() -> None:
    """Cancelling one occurrence lets the one after it stand."""
    planned = plan(candidate(cancel_reason="replaced"), now=NOON)
    assert planned.ending is not None
    assert planned == Plan(Ending(RunStatus.CANCELED, "replaced"), NOON + HOUR)


def test_a_job_that_is_gone_ends_its_run_and_its_chain() -> None:
    """Nothing is armed for a job that is deleted or paused."""
    planned = plan(candidate(job_status=JobStatus.DELETED), now=NOON)
    assert planned.ending is not None
    assert (planned.ending.status, planned.following) == (RunStatus.CANCELED, None)
    assert (planned.ending.occurrences, planned.ending.superseded_by) == (1, None)


def test_the_chain_of_a_job_that_is_gone_is_accounted_for_once() -> None:
    """Claimed first at 14:30, its job deleted: noon, 13:00 and 14:00 are one row. Claimed before, it is one run."""
    late = NOON + 2.5 * HOUR
    ending = plan(candidate(job_status=JobStatus.DELETED), now=late).ending
    assert ending is not None
    assert (ending.status, ending.occurrences, ending.superseded_by) == (RunStatus.CANCELED, 3, NOON + 3 * HOUR)
    again = plan(candidate(job_status=JobStatus.DELETED, first_claim=False), now=late).ending
    assert again is not None
    assert (again.occurrences, again.superseded_by) == (1, None)
    over = parse_recurring("0 * * * *", None, terms=Terms(end_at=late - HOUR))
    ended = plan(candidate(job_status=JobStatus.DELETED, schedule=over), now=late).ending
    assert ended is not None
    assert (ended.occurrences, ended.superseded_by) == (2, late + timedelta(microseconds=1))


def test_a_run_that_kills_nodes_is_parked() -> None:
    """A poison run ends FAILED instead of going round for ever; its chain goes on."""
    planned = plan(candidate(lost_attempts=LOST_ATTEMPTS_LIMIT), now=NOON)
    assert planned.ending is not None
    assert (planned.ending.status, planned.following) == (RunStatus.FAILED, NOON + HOUR)


def test_the_latest_missed_runs_and_the_others_are_said() -> None:
    """fire_latest: noon to 14:00 were missed by 15:30; 15:00 runs, three others stand in one row."""
    planned = plan(candidate(), now=NOON + 3.5 * HOUR)
    assert planned.ending is not None
    assert planned.ending.status is RunStatus.SKIPPED
    assert (planned.ending.occurrences, planned.ending.superseded_by) == (3, NOON + 3 * HOUR)
    assert planned.following == NOON + 3 * HOUR


def test_the_grace_is_not_a_miss() -> None:
    """Up to a minute late is late, not missed."""
    assert plan(candidate(), now=NOON + MISFIRE_GRACE).ending is None
    assert plan(candidate(scheduled_for=NOON - HOUR), now=NOON + MISFIRE_GRACE).ending is not None


def test_past_the_catch_up_window_a_oneoff_expires() -> None:
    """Within 24 h it runs late, beyond it ends EXPIRED."""
    oneoff = candidate(schedule=None)
    assert plan(oneoff, now=NOON + CATCHUP_WINDOW).ending is None
    beyond = plan(oneoff, now=NOON + CATCHUP_WINDOW + timedelta(milliseconds=1)).ending
    assert beyond is not None
    assert beyond.status is RunStatus.EXPIRED


def test_the_last_missed_was_cancelled() -> None:
    """If the latest missed occurrence was cancelled, the one before it is the latest that may run."""
    planned = plan(candidate(), now=NOON + 3.5 * HOUR, cancelled=frozenset({NOON + 3 * HOUR}))
    assert planned.following == NOON + 2 * HOUR


@given(
    minutes_late=st.integers(0, 60 * 24 * 400),
    expression=st.sampled_from(["* * * * *", "*/7 3 * * *", "0 0 * * *", "0 0 1 * *", "0 0 29 2 *", "5 * * * 1-5"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]),
)
def test_no_outage_of_any_length_stops_a_chain(minutes_late: int, expression: str, zone: str) -> None:
    """However late, the plan names a following occurrence later than the run's own, and at most one step back in time
    remains: following the plans from one to the next reaches the present in two steps.
    """
    schedule = parse_recurring(expression, zone)
    scheduled_for = schedule.next_after(datetime(2024, 1, 1, tzinfo=UTC))
    assert scheduled_for is not None
    now = scheduled_for + timedelta(minutes=minutes_late)
    first = plan(candidate(scheduled_for=scheduled_for, schedule=schedule), now=now)
    assert first.following is not None
    assert first.following > scheduled_for
    if first.ending is not None and first.ending.status is RunStatus.SKIPPED:
        second = plan(candidate(scheduled_for=first.following, schedule=schedule), now=now)
        assert second.following is not None
        assert second.following > now
        assert second.ending is None or second.ending.status is RunStatus.EXPIRED
    else:
        assert first.following > now - MISFIRE_GRACE


@given(st.sets(st.integers(1, 30), max_size=20))
def test_next_occurrence_is_the_first_that_nobody_cancelled(hours: set[int]) -> None:
    """A law: the smallest hour that is not in the set."""
    cancelled = frozenset(NOON + hour * HOUR for hour in hours)
    expected = next(hour for hour in range(1, 40) if hour not in hours)
    assert next_occurrence(HOURLY, NOON, cancelled) == NOON + expected * HOUR


WEEKDAYS_ONLY = Terms(exclude=Exclude(Exclusion(weekdays=("SAT", "SUN"))))
DAILY_BUT_NOT_AT_THE_WEEKEND = parse_recurring("0 9 * * *", None, terms=WEEKDAYS_ONLY)
SATURDAY = datetime(2026, 11, 28, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def excluded_candidate(instant: datetime) -> Candidate:
    return candidate(scheduled_for=instant, schedule=DAILY_BUT_NOT_AT_THE_WEEKEND, terms=WEEKDAYS_ONLY)


def test_what_is_left_out_ends_skipped_with_what_leaves_it_out() -> None:
    """Promise 3: it stands in the ledger at its time, and the chain goes on."""
    planned = plan(excluded_candidate(SATURDAY), now=SATURDAY)
    assert planned == Plan(Ending(RunStatus.SKIPPED, "excluded: SAT"), SATURDAY + DAY)


def test_what_is_left_out_and_late_is_one_row() -> None:
    """After an outage what was left out meanwhile is one row with its count, up to what is not left out or not due."""
    planned = plan(excluded_candidate(SATURDAY), now=SATURDAY + 3 * DAY)
    assert planned.ending is not None
    assert (planned.ending.occurrences, planned.ending.superseded_by) == (2, SATURDAY + 2 * DAY)
    assert planned.following == SATURDAY + 2 * DAY


def test_the_latest_missed_that_runs_is_none_that_is_left_out() -> None:
    """P2: down from Thursday to Sunday, the latest missed one that may run is Friday's."""
    thursday = SATURDAY - 2 * DAY
    planned = plan(excluded_candidate(thursday), now=SATURDAY + 1.5 * DAY)
    assert planned.ending is not None
    assert (planned.ending.occurrences, planned.following) == (1, SATURDAY - DAY)
    friday = plan(excluded_candidate(SATURDAY - DAY), now=SATURDAY - 4 * HOUR)
    assert friday == Plan(following=SATURDAY)


@pytest.mark.parametrize("late", [timedelta(0), 2 * HOUR], ids=["in time", "missed"])
@pytest.mark.usefixtures("days_looked_at")
def test_the_last_before_all_days_are_left_out_is_the_last(late: timedelta) -> None:
    """A claim looks at ten years of days and no further: it runs, and nothing follows."""
    left_out = tuple((SATURDAY + days * DAY).date().isoformat() for days in range(6_400))
    terms = Terms(exclude=Exclude(Exclusion(left_out)), on_excluded=OnExcluded.NEXT)
    last = SATURDAY.replace(hour=0) - timedelta(minutes=1)
    minutely = candidate(scheduled_for=last, schedule=parse_recurring("* * * * *", None, terms=terms), terms=terms)
    assert plan(minutely, now=last + late) == Plan(following=None)


def test_p3_a_window_is_no_miss() -> None:
    """An occurrence whose place in its window comes hours after its instant is in time, and counts from there."""
    terms = Terms(window=parse_window("50m"), catchup_window_seconds=600)
    schedule = parse_recurring("0 * * * *", None, UUID(int=9), terms)
    due_at = schedule.due_at(NOON)
    assert due_at - NOON > MISFIRE_GRACE
    late = candidate(schedule=schedule, terms=terms)
    assert plan(late, now=due_at) == Plan(following=NOON + HOUR)
    ended = plan(late, now=due_at + timedelta(seconds=601)).ending
    assert ended is not None
    assert ended.status is RunStatus.EXPIRED


@given(st.integers(1, 5), st.integers(0, 6))
def test_p4_nothing_follows_the_last_of_max_runs(max_runs: int, runs_begun: int) -> None:
    """P4: each occurrence that is taken up counts; the one that makes it full has nothing after it."""
    terms = Terms(max_runs=max_runs)
    planned = plan(candidate(terms=terms, runs_begun=runs_begun), now=NOON)
    assert planned.counts
    assert (planned.following is None) == (runs_begun + 1 >= max_runs)


def test_p4_what_does_not_run_does_not_count() -> None:
    """P4: an occurrence that is left out, missed, or of a job that is paused uses up none of them."""
    terms = Terms(max_runs=1, exclude=Exclude(Exclusion(dates=("11-24",))))
    excluding = parse_recurring("0 * * * *", None, terms=terms)
    for planned in (
        plan(candidate(schedule=excluding, terms=terms), now=NOON),
        plan(candidate(terms=Terms(max_runs=1)), now=NOON + 3 * HOUR),
        plan(candidate(terms=Terms(max_runs=1), job_status=JobStatus.PAUSED), now=NOON),
    ):
        assert planned.ending is not None
        assert not planned.counts
        assert planned.following is not None


def test_a_backfill_is_late_by_its_nature() -> None:
    """It is of a month ago, waited for a week, and runs."""
    late = candidate(scheduled_for=NOON - 30 * DAY, trigger=Trigger.BACKFILL, schedule=None, first_claim=False)
    assert plan(late, now=NOON) == Plan()


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, RunStatus.SKIPPED),
        ({"begun": True, "first_claim": False}, RunStatus.FAILED),
        ({"schedule": None}, RunStatus.SKIPPED),
        ({"schedule": None, "trigger": Trigger.MANUAL}, RunStatus.SKIPPED),
        ({"schedule": None, "trigger": Trigger.BACKFILL}, RunStatus.SKIPPED),
        ({"schedule": None, "trigger": Trigger.NOTIFICATION}, RunStatus.FAILED),
        ({"job_status": JobStatus.DELETED}, RunStatus.CANCELED),
        ({"cancel_reason": "somebody asked"}, RunStatus.CANCELED),
        ({"cancel_reason": "somebody asked", "begun": True, "first_claim": False}, RunStatus.CANCELED),
        ({"cancel_reason": "x", "schedule": None, "trigger": Trigger.CANCELLATION}, RunStatus.CANCELED),
    ],
)
def test_nothing_of_a_suspended_tenant_is_sent(changes: dict[str, object], ended: RunStatus) -> None:
    """Whatever it is, it ends with a reason, a cancel as CANCELED (promise 6); a chain that goes on names its next."""
    planned = plan(candidate(tenant_is_suspended=True, **changes), now=NOON + HOUR)
    assert planned.ending is not None
    assert planned.ending.status is ended
    of_chain = changes.get("schedule", HOURLY) is not None and changes.get("first_claim", True)
    goes_on = of_chain and changes.get("job_status") is not JobStatus.DELETED
    assert planned.following == (NOON + HOUR if goes_on else None)
