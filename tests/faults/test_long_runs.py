"""Long runs through the death of every node: accepted once, completed once, never sent again."""

import asyncio
import os
import signal
from collections import Counter

import aiohttp

from countwheel.testing import Reply, WebhookReceiver
from harness import Node, ServeNode, eventually, running_node, soon

RUNS = int(os.environ.get("LONG_RUNS", "200"))
"""How many; the suite's number is a matter of its time."""


async def test_long_runs_survive_every_node(dsn: str, receiver: WebhookReceiver) -> None:
    """202 flow: all nodes are killed and others started while the targets work; each run completes once."""
    receiver.answer_with(Reply(202))
    async with running_node(dsn, roles=["api"]) as desk:
        job_ids = await submit(desk, receiver.url)
        async with ServeNode(dsn) as one, ServeNode(dsn) as two:
            await receiver.wait_until(lambda: len(receiver.calls_by_run()) == RUNS, 60)
            await eventually(lambda: count(desk, "accepted_at IS NOT NULL", RUNS), 30)
            for node in (one, two):
                node.send(signal.SIGKILL)
            for node in (one, two):
                await node.end()
        sent = receiver.calls_by_run()
        async with ServeNode(dsn), ServeNode(dsn) as other:
            await eventually(lambda: no_node_is_left_to_lose(desk), 30)
            answers = await complete_all(receiver, other.url)
            assert answers == Counter({200: 2 * RUNS}), "each completion is said twice, and gets the same answer"
            assert receiver.calls_by_run() == sent, "none is sent again"
    async with running_node(dsn, roles=["api"]) as desk, desk.database.connection() as connection:
        cursor = await connection.execute("SELECT status, count(*), count(DISTINCT run_id) FROM run_history GROUP BY 1")
        assert await cursor.fetchall() == [("SUCCEEDED", RUNS, RUNS)]
        assert len(job_ids) == RUNS
    assert set(sent.values()) == {1}


async def submit(desk: Node, url: str) -> set[str]:
    """Create the jobs, a few at a time."""
    at = soon(2)
    gate = asyncio.Semaphore(20)

    async def create() -> str:
        async with gate:
            job = await desk.api.create(schedule_oneoff=at, job_url=url, callback={"deadline_seconds": 600})
            job_id: str = job["job_id"]
            return job_id

    return set(await asyncio.gather(*(create() for _ in range(RUNS))))


async def complete_all(receiver: WebhookReceiver, url: str) -> Counter[int]:
    """Say of each call that it is done, twice, to another node than the one that made it."""
    gate = asyncio.Semaphore(20)

    async with aiohttp.ClientSession() as session:

        async def complete(given: str) -> int:
            path = given[given.index("/v1/") :]
            async with gate, session.post(url + path, json={"status": "SUCCEEDED", "result": [1]}) as answer:
                await answer.read()
                return answer.status

        urls = [call.headers["countwheel-callback"] for call in receiver.calls]
        first = await asyncio.gather(*map(complete, urls))
        return Counter([*first, *await asyncio.gather(*map(complete, urls))])


async def count(desk: Node, condition: str, expected: int) -> bool:
    async with desk.database.connection() as connection:
        row = await (await connection.execute(f"SELECT count(*) FROM runs WHERE {condition}".encode())).fetchone()
    return row is not None and row[0] == expected


async def no_node_is_left_to_lose(desk: Node) -> bool:
    """Whether the killed nodes have been declared lost: whatever recovery does to what they held, it has done."""
    async with desk.database.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM nodes WHERE lost_at IS NOT NULL")
        row = await cursor.fetchone()
    return row is not None and row[0] >= 2
