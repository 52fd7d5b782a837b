"""Changing a job so that no claim acts on what it was before.

A change locks the job's live runs, then the job: the order in which whoever ends a run locks, so that nobody waits in
a circle. A run that comes to be meanwhile is locked without waiting, or all is begun again. A claim that is under way
holds its run: the change waits for it, and then sees what it armed. A claim that comes later finds its runs touched
(`runs.job_version`), and reads the job again if its snapshot is older.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import args_row

from countwheel.domain import calling
from countwheel.domain.exclusion import CalendarCopy, OnExcluded
from countwheel.domain.job import Definition, JobStatus
from countwheel.domain.planning import is_last, is_used_up
from countwheel.domain.policy import DROPPED_COUNT_LIMIT
from countwheel.domain.schedule import Recurring, recurring_of
from countwheel.domain.terms import decode, encode, with_calendars, write_terms
from countwheel.store import runs
from countwheel.store.cancelled import next_not_cancelled
from countwheel.store.database import Connection, Database
from countwheel.store.jobs import JobRow, columns_of_definition
from countwheel.store.queries import query

_WHY_CHANGED = "changed: {count} occurrence(s) had not been called when the job got another schedule"
_WHY_PAUSED = "paused: {count} occurrence(s) were due while the job was paused"
_AN_INSTANT = timedelta(milliseconds=1)
_SUBMITTED = (
    *("schedule_recurring", "schedule_oneoff", "timezone", "job_url", "name", "labels"),
    *("timeout_seconds", "max_attempts", "delivery", "on_unknown"),
)


@dataclass(frozen=True, slots=True)
class LockedJob:
    """A job as it stands while nothing else can change it. `now` is the database's time, later than the locks."""

    job_id: UUID
    version: int
    state: str
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None
    calling: str | None
    job_url: str
    job_payload: str
    name: str | None
    labels: dict[str, str]
    timeout_seconds: float
    max_attempts: int
    delivery: str
    on_unknown: str
    runs_begun: int
    created_at: datetime
    now: datetime


def as_submitted(job: LockedJob | JobRow | Definition) -> dict[str, Any]:
    """Return the body that would create the job, with nothing left to a default."""
    body = {name: getattr(job, name) for name in _SUBMITTED} | write_terms(decode(job.terms))
    body |= calling.written(job.calling)
    body["job_payload"] = json.loads(job.job_payload)
    return {name: value for name, value in body.items() if value is not None}


class JobChange:
    """A job that is locked, and what can be done to it. Everything is one transaction."""

    def __init__(self, connection: Connection, tenant_id: UUID, job: LockedJob) -> None:
        self.connection = connection
        self.tenant_id = tenant_id
        self.job = job

    async def amend(self, definition: Definition) -> None:
        """Write a new version of the definition; the schedule's runs are left as they are."""
        await self._keep_version()
        parameters = columns_of_definition(definition) | {"job_id": self.job.job_id, "changed_at": self.job.now}
        await self.connection.execute(query("amend_job"), parameters)
        await self._touch_runs()

    async def pause(self, reason: str | None) -> None:
        """Begin no run any more: what is armed waits for `resume`."""
        await self._set_state(JobStatus.PAUSED, reason)
        await runs.shelve(self.connection, [self.job.job_id])

    async def resume(self, *, from_pause: bool) -> None:
        """Go on: from now, or from the pause, so that the misfire policy decides about what was due meanwhile.

        From now, what was due meanwhile is on record as SKIPPED. A job that has nothing left is COMPLETED.
        """
        schedule, now = recurring_of(self.job), self.job.now
        cursor = await self.connection.execute(query("find_shelved"), {"job_id": self.job.job_id})
        shelved = await cursor.fetchall()
        for run_id, scheduled_for in shelved:
            due_at = self._due_at(schedule, scheduled_for)
            if from_pause or due_at > now:
                at = {"job_id": self.job.job_id, "run_id": run_id, "due_at": due_at}
                await self.connection.execute(query("unshelve"), at)
            else:
                await self._rearm(schedule, None, None)
        nothing_left = schedule is None or is_last(now, self.job, self.job.runs_begun)
        is_over = nothing_left and not await self.has_live_run()
        await self._set_state(JobStatus.COMPLETED if is_over else JobStatus.ACTIVE, None)

    def _due_at(self, schedule: Recurring | None, instant: datetime) -> datetime:
        once = decode(self.job.terms).due_once
        return once(self.job.job_id, instant) if schedule is None else schedule.due_at(instant)

    async def _set_state(self, state: JobStatus, reason: str | None) -> None:
        await self._keep_version()
        parameters = {"job_id": self.job.job_id, "state": state, "changed_at": self.job.now, "reason": reason}
        await self.connection.execute(query("set_job_state"), parameters)
        await self._touch_runs()

    async def take_calendar(self, copy: CalendarCopy) -> None:
        """Give the job a newer copy of a calendar that it names, and plan it anew where days roll by it."""
        terms = decode(self.job.terms)
        is_over = self.job.state not in {JobStatus.ACTIVE, JobStatus.PAUSED}
        if is_over or terms.exclude is None or copy.name not in terms.exclude.calendars:
            return
        copies = {known.name: known for known in terms.exclude.copies}
        if copy.name in copies and copies[copy.name].version >= copy.version:
            return
        changed = with_calendars(terms, copies | {copy.name: copy})
        await self._keep_version()
        at = {"job_id": self.job.job_id, "changed_at": self.job.now}
        await self.connection.execute(query("set_terms"), at | {"terms": encode(changed)})
        await self._touch_runs()
        schedule = recurring_of(self.job)
        if schedule is not None and changed.on_excluded not in {None, OnExcluded.SKIP}:
            await self.replan(replace(schedule, terms=changed), self.job.now, self.job.now)

    async def replan_is_possible(self) -> bool:
        """Whether the job may have another schedule: the one run of a one-off job must not have begun."""
        if self.job.schedule_oneoff is None:
            return True
        cursor = await self.connection.execute(query("has_begun_run"), {"job_id": self.job.job_id})
        return await cursor.fetchone() is None

    async def has_live_run(self) -> bool:
        """Whether any run of the job is live."""
        cursor = await self.connection.execute(
            query("lock_live_runs"), {"tenant_id": self.tenant_id, "job_id": self.job.job_id}
        )
        return await cursor.fetchone() is not None

    async def replan(self, schedule: Recurring | None, first_occurrence: datetime, first_due_at: datetime) -> None:
        """Take back what the old schedule has armed, and arm the new one.

        What a node holds, or what has begun, is too late to take back, and the new schedule begins after it. What was
        due and nobody had called is on record as SKIPPED. A new one-off run is at `first_occurrence`, due at
        `first_due_at`; a recurring one is planned from the moment of the change.
        """
        await self._rearm(schedule, first_occurrence, first_due_at)
        await runs.shelve(self.connection, [self.job.job_id])

    async def _rearm(
        self, schedule: Recurring | None, first_occurrence: datetime | None, first_due_at: datetime | None
    ) -> None:
        at = {"job_id": self.job.job_id, "now": self.job.now}
        taken_back = await (await self.connection.execute(query("unarm"), at)).fetchall()
        following, due_at = first_occurrence, first_due_at
        if schedule is not None:
            row = await (await self.connection.execute(query("last_taken_up"), at)).fetchone()
            after = max(self.job.now, row[0]) if row and row[0] else self.job.now
            following = await next_not_cancelled(self.connection, self.job.job_id, schedule, after)
            if is_used_up(schedule.terms, self.job.runs_begun):
                following = None
            due_at = None if following is None else schedule.due_at(following)
        for run_id, scheduled_for, fence in taken_back:
            if scheduled_for <= self.job.now:
                await self._account_for(run_id, scheduled_for, fence, following)
        if following is not None and due_at is not None:
            armed = runs.occurrence(self.job.job_id, self.tenant_id, following, due_at)
            await runs.insert_occurrences(self.connection, [armed])
            await self._touch_runs()

    async def _account_for(self, run_id: UUID, scheduled_for: datetime, fence: int, following: datetime | None) -> None:
        """Write down an occurrence that was taken back after its time, with those of its chain that came after it."""
        count = 1
        if fence == 0 and (schedule := recurring_of(self.job)) is not None:
            count += schedule.count_between(scheduled_for, self.job.now, DROPPED_COUNT_LIMIT)
        why = _WHY_PAUSED if self.job.state == JobStatus.PAUSED else _WHY_CHANGED
        await self.connection.execute(
            query("account_for_taken_back"),
            {
                "job_id": self.job.job_id,
                "run_id": run_id,
                "tenant_id": self.tenant_id,
                "scheduled_for": scheduled_for,
                "fence": fence,
                "reason": why.format(count=count),
                "occurrences": count,
                "superseded_by": following or self.job.now + _AN_INSTANT,
            },
        )

    async def _keep_version(self) -> None:
        definition = json.dumps(as_submitted(self.job), ensure_ascii=False)
        parameters = {"job_id": self.job.job_id, "changed_at": self.job.now, "definition": definition}
        await self.connection.execute(query("keep_version"), parameters)

    async def _touch_runs(self) -> None:
        await self.connection.execute(query("touch_runs"), {"job_id": self.job.job_id})


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that nothing else can change until the transaction of `connection` ends."""

    connection: Connection
    tenant_id: UUID
    job: LockedJob


@asynccontextmanager
async def holding(database: Database, tenant_id: UUID, job_id: UUID) -> AsyncIterator[HeldJob | None]:
    """Lend a job, locked, in a transaction that commits at the end; None where there is none.

    Its live runs are not locked: for what only adds to them. Who ends a run may wait for this, and is not waited for.
    """
    async with database.transaction() as connection:
        job = await _lock_job(connection, tenant_id, job_id)
        yield None if job is None else HeldJob(connection, tenant_id, job)


@asynccontextmanager
async def changing(database: Database, tenant_id: UUID, job_id: UUID) -> AsyncIterator[JobChange | None]:
    """Lend a job, locked with its live runs, in a transaction that commits at the end; None where there is none."""
    while True:
        try:
            async with database.transaction() as connection:
                job = await _lock(connection, tenant_id, job_id)
                yield None if job is None else JobChange(connection, tenant_id, job)
                return
        except _OvertakenError:
            continue  # with no lock in hand: the first one waits for whoever has the run


class _OvertakenError(Exception):
    """While the locks were waited for a run came to be that another has locked, or somebody waits for us in turn."""


async def _lock(connection: Connection, tenant_id: UUID, job_id: UUID) -> LockedJob | None:
    of_job = {"tenant_id": tenant_id, "job_id": job_id}
    try:
        await connection.execute(query("lock_live_runs"), of_job)
        job = await _lock_job(connection, tenant_id, job_id)
        if job is not None:  # once more: what was armed or wanted while we waited for the first locks
            await connection.execute(query("lock_live_runs_at_once"), of_job)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise _OvertakenError from error
    return job


async def _lock_job(connection: Connection, tenant_id: UUID, job_id: UUID) -> LockedJob | None:
    cursor = connection.cursor(row_factory=args_row(LockedJob))
    await cursor.execute(query("lock_job"), {"tenant_id": tenant_id, "job_id": job_id})
    return await cursor.fetchone()
