"""What the walks of the pruner read, with 100,000 rows that stay."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from test_plans import custom_plan, generic_plan

from countwheel.domain import ids
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store.database import SESSION_OPTIONS, Database
from countwheel.store.pruning import prune_aged_jobs, prune_jobs_of_no_time
from countwheel.store.queries import query
from harness import fresh_database

STAYING = 100_000
MANY = 100
"""Rows a bite: few, so that what is read beside them shows."""
EACH = 50
"""Rows that may go."""

FILL = f"""
    INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at, ended_at)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
        md5('tenant')::uuid, CASE WHEN aged THEN 'COMPLETED' ELSE 'ACTIVE' END, '@yearly', 'http://127.0.0.1/',
        '127.0.0.1', '{{}}', 30, 5, at, at, CASE WHEN aged THEN at END
    FROM (
        SELECT n, n <= {EACH} AS aged,
            now() - make_interval(days => CASE WHEN n <= {EACH} THEN 40 ELSE 1 END, secs => n / 1000.0) AS at
        FROM generate_series(1, {STAYING + EACH}) AS n
    ) AS made;
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, job_id, tenant_id, 0, 'schedule', 'SCHEDULED', at, at
    FROM jobs, date_trunc('milliseconds', now()) AS at WHERE ended_at IS NULL;
    INSERT INTO idempotency_keys (tenant_id, operation, key, fingerprint, job_id, answer, created_at)
    SELECT tenant_id, 'createJob', job_id::text, decode(repeat('00', 32), 'hex'), job_id, '{{}}',
        created_at - interval '10 days'
    FROM jobs;
    INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted)
    SELECT job_id, created_at, job_id, tenant_id, true FROM jobs;
    INSERT INTO job_versions (job_id, version, tenant_id, state, effective_from, effective_until)
    SELECT job_id, 1, tenant_id, 'ACTIVE', created_at, created_at FROM jobs;
"""
TABLES = "jobs, runs, idempotency_keys, cancelled_occurrences, job_versions"


@pytest.fixture(scope="module", params=["with statistics", "without statistics", "with statistics of an empty table"])
def filled(cluster: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A database with many young rows and few aged ones, which come first. Tests leave it as it is."""
    with (
        fresh_database(cluster) as dsn,
        psycopg.connect(dsn, autocommit=True, options=SESSION_OPTIONS) as connection,
    ):
        for table in TABLES.split(", "):
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        if request.param == "with statistics of an empty table":
            connection.execute(f"ANALYZE {TABLES}".encode())
        connection.execute(FILL.encode())
        if request.param == "with statistics":
            connection.execute(f"ANALYZE {TABLES}".encode())
        yield connection


NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
WALKS = {
    "prune_jobs": {"after": UUID(int=0), "until": ids.LAST_ID, "retention_days": 30},
    "prune_keys": {"after": NO_TIME},
    "prune_cancelled": {"after_job": UUID(int=0), "after": NO_TIME, "retention_days": 30},
    "prune_versions": {"after_job": UUID(int=0), "after": 0, "retention_days": 30},
}


@pytest.mark.parametrize("name", WALKS)
def test_a_bite_reads_no_more_than_itself(filled: psycopg.Connection, name: str) -> None:
    """By an index, and of every other table what belongs to it."""
    scans = custom_plan(filled, query(name), WALKS[name] | {"many": MANY})
    assert sum(scan.rows_visited for scan in scans) <= 10 * MANY, scans
    assert not [scan for scan in generic_plan(filled, query(name)) if scan.kind == "Seq Scan"]


async def test_young_jobs_are_not_looked_at(filled: psycopg.Connection) -> None:
    """The walks read jobs whose ids are older than the retention, and those whose ids are of no time of ours."""
    database = Database(make_conninfo(filled.info.dsn, password=filled.info.password), name="test", size=1)
    await database.open()
    async with database.connection() as connection, connection.transaction(force_rollback=True):
        bites = [
            await walk(connection, None, EACH + 1, retention_days=30)
            for walk in (prune_aged_jobs, prune_jobs_of_no_time)
        ]
    await database.close()
    # Not one more was there to fill a bite.
    assert [(bite.gone, bite.last) for bite in bites] == [(EACH, None), (0, None)]
