"""Runs that somebody wants now: of a job, and of no occurrence of its schedule."""

from datetime import datetime, timedelta

from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.store import idempotency, runs
from countwheel.store.changes import JobChange
from countwheel.store.idempotency import KeyedAnswer
from countwheel.store.queries import query
from countwheel.store.runs import WantedRun

_MILLISECOND = timedelta(milliseconds=1)


async def find_moment(change: JobChange) -> datetime:
    """Return a moment, now or a few milliseconds later, at which no run of the job was wanted before."""
    moment = ids.instant_of(ids.milliseconds_of(change.job.now)) + _MILLISECOND  # rounded up: never early
    while True:
        run_id = ids.run_id(change.job.job_id, moment, Trigger.MANUAL)
        cursor = await change.connection.execute(query("is_live"), {"job_id": change.job.job_id, "run_id": run_id})
        if await cursor.fetchone() is None:
            return moment
        moment += _MILLISECOND


async def create(change: JobChange, moment: datetime, keyed: KeyedAnswer) -> bool:
    """Create a run that is due at `moment`. Returns False where the key was used before."""
    job_id, tenant_id = change.job.job_id, change.tenant_id
    if not await idempotency.keep(change.connection, idempotency.RUN_JOB, tenant_id, job_id, keyed):
        return False
    run_id = ids.run_id(job_id, moment, Trigger.MANUAL)
    await runs.insert_wanted(
        change.connection,
        [WantedRun(job_id, run_id, tenant_id, ids.bucket_of(run_id), Trigger.MANUAL, moment, None, change.job.version)],
    )
    return True
