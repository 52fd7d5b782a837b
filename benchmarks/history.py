"""A data directory with a long history: jobs of a few tenants, and a ledger of ten days, filled once and kept.

One tenant (`default`) has six tenths of everything; `middling` has three; eight have the rest but for `small`, which
has a ten-thousandth. Job ids and run ids sort by time, as ours do. One job of `default` has a hundredth of all runs.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.stage import free_port, start
from countwheel.clock import SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store.partitions import name_of

JOBS, RUNS, DAYS = 1_000_000, 10_000_000, 10
SMALL = "small"
_MARK = "filled.json"

# A job's number says whose it is, and all else of it. Runs are due far away, so that nothing is called.
_TENANTS = """
    INSERT INTO tenants (tenant_id, name, signing_secret)
    SELECT md5('tenant' || name)::uuid, name, (SELECT signing_secret FROM tenants WHERE name = 'default')
    FROM unnest(ARRAY['middling', 'small'] || ARRAY(SELECT 'other-' || n FROM generate_series(0, 7) AS n)) AS name
    ON CONFLICT DO NOTHING;
"""
_NUMBERED = """
    CREATE TABLE bench_jobs AS
    SELECT n, (lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0') || '7'
            || substr(md5('job' || n), 1, 3) || '8' || substr(md5('job' || n), 4, 15))::uuid AS job_id,
        CASE WHEN n % 10000 = 0 THEN (SELECT tenant_id FROM tenants WHERE name = 'small')
             WHEN n % 10 < 6 THEN (SELECT tenant_id FROM tenants WHERE name = 'default')
             WHEN n % 10 < 9 THEN (SELECT tenant_id FROM tenants WHERE name = 'middling')
             ELSE md5('tenantother-' || n / 10 % 8)::uuid END AS tenant_id,
        n % 2 = 0 AS recurring, created_at,
        CASE WHEN n % 1000 IN (2, 7) AND n > 2 THEN 'PAUSED' WHEN n % 500 = 11 THEN 'DELETED'
             WHEN n % 2 = 1 AND n % 4 = 1 THEN 'COMPLETED' ELSE 'ACTIVE' END AS state
    FROM (
        SELECT n,
            date_trunc('milliseconds', now() - interval '10 days' + n * (interval '10 days' / {jobs})) AS created_at
        FROM generate_series(1, {jobs}) AS n
    ) AS numbered;
    ALTER TABLE bench_jobs ADD PRIMARY KEY (n);
"""
_JOBS = """
    INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, schedule_oneoff, job_url, target_host, job_payload,
        name, labels, timeout_seconds, max_attempts, created_at, updated_at, deleted_at, ended_at, paused_at,
        pause_reason)
    SELECT job_id, tenant_id, state,
        CASE WHEN recurring THEN '0 ' || n % 24 || ' * * *' END,
        CASE WHEN NOT recurring THEN '2150-01-01T00:00:00Z' END,
        'https://host-' || n % 997 || '.example.com/hooks/' || n, 'host-' || n % 997 || '.example.com',
        '{"number": ' || n || ', "what": "a payload of an ordinary size, say a hundred bytes or some more"}',
        CASE WHEN n % 3 = 0 THEN 'report-' || n / 30 END,
        jsonb_build_object('team', 'team-' || n % 40)
            || CASE WHEN n % 5000 < 10 THEN '{"rare": "yes"}'::jsonb ELSE '{}' END,
        30, 5, created_at, created_at, CASE WHEN state = 'DELETED' THEN created_at END,
        CASE WHEN state IN ('DELETED', 'COMPLETED') THEN created_at END,
        CASE WHEN state = 'PAUSED' THEN created_at END, CASE WHEN state = 'PAUSED' THEN 'maintenance' END
    FROM bench_jobs ORDER BY n;
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '8'
            || substr(md5('live' || n), 1, 3) || '8' || substr(md5('live' || n), 4, 15))::uuid,
        tenant_id, n % 8, 'schedule', 'SCHEDULED', at, at
    FROM (SELECT *, timestamptz '2150-01-01' + n % 1440 * interval '1 min' AS at FROM bench_jobs) AS armed
    WHERE state IN ('ACTIVE', 'PAUSED') ORDER BY n;
"""
# A thousandth of the runs were due late; one in forty did not simply succeed.
_DAY = """
    CREATE TABLE {day} (LIKE run_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
    INSERT INTO {day} (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at,
        attempt, lost_attempts, fence, node_id, http_status, error, fingerprint, target, error_class, trace)
    SELECT j.job_id, (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '8' || substr(hash, 1, 3)
            || '8' || substr(hash, 4, 15))::uuid,
        j.tenant_id, 'schedule', status, moment, moment, CASE WHEN sent THEN moment + interval '2 ms' END,
        moment + interval '30 ms', sent::int, 0, 1, 'bench-1',
        CASE WHEN status = 'SUCCEEDED' THEN 200 WHEN status = 'FAILED' THEN 500 END,
        CASE WHEN status <> 'SUCCEEDED' THEN 'the target answered 500' END,
        CASE WHEN failed THEN substr(md5('looks' || h.n % 60), 1, 16) END,
        CASE WHEN failed THEN 'host-' || h.n % 997 || '.example.com' END, CASE WHEN failed THEN 'http_5xx' END,
        CASE WHEN sent THEN '203.0.113.7 443 reused - - - 9.123 9.456' END
    FROM (
        SELECT n, md5('run' || n) AS hash,
            CASE WHEN n % 100 = 99 THEN 2 ELSE 1 + (n * 7919::bigint) % {jobs} END AS job_number,
            date_trunc('milliseconds', timestamptz '{begin}' + (n - {first}) * (interval '{seconds} s' / {count}))
                AS moment,
            CASE WHEN dice < 975 THEN 'SUCCEEDED' WHEN dice < 990 THEN 'FAILED' WHEN dice < 993 THEN 'SKIPPED'
                 WHEN dice < 996 THEN 'CANCELED' WHEN dice < 998 THEN 'EXPIRED' ELSE 'UNKNOWN' END AS status
        FROM generate_series({first}, {first} + {count} - 1) AS n,
            LATERAL (SELECT ('x' || substr(md5('dice' || n), 1, 7))::bit(28)::int % 1000 AS dice) AS thrown
    ) AS h
    JOIN bench_jobs j ON j.n = h.job_number,
    LATERAL (
        SELECT status IN ('SUCCEEDED', 'FAILED', 'UNKNOWN') AS sent, status IN ('FAILED', 'UNKNOWN') AS failed
    ) AS known
    ORDER BY moment;
    ALTER TABLE run_history ATTACH PARTITION {day} FOR VALUES FROM ('{begin}') TO ('{end}');
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled data directory."""

    data_dir: Path
    jobs: int
    runs: int


async def filled_directory(cache: Path, scale: float) -> Filled:
    """Return a data directory filled to a scale (1.0: a million jobs, ten million runs), made where there is none."""
    folder = cache / f"reads-{scale:g}"
    jobs, runs = int(JOBS * scale), int(RUNS * scale)
    if not (folder / _MARK).exists():
        shutil.rmtree(folder, ignore_errors=True)
        await _bootstrap(folder)
        await _fill(folder, jobs, runs)
        (folder / _MARK).write_text(json.dumps({"jobs": jobs, "runs": runs}), encoding="utf-8")
    return Filled(folder, jobs, runs)


async def _bootstrap(folder: Path) -> None:
    """Let `countwheel dev` make its database, its tenant and its client."""
    environment = {
        "COUNTWHEEL_PORT": str(free_port()),
        "COUNTWHEEL_DATA_DIR": str(folder),
        "COUNTWHEEL_LOG_LEVEL": "warning",
    }
    server = await start("countwheel", "dev", until=b"See it arrive", environment=environment)
    server.terminate()
    await server.communicate()


async def _fill(folder: Path, jobs: int, runs: int) -> None:
    fast = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "8GB", "maintenance_work_mem": "1GB"}
    postgres = EmbeddedPostgres(folder, SystemClock(), progress=print, settings=fast | {"autovacuum": "off"})
    try:
        with psycopg.connect(await postgres.start(), autocommit=True) as connection:
            print(f"filling {jobs:,} jobs and {runs:,} runs into {folder} ...", flush=True)
            connection.execute(_TENANTS.encode())
            connection.execute((_NUMBERED.format(jobs=jobs)).encode())
            connection.execute(_JOBS.encode())
            row = connection.execute("SELECT now()").fetchone()
            now: datetime = row[0] if row else datetime.now(UTC)
            for ago in range(DAYS):
                _fill_day(connection, now, ago, jobs, runs // DAYS)
            connection.execute("DROP TABLE bench_jobs")
            connection.execute("VACUUM (ANALYZE)")
    finally:
        await postgres.stop()


def _fill_day(connection: psycopg.Connection, now: datetime, ago: int, jobs: int, count: int) -> None:
    """Fill the partition of a day: today's as far as the day has come."""
    day = now.astimezone(UTC).date() - timedelta(days=ago)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    seconds = min(86_400.0, (now - begin).total_seconds()) - 1
    name = name_of("run_history", day)
    connection.execute(f"DROP TABLE IF EXISTS {name}".encode())
    text = _DAY.format(
        day=name, begin=begin.isoformat(), end=(begin + timedelta(days=1)).isoformat(),
        first=1 + ago * count, count=count, seconds=seconds, jobs=jobs,
    )  # fmt: skip
    connection.execute(text.encode())
    print(f"  {name}: {count:,} runs", flush=True)


def dsn_of(data_dir: Path) -> str:
    """Return how the database of a `countwheel dev` that runs is reached."""
    password = (data_dir / "postgres.password").read_text(encoding="utf-8")
    return f"host='{data_dir.absolute()}/socket' user=countwheel dbname=countwheel password='{password}'"
