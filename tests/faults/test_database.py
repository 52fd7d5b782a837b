"""The database goes away under a working node, and comes back: nothing is lost, and nothing is doubled."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from countwheel.engine import engine
from countwheel.store.database import Database, DatabaseUnavailableError
from countwheel.testing import WebhookReceiver
from harness import Node, dev_server, eventually, running_node, soon

CUTS = 10


async def test_terminated_backends_are_replaced(node: Node, receiver: WebhookReceiver) -> None:
    """`pg_terminate_backend` on every connection, again and again while runs are due: each is received once."""
    jobs = [
        await node.api.create(schedule_oneoff=soon(0.5 + number / 100), job_url=receiver.url) for number in range(200)
    ]
    name = conninfo_to_dict(node.database.dsn)["dbname"]
    maintenance = make_conninfo(node.database.dsn, dbname="postgres")
    async with await psycopg.AsyncConnection.connect(maintenance, autocommit=True) as connection:

        async def cut_some() -> int:
            found = await connection.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            count: int = (await found.fetchone() or (0,))[0]
            return count

        for arrived in range(10, 10 + CUTS * 18, 18):
            await receiver.wait_for(arrived)
            assert await eventually(cut_some)
    await receiver.wait_for(len(jobs))

    async def all_recorded() -> bool:
        listed = await node.api.call("GET", "/v1/jobs?status=COMPLETED&page_size=200")
        assert listed.status == 200, "no request is refused for a connection that was cut before it came"
        return len(listed.json["items"]) == len(jobs)

    await eventually(all_recorded)
    assert receiver.calls_by_run() == {job["next_run"]["run_id"]: 1 for job in jobs}


async def test_a_killed_postgres_is_survived(tmp_path: Path, receiver: WebhookReceiver) -> None:
    """kill -9 of PostgreSQL while runs are due: it is restarted, the API says 503 meanwhile and never 500, every run is
    received once.
    """
    async with dev_server(tmp_path) as server, aiohttp.ClientSession() as session:
        client, jobs = server.client(), list[str]()
        for number in range(40):
            job = {"schedule_oneoff": soon(1 + number / 10), "job_url": receiver.url}
            jobs.append((await asyncio.to_thread(client.create_job, job))["next_run"]["run_id"])
        await receiver.wait_for(10)
        before = _postmaster(tmp_path)
        assert before > 1
        os.kill(before, signal.SIGKILL)
        statuses = set()

        async def is_back() -> bool:
            async with session.get(f"{server.url}/livez") as alive, session.get(f"{server.url}/readyz") as ready:
                assert alive.status == 200
                statuses.add(ready.status)
                return ready.status == 200 and _postmaster(tmp_path) != before

        await eventually(is_back)
        assert statuses <= {200, 503}
        await receiver.wait_for(len(jobs))

        async def all_recorded() -> bool:
            listed = await asyncio.to_thread(client.call, "GET", "/v1/jobs?status=COMPLETED")
            return len(listed["items"]) == len(jobs)

        await eventually(all_recorded)
        assert receiver.calls_by_run() == dict.fromkeys(jobs, 1)


async def test_a_node_stops_without_its_database(
    dsn: str, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graceful stop while the database is away ends all the same; the lease lets the peers take over."""
    monkeypatch.setattr(engine, "_LAST_THING_SECONDS", 0.5)
    async with running_node(dsn) as node:
        job = await node.api.create(schedule_oneoff=soon(0.45), job_url=receiver.url)

        async def is_held() -> bool:
            return len(node.engine.held) == 1

        await eventually(is_held)
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {conninfo_to_dict(dsn)['dbname']} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [conninfo_to_dict(dsn)["dbname"]],
            )
            async with asyncio.timeout(60):
                await node.engine.stop()
            connection.execute(f"ALTER DATABASE {conninfo_to_dict(dsn)['dbname']} ALLOW_CONNECTIONS true")
    async with running_node(dsn) as peer:
        peer.api = await peer.client()
        assert (await peer.api.run_when(job, "SUCCEEDED"))["attempts"][0]["error"]
    assert len(receiver.calls) == 1


def _postmaster(data_dir: Path) -> int:
    try:
        return int((data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (OSError, IndexError):
        return 0


async def test_a_primary_that_takes_no_writes_is_away(dsn: str) -> None:
    """Demoted, or its disk is full: it may take them again, so that whoever writes waits and tries again."""
    database = Database(dsn, name="test", size=1)
    await database.open()
    async with database.connection() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection() as connection:
            await connection.execute("DELETE FROM runs")
    await database.close()
