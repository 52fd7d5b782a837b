"""Creates jobs for many requests at once: what arrives while a statement is under way goes in the next one.

One durable commit then serves every request that waited for it. A lone request waits for nobody.
"""

import asyncio
from dataclasses import dataclass

from countwheel.store import jobs
from countwheel.store.database import Database, RefusedRowError
from countwheel.store.jobs import NewJob

_MAX_BATCH = 256
_WRITERS = 2
"""Statements under way at once: the next batch gathers and is prepared while one waits for the disk."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: NewJob
    created: asyncio.Future[bool]


class JobCreator:
    """Group commit for `POST /v1/jobs`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def create(self, job: NewJob) -> bool:
        """Return True when the job is durable, False where its idempotency key was used before.

        Raises `DatabaseUnavailableError` (it may have been created or not: ask again with the same key) and
        `RefusedRowError`.
        """
        created: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, created))
        if len(self._writers) < _WRITERS:
            writer = asyncio.create_task(self._write_all())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await created

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
            await self._write(batch)

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            async with self._database.connection() as connection:
                new = await jobs.create(connection, [entry.job for entry in batch])
        except RefusedRowError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for entry in batch:  # each row keeps its own fate
                await self._write([entry])
        except Exception as error:  # noqa: BLE001 (handed on to every request that waits)
            _fail(batch, error)
        else:
            for entry in batch:
                if not entry.created.done():  # its request may have been cancelled
                    entry.created.set_result(entry.job.job_id in new)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for entry in batch:
        if not entry.created.done():
            entry.created.set_exception(error)
