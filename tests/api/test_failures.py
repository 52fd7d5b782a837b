"""`GET /v1/failures`: what failed, by what it looks like."""

from countwheel.testing import Reply, WebhookReceiver
from harness import Node, soon


async def test_failures_that_look_alike_are_one_group(node: Node, receiver: WebhookReceiver) -> None:
    """Count, jobs, samples, what was redriven since, and the filter that redrives the rest."""
    receiver.answer_with(lambda call: Reply(404) if "gone" in call.path else Reply(400))
    jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url) for _ in range(3)]
    gone = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + "/gone")
    for job in (*jobs, gone):
        await node.api.run_when(job, "FAILED")
    found = (await node.api.call("GET", "/v1/failures")).json
    assert (found["failures"], found["complete"], found["other_groups"]) == (4, True, 0)
    most, least = found["items"]
    assert (most["count"], most["jobs"], most["error_class"], most["target"]) == (3, 3, "http_400", "127.0.0.1")
    assert (least["count"], least["error"]) == (1, "HTTP 404 Not Found")
    assert {run["job_id"] for run in most["runs"]} == {job["job_id"] for job in jobs}
    receiver.answer_with(Reply())
    run_path = f"/v1/jobs/{jobs[0]['job_id']}/run/{jobs[0]['next_run']['run_id']}"
    await node.api.call("POST", f"{run_path}/redrive")
    await node.api.run_when(jobs[0], "SUCCEEDED")
    again = (await node.api.call("GET", "/v1/failures")).json["items"][0]
    assert (again["count"], again["redriven"]) == (3, 1)
    done = await node.api.call("POST", "/v1/runs:redrive", {"filter": most["filter"]})
    assert done.json["changed"] == 2


async def test_a_span_a_job_and_a_limit_narrow_the_groups(node: Node, receiver: WebhookReceiver) -> None:
    """What is left out is counted; another span is empty; another tenant sees nothing; runs:read is needed."""
    receiver.answer_with(lambda call: Reply(404) if "gone" in call.path else Reply(400))
    jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + path) for path in ("/", "/gone")]
    for job in jobs:
        await node.api.run_when(job, "FAILED")
    one = (await node.api.call("GET", "/v1/failures?limit=1")).json
    assert (len(one["items"]), one["other_groups"]) == (1, 1)
    of_job = (await node.api.call("GET", f"/v1/failures?job_id={jobs[1]['job_id']}")).json
    assert [group["error_class"] for group in of_job["items"]] == ["http_404"]
    assert (await node.api.call("GET", "/v1/failures?to=2001-01-01T00:00:00Z")).json["items"] == []
    assert (await node.api.call("GET", "/v1/failures?target=other.example")).json["items"] == []
    other = await node.client(tenant="other")
    assert (await other.call("GET", "/v1/failures")).json["items"] == []
    writer = await node.client(scopes=frozenset({"runs:write"}))
    assert (await writer.call("GET", "/v1/failures")).status == 403
    for wrong in ("limit=0", "limit=201", "from=today", "job_id=x"):
        assert (await node.api.call("GET", f"/v1/failures?{wrong}")).status == 400, wrong
