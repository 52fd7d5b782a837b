"""The ledger's daily partitions, and what is kept for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.engine.pruner import Pruner
from countwheel.store import partitions
from countwheel.store.database import Connection, Database
from harness import Node, eventually, running_node

TENANT = UUID(int=7)


async def end_runs(connection: Connection, *, days_ago: int, rows: int = 1) -> None:
    """Put runs of TENANT into the ledger that succeeded then."""
    await connection.execute(
        """
        INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at,
            finished_at, attempt, lost_attempts, fence, http_status)
        SELECT gen_random_uuid(), gen_random_uuid(), %(tenant)s, 'schedule', 'SUCCEEDED', at, at, at, at,
            1, 0, 1, 200
        FROM generate_series(1, %(rows)s), (SELECT now() - make_interval(days => %(days_ago)s) AS at) AS moment
        """,
        {"tenant": TENANT, "rows": rows, "days_ago": days_ago},
    )


async def names(database: Database, parent: str) -> set[str]:
    async with database.connection() as connection:
        rows = await connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [parent]
        )
        return {row[0] async for row in rows}


async def make_day(database: Database, parent: str, day: date) -> None:
    async with database.connection() as connection:
        await connection.execute(
            f"CREATE TABLE {partitions.name_of(parent, day)} PARTITION OF {parent} "
            f"FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')".encode()
        )


@asynccontextmanager
async def long_reader(database: Database) -> AsyncIterator[None]:
    """Have read every partitioned table in a transaction that stays open, as a backup does."""
    async with database.transaction() as connection:
        for parent in partitions.PARENTS:
            await connection.execute(f"SELECT count(*) FROM {parent}".encode())
        yield


async def value(database: Database, statement: str, *parameters: object):
    async with database.connection() as connection:
        row = await (await connection.execute(statement.encode(), parameters)).fetchone()
        assert row is not None
        return row[0]


async def test_partitions_are_made_a_week_ahead(node: Node) -> None:
    """Yesterday, today and seven days ahead, for each table; what is recorded now lands in today's."""
    today = await value(node.database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    for parent in partitions.PARENTS:
        expected = {partitions.name_of(parent, today + timedelta(days=offset)) for offset in range(-1, 8)}
        assert await names(node.database, parent) == expected | {f"{parent}_default"}
    async with node.database.connection() as connection:
        await end_runs(connection, days_ago=0)
    where = "SELECT tableoid::regclass::text FROM run_history"
    assert await value(node.database, where) == partitions.name_of("run_history", today)


async def test_days_past_the_retention_are_dropped_whole(node: Node) -> None:
    """The day before the retention goes, the day at its edge stays; so do rows without a day's home."""
    retention = node.engine.pruner._context.settings.retention_days
    today = await value(node.database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    for age in (retention, retention + 1, retention + 40):
        await make_day(node.database, "run_history", today - timedelta(days=age))
    async with node.database.connection() as connection:
        for age in (0, retention, retention + 1, retention + 2):
            await end_runs(connection, days_ago=age)
    await node.engine.pruner.run_once()
    kept = await names(node.database, "run_history")
    assert partitions.name_of("run_history", today - timedelta(days=retention)) in kept
    assert partitions.name_of("run_history", today - timedelta(days=retention + 1)) not in kept
    assert partitions.name_of("run_history", today - timedelta(days=retention + 40)) not in kept
    assert await value(node.database, "SELECT count(*) FROM run_history") == 2


async def test_the_audit_log_has_a_retention_of_its_own(node: Node) -> None:
    """A day that the ledger is too old for is kept, and goes at the audit log's own edge."""
    settings = node.engine.pruner._context.settings
    today = await value(node.database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    days = [today - timedelta(days=age) for age in (settings.retention_days + 1, settings.audit_log_retention_days + 1)]
    for day in days:
        await make_day(node.database, "audit_log", day)
    await node.engine.pruner.run_once()
    kept = await names(node.database, "audit_log")
    assert [partitions.name_of("audit_log", day) in kept for day in days] == [True, False]


async def test_a_long_reader_holds_up_neither_a_start_nor_what_is_recorded(dsn: str, database: Database) -> None:
    """Days that it keeps from being made and dropped wait until it is gone; nobody waits behind them for long."""
    today = await value(database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    ahead, past = (
        partitions.name_of("run_history", today + timedelta(days=days)) for days in (partitions.DAYS_AHEAD, -1000)
    )
    await make_day(database, "run_history", today - timedelta(days=1000))
    async with database.connection() as connection:
        await connection.execute(f"DROP TABLE {ahead}".encode())
    async with long_reader(database), running_node(dsn) as node:
        round_ = asyncio.create_task(Pruner(node.engine.pruner._context).run_once())
        while not round_.done():
            async with database.transaction() as connection:
                await connection.execute("SET LOCAL lock_timeout = '5s'")  # half of what a waiter has by default
                await end_runs(connection, days_ago=0)
        await round_
        assert {ahead, past} & await names(database, "run_history") == {past}

    async with running_node(dsn) as node:

        async def is_made_up_for() -> bool:
            await Pruner(node.engine.pruner._context).run_once()
            return {ahead, past} & await names(database, "run_history") == {ahead}

        await eventually(is_made_up_for)


async def test_what_was_written_before_its_day_was_made_comes_into_it(node: Node) -> None:
    """Nodes that answer the API alone make no days: an engine that starts later does, and can start."""
    today = await value(node.database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    async with node.database.connection() as connection:
        for parent in partitions.PARENTS:
            await connection.execute(f"DROP TABLE {partitions.name_of(parent, today)}".encode())
        await end_runs(connection, days_ago=0)
    await node.api.call("PUT", "/v1/calendars/own", {})
    await node.engine.pruner.run_once()
    for parent in ("run_history", "audit_log"):
        where = f"SELECT tableoid::regclass::text FROM {parent}"
        assert await value(node.database, where) == partitions.name_of(parent, today)
        assert f"{parent}_default" in await names(node.database, parent)
    async with node.database.connection() as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await connection.execute("DELETE FROM audit_log")


AGED = ids.job_id(datetime(2025, 1, 1, tzinfo=UTC), bytes(10))
CHOSEN = UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")


@pytest.mark.parametrize("ended", [AGED, CHOSEN], ids=["an id of its time", "an id of a client's choice"])
async def test_ended_jobs_go_with_their_ledger_and_active_ones_stay(node: Node, ended: UUID) -> None:
    """One that ended before the retention is deleted, with what it was; none that lives, nor one that ended since."""
    retention = node.engine.pruner._context.settings.retention_days
    others = {UUID(int=ended.int - 1): "living", UUID(int=ended.int - 2): "ended since"}
    for job_id in (ended, *others):
        body = {"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/", "job_payload": {}}
        assert (await node.api.call("PUT", f"/v1/jobs/{job_id}", body)).status == 201
        assert (await node.api.call("PATCH", f"/v1/jobs/{job_id}", {"name": "changed"})).status == 200
        if others.get(job_id) != "living":
            await node.api.call("DELETE", f"/v1/jobs/{job_id}")
    async with node.database.connection() as connection:
        await connection.execute(
            "INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted) "
            "SELECT job_id, '2190-01-01', gen_random_uuid(), tenant_id, true FROM jobs"
        )
        await connection.execute(
            "UPDATE jobs SET ended_at = ended_at - make_interval(days => %(days)s) WHERE job_id = %(ended)s",
            {"days": retention + 1, "ended": ended},
        )
    await Pruner(node.engine.pruner._context).run_once()
    for table in ("jobs", "job_versions", "cancelled_occurrences"):
        assert await value(node.database, f"SELECT array_agg(job_id) @> %s FROM {table}", list(others))
        assert await value(node.database, f"SELECT count(*) FROM {table} WHERE job_id = %s", ended) == 0


async def test_what_a_job_was_is_kept_as_long_as_its_ledger(node: Node) -> None:
    """A version goes when no day of the ledger is as old as its end; an audit of the oldest day has its schedule."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    path, job_id = f"/v1/jobs/{job['job_id']}", UUID(job["job_id"])
    for name in ("a", "b", "c"):
        await node.api.call("PATCH", path, {"name": name})
    retention = node.engine.pruner._context.settings.retention_days
    moment = await value(node.database, "SELECT date_trunc('minute', now() - make_interval(days => %s))", retention)
    await make_day(node.database, "run_history", moment.date())
    two_days = timedelta(days=2)
    async with node.database.connection() as connection:
        await connection.execute("UPDATE jobs SET created_at = %s", [moment - 2 * two_days])
        since = moment - 2 * two_days
        for version, until in ((1, moment - two_days), (2, moment), (3, moment + two_days)):
            await connection.execute(
                "UPDATE job_versions SET effective_from = %s, effective_until = %s, "
                "schedule_recurring = CASE WHEN version = 2 THEN '* * * * *' ELSE schedule_recurring END "
                "WHERE version = %s",
                [since, until, version],
            )
            since = until
        await end_runs(connection, days_ago=0)
        await connection.execute(
            "UPDATE run_history SET job_id = %(job_id)s, run_id = %(run_id)s, scheduled_for = %(at)s, "
            "started_at = %(at)s, finished_at = %(at)s",
            {"job_id": job_id, "run_id": ids.run_id(job_id, moment, Trigger.SCHEDULE), "at": moment},
        )
    await Pruner(node.engine.pruner._context).run_once()
    listed = (await node.api.call("GET", f"{path}/versions")).json["items"]
    assert [row["version"] for row in listed] == [4, 3, 2]
    span = "&".join(
        f"{name}={at:%Y-%m-%dT%H:%M:%SZ}"
        for name, at in (("from", moment - timedelta(seconds=30)), ("to", moment + timedelta(seconds=30)))
    )
    audit = (await node.api.call("GET", f"{path}/audit?{span}")).json
    assert (audit["ok"], audit["totals"]["ran"]) == (True, 1)


async def test_nodes_that_start_together_make_each_partition_once(database: Database) -> None:
    """They take turns: none collides with another, and each day has one partition."""

    async def start() -> list[str]:
        async with database.connection() as connection:
            return (await partitions.make_ahead(connection)).done

    for parent in partitions.PARENTS:
        async with database.connection() as connection:
            for name in await names(database, parent) - {f"{parent}_default"}:
                await connection.execute(f"DROP TABLE {name}".encode())
    made = await asyncio.gather(*(start() for _ in range(4)))
    assert sorted(name for some in made for name in some) == sorted(
        {name for parent in partitions.PARENTS for name in await names(database, parent)}
        - {f"{parent}_default" for parent in partitions.PARENTS}
    )
