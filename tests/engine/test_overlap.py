"""P1: an occurrence that is due while an earlier run of its job is alive, on a real node with real calls."""

import asyncio
from itertools import pairwise

from countwheel.testing import WebhookReceiver
from countwheel.testing.receiver import Received, Reply
from harness import Node, eventually

EVERY_SECOND = "* * * * * *"


class FirstIsSlow:
    """A target whose first call is answered when it is told to, and every other at once."""

    def __init__(self) -> None:
        self.answer_first = asyncio.Event()
        self._first: str | None = None

    def __call__(self, call: Received) -> Reply:
        self._first = self._first or call.run_id
        return Reply(after=self.answer_first) if call.run_id == self._first else Reply()


async def listed(node: Node, job, status: str = "") -> list[dict]:
    """The runs of a job, oldest first."""
    query = f"?status={status}" if status else ""
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/{query}")).json["items"][::-1]


async def waiting(node: Node, job) -> int:
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM runs WHERE job_id = %s AND waiting", [job["job_id"]])
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def test_p1_queue_one_lets_one_wait(node: Node, receiver: WebhookReceiver) -> None:
    """While the first call lasts, the second occurrence waits and later ones are SKIPPED; then it runs."""
    target = FirstIsSlow()
    receiver.answer_with(target)
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="queue_one")

    async def two_are_skipped() -> bool:
        return len(await listed(node, job, "SKIPPED")) >= 2

    await eventually(two_are_skipped)
    assert (len(receiver.calls), await waiting(node, job)) == (1, 1)
    assert [run.get("waiting") for run in await listed(node, job)][:2] == [None, True]
    target.answer_first.set()
    calls = await receiver.wait_for(2)
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    first, second, *others = await listed(node, job)
    assert [call.run_id for call in calls[:2]] == [first["run_id"], second["run_id"]]
    assert (first["status"], second["status"]) == ("SUCCEEDED", "SUCCEEDED")
    assert second["started_at"] >= first["finished_at"]
    assert all("queue_one" in run["error"] for run in others if run["status"] == "SKIPPED")


async def test_p1_queue_all_runs_each_in_its_turn(node: Node, receiver: WebhookReceiver) -> None:
    """All that became due while the first call lasted run after it, in order, one at a time, and none is skipped."""
    target = FirstIsSlow()
    receiver.answer_with(target)
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="queue_all")

    async def three_wait() -> bool:
        return await waiting(node, job) >= 3

    await eventually(three_wait)
    assert len(receiver.calls) == 1
    target.answer_first.set()
    await receiver.wait_for(5)
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    ended = [run for run in await listed(node, job) if run["status"] != "CANCELED"]
    assert {run["status"] for run in ended} == {"SUCCEEDED"}
    assert [call.run_id for call in receiver.calls] == [run["run_id"] for run in ended]
    assert all(later["started_at"] >= earlier["finished_at"] for earlier, later in pairwise(ended))


async def test_p1_cancel_running_ends_the_earlier_run(node: Node, receiver: WebhookReceiver) -> None:
    """The call that is under way is aborted and its run CANCELED, with the reason; the newer occurrence runs."""
    receiver.answer_with(Reply(after=asyncio.Event()))
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="cancel_running")
    calls = await receiver.wait_for(3)
    replaced = [await node.api.run_when(job, "CANCELED", run_id=call.run_id) for call in calls[:2]]
    assert all("overlap policy cancel_running" in run["error"] for run in replaced)
    assert all("the target may have received it" in run["error"] for run in replaced)
    assert receiver.calls_by_run()[calls[0].run_id] == 1


async def test_p1_allow_runs_beside(node: Node, receiver: WebhookReceiver) -> None:
    """Three calls under way at once."""
    receiver.answer_with(Reply(after=asyncio.Event()))
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="allow")
    await receiver.wait_for(3)

    async def three_are_running() -> bool:
        return len(await listed(node, job, "RUNNING")) >= 3

    await eventually(three_are_running)
    assert await listed(node, job, "SKIPPED") == []


async def test_p1_a_wake_that_is_lost_is_made_up_for(node: Node, receiver: WebhookReceiver) -> None:
    """A run that waits looks again by itself: here the earlier one goes without anybody to wake it."""
    target = FirstIsSlow()
    receiver.answer_with(target)
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="queue_one")

    async def one_waits() -> bool:
        return await waiting(node, job) == 1

    await eventually(one_waits)
    async with node.database.connection() as connection:
        await connection.execute("DELETE FROM runs WHERE run_id = %s", [receiver.calls[0].run_id])
    await receiver.wait_for(2)
