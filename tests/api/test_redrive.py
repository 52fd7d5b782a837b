"""Dead letters sent again: one by one and by filter, never twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from countwheel.domain import ids
from countwheel.domain.policy import ATTEMPTS_LIMIT
from countwheel.domain.run import Trigger
from countwheel.testing import Reply, WebhookReceiver
from harness import FAR_RETRY, Answer, Node, eventually, soon


async def fail(node: Node, receiver: WebhookReceiver, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """Return one-off jobs whose run has failed."""
    receiver.answer_with(Reply(400))
    said = {"schedule_oneoff": soon(0), "job_url": receiver.url} | fields
    jobs = [await node.api.create(**said) for _ in range(count)]
    for job in jobs:
        await node.api.run_when(job, "FAILED")
    return jobs


def path(job: dict[str, Any]) -> str:
    return f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"


async def redrive(node: Node, **body: Any) -> Answer:
    return await node.api.call("POST", "/v1/runs:redrive", body)


async def test_a_failed_run_is_sent_again_under_its_own_id(node: Node, receiver: WebhookReceiver) -> None:
    """The same webhook-id, a higher fence; both ends are on record, with who redrove it; its job is ACTIVE."""
    (job,) = await fail(node, receiver)
    gate = asyncio.Event()
    receiver.answer_with(Reply(after=gate))
    answer = await node.api.call("POST", f"{path(job)}/redrive")
    assert answer.status == 200
    assert answer.json["status"] in {"RETRYING", "CLAIMED", "RUNNING"}
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "ACTIVE"
    assert (await node.api.call("POST", f"{path(job)}/redrive")).status == 200
    gate.set()
    found = await node.api.run_when(job, "SUCCEEDED")
    assert [attempt["error"] for attempt in found["attempts"]] == ["HTTP 400 Bad Request", None]
    first, second = receiver.calls
    assert first.run_id == second.run_id
    assert int(second.headers["countwheel-fence"]) > int(first.headers["countwheel-fence"])
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT status, resolution, resolved_by FROM run_history ORDER BY fence")
        ends = await cursor.fetchall()
    assert [end[:2] for end in ends] == [("FAILED", "RETRIED"), ("SUCCEEDED", None)]
    assert ends[0][2]
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "COMPLETED"
    late = await node.api.call("POST", f"{path(job)}/redrive")
    assert (late.status, "SUCCEEDED" in late.json["detail"]) == (409, True)


async def test_the_retry_policy_counts_anew(node: Node, receiver: WebhookReceiver) -> None:
    """With two attempts at the most, a redriven run has two again; those before stay on record."""
    receiver.answer_with(Reply(503))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, max_attempts=2, retry=FAR_RETRY)

    async def make_due() -> None:
        async with node.database.connection() as connection:
            await connection.execute("UPDATE runs SET due_at = greatest(scheduled_for, now()) WHERE node_id IS NULL")

    await node.api.run_when(job, "RETRYING")
    await make_due()
    await node.api.run_when(job, "FAILED")
    assert (await node.api.call("POST", f"{path(job)}/redrive")).status == 200
    await receiver.wait_for(3)
    again = await node.api.run_when(job, "RETRYING", "FAILED")
    assert again["status"] == "RETRYING", again["error"]
    await make_due()
    found = await node.api.run_when(job, "FAILED")
    assert "attempt 2 of 2" in found["error"]
    assert len(receiver.calls) == 4
    assert [attempt["attempt"] for attempt in found["attempts"]] == [1, 2, 3, 4]


async def test_two_redrives_at_once_make_one(node: Node, receiver: WebhookReceiver) -> None:
    """Twenty singly and by filter, side by side: one more call, one more end."""
    (job,) = await fail(node, receiver)
    receiver.answer_with(Reply())
    by_filter = {"filter": {"job_id": job["job_id"]}}
    answers = await asyncio.gather(
        *(node.api.call("POST", f"{path(job)}/redrive") for _ in range(10)),
        *(node.api.call("POST", "/v1/runs:redrive", by_filter) for _ in range(10)),
    )
    assert {answer.status for answer in answers} <= {200, 409}
    await node.api.run_when(job, "SUCCEEDED")
    assert len(receiver.calls) == 2
    assert sum(answer.json.get("changed", 0) for answer in answers) <= 1


async def test_a_run_that_was_tried_too_often_is_not_redriven(node: Node, receiver: WebhookReceiver) -> None:
    """409 says so, by filter it is left: one attempt more than can be counted would stop the claims of all."""
    (job,) = await fail(node, receiver)
    async with node.database.connection() as connection:
        await connection.execute("UPDATE run_history SET attempt = %s", [ATTEMPTS_LIMIT])
    answer = await node.api.call("POST", f"{path(job)}/redrive")
    assert (answer.status, f"tried {ATTEMPTS_LIMIT} times" in answer.json["detail"]) == (409, True)
    assert (await redrive(node, filter={"job_id": job["job_id"]})).json["changed"] == 0
    assert len(receiver.calls) == 1


async def test_of_a_paused_or_deleted_job_nothing_is_redriven(node: Node, receiver: WebhookReceiver) -> None:
    """409 singly; by filter such a run is not found."""
    receiver.answer_with(Reply(400))
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=receiver.url)
    wanted = (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/")).json
    await node.api.run_when(job, "FAILED", run_id=wanted["run_id"])
    job["next_run"]["run_id"] = wanted["run_id"]
    for verb in ("pause", "delete"):
        if verb == "pause":
            await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")
        else:
            await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
        assert (await node.api.call("POST", f"{path(job)}/redrive")).status == 409
        assert (await redrive(node, filter={"job_id": job["job_id"]})).json["matched"] == 0
    assert len(receiver.calls) == 1


async def test_a_dry_run_counts_what_is_redriven_after_it(node: Node, receiver: WebhookReceiver) -> None:
    """By what it looks like; others stay; repeated, nothing is left."""
    jobs = await fail(node, receiver, 5)
    receiver.answer_with(Reply(404))
    other = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(other, "FAILED")
    looks_like = (await node.api.run(jobs[0]))["fingerprint"]
    receiver.answer_with(Reply())
    dry = await redrive(node, filter={"fingerprint": looks_like}, dry_run=True)
    expected = {"dry_run": True, "matched": 5, "changed": 0, "due_until": None, "next_page_token": ""}
    assert dry.json == expected
    done = (await redrive(node, filter={"fingerprint": looks_like})).json
    assert (done["matched"], done["changed"], done["next_page_token"]) == (5, 5, "")
    for job in jobs:
        await node.api.run_when(job, "SUCCEEDED")
    assert (await redrive(node, filter={"fingerprint": looks_like})).json["changed"] == 0
    assert (await node.api.run(other))["status"] == "FAILED"


async def test_a_pace_spreads_them_over_requests(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two a second, half a second apart, also where a second request goes on; a token with another pace is refused."""
    monkeypatch.setattr("countwheel.api.redrive._WORK_SECONDS", -1.0)
    monkeypatch.setattr("countwheel.api.redrive._BITE", 2)
    await fail(node, receiver, 5)
    await node.engine.claimer.stop()
    body = {"filter": {"status": ["FAILED"]}, "pace_per_second": 2}
    done = (await redrive(node, **body)).json
    changed, token = done["changed"], done["next_page_token"]
    assert changed == 2
    assert (await redrive(node, filter={"status": ["FAILED"]}, page_token=token)).status == 400
    while token:
        done = (await redrive(node, **body, page_token=token)).json
        changed, token = changed + done["changed"], done["next_page_token"]
    assert changed == 5
    async with node.database.connection() as connection:
        dues = [
            row[0] for row in await (await connection.execute("SELECT due_at FROM runs ORDER BY due_at")).fetchall()
        ]
    apart = [(later - earlier).total_seconds() for earlier, later in pairwise(dues)]
    # The first is due when it is redriven, a moment after the request began.
    assert 0.3 < apart[0] <= 0.5
    assert [round(seconds, 3) for seconds in apart[1:]] == [0.5] * 3


async def test_what_fails_again_is_not_met_again(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that is still broken: each run is sent once more by an operation of several requests, and no further."""
    monkeypatch.setattr("countwheel.api.redrive._WORK_SECONDS", -1.0)
    monkeypatch.setattr("countwheel.api.redrive._BITE", 1)
    jobs = await fail(node, receiver, 3)
    token = ""
    for number in range(10):
        body = {"filter": {"status": ["FAILED"]}} | ({"page_token": token} if token else {})
        token = (await redrive(node, **body)).json["next_page_token"]
        if not token:
            break
        await receiver.wait_for(4 + number)

    async def all_failed() -> bool:
        return all([(await node.api.run(job))["status"] == "FAILED" for job in jobs])

    await eventually(all_failed)
    assert set(receiver.calls_by_run().values()) == {2}


async def test_e4_redrives_stay_within_the_tenant_and_the_scope(node: Node, receiver: WebhookReceiver) -> None:
    """Another tenant's run is a 404 like an unknown one; a reader may not redrive."""
    (job,) = await fail(node, receiver)
    other = await node.client(tenant="other")
    foreign = await other.call("POST", f"{path(job)}/redrive")
    unknown = await other.call("POST", f"/v1/jobs/{job['job_id']}/run/00000000-0000-8000-8000-000000000000/redrive")
    assert (foreign.status, unknown.status) == (404, 404)
    assert foreign.json["detail"] == unknown.json["detail"]
    found = await other.call("POST", "/v1/runs:redrive", {"filter": {"job_id": job["job_id"]}})
    assert found.json["matched"] == 0
    reader = await node.client(scopes=frozenset({"runs:read"}))
    assert (await reader.call("POST", f"{path(job)}/redrive")).status == 403
    assert (await reader.call("POST", "/v1/runs:redrive", {"filter": {}})).status == 403


async def test_a_redrive_needs_a_filter(node: Node) -> None:
    """Empty, misspelt, of a status that is no dead letter, or with a pace of nothing: 400."""
    for body in (
        {},
        {"filter": {}},
        {"filter": {"statuses": ["FAILED"]}},
        {"filter": {"status": ["SUCCEEDED"]}},
        {"filter": {"status": ["FAILED"]}, "pace_per_second": 0},
        {"filter": {"finished_after": "yesterday"}},
        {"filter": {"status": ["FAILED"]}, "page_token": "x"},
    ):
        assert (await redrive(node, **body)).status == 400, body


async def test_an_audit_does_not_call_a_redriven_occurrence_doubled(node: Node, receiver: WebhookReceiver) -> None:
    """Live again, and ended twice: one occurrence, and it ran."""
    (job,) = await fail(node, receiver)
    receiver.answer_with(Reply())
    await node.api.call("POST", f"{path(job)}/redrive")
    await node.api.run_when(job, "SUCCEEDED")
    found = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/audit")).json
    assert found["ok"], found


async def test_redriven_runs_of_a_job_are_not_skipped_for_one_another(node: Node, receiver: WebhookReceiver) -> None:
    """Dead letters of one recurring job are all sent, one after the other, though its occurrences never overlap."""
    receiver.answer_with(Reply(400))
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=receiver.url)
    runs = [await _failed_occurrence(node, job, days) for days in (3, 2, 1)]
    gate = asyncio.Event()
    receiver.answer_with(Reply(after=gate))
    assert (await redrive(node, filter={"job_id": job["job_id"]})).json["changed"] == len(runs)
    await receiver.wait_for(1)
    gate.set()
    for run_id in runs:
        found = await node.api.run_when(job, "SUCCEEDED", "SKIPPED", run_id=run_id)
        assert found["status"] == "SUCCEEDED", found["error"]


async def test_redriven_runs_that_are_not_under_way_are_in_no_occurrences_way(
    node: Node, receiver: WebhookReceiver
) -> None:
    """Nothing of the schedule is skipped, or cancels them, because dead letters wait for their pace."""
    for overlap in ("skip", "cancel_running"):
        job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=receiver.url, overlap=overlap)
        first, second = [await _failed_occurrence(node, job, days) for days in (2, 1)]
        assert (await redrive(node, filter={"job_id": job["job_id"]}, pace_per_second=0.1)).json["changed"] == 2
        await node.api.run_when(job, "SUCCEEDED", run_id=first)
        made = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run")
        found = await node.api.run_when(job, "SUCCEEDED", "SKIPPED", run_id=made.json["run_id"])
        assert found["status"] == "SUCCEEDED", found["error"]
        assert (await node.api.run(job, second))["status"] == "RETRYING"


async def _failed_occurrence(node: Node, job: dict[str, Any], days: int) -> str:
    """Write down that an occurrence some days ago failed, and return its run's id."""
    at = ids.instant_of(ids.milliseconds_of(datetime.now(UTC) - timedelta(days=days)))  # noqa: TID251
    run_id = ids.run_id(UUID(job["job_id"]), at, Trigger.SCHEDULE)
    async with node.database.connection() as connection:
        await connection.execute(
            "INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, finished_at, "
            "attempt, lost_attempts, fence, error) SELECT job_id, %(run_id)s, tenant_id, 'schedule', "
            "'FAILED', %(at)s, %(at)s, now(), 1, 0, 1, 'HTTP 400' FROM jobs WHERE job_id = %(job_id)s",
            {"run_id": run_id, "at": at, "job_id": job["job_id"]},
        )
    return str(run_id)
