"""PgQueuer: see `benchmarks.peers.python.harness`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job, Schedule
from pgqueuer.queries import Queries

from benchmarks.peers.python.harness import Caller, create_by_clients, dues, main, minute, until_stopped

_ENTRYPOINT = "call"


async def install(_: dict[str, Any]) -> None:
    """Make its tables."""
    async with asyncpg.create_pool(min_size=1, max_size=1) as pool:
        await Queries(AsyncpgPoolDriver(pool)).install()


async def fill(settings: dict[str, Any]) -> dict[str, float]:
    """Make all jobs by one call, as each is due so long after the moment of its insert. Tells when the first is due."""
    moments = list(dues(settings))
    count = len(moments)
    async with asyncpg.create_pool(min_size=1, max_size=1, command_timeout=600) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        now = datetime.now(UTC)
        waits: list[timedelta | None] = [moment - now for moment in moments]
        await queries.enqueue([_ENTRYPOINT] * count, [b"{}"] * count, [0] * count, waits)
        first = await pool.fetchval("SELECT min(execute_after) FROM pgqueuer")
    return {"due_ms": first.timestamp() * 1000}


async def create(settings: dict[str, Any]) -> dict[str, float]:
    """Make jobs one a call."""
    wait = timedelta(days=1)
    async with asyncpg.create_pool(min_size=settings["clients"], max_size=settings["clients"]) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        return await create_by_clients(
            settings, lambda number: queries.enqueue(_ENTRYPOINT, b'{"number":%d}' % number, execute_after=wait)
        )


async def work(settings: dict[str, Any]) -> None:
    """Consume."""
    caller = Caller(settings)
    await caller.open()
    async with asyncpg.create_pool(min_size=2, max_size=settings["pool"]) as pool:
        worker = PgQueuer(AsyncpgPoolDriver(pool))

        @worker.entrypoint(_ENTRYPOINT)
        async def call(job: Job) -> None:
            await caller.post(str(job.id), job.execute_after.isoformat())

        for number in range(settings["crons"]):

            @worker.schedule(f"every-{number}", "* * * * *")
            async def every(schedule: Schedule) -> None:
                await caller.post(str(schedule.id), minute())

        await until_stopped(
            worker.run(
                batch_size=settings["batch_size"],
                dequeue_timeout=timedelta(seconds=settings["dequeue_timeout_seconds"]),
                max_concurrent_tasks=settings["max_concurrent_tasks"],
            )
        )


if __name__ == "__main__":
    main(install=install, fill=fill, create=create, work=work)
