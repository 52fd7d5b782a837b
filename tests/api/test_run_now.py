"""`POST /v1/jobs/{jobId}/run/`: a run now, beside what the schedule says, and once for each key."""

import asyncio
from datetime import datetime

import pytest

from countwheel.testing import WebhookReceiver
from harness import Node, soon

YEARLY = "0 0 1 1 *"
NOWHERE = "http://127.0.0.1:9/"


async def run_now(node: Node, job, **headers):
    return await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/", headers=headers)


async def read(node: Node, job):
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json


async def test_a_run_now_is_sent_and_the_schedule_goes_on(node: Node, receiver: WebhookReceiver) -> None:
    """It has its own trigger and id, is called at once, and changes nothing about the next occurrence."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=receiver.url)
    answer = await run_now(node, job)
    assert (answer.status, answer.json["trigger"], answer.json["status"]) == (201, "manual", "SCHEDULED")
    assert answer.headers["Location"] == f"/v1/jobs/{job['job_id']}/run/{answer.json['run_id']}/"
    (call,) = await receiver.wait_for(1)
    assert (call.run_id, call.headers["countwheel-trigger"]) == (answer.json["run_id"], "manual")
    assert call.received_at >= datetime.fromisoformat(answer.json["scheduled_for"])
    ended = await node.api.run_when(job, "SUCCEEDED", run_id=answer.json["run_id"])
    assert ended["trigger"] == "manual"
    assert await read(node, job) == job
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/audit")).json["ok"]


async def test_i1_a_repeated_key_is_one_run(node: Node) -> None:
    """I1: twenty at once with one key: one run, each answer the same; the key on another job is 422."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    answers = await asyncio.gather(*(run_now(node, job, **{"Idempotency-Key": '"again"'}) for _ in range(20)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["run_id"] for answer in answers}) == 1
    assert sum(answer.headers.get("Idempotent-Replayed") == "true" for answer in answers) == 19
    other = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    assert (await run_now(node, other, **{"Idempotency-Key": "again"})).status == 422


async def test_without_a_key_each_is_a_run(node: Node, receiver: WebhookReceiver) -> None:
    """Twenty at once, some of them in the same millisecond: twenty runs, each sent once."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=receiver.url, overlap="allow")
    answers = await asyncio.gather(*(run_now(node, job) for _ in range(20)))
    await receiver.wait_for(20)
    assert receiver.calls_by_run() == {answer.json["run_id"]: 1 for answer in answers}


async def test_what_is_not_to_be_sent_is_not_run(node: Node) -> None:
    """A paused or a deleted job is 409, an unknown one 404."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")
    assert (await run_now(node, job)).status == 409
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    assert (await run_now(node, job)).status == 409
    assert (await run_now(node, {"job_id": "00000000-0000-8000-8000-000000000000"})).status == 404


async def test_a_run_now_ends_no_job_and_revives_none(node: Node, receiver: WebhookReceiver) -> None:
    """A one-off job keeps its time; one that is COMPLETED stays so, and can be run again."""
    later = await node.api.create(schedule_oneoff=soon(3600), job_url=receiver.url)
    await node.api.run_when(later, "SUCCEEDED", run_id=(await run_now(node, later)).json["run_id"])
    assert await read(node, later) == later
    done = await node.api.create(schedule_oneoff=soon(0.1), job_url=receiver.url)
    await node.api.run_when(done, "SUCCEEDED")
    await node.api.run_when(done, "SUCCEEDED", run_id=(await run_now(node, done)).json["run_id"])
    assert (await read(node, done))["status"] == "COMPLETED"


@pytest.mark.parametrize("change", ["cancel", "edit"])
async def test_a_run_now_is_part_of_no_chain(node: Node, change: str) -> None:
    """Cancelling it arms nothing, and an edit of the schedule does not take it back."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    path = f"/v1/jobs/{job['job_id']}"
    run_id = (await run_now(node, job)).json["run_id"]
    if change == "cancel":
        answer = await node.api.call("DELETE", f"{path}/run/{run_id}/")
        assert (answer.status, answer.json) == (201, {"status": "CANCELED"})
        assert await read(node, job) == job
        left = {("schedule", "SCHEDULED"), ("manual", "CANCELED")}
    else:
        await node.api.call("PATCH", path, {"schedule_recurring": "0 0 2 2 *"})
        left = {("schedule", "SCHEDULED"), ("manual", "SCHEDULED")}
    listed = (await node.api.call("GET", f"{path}/run/")).json["items"]
    assert len(listed) == 2
    assert {(run["trigger"], run["status"]) for run in listed} == left
