"""Several nodes on one database, in processes of their own: killed, frozen, stopped."""

import asyncio
import signal
from typing import Any

import pytest

from countwheel.testing import Reply, WebhookReceiver
from harness import Node, ServeNode, eventually, running_node, soon


async def holder_of(node: Node, job: dict[str, Any]) -> str | None:
    """Return the id of the node that holds a job's first run."""
    held_by: str | None = (await node.api.run(job))["node_id"]
    return held_by


async def until_held_by(node: Node, frozen: ServeNode, job: dict[str, Any]) -> None:
    """Return when a process holds a job's first run."""
    assert frozen.process is not None
    part = f"-{frozen.process.pid}-"

    async def is_held() -> bool:
        return part in (await holder_of(node, job) or "")

    await eventually(is_held)


async def until_declared_lost(node: Node, frozen: ServeNode, incarnations: int) -> None:
    """Return when a process has come back under a new id, after so many of its ids were declared lost."""
    assert frozen.process is not None

    async def came_back() -> bool:
        async with node.database.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FILTER (WHERE lost_at IS NOT NULL), count(*) FILTER (WHERE lost_at IS NULL) "
                "FROM nodes WHERE pid = %s",
                [frozen.process.pid],  # type: ignore[union-attr] # asserted above
            )
            return await cursor.fetchone() == (incarnations, 1)

    await eventually(came_back)


async def test_a_node_paused_past_its_lease_drops_what_it_holds(dsn: str, receiver: WebhookReceiver) -> None:
    """Frozen between claim and send, and resumed when a peer has taken over: the run is received once."""
    async with ServeNode(dsn) as frozen, running_node(dsn) as node:
        await node.engine.claimer.stop()  # this node watches and does not claim
        # A call beforehand, so that the frozen node has all it needs to send the moment it wakes up.
        before = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + "/before")
        await node.api.run_when(before, "SUCCEEDED")
        job = await node.api.create(schedule_oneoff=soon(1), job_url=receiver.url)
        await until_held_by(node, frozen, job)
        frozen.send(signal.SIGSTOP)
        assert len(receiver.calls) == 1
        async with ServeNode(dsn):
            taken_over = await node.api.run_when(job, "SUCCEEDED")
            frozen.send(signal.SIGCONT)
            await until_declared_lost(node, frozen, 1)
            # It is at work again under its new id, so whatever it woke up to do is behind it.
            after = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + "/after")
            await node.api.run_when(after, "SUCCEEDED")
        assert [call.path for call in receiver.calls] == ["/hook/before", "/hook", "/hook/after"]
        lost, _succeeded = taken_over["attempts"]
        assert "lost" in lost["error"]
        assert (lost["fence"], receiver.calls[1].headers["countwheel-fence"]) == (1, "3")


async def test_a_node_paused_in_a_call_cannot_overwrite_its_successor(dsn: str, receiver: WebhookReceiver) -> None:
    """Frozen while the target works: the peer's outcome stands, both receipts carry one key and rising fences."""
    gate = asyncio.Event()
    receiver.answer_with(
        lambda call: Reply(status=500, after=gate) if call.headers["countwheel-fence"] == "1" else Reply()
    )
    async with ServeNode(dsn) as frozen, running_node(dsn) as node:
        await node.engine.claimer.stop()
        job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, max_attempts=1)
        await receiver.wait_for(1)
        frozen.send(signal.SIGSTOP)
        async with ServeNode(dsn):
            await node.api.run_when(job, "SUCCEEDED")
            gate.set()
            frozen.send(signal.SIGCONT)
            await until_declared_lost(node, frozen, 1)
        ended = await node.api.run(job)
        assert (ended["status"], ended["attempt"], ended["http_status"]) == ("SUCCEEDED", 2, 200)
        first, second = receiver.calls
        assert first.run_id == second.run_id
        assert [call.headers["countwheel-fence"] for call in (first, second)] == ["1", "3"]
        assert [attempt["fence"] for attempt in ended["attempts"]] == [1, 3]


async def test_a_killed_node_is_survived_by_its_peer(dsn: str, receiver: WebhookReceiver) -> None:
    """kill -9 with calls under way and claims waiting: the peer sends each of them, with the crash on record."""
    gate = asyncio.Event()
    receiver.answer_with(lambda call: Reply(after=gate) if call.headers["countwheel-fence"] == "1" else Reply())
    async with ServeNode(dsn) as killed, running_node(dsn) as node:
        await node.engine.claimer.stop()
        jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url) for _ in range(5)]
        await receiver.wait_for(5)
        waiting = await node.api.create(schedule_oneoff=soon(1), job_url=receiver.url)
        await until_held_by(node, killed, waiting)
        killed.send(signal.SIGKILL)
        await killed.end()
        async with ServeNode(dsn):
            for job in [*jobs, waiting]:
                ended = await node.api.run_when(job, "SUCCEEDED")
                assert ["lost" in (attempt["error"] or "") for attempt in ended["attempts"]] == [True, False]
        received = receiver.calls_by_run()
        assert [received[job["next_run"]["run_id"]] for job in jobs] == [2] * 5
        assert received[waiting["next_run"]["run_id"]] == 1


@pytest.mark.alone
async def test_a_stopping_node_hands_over_what_it_has_not_sent(dsn: str, receiver: WebhookReceiver) -> None:
    """SIGTERM: exit code 0, the claim is free at once, the peer calls on time, and no attempt is counted for it."""
    async with ServeNode(dsn) as stopping, running_node(dsn) as node:
        await node.engine.claimer.stop()
        job = await node.api.create(schedule_oneoff=soon(2), job_url=receiver.url)
        await until_held_by(node, stopping, job)
        async with running_node(dsn) as peer:
            del peer
            stopping.send(signal.SIGTERM)
            assert await stopping.end() == 0
            ended = await node.api.run_when(job, "SUCCEEDED")
        assert (ended["attempt"], len(ended["attempts"])) == (1, 1)
        assert ended["lateness_ms"] < 1000
        assert len(receiver.calls) == 1
