"""Jobs that come by SQL are jobs as the API makes them."""

import psycopg
import pytest

from benchmarks.bulk import Jobs, insert
from benchmarks.recurring import schedules_at
from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.timestamp import format_instant

DUE = 1_893_456_000.0


async def rows(dsn, statement):
    """Return what a query finds."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await (await connection.execute(statement)).fetchall()


@pytest.fixture
async def tenant_id(dsn):
    """The tenant that is there."""
    ((found,),) = await rows(dsn, "SELECT tenant_id FROM tenants")
    return found


async def test_run_is_its_occurrence(dsn, tenant_id):
    """The ids and buckets that SQL computes are those of the domain."""
    await insert(dsn, tenant_id, Jobs(200, DUE, "http://127.0.0.1/", apart_ms=10 / 3))
    found = await rows(dsn, "SELECT job_id, run_id, bucket, scheduled_for, due_at FROM runs ORDER BY scheduled_for")
    assert len(found) == 200
    for job_id, run_id, bucket, scheduled_for, due_at in found:
        assert run_id == ids.run_id(job_id, scheduled_for, Trigger.SCHEDULE)
        assert bucket == ids.bucket_of(run_id)
        assert due_at == scheduled_for
    assert {row[2] for row in found} == set(range(ids.BUCKETS))
    assert found[1][3].timestamp() == DUE + 0.003


async def test_one_off_job_says_when(dsn, tenant_id):
    """The text that a client would have submitted names the instant of its run."""
    await insert(dsn, tenant_id, Jobs(3, DUE, "http://127.0.0.1/", apart_ms=1.0))
    found = await rows(
        dsn, "SELECT schedule_oneoff, scheduled_for, schedule_recurring FROM jobs JOIN runs USING (job_id)"
    )
    assert all(text == format_instant(at) and recurring is None for text, at, recurring in found)


async def test_recurring_job_fires_when_its_run_is_due(dsn, tenant_id):
    """The first run of an interval is one of its occurrences, and so it is for every kind of cron schedule."""
    await insert(dsn, tenant_id, Jobs(9, DUE, "http://127.0.0.1/", 7.0, ["@every 60s"], DUE - 3600, 7.0))
    ((instant,),) = await rows(dsn, "SELECT min(scheduled_for) FROM runs")
    await insert(dsn, tenant_id, Jobs(12, DUE, "http://127.0.0.1/", expressions=schedules_at(instant)))
    found = await rows(dsn, "SELECT job_id, schedule_recurring, scheduled_for FROM jobs JOIN runs USING (job_id)")
    assert len(found) == 21
    for job_id, expression, scheduled_for in found:
        assert parse_recurring(expression, None, job_id).is_occurrence(scheduled_for), expression
