"""What a job says of its calls, over HTTP."""

from harness import Node, soon

SAID = {
    "retry": {"backoff": "fixed", "first_delay_seconds": 1},
    "headers": {"X-Env": "prod"},
    "flow": "partner",
    "on_failure": "http://127.0.0.1/failed",
}


async def test_what_was_said_is_shown_kept_changed_and_taken_away(node: Node) -> None:
    """Create, read, PATCH with a value and with null, and the version before."""
    job = await node.api.create(schedule_oneoff=soon(3600), job_url="http://127.0.0.1/hook", **SAID)
    assert {name: job[name] for name in SAID} == SAID
    patch = {"headers": {"X-Env": "test"}, "flow": None}
    answer = await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", patch)
    assert (answer.status, answer.json["headers"], "flow" in answer.json) == (200, {"X-Env": "test"}, False)
    versions = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/versions")).json["items"]
    assert versions[-1]["job"]["flow"] == "partner"


async def test_a_value_that_sounds_like_a_secret_is_warned_of(node: Node) -> None:
    """It is taken as it is, and the 201 says that it can be read, and what to do."""
    headers = {"X-Api-Key": "k", "X-Env": "prod"}
    job = await node.api.create(schedule_oneoff=soon(3600), job_url="http://127.0.0.1/hook", headers=headers)
    assert [warning.split(":")[0] for warning in job["warnings"]] == ["header x-api-key"]


async def test_e2_every_fault_is_named_at_once(node: Node) -> None:
    """A reserved header, a method without its URL, an authorization of no kind, and a target that is none."""
    body = {
        "schedule_oneoff": soon(3600),
        "job_url": "http://127.0.0.1/hook",
        "headers": {"Host": "x"},
        "cancel_method": "POST",
        "authorization": {"type": "digest"},
        "on_success": "nowhere",
    }
    answer = await node.api.call("POST", "/v1/jobs", body)
    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert answer.status == 400
    assert pointers == {"#/headers/Host", "#/headers", "#/cancel_url", "#/authorization", "#/on_success"}
