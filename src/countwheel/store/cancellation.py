"""Cancelling runs so that it is final: what no node holds ends here, what a node holds is asked of that node.

A target that has a run, or may have it, is told of its cancel by an errand, in the transaction that ends the run.

Three races are settled by row locks and by the order of commits alone:

- A claim locks the run's row before it acts, and a cancel locks it too: one of them is first, and the other sees it.
- A cancelled occurrence is remembered *before* the live rows of its job are locked. A claim that is arming that very
  occurrence holds the lock of its predecessor until it commits: the cancel waits, and then finds the new row.
- A job is marked deleted before its live runs are locked, for the same reason.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain.job import JobStatus
from countwheel.domain.planning import Ending, end_with_job
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.schedule import Recurring, recurring_of
from countwheel.store import errands, runs
from countwheel.store.cancelled import next_not_cancelled
from countwheel.store.database import Connection, Database
from countwheel.store.queries import query

REASON = "cancelled by request"

_FORGOTTEN_AFTER_SECONDS = 60.0


class CancelStep(Enum):
    """How far a cancel has come."""

    ENDED = auto()
    """The run is cancelled, and the ledger says so."""
    ASKED = auto()
    """A node holds the run and has been asked to stop; look again."""
    NOT_LIVE = auto()
    """There is no live run of this id (any more): the ledger says what became of it, if there ever was one."""


@dataclass(frozen=True, slots=True)
class _LiveRun:
    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    scheduled_for: datetime
    node_id: str | None
    fence: int
    trigger: str
    attempt: int
    started_at: datetime | None
    accepted_at: datetime | None
    attempts_before: int | None
    calling: str | None
    database_now: datetime

    @property
    def is_held(self) -> bool:
        """Whether a node holds it. One that a target has accepted is no node's: it ends at once."""
        return self.node_id is not None and self.accepted_at is None


@dataclass(frozen=True, slots=True)
class _Job:
    job_id: UUID
    state: str
    schedule_recurring: str | None
    timezone: str | None
    terms: str | None


async def cancel_live(database: Database, tenant_id: UUID, job_id: UUID, run_id: UUID) -> CancelStep:
    """Cancel a live run if nobody holds it, or ask its holder. The occurrence after it stays armed."""
    async with database.transaction() as connection:
        cursor = await connection.execute(
            query("lock_live_run"), {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
        )
        row = await cursor.fetchone()
        if row is None:
            return CancelStep.NOT_LIVE
        return await _cancel_locked(connection, tenant_id, job_id, _LiveRun(*row))


async def cancel_job_runs(database: Database, tenant_id: UUID, job_id: UUID, reason: str) -> bool:
    """End every live run of a deleted job that nobody holds and ask the holders of the others.

    Returns True when there was none left to end: call it again until then. The job must be marked deleted in an
    earlier commit.
    """
    async with database.transaction() as connection:
        cursor = await connection.execute(query("lock_live_runs"), {"tenant_id": tenant_id, "job_id": job_id})
        live = [_LiveRun(*row) async for row in cursor]
        for run in live:
            if run.is_held:
                await _ask_holder(connection, job_id, run.run_id, reason)
            else:
                await _end_unheld(connection, tenant_id, job_id, run, reason)
    return not live


async def cancel_earlier(database: Database, tenant_id: UUID, job_id: UUID, run_id: UUID, reason: str) -> None:
    """End every live run of a job that is earlier than one of its runs, or ask its holder to."""
    async with database.transaction() as connection:
        cursor = await connection.execute(query("lock_live_runs"), {"tenant_id": tenant_id, "job_id": job_id})
        earlier = [run for run in [_LiveRun(*row) async for row in cursor] if run.run_id < run_id]
        earlier = [run for run in earlier if run.trigger != Trigger.BACKFILL]
        # A redriven one that nobody holds is in nobody's way.
        earlier = [run for run in earlier if run.attempts_before is None or run.node_id is not None]
        for run in earlier:
            if run.is_held:
                await _ask_holder(connection, job_id, run.run_id, reason)
            else:
                await _end(connection, job_id, run, Ending(RunStatus.CANCELED, reason))


async def cancel_future(
    database: Database, tenant_id: UUID, job_id: UUID, run_id: UUID, scheduled_for: datetime
) -> CancelStep:
    """Cancel an occurrence whose row does not exist yet, so that it never will.

    The caller has made sure that `scheduled_for` is an occurrence of the job and that `run_id` is its id.
    """
    async with database.connection() as connection:
        await _remember(connection, tenant_id, job_id, run_id, scheduled_for, accounted=False)
    async with database.transaction() as connection:
        cursor = await connection.execute(query("lock_live_runs"), {"tenant_id": tenant_id, "job_id": job_id})
        await cursor.fetchall()
        # A statement of its own, so that its snapshot is later than the locks.
        cursor = await connection.execute(
            query("lock_live_run"), {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
        )
        row = await cursor.fetchone()
        if row is not None:
            return await _cancel_locked(connection, tenant_id, job_id, _LiveRun(*row))
        await connection.execute(query("account_for_cancelled"), {"run_id": run_id, "min_age_seconds": 0.0})
    return CancelStep.ENDED


async def account_for_forgotten(connection: Connection) -> int:
    """Write the ledger rows of future cancels that a crash cut in two, and return how many there were.

    Only those older than a minute: a younger one may be under way.
    """
    cursor = await connection.execute(
        query("account_for_cancelled"), {"run_id": None, "min_age_seconds": _FORGOTTEN_AFTER_SECONDS}
    )
    return cursor.rowcount


async def find_schedule(connection: Connection, tenant_id: UUID, job_id: UUID) -> Recurring | None:
    """Return the schedule of a recurring job that has not ended, paused or not, or None: its chain goes on."""
    job = await _find_job(connection, tenant_id, job_id)
    return recurring_of(job) if job is not None and job.state in {JobStatus.ACTIVE, JobStatus.PAUSED} else None


async def _cancel_locked(connection: Connection, tenant_id: UUID, job_id: UUID, run: _LiveRun) -> CancelStep:
    if run.is_held:
        await _ask_holder(connection, job_id, run.run_id, REASON)
        return CancelStep.ASKED
    schedule = await find_schedule(connection, tenant_id, job_id) if run.trigger == Trigger.SCHEDULE else None
    if schedule is not None:
        await _remember(connection, tenant_id, job_id, run.run_id, run.scheduled_for, accounted=True)
        if run.fence == 0:  # never claimed: the occurrence after it is not armed yet
            await _arm_after(connection, tenant_id, job_id, schedule, run.scheduled_for)
    await _end(connection, job_id, run, Ending(RunStatus.CANCELED, REASON))
    return CancelStep.ENDED


async def _end_unheld(connection: Connection, tenant_id: UUID, job_id: UUID, run: _LiveRun, reason: str) -> None:
    """End a run of a deleted job, and with it those of its chain that were due before now and never armed."""
    job = await _find_job(connection, tenant_id, job_id)
    is_of_the_chain = job is not None and run.trigger == Trigger.SCHEDULE and run.fence == 0
    chain = recurring_of(job) if job is not None and is_of_the_chain else None
    await _end(connection, job_id, run, end_with_job(chain, run.scheduled_for, reason, now=run.database_now))


async def _ask_holder(connection: Connection, job_id: UUID, run_id: UUID, reason: str) -> None:
    await connection.execute(query("request_cancel"), {"job_id": job_id, "run_id": run_id, "reason": reason})


async def _find_job(connection: Connection, tenant_id: UUID, job_id: UUID) -> _Job | None:
    cursor = connection.cursor(row_factory=args_row(_Job))
    await cursor.execute(query("find_schedule"), {"tenant_id": tenant_id, "job_id": job_id})
    return await cursor.fetchone()


async def _end(connection: Connection, job_id: UUID, run: _LiveRun, ending: Ending) -> None:
    """Write a run that no node holds down as CANCELED, tell its target, and wake what may have waited for it."""
    await connection.execute(
        query("end_unheld"),
        {
            "job_id": job_id,
            "run_id": run.run_id,
            "reason": ending.reason,
            "occurrences": ending.occurrences,
            "superseded_by": ending.superseded_by,
        },
    )
    if run.started_at is not None:
        told = errands.cancellation_of(run, attempt=run.attempt, reason=ending.reason, moment=run.database_now)
        await errands.insert(connection, told)
    await runs.wake(connection, [job_id])


async def _remember(
    connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID, scheduled_for: datetime, *, accounted: bool
) -> None:
    await connection.execute(
        query("remember_cancelled"),
        {
            "tenant_id": tenant_id,
            "job_id": job_id,
            "run_id": run_id,
            "scheduled_for": scheduled_for,
            "accounted": accounted,
        },
    )


async def _arm_after(
    connection: Connection, tenant_id: UUID, job_id: UUID, schedule: Recurring, after: datetime
) -> None:
    following = await next_not_cancelled(connection, job_id, schedule, after)
    if following is None:
        return
    occurrence = runs.occurrence(job_id, tenant_id, following, schedule.due_at(following))
    await runs.insert_occurrences(connection, [occurrence])
    await runs.shelve(connection, [job_id])
