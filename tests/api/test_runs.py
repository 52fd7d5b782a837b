"""Runs over HTTP: read, listed, cancelled, deleted; promise 6."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.testing import Reply, WebhookReceiver
from harness import Node, eventually, running_node, soon

URL = "http://127.0.0.1:9/hook"
RUN_FIELDS = {
    "run_id", "job_id", "status", "scheduled_for", "due_at", "started_at", "finished_at", "attempt", "http_status",
    "error", "trigger", "node_id", "lateness_ms",
}  # fmt: skip


async def delete_run(node: Node, job, run_id: str | None = None):
    return await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{run_id or job['next_run']['run_id']}/")


async def test_a_run_is_called_once_and_its_record_stays(node: Node, receiver: WebhookReceiver) -> None:
    """The whole way: created, called with the payload at its millisecond, recorded, its job completed."""
    at = soon(0.7)
    job = await node.api.create(schedule_oneoff=at, job_url=receiver.url, job_payload={"hello": "world"})
    found = await node.api.run_when(job, "SUCCEEDED")
    assert found.keys() >= RUN_FIELDS
    assert (found["attempt"], found["http_status"], found["error"], found["trigger"]) == (1, 200, None, "schedule")
    (attempt,) = found["attempts"]
    assert (attempt["attempt"], attempt["http_status"], attempt["error"]) == (1, 200, None)
    assert (attempt["started_at"], attempt["finished_at"]) == (found["started_at"], found["finished_at"])
    assert found["started_at"] >= found["scheduled_for"]
    assert found["lateness_ms"] >= 0
    (call,) = receiver.calls
    assert call.body == b'{"hello":"world"}'
    assert call.received_at >= datetime.fromisoformat(at)
    completed = await node.api.call("GET", f"/v1/jobs/{job['job_id']}")
    assert (completed.json["status"], completed.json["next_run"]) == ("COMPLETED", None)


async def test_a_scheduled_run_is_cancelled_for_good(node: Node, receiver: WebhookReceiver) -> None:
    """CANCELED before its time: never sent, the same answer when repeated, and the ledger keeps it."""
    job = await node.api.create(schedule_oneoff=soon(1.2), job_url=receiver.url)
    witness = await node.api.create(schedule_oneoff=soon(1.3), job_url=receiver.url + "/witness")
    for _ in range(2):
        answer = await delete_run(node, job)
        assert (answer.status, answer.json) == (201, {"status": "CANCELED"})
    await node.api.run_when(witness, "SUCCEEDED")
    assert {call.path for call in receiver.calls} == {"/hook/witness"}
    assert (await node.api.run(job))["status"] == "CANCELED"
    listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run")).json["items"]
    assert [run["status"] for run in listed] == ["CANCELED"]


async def test_a_claimed_run_is_cancelled_before_it_is_sent(node: Node, receiver: WebhookReceiver) -> None:
    """Within the look-ahead the holder lets go of the run before the answer is given."""
    job = await node.api.create(schedule_oneoff=soon(0.9), job_url=receiver.url)
    run_id = UUID(job["next_run"]["run_id"])

    async def is_held() -> bool:
        return run_id in node.engine.held

    await eventually(is_held)
    answer = await delete_run(node, job)
    assert (answer.status, answer.json) == (201, {"status": "CANCELED"})
    assert run_id not in node.engine.held
    witness = await node.api.create(schedule_oneoff=soon(0.6), job_url=receiver.url + "/witness")
    await node.api.run_when(witness, "SUCCEEDED")
    assert {call.path for call in receiver.calls} == {"/hook/witness"}


async def test_a_running_call_is_aborted_and_the_answer_is_true(node: Node, receiver: WebhookReceiver) -> None:
    """A running run is shown as RUNNING; cancelling aborts its call, and the ledger says that it may have arrived."""
    never = asyncio.Event()
    receiver.answer_with(Reply(after=never))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    running = await node.api.run_when(job, "RUNNING")
    assert running["started_at"] is not None
    answer = await delete_run(node, job)
    assert (answer.status, answer.json) == (201, {"status": "CANCELED"})
    found = await node.api.run(job)
    assert (found["status"], found["attempt"]) == ("CANCELED", 1)
    assert "may have received" in found["error"]
    assert len(receiver.calls) == 1


async def test_cancel_works_across_processes(dsn: str, receiver: WebhookReceiver) -> None:
    """A node that does not hold the run has it stopped by the one that does."""
    never = asyncio.Event()
    receiver.answer_with(Reply(after=never))
    async with running_node(dsn) as one, running_node(dsn) as two:
        two.api.token = (await two.client()).token
        job = await one.api.create(schedule_oneoff=soon(0.3), job_url=receiver.url)
        await receiver.wait_for(1)
        for node in (one, two):
            assert (await delete_run(node, job)).json == {"status": "CANCELED"}
        assert (await two.api.run(job))["status"] == "CANCELED"


async def test_a_finished_run_is_hidden_not_lost(node: Node, receiver: WebhookReceiver) -> None:
    """DELETE for what has finished: out of default listings, still to be read, the same answer when repeated."""
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(job, "SUCCEEDED")
    for _ in range(2):
        answer = await delete_run(node, job)
        assert (answer.status, answer.json) == (201, {"status": "DELETE"})
    path = f"/v1/jobs/{job['job_id']}/run"
    assert (await node.api.call("GET", path)).json["items"] == []
    (shown,) = (await node.api.call("GET", f"{path}?show_deleted=true")).json["items"]
    assert shown["deleted_at"] is not None
    assert (await node.api.run(job))["status"] == "SUCCEEDED"


async def test_cancelling_the_next_occurrence_lets_the_one_after_it_stand(node: Node) -> None:
    """The next run of a recurring job can be cancelled at once; the chain goes on with the occurrence after it."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    assert (await delete_run(node, job)).json == {"status": "CANCELED"}
    after = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
    assert after["status"] == "ACTIVE"
    assert datetime.fromisoformat(after["next_run"]["scheduled_for"]) == first.replace(year=first.year + 1)
    assert (await delete_run(node, job)).json == {"status": "CANCELED"}
    again = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
    assert again["next_run"] == after["next_run"]


async def test_a_future_occurrence_is_cancelled_by_its_deterministic_id(node: Node) -> None:
    """An occurrence that has no row yet is cancelled by its id; planning leaves it out and keeps the others."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    second, third = first.replace(year=first.year + 1), first.replace(year=first.year + 2)
    run_id = str(ids.run_id(UUID(job["job_id"]), second, Trigger.SCHEDULE))
    for _ in range(2):
        assert (await delete_run(node, job, run_id)).json == {"status": "CANCELED"}
    assert (await node.api.run(job, run_id))["status"] == "CANCELED"
    assert (await node.api.run(job))["status"] == "SCHEDULED"
    await delete_run(node, job)
    after = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
    assert datetime.fromisoformat(after["next_run"]["scheduled_for"]) == third


async def test_what_is_no_occurrence_cannot_be_cancelled(node: Node) -> None:
    """A well-made id for an instant at which the schedule does not fire is not found; far ahead it works as near by."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    instant = datetime(2191, 1, 1, tzinfo=UTC)
    for shift, expected in ((timedelta(0), 201), (timedelta(seconds=1), 404), (timedelta(days=1), 404)):
        run_id = str(ids.run_id(UUID(job["job_id"]), instant + shift, Trigger.SCHEDULE))
        assert (shift, (await delete_run(node, job, run_id)).status) == (shift, expected)


async def test_a_past_occurrence_cannot_be_invented(node: Node) -> None:
    """An occurrence before the job's first run has no record, and none can be made."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    run_id = str(ids.run_id(UUID(job["job_id"]), datetime(2020, 1, 1, tzinfo=UTC), Trigger.SCHEDULE))
    assert (await delete_run(node, job, run_id)).status == 404


async def test_deleting_a_job_cancels_its_live_run(node: Node, receiver: WebhookReceiver) -> None:
    """DELETE of a job is soft: its run ends CANCELED, it leaves default listings, its history can be read."""
    job = await node.api.create(schedule_oneoff=soon(0.9), job_url=receiver.url)
    for _ in range(2):
        answer = await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
        assert (answer.status, answer.json["status"], answer.json["next_run"]) == (201, "DELETED", None)
    witness = await node.api.create(schedule_oneoff=soon(1), job_url=receiver.url + "/witness")
    await node.api.run_when(witness, "SUCCEEDED")
    assert {call.path for call in receiver.calls} == {"/hook/witness"}
    assert (await node.api.run(job))["status"] == "CANCELED"
    listed = {entry["job_id"] for entry in (await node.api.call("GET", "/v1/jobs")).json["items"]}
    assert listed == {witness["job_id"]}
    shown = (await node.api.call("GET", "/v1/jobs?show_deleted=true")).json["items"]
    assert {entry["job_id"] for entry in shown} == {witness["job_id"], job["job_id"]}


async def test_runs_are_listed_live_and_ended_side_by_side(node: Node) -> None:
    """Latest occurrence first, over pages, with filters by status and time."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    path, seen = f"/v1/jobs/{job['job_id']}/run/", [job["next_run"]["run_id"]]
    for _ in range(4):
        current = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["next_run"]["run_id"]
        await delete_run(node, job, current)
        seen.append((await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["next_run"]["run_id"])
    listed, where = [], f"{path}?page_size=2"
    while where:
        answer = await node.api.call("GET", where)
        listed += answer.json["items"]
        where = answer.headers["Link"].split(">")[0][1:] if answer.json["next_page_token"] else ""
    assert [run["run_id"] for run in listed] == seen[::-1]
    assert [run["status"] for run in listed] == ["SCHEDULED", *["CANCELED"] * 4]
    only = (await node.api.call("GET", f"{path}?status=SCHEDULED")).json["items"]
    assert [run["run_id"] for run in only] == seen[-1:]
    edge = listed[1]["scheduled_for"]
    assert len((await node.api.call("GET", f"{path}?scheduled_before={edge}")).json["items"]) == 3
    assert len((await node.api.call("GET", f"{path}?scheduled_after={edge}")).json["items"]) == 2


_ENDED = """
    WITH failed AS (
        INSERT INTO attempts (job_id, run_id, tenant_id, attempt, fence, started_at, finished_at, error, node_id)
        SELECT job_id, %(run_id)s, tenant_id, %(fence)s, %(fence)s, %(at)s, %(ended)s, 'HTTP 400', 'a node'
        FROM jobs WHERE job_id = %(job_id)s
        RETURNING *
    )
    INSERT INTO run_history (
        job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, finished_at, attempt, lost_attempts, fence,
        error, resolution, resolved_at, resolved_by
    )
    SELECT job_id, run_id, tenant_id, 'schedule', 'FAILED', %(at)s, %(at)s, finished_at, attempt, 0, fence,
        error, r.resolution, r.resolved_at, r.resolved_by
    FROM failed LEFT JOIN (VALUES ('RETRIED', now(), 'somebody')) AS r (resolution, resolved_at, resolved_by)
        ON %(again)s
"""
"""A run's end by its failed attempt, which was sent `again` or not."""


@pytest.mark.parametrize("days_later", [[0], [40], [0, 40], [0, 1, 40], [40, 41]])
async def test_a_run_is_found_whenever_it_has_ended(node: Node, days_later: list[int]) -> None:
    """On the day of its instant, long after that, and several times: then the last end counts, with all attempts."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    run_id = ids.run_id(UUID(job["job_id"]), at, Trigger.SCHEDULE)
    async with node.database.connection() as connection:
        for fence, days in enumerate(days_later, 1):
            end = {"ended": at + timedelta(days=days), "fence": fence, "again": fence < len(days_later)}
            await connection.execute(_ENDED, {"job_id": job["job_id"], "run_id": run_id, "at": at} | end)
    found = await node.api.run(job, str(run_id))
    assert datetime.fromisoformat(found["finished_at"]) == at + timedelta(days=days_later[-1])
    assert [attempt["attempt"] for attempt in found["attempts"]] == list(range(1, len(days_later) + 1))
