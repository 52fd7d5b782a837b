"""Creates jobs for many requests at once (see `group_commit`)."""

from collections.abc import Sequence

from countwheel.api.group_commit import GroupCommit
from countwheel.store import jobs
from countwheel.store.database import Connection, Database
from countwheel.store.jobs import NewJob


class JobCreator:
    """Group commit for `POST /v1/jobs`."""

    def __init__(self, database: Database) -> None:
        self._creates = GroupCommit[NewJob, bool](database, _create)

    async def create(self, job: NewJob) -> bool:
        """Return True when the job is durable, False where its idempotency key was used before.

        Raises `DatabaseUnavailableError` (it may have been created or not: ask again with the same key) and
        `RefusedRowError`.
        """
        return await self._creates.write(job)


async def _create(connection: Connection, batch: Sequence[NewJob]) -> list[bool]:
    new = await jobs.create(connection, batch)
    return [job.job_id in new for job in batch]
