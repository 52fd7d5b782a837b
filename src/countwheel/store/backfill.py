"""Backfills: runs of occurrences of the past, created together and never twice while one is live."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from countwheel.domain import ids
from countwheel.domain.backfill import Known
from countwheel.domain.run import RunStatus, Trigger
from countwheel.store import idempotency, runs
from countwheel.store.changes import HeldJob
from countwheel.store.database import Connection
from countwheel.store.idempotency import KeyedAnswer
from countwheel.store.queries import query
from countwheel.store.runs import WantedRun


async def find_known(
    connection: Connection, job_id: UUID, start: datetime, end: datetime, *, of: Sequence[datetime] | None = None
) -> list[Known]:
    """Return what is on record of a job's occurrences from `start` up to, and without, `end`: of all, or of some."""
    at = {"job_id": job_id, "first_id": ids.first_run_id(start), "last_id": ids.first_run_id(end)}
    cursor = await connection.execute(query("known_of_range"), at | {"instants": None if of is None else list(of)})
    return [Known(row[0], RunStatus(row[1]), row[2]) async for row in cursor]


def run_id(job_id: UUID, instant: datetime, backfill_id: UUID) -> UUID:
    """Return the id of an occurrence's run in one backfill."""
    return ids.run_id(job_id, instant, Trigger.BACKFILL, backfill_id.bytes)


async def create(
    held: HeldJob, backfill_id: UUID, instants: Sequence[datetime], overlap: str, keyed: KeyedAnswer
) -> bool:
    """Create the runs of a backfill. Returns False where the key was used before."""
    job_id, tenant_id = held.job.job_id, held.tenant_id
    if not await idempotency.keep(held.connection, idempotency.BACKFILL_JOB, tenant_id, job_id, keyed):
        return False
    wanted = []
    for instant in instants:
        id_ = run_id(job_id, instant, backfill_id)
        wanted.append(
            WantedRun(job_id, id_, tenant_id, ids.bucket_of(id_), Trigger.BACKFILL, instant, overlap, held.job.version)
        )
    await runs.insert_wanted(held.connection, wanted)
    return True
