"""Puts jobs into the database by the million, with the very columns that creating them over the API writes.

Ids are valid: a job's is a UUID version 7 of its creation, a run's is its occurrence (`countwheel.domain.ids`, here in
SQL; a test compares the two). What the API would write beside them is an idempotency key each, which a run never meets.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

_CHUNK = 100_000
_AT_ONCE = 2
_SHARE = 0.1
"""Rows that are more than such a part of a table are looked over before anything is measured, as autovacuum would."""
_MANY = 50_000
"""So many rows are vacuumed, too."""

_INSERT = """
    WITH numbered AS MATERIALIZED (
        SELECT n, floor(%(due_ms)s + n * %(apart_ms)s)::bigint AS due_ms,
            floor(%(created_ms)s + n * %(created_apart_ms)s)::bigint AS created_ms,
            replace(gen_random_uuid()::text, '-', '') AS chance
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ),
    named AS MATERIALIZED (
        SELECT n, due_ms, created_ms,
            (lpad(to_hex(created_ms), 12, '0') || '7' || substr(chance, 14))::uuid AS job_id
        FROM numbered
    ),
    hashed AS MATERIALIZED (
        SELECT n, due_ms, created_ms, job_id,
            encode(substr(sha256(uuid_send(job_id) || convert_to(due_ms || ' schedule', 'UTF8')), 1, 10), 'hex') AS hash
        FROM named
    ),
    new_jobs AS (
        INSERT INTO jobs (
            job_id, tenant_id, state, schedule_recurring, schedule_oneoff, timezone, job_url, target_host, job_payload,
            labels, timeout_seconds, max_attempts, created_at, updated_at, delivery, on_unknown
        )
        SELECT job_id, %(tenant_id)s, 'ACTIVE',
            (%(expressions)s::text[])[1 + n %% nullif(cardinality(%(expressions)s::text[]), 0)],
            CASE WHEN cardinality(%(expressions)s::text[]) = 0
                THEN to_char(to_timestamp(due_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END,
            NULL, %(url)s, '127.0.0.1', '{"hello":"world"}', '{}', 30, 5,
            to_timestamp(created_ms / 1000.0), to_timestamp(created_ms / 1000.0), 'at_least_once', 'retry'
        FROM hashed
    )
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id,
        (lpad(to_hex(due_ms), 12, '0') || '8' || substr(hash, 2, 3)
            || translate(substr(hash, 5, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr(hash, 6))::uuid,
        %(tenant_id)s, translate(right(hash, 1), '89abcdef', '01234567')::smallint, 'schedule', 'SCHEDULED',
        due_at, due_at
    FROM hashed, LATERAL (SELECT date_trunc('milliseconds', to_timestamp(due_ms / 1000.0)) AS due_at) AS due
"""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs that are due one after another: the first at `due` (seconds since 1970), each `apart_ms` later.

    One-off ones, or recurring with `expressions` in turn, each of which has to name the instant at which it is due.
    `created` is when the first of them was created, and each `created_apart_ms` later.
    """

    count: int
    due: float
    url: str
    apart_ms: float = 0.0
    expressions: Sequence[str] = ()
    created: float | None = None
    created_apart_ms: float = 0.0


async def insert(dsn: str, tenant_id: UUID, jobs: Jobs) -> None:
    """Put jobs and their first runs into the database. Where they are many, the tables are looked over afterwards."""
    now = jobs.due - 3600 if jobs.created is None else jobs.created
    parameters = {
        "tenant_id": tenant_id,
        "due_ms": jobs.due * 1000,
        "apart_ms": jobs.apart_ms,
        "created_ms": now * 1000,
        "created_apart_ms": jobs.created_apart_ms,
        "expressions": list(jobs.expressions),
        "url": jobs.url,
    }
    bites = iter(range(0, jobs.count, _CHUNK))

    async def fill() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute("SET work_mem = '64MB'")
            for first in bites:
                bite = {"first": first, "last": min(first + _CHUNK, jobs.count) - 1}
                await connection.execute(_INSERT, parameters | bite)

    await asyncio.gather(*(fill() for _ in range(_AT_ONCE)))
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        row = await (await connection.execute("SELECT reltuples FROM pg_class WHERE oid = 'jobs'::regclass")).fetchone()
        if row is not None and jobs.count > _SHARE * row[0]:
            await connection.execute("ANALYZE jobs, runs")
            if jobs.count >= _MANY:
                await connection.execute("VACUUM jobs, runs")


async def settle(dsn: str) -> None:
    """Let the database come to rest: what a few quiet minutes would do by themselves."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def put_to_sleep(dsn: str, tenant_id: UUID, count: int, now: float) -> None:
    """Put jobs into the database that are due in a month or later, and let the database come to rest."""
    month = 30 * 86_400
    jobs = Jobs(count, now + month, "http://127.0.0.1:9/never", month * 1000 / count, created=now - month)
    await insert(dsn, tenant_id, jobs)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("CHECKPOINT")
