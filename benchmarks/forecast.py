"""The forecast at scale: how long it takes over a million jobs, and how near it is where some stand for others.

python -m benchmarks.forecast [JOBS]
"""

import asyncio
import sys
import time
from datetime import timedelta
from uuid import UUID

from benchmarks.filled import filled
from countwheel.clock import SystemClock
from countwheel.domain.forecast import follow
from countwheel.store import forecast
from countwheel.store.database import Database

# A third at minutes that people choose, a third with a minute of their own (H), a sixth intervals, a sixth one-off.
_FILL = """
    INSERT INTO tenants (tenant_id, name, signing_secret) VALUES (md5('tenant')::uuid, 'bench', '');
    INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, schedule_oneoff, job_url, target_host, job_payload,
        timeout_seconds, max_attempts, created_at, updated_at)
    SELECT md5('job' || n)::uuid, md5('tenant')::uuid, 'ACTIVE',
        CASE WHEN n %% 6 < 2 THEN n %% 7 * 5 || ' ' || n %% 24 || ' * * *'
             WHEN n %% 6 < 4 THEN (ARRAY['H * * * *', 'H H * * *', 'H/15 * * * *'])[1 + n / 6 %% 3]
             WHEN n %% 6 = 4 THEN '@every ' || 1 + n %% 50 || 'm' END,
        CASE WHEN n %% 6 = 5 THEN to_char(now() + n %% 86400 * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        'http://127.0.0.1/', 'host-' || n %% 40 || '.test', '{}', 30, 5, now(), now()
    FROM generate_series(1, %(jobs)s) AS n;
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, job_id, tenant_id, 0, 'schedule', 'SCHEDULED', at, at
    FROM (
        SELECT job_id, tenant_id,
            coalesce(schedule_oneoff::timestamptz, date_trunc('hour', now()) + interval '1 h') AS at
        FROM jobs
    ) AS armed;
    ANALYZE jobs, runs;
"""


async def main(jobs: int) -> None:
    """Fill a database, ask for the forecast three times, print the figures."""
    async with filled(_FILL % {"jobs": jobs}) as dsn:
        database = Database(dsn, name="bench", size=1)
        await database.open()
        async with database.connection() as connection:
            cursor = await connection.execute("SELECT tenant_id FROM tenants WHERE name = 'bench'")
            (tenant,) = await cursor.fetchone() or (None,)
        for _ in range(3):
            await _ask(database, tenant, jobs)
        await database.close()


async def _ask(database: Database, tenant: UUID, jobs: int) -> None:
    start = SystemClock().now().replace(second=0, microsecond=0)
    began = time.monotonic()
    async with database.connection() as connection:
        groups = await forecast.find_groups(connection, tenant, None)
        singles = await forecast.find_singles(connection, tenant, None, start, start + timedelta(days=1))
    read = time.monotonic()
    found = follow(groups.groups, start, 1440, groups.others)
    done = time.monotonic()
    runs = found.runs.total() + sum(count for _, _, count in singles)
    print(
        f"{jobs:,} jobs, {len(groups.groups):,} groups, {runs:,} runs in 24 h (estimated: {found.estimated}): "
        f"{read - began:.2f} s in the database, {done - read:.2f} s of counting"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
