"""`/complete` and `/heartbeat`: who may say something of a run, and what is refused."""

import base64
from typing import Any
from uuid import uuid4

import pytest

from countwheel.testing import Received, Reply, WebhookReceiver
from harness import Answer, Node, eventually, soon

DONE = {"status": "SUCCEEDED"}
NOBODY = {"Authorization": ""}


async def accept_one(node: Node, receiver: WebhookReceiver, api: Any = None) -> tuple[dict[str, Any], Received]:
    """Return a job whose run was accepted, and its call."""
    receiver.answer_with(Reply(202))
    api = api or node.api
    job = await api.create(schedule_oneoff=soon(0), job_url=receiver.url, callback={"deadline_seconds": 60})
    run_id = job["next_run"]["run_id"]
    calls = await receiver.wait_until(lambda: any(call.run_id == run_id for call in receiver.calls))

    async def is_accepted() -> bool:
        return "accepted_at" in await api.run(job)

    await eventually(is_accepted)
    return job, next(call for call in calls if call.run_id == run_id)


def path_of(node: Node, call: Received, what: str = "callback") -> str:
    return call.headers[f"countwheel-{what}"].removeprefix(node.url)


async def post(node: Node, path: str, body: Any = DONE) -> Answer:
    return await node.api.call("POST", path, body, headers=NOBODY)


async def test_a_token_opens_its_own_run_and_nothing_else(node: Node, receiver: WebhookReceiver) -> None:
    """401 with another run's, another job's or another tenant's token, and with every flipped byte of the right one."""
    job, call = await accept_one(node, receiver)
    _, other = await accept_one(node, receiver)
    stranger = await node.client(tenant="stranger")
    _, foreign = await accept_one(node, receiver, stranger)
    path, _, token = path_of(node, call).partition("?token=")
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    flipped = [bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]) for at in range(len(raw))]
    wrong = [path_of(node, each).partition("?token=")[2] for each in (other, foreign)]
    wrong += [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in flipped]
    wrong += ["", "x", token[:-2], token + "AA", "%C3%A4" * 10, "A" * 5000]
    for each in wrong:
        for what in (path, path.replace("/complete", "/heartbeat")):
            answer = await post(node, f"{what}?token={each}")
            assert (answer.status, answer.json["type"]) == (401, "/docs/problems/unauthorized"), each
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    swapped = path.replace(job["job_id"], str(uuid4()))
    assert (await post(node, f"{swapped}?token={token}")).status == 401
    assert (await node.api.run(job))["status"] == "RUNNING"
    assert (await post(node, f"{path}?token={token}")).status == 200


async def test_a_token_ends_a_day_after_its_deadline(node: Node, receiver: WebhookReceiver) -> None:
    """An expired one opens nothing, and says why."""
    job, call = await accept_one(node, receiver)
    del job
    token = path_of(node, call).partition("?token=")[2]
    _, seconds = base64.urlsafe_b64decode(token + "==")[16:20], base64.urlsafe_b64decode(token + "==")[20:28]
    until = int.from_bytes(seconds)
    sent = int(call.headers["webhook-timestamp"])
    assert 24 * 3600 + 60 + 30 <= until - sent <= 24 * 3600 + 60 + 32


async def test_nobody_says_anything_without_a_right(node: Node, receiver: WebhookReceiver) -> None:
    """401 without a token of either kind, 403 without runs:write, 404 for another tenant; with the scope it works."""
    job, _ = await accept_one(node, receiver)
    run = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    reader = await node.client(scopes=frozenset({"runs:read"}))
    stranger = await node.client(tenant="stranger")
    for what, body in (("complete", DONE), ("heartbeat", None)):
        assert (await node.api.call("POST", f"{run}/{what}", body, headers=NOBODY)).status == 401
        assert (await reader.call("POST", f"{run}/{what}", body)).status == 403
        assert (await stranger.call("POST", f"{run}/{what}", body)).status == 404
        unknown = f"/v1/jobs/{uuid4()}/run/{uuid4()}/{what}"
        assert (await node.api.call("POST", unknown, body)).status == 404
    assert (await node.api.call("POST", f"{run}/heartbeat")).json["continue"] is True
    assert (await node.api.call("POST", f"{run}/complete", DONE)).json["status"] == "SUCCEEDED"


async def test_the_same_completion_again_gets_the_same_answer(node: Node, receiver: WebhookReceiver) -> None:
    """Any other one after it is 409, with how the run stands."""
    _, call = await accept_one(node, receiver)
    path = path_of(node, call)
    said = {"status": "FAILED", "error": "no", "result": {"b": 1, "a": [None, 1.5, "\u00e9"]}}
    first = await post(node, path, said)
    assert (first.status, first.json["status"]) == (200, "FAILED")
    assert (await post(node, path, said)).json == first.json
    for other in ({"status": "SUCCEEDED"}, said | {"error": "yes"}, said | {"result": {}}):
        refused = await post(node, path, other)
        assert (refused.status, refused.json["run_status"]) == (409, "FAILED")


async def test_what_was_not_sent_cannot_be_completed(node: Node) -> None:
    """409 before its time, and for a job that has no callback: the answer to its call says how it went."""
    job = await node.api.create(
        schedule_oneoff="2190-01-01T00:00:00Z", job_url="http://127.0.0.1:9/", callback={"deadline_seconds": 60}
    )
    run = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    answer = await node.api.call("POST", f"{run}/complete", DONE)
    assert (answer.status, answer.json["run_status"]) == (409, "SCHEDULED")
    assert (await node.api.call("POST", f"{run}/heartbeat")).json["continue"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"status": "DONE"}, 400),
        ({"status": "SUCCEEDED", "more": 1}, 400),
        ({"status": "FAILED", "error": "x" * 1001}, 400),
        ({"status": "FAILED", "error": "\u0000"}, 400),
        ({"status": "SUCCEEDED", "result": {"deep": "\u0000"}}, 400),
        ([], 400),
        ({"status": "SUCCEEDED", "result": "x" * 65_535}, 413),
        ({"status": "SUCCEEDED", "result": "x" * 500_000}, 413),
    ],
)
async def test_what_a_completion_must_look_like(node: Node, receiver: WebhookReceiver, body: Any, status: int) -> None:
    """Faults with pointers, and a limit of 64 KiB for the result."""
    job, call = await accept_one(node, receiver)
    assert (await post(node, path_of(node, call), body)).status == status
    assert (await node.api.run(job))["status"] == "RUNNING"


async def test_the_largest_result_is_kept(node: Node, receiver: WebhookReceiver) -> None:
    """64 KiB with its quotes, given back when the run is read, and not in listings."""
    job, call = await accept_one(node, receiver)
    result = "\u00e4" * 32_767
    assert (await post(node, path_of(node, call), {"status": "SUCCEEDED", "result": result})).status == 200
    assert (await node.api.run(job))["completion"]["result"] == result
    listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    assert ["completion" in item for item in listed] == [False]
