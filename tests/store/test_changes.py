"""A change of a job locks its runs and the job in an order in which nobody waits in a circle."""

import asyncio
from uuid import UUID

from countwheel.store.changes import changing
from countwheel.store.database import Connection, Database
from harness import eventually

JOB, TENANT = UUID(int=1), UUID(int=2)
EARLIER, LATER = UUID(int=3), UUID(int=4)

LOCK_JOB = "SELECT FROM jobs WHERE job_id = %s FOR UPDATE"
LOCK_RUN = "SELECT FROM runs WHERE run_id = %s FOR UPDATE"


async def insert_run(connection: Connection, run_id: UUID) -> None:
    await connection.execute(
        "INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at) "
        "SELECT %s, %s, %s, 0, 'schedule', 'SCHEDULED', at, at FROM date_trunc('second', now()) AS at",
        [JOB, run_id, TENANT],
    )


async def until_waiting(database: Database, count: int) -> None:
    """Return when so many sessions of this database wait for a lock."""

    async def are_waiting() -> bool:
        async with database.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            row = await cursor.fetchone()
        return row == (count,)

    await eventually(are_waiting)


async def test_a_run_that_comes_to_be_meanwhile_closes_no_circle(database: Database) -> None:
    """A change has the later run and waits for the job; an earlier run comes to be, and another has that one and waits
    for the later: the change gives way and begins again, and both come to their end.
    """
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, "
            "timeout_seconds, max_attempts, created_at, updated_at) VALUES (%s, %s, 'ACTIVE', "
            "'2190-01-01T00:00:00Z', 'http://127.0.0.1/', '127.0.0.1', '{}', 30, 5, now(), now())",
            [JOB, TENANT],
        )
        await insert_run(connection, LATER)

    async def change() -> UUID | None:
        async with changing(database, TENANT, JOB) as lent:
            return None if lent is None else lent.job.job_id

    async with database.transaction() as has_the_job:
        await has_the_job.execute(LOCK_JOB, [JOB])
        changed = asyncio.create_task(change())
        await until_waiting(database, 1)
        async with database.connection() as connection:
            await insert_run(connection, EARLIER)
        other = asyncio.create_task(_lock_both(database))
        await until_waiting(database, 2)
    assert await other
    assert await changed == JOB


async def _lock_both(database: Database) -> bool:
    async with database.transaction() as connection:
        for run_id in (EARLIER, LATER):
            await connection.execute(LOCK_RUN, [run_id])
    return True
