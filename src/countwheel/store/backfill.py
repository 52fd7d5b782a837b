"""Backfills: runs of occurrences of the past, created together and never twice while one is live."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from countwheel.domain import ids
from countwheel.domain.backfill import Known
from countwheel.domain.run import RunStatus, Trigger
from countwheel.store import idempotency, runs
from countwheel.store.changes import JobChange
from countwheel.store.idempotency import KeyedAnswer
from countwheel.store.queries import query
from countwheel.store.runs import WantedRun


async def find_known(change: JobChange, start: datetime, end: datetime) -> list[Known]:
    """Return what is on record of the job's occurrences from `start` up to, and without, `end`."""
    at = {"job_id": change.job.job_id, "first_id": ids.first_run_id(start), "last_id": ids.first_run_id(end)}
    cursor = await change.connection.execute(query("known_of_range"), at)
    return [Known(row[0], RunStatus(row[1]), row[2]) async for row in cursor]


def run_id(job_id: UUID, instant: datetime, backfill_id: UUID) -> UUID:
    """Return the id of an occurrence's run in one backfill."""
    return ids.run_id(job_id, instant, Trigger.BACKFILL, backfill_id.bytes)


async def create(
    change: JobChange, backfill_id: UUID, instants: Sequence[datetime], overlap: str, keyed: KeyedAnswer
) -> bool:
    """Create the runs of a backfill. Returns False where the key was used before."""
    job_id, tenant_id = change.job.job_id, change.tenant_id
    if not await idempotency.keep(change.connection, idempotency.BACKFILL_JOB, tenant_id, job_id, keyed):
        return False
    wanted = []
    for instant in instants:
        id_ = run_id(job_id, instant, backfill_id)
        wanted.append(
            WantedRun(
                job_id, id_, tenant_id, ids.bucket_of(id_), Trigger.BACKFILL, instant, overlap, change.job.version
            )
        )
    await runs.insert_wanted(change.connection, wanted)
    return True
