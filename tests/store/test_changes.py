"""A change of a job locks its runs and the job in an order in which nobody waits in a circle."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from countwheel.store import long_work, runs, targets
from countwheel.store.changes import changing
from countwheel.store.database import Connection, Database
from countwheel.store.long_work import AcceptedRun
from countwheel.store.runs import FinishedRun, HeldRun, RetriedRun, RunningRun
from countwheel.store.targets import SetAsideRun
from locks import until_waiting

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


NOW = datetime(2026, 11, 25, tzinfo=UTC)
BACKWARDS = (LATER, EARLIER)
NODE = "node"

Write = Callable[[Connection], Awaitable[object]]


def finished(run_id: UUID) -> FinishedRun:
    return FinishedRun(
        JOB, run_id, 1, "SUCCEEDED", NOW, NOW, 200, None, None, occurrences=1, superseded_by=None, last=False, sent=True
    )


def retried(run_id: UUID) -> RetriedRun:
    return RetriedRun(JOB, run_id, 1, NOW, NOW, NOW, 503, "HTTP 503", None)


WRITES: dict[str, Write] = {
    "finish": lambda connection: runs.finish(connection, [finished(run_id) for run_id in BACKWARDS]),
    "retry": lambda connection: runs.retry(connection, [retried(run_id) for run_id in BACKWARDS], node_id=NODE),
    "mark_running": lambda connection: runs.mark_running(
        connection, [RunningRun(JOB, run_id, 1, NOW) for run_id in BACKWARDS]
    ),
    "release": lambda connection: runs.release(connection, [HeldRun(JOB, run_id, 1) for run_id in BACKWARDS]),
    "accept": lambda connection: long_work.accept(
        connection, [AcceptedRun(JOB, run_id, 1, NOW, 60.0, None) for run_id in BACKWARDS], node_id=NODE
    ),
    "set_aside": lambda connection: targets.set_aside(
        connection, [SetAsideRun(JOB, run_id, 1, "lane") for run_id in BACKWARDS], node_id=NODE
    ),
    "put_lane": lambda connection: targets.put_lane(
        connection, [(HeldRun(JOB, run_id, 1), "lane") for run_id in BACKWARDS], node_id=NODE
    ),
}


async def hold_two(database: Database) -> None:
    """Make a job of which a node holds two runs."""
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, job_url, target_host, job_payload, "
            "timeout_seconds, max_attempts, created_at, updated_at) VALUES (%s, %s, 'ACTIVE', "
            "'0 0 1 1 *', 'http://127.0.0.1/', '127.0.0.1', '{}', 30, 5, now(), now())",
            [JOB, TENANT],
        )
        for run_id in (EARLIER, LATER):
            await insert_run(connection, run_id)
        await connection.execute("UPDATE runs SET state = 'CLAIMED', node_id = %s, fence = 1, attempt = 1", [NODE])


@pytest.mark.parametrize("write", WRITES)
async def test_a_batch_locks_runs_in_the_order_of_a_change(database: Database, write: str) -> None:
    """Given in any order: it waits for the earlier run, and whoever has that gets the later one."""
    await hold_two(database)
    async with database.transaction() as changes:
        await changes.execute(LOCK_RUN, [EARLIER])

        async def write_it() -> None:
            async with database.connection() as connection:
                await WRITES[write](connection)

        writing = asyncio.create_task(write_it())
        await until_waiting(database, 1)
        await changes.execute(LOCK_RUN + " NOWAIT", [LATER])
    await writing


async def test_a_change_waits_for_no_errand_of_its_job(database: Database) -> None:
    """Nobody who changes a job locks its errands first, and so must not want one afterwards."""
    await hold_two(database)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET trigger = 'notification', call_url = 'http://127.0.0.1/', call_method = 'POST', "
            "call_body = '{}' WHERE run_id = %s",
            [LATER],
        )
    async with database.transaction() as records:
        await records.execute(LOCK_RUN, [LATER])
        async with asyncio.timeout(10), changing(database, TENANT, JOB) as change:
            assert change is not None
            await change.pause(None)


async def test_a_change_that_was_waited_for_in_turn_begins_again(database: Database, dsn: str) -> None:
    """Somebody who locks runs the other way round: PostgreSQL ends one of the two, and if it is the change, it is made
    all the same.
    """
    await hold_two(database)

    async def change() -> UUID | None:
        async with changing(database, TENANT, JOB) as lent:
            return None if lent is None else lent.job.job_id

    async with await psycopg.AsyncConnection.connect(dsn) as other:
        await other.execute("SET deadlock_timeout = '1min'")  # so that the change is the one to notice, and to be ended
        await other.execute(LOCK_RUN, [LATER])
        changed = asyncio.create_task(change())
        await until_waiting(database, 1)
        await other.execute(LOCK_RUN, [EARLIER])
        await other.commit()
    assert await changed == JOB
