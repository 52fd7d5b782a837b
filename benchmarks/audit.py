"""The audit at scale: how long, and in how much memory, over millions of rows.

python -m benchmarks.audit [ROWS]
"""

import asyncio
import resource
import subprocess
import sys
import time

from benchmarks.filled import filled

# Half of the rows are one-off jobs, half are the occurrences of one job that fires every second.
_FILL = """
    INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at, ended_at)
    SELECT md5('job' || n)::uuid, md5('tenant')::uuid, 'COMPLETED',
        to_char(now() - n * interval '10 ms' - interval '1 h', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'http://127.0.0.1/', '127.0.0.1', '{}', 30, 5, now() - interval '30 d', now(), now()
    FROM generate_series(1, %(half)s) AS n;
    INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at, deleted_at, ended_at)
    SELECT md5('recurring')::uuid, md5('tenant')::uuid, 'DELETED', '* * * * * *', 'http://127.0.0.1/', '127.0.0.1',
        '{}', 30, 5, date_trunc('second', now()) - interval '1 h' - %(half)s * interval '1 s', now(),
        date_trunc('second', now()) - interval '1 h', date_trunc('second', now()) - interval '1 h';
    INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at,
        attempt, lost_attempts, fence, http_status)
    SELECT job_id,
        (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(md5(job_id::text), 13))::uuid,
        tenant_id, 'schedule', 'SUCCEEDED', at, at, at, at, 1, 0, 1, 200
    FROM (
        SELECT job_id, tenant_id, schedule_oneoff::timestamptz AS at FROM jobs WHERE schedule_oneoff IS NOT NULL
        UNION ALL
        SELECT job_id, tenant_id, created_at + n * interval '1 s'
        FROM jobs, generate_series(1, %(half)s) AS n WHERE schedule_recurring IS NOT NULL
    ) AS ended;
    ANALYZE jobs, run_history;
"""


async def main(rows: int) -> None:
    """Fill a database, audit it, print the figures."""
    async with filled(_FILL % {"half": rows // 2}) as dsn:
        began = time.monotonic()
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "countwheel", "audit", "--from", "2000-01-01"],
            env={"COUNTWHEEL_DATABASE_URL": dsn, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(ended.stdout, ended.stderr)
    print(f"{rows:,} rows audited in {seconds:.1f} s ({rows / seconds:,.0f}/s), {peak_mib:.0f} MiB at the peak")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000))
