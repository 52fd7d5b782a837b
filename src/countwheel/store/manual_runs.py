"""Runs that somebody wants now: of a job, and of no occurrence of its schedule."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.store.changes import JobChange
from countwheel.store.queries import query

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """What makes a repeated request harmless: its key, what it meant, and what is answered to it."""

    key: str | None
    fingerprint: bytes
    answer: str


async def find_moment(change: JobChange) -> datetime:
    """Return a moment, now or a few milliseconds later, at which no run of the job was wanted before."""
    moment = ids.instant_of(ids.milliseconds_of(change.job.now)) + _MILLISECOND  # rounded up: never early
    while True:
        run_id = ids.run_id(change.job.job_id, moment, Trigger.MANUAL)
        cursor = await change.connection.execute(query("is_live"), {"job_id": change.job.job_id, "run_id": run_id})
        if await cursor.fetchone() is None:
            return moment
        moment += _MILLISECOND


async def create(change: JobChange, tenant_id: UUID, moment: datetime, keyed: KeyedAnswer) -> bool:
    """Create a run that is due at `moment`. Returns False where the key was used before."""
    run_id = ids.run_id(change.job.job_id, moment, Trigger.MANUAL)
    cursor = await change.connection.execute(
        query("run_now"),
        {
            "job_id": change.job.job_id,
            "run_id": run_id,
            "tenant_id": tenant_id,
            "bucket": ids.bucket_of(run_id),
            "scheduled_for": moment,
            "job_version": change.job.version,
            "key": keyed.key,
            "fingerprint": keyed.fingerprint,
            "answer": keyed.answer,
        },
    )
    return await cursor.fetchone() is not None
