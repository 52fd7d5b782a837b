"""I12: `PUT /v1/jobs/{jobId}`: a job under an id that the client has chosen, safe to repeat."""

import asyncio
from uuid import uuid4

import pytest

from countwheel.testing import WebhookReceiver
from harness import Node, soon

NOWHERE = "http://127.0.0.1:9/"
BODY = {"schedule_recurring": "0 0 1 1 *", "job_url": NOWHERE, "labels": {"team": "ops"}}


async def put(node: Node, job_id, body, **headers):
    return await node.api.call("PUT", f"/v1/jobs/{job_id}", body, headers)


async def test_i12_a_repeated_put_is_one_job(node: Node) -> None:
    """I12: 201 first, then 200 with the same job, and no new version."""
    job_id = str(uuid4())
    first = await put(node, job_id, BODY)
    assert (first.status, first.json["job_id"], first.headers["ETag"]) == (201, job_id, '"1"')
    assert first.headers["Location"] == f"/v1/jobs/{job_id}"
    again = await put(node, job_id, BODY | {"timeout_seconds": 30, "max_attempts": 5})  # the defaults, said
    assert (again.status, again.json, again.headers["ETag"]) == (200, first.json, '"1"')


async def test_i12_fifty_at_once_are_one_job(node: Node) -> None:
    """I12: in parallel too: one 201, and everybody has the same job."""
    job_id = str(uuid4())
    answers = await asyncio.gather(*(put(node, job_id, BODY) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len((await node.api.call("GET", f"/v1/jobs/{job_id}/run/")).json["items"]) == 1


async def test_a_put_replaces_every_field(node: Node) -> None:
    """What the body leaves out has its default again, and the next run is planned anew."""
    job_id = str(uuid4())
    await put(node, job_id, BODY | {"name": "x", "max_attempts": 2, "end_at": "2199-01-01T00:00:00Z"})
    replaced = await put(node, job_id, {"schedule_oneoff": "2190-06-01T00:00:00Z", "job_url": NOWHERE})
    assert (replaced.status, replaced.headers["ETag"]) == (200, '"2"')
    assert (replaced.json["name"], replaced.json["max_attempts"], replaced.json["labels"]) == (None, 5, {})
    assert replaced.json.keys().isdisjoint({"schedule_recurring", "end_at"})
    assert replaced.json["next_run"]["scheduled_for"] == "2190-06-01T00:00:00.000Z"


async def test_e7_a_put_can_name_the_version_that_it_replaces(node: Node) -> None:
    """E7: a stale If-Match is 412, and so is one for a job that is not there."""
    job_id = str(uuid4())
    assert (await put(node, job_id, BODY, **{"If-Match": '"1"'})).status == 412
    await put(node, job_id, BODY)
    assert (await put(node, job_id, BODY | {"name": "a"}, **{"If-Match": '"1"'})).status == 200
    assert (await put(node, job_id, BODY | {"name": "b"}, **{"If-Match": '"1"'})).status == 412


async def test_i12_what_has_run_already_is_not_run_again(node: Node, receiver: WebhookReceiver) -> None:
    """I12: the retry of a one-off whose time has come and gone is the same job; another meaning is 409."""
    job_id, body = str(uuid4()), {"schedule_oneoff": soon(0.1), "job_url": receiver.url}
    job = (await put(node, job_id, body)).json
    await node.api.run_when(job, "SUCCEEDED")
    again = await put(node, job_id, body)
    assert (again.status, again.json["status"]) == (200, "COMPLETED")
    assert (await put(node, job_id, body | {"name": "other"})).status == 409
    assert len(receiver.calls) == 1


async def test_an_id_has_one_owner(node: Node) -> None:
    """A deleted job keeps its id, and another tenant's is taken; neither is shown."""
    job_id = str(uuid4())
    await put(node, job_id, BODY)
    stranger = await node.client(tenant="stranger")
    taken = await stranger.call("PUT", f"/v1/jobs/{job_id}", BODY)
    assert (taken.status, "taken" in taken.json["detail"]) == (409, True)
    await node.api.call("DELETE", f"/v1/jobs/{job_id}")
    assert (await put(node, job_id, BODY)).status == 409


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#", "#/job_url"}),
        ([], {"#"}),
        (BODY | {"schedule_recurring": "61 * * * *", "job_url": "x"}, {"#/schedule_recurring", "#/job_url"}),
        ({"schedule_oneoff": "2020-01-01T00:00:00Z", "job_url": NOWHERE}, {"#/schedule_oneoff"}),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
async def test_a_bad_put_is_refused(node: Node, body, pointers: set[str], *, exists: bool) -> None:
    """400 with every fault, whether the job is there or not, and nothing is changed."""
    job_id = str(uuid4())
    if exists:
        await put(node, job_id, BODY)
    answer = await put(node, job_id, body)
    assert answer.status == 400
    assert {fault["pointer"] for fault in answer.json["errors"]} == pointers
    assert (await node.api.call("GET", f"/v1/jobs/{job_id}")).status == (200 if exists else 404)
