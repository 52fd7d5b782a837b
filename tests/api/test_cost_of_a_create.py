"""What a create costs the database, counted: figures that are the same on every machine."""

import asyncio
from typing import Any

import psycopg
import pytest

from countwheel.store import audit_log, idempotency, jobs
from harness import Node

BODY = {"schedule_oneoff": "2099-01-01T00:00:00Z", "job_url": "http://127.0.0.1:9/hook"}
CLIENTS = 20


class Counter:
    """Counts what a function of the store is asked for, and lets it work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: list[str] = []

    def watch(self, module: Any, name: str) -> None:
        real = getattr(module, name)

        async def counted(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            return await real(*arguments, **named)

        self._monkeypatch.setattr(module, name, counted)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    watching = Counter(monkeypatch)
    watching.watch(jobs, "create")
    watching.watch(idempotency, "find")
    watching.watch(audit_log, "write")
    return watching


async def commits(dsn: str) -> int:
    """Return how many transactions of this database have changed something."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        row = await (
            await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        ).fetchone()
        assert row is not None
        return int(row[0])


async def create(node: Node, key: str) -> int:
    answer = await node.api.call("POST", "/v1/jobs", BODY, {"Idempotency-Key": key})
    return answer.status


async def test_a_create_is_one_statement_and_one_commit(node: Node, dsn: str, counter: Counter) -> None:
    """Job, run, key and audit entry: one statement writes all of them, in one transaction.

    The engine writes now and then, too: of several creates the one counts that it did not disturb.
    """
    await create(node, "first")
    found = []
    for number in range(5):
        counter.calls.clear()
        before = await commits(dsn)
        assert await create(node, f"key-{number}") == 201
        assert counter.calls == ["create"]
        found.append(await commits(dsn) - before)
    assert min(found) == 1


async def test_a_repeated_key_is_two_statements_and_an_entry(node: Node, counter: Counter) -> None:
    """The statement that would have created it, one for the answer that was given, one entry."""
    await create(node, "key")
    counter.calls.clear()
    assert await create(node, "key") == 201
    assert counter.calls == ["create", "find", "write"]


async def test_creates_at_once_share_statements(node: Node, counter: Counter) -> None:
    """Twenty clients who ask again as soon as they are answered: far fewer statements than creates."""

    async def client(number: int) -> list[int]:
        return [await create(node, f"client-{number}-{again}") for again in range(10)]

    found = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert {status for statuses in found for status in statuses} == {201}
    assert counter.calls.count("create") <= CLIENTS * 10 / 2
    assert set(counter.calls) == {"create"}
