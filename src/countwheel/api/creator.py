"""Creates jobs for many requests at once (see `group_commit`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from countwheel.api.group_commit import GroupCommit
from countwheel.store import idempotency, jobs
from countwheel.store.audit_log import Entry
from countwheel.store.database import Connection, Database, RefusedRowError
from countwheel.store.idempotency import CREATE_JOB, StoredAnswer
from countwheel.store.jobs import NewJob


@dataclass(frozen=True, slots=True)
class Met:
    """The job's key was used before. `stored` is what was answered then; None while that request is under way."""

    stored: StoredAnswer | None


class _Create(NamedTuple):
    job: NewJob
    entry: Entry | None


class JobCreator:
    """Group commit for `POST /v1/jobs`."""

    def __init__(self, database: Database) -> None:
        self._creates = GroupCommit[_Create, Met | None](database, _create)

    async def create(self, job: NewJob, entry: Entry | None = None) -> Met | None:
        """Return None when the job is durable, and on record with its entry; `Met` where nothing was created.

        `entry` has the id of its job. Raises `DatabaseUnavailableError` (it may have been created or not: ask again
        with the same key) and `RefusedRowError`.
        """
        try:
            return await self._creates.write(_Create(job, entry))
        except RefusedRowError as error:
            if error.table.startswith(_AUDIT_LOG):  # ours is the fault, not the client's
                raise RuntimeError("the audit log refuses the entry of a create") from error
            raise


_AUDIT_LOG = "audit_log"


async def _create(connection: Connection, batch: Sequence[_Create]) -> list[Met | None]:
    entries = [create.entry for create in batch if create.entry is not None]
    new = await jobs.create(connection, [create.job for create in batch], entries)
    met = [(create.job.tenant_id, create.job.key) for create in batch if create.job.job_id not in new]
    if not met:
        return [None] * len(batch)
    # In a snapshot of its own: whoever was first may have committed while this batch waited for it.
    stored = await idempotency.find(connection, CREATE_JOB, [(tenant, key) for tenant, key in met if key is not None])
    return [
        None if create.job.job_id in new else Met(stored.get((create.job.tenant_id, create.job.key or "")))
        for create in batch
    ]
