"""Work that takes longer than its call: accepted with 202, looked after, cancelled."""

import asyncio
import json
from typing import Any

import pytest

from countwheel.testing import Received, Reply, WebhookReceiver
from harness import FAR_RETRY, Answer, Node, eventually, running_node, soon

ACCEPTED = Reply(202)
CALLBACK = {"deadline_seconds": 60}


async def say(node: Node, call: Received, body: Any, *, what: str = "callback") -> Answer:
    """Say something of a run, to the URL that its call has brought, with nothing but that URL."""
    path = call.headers[f"countwheel-{what}"].removeprefix(node.url)
    assert path.startswith("/v1/jobs/"), path
    return await node.api.call("POST", path, body, headers={"Authorization": ""})


async def accepted(node: Node, receiver: WebhookReceiver, **fields: Any) -> tuple[dict[str, Any], Received]:
    """Return a job whose run its target has accepted, and the call."""
    receiver.answer_with(lambda call: Reply() if call.headers["countwheel-trigger"] == "cancellation" else ACCEPTED)
    job = await node.api.create(**{"schedule_oneoff": soon(0), "job_url": receiver.url, "callback": CALLBACK} | fields)
    calls = await receiver.wait_until(lambda: len(called(receiver, job)) > 0)
    del calls
    await until_accepted(node, job)
    return job, called(receiver, job)[0]


def called(receiver: WebhookReceiver, job: dict[str, Any]) -> list[Received]:
    """Return the calls of a job's runs, without errands."""
    return [
        call
        for call in receiver.calls
        if call.headers["countwheel-job-id"] == job["job_id"] and call.headers["countwheel-trigger"] != "cancellation"
    ]


def errands(receiver: WebhookReceiver) -> list[Received]:
    """Return the calls that tell of a cancel."""
    return [call for call in receiver.calls if call.headers["countwheel-trigger"] == "cancellation"]


async def until_accepted(node: Node, job: dict[str, Any]) -> dict[str, Any]:
    async def is_accepted() -> Any:
        run = await node.api.run(job)
        return run if "deadline_at" in run else None

    found: dict[str, Any] = await eventually(is_accepted)
    return found


async def make_overdue(node: Node, job: dict[str, Any], *, deadline: bool = False) -> None:
    """Let time pass for an accepted run, and look after it."""
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET overdue_at = now(), deadline_at = CASE WHEN %s THEN now() ELSE deadline_at END "
            "WHERE job_id = %s AND accepted_at IS NOT NULL",
            [deadline, job["job_id"]],
        )
    await node.engine.overseer.run_once()


async def test_an_accepted_run_is_live_until_it_is_completed(node: Node, receiver: WebhookReceiver) -> None:
    """202: RUNNING, held by no node, with its deadline; then it ends as the target says, with the result."""
    job, call = await accepted(node, receiver)
    run = await node.api.run(job)
    assert (run["status"], run["node_id"], run["heartbeat_at"]) == ("RUNNING", None, None)
    assert run["accepted_at"] < run["deadline_at"]
    answer = await say(node, call, {"status": "SUCCEEDED", "result": {"rows": 3}})
    assert (answer.status, answer.json["status"]) == (200, "SUCCEEDED")
    ended = await node.api.run(job)
    assert (ended["status"], ended["http_status"], ended["attempt"]) == ("SUCCEEDED", 202, 1)
    assert ended["node_id"] == node.engine.node.node_id
    assert ended["completion"] == {"status": "SUCCEEDED", "error": None, "retry": False, "result": {"rows": 3}}
    assert ended["accepted_at"] == run["accepted_at"]
    assert len(receiver.calls) == 1
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "COMPLETED"


async def test_a_202_without_a_callback_is_a_success(node: Node, receiver: WebhookReceiver) -> None:
    """As every other 2xx; and the call brings no URL."""
    receiver.answer_with(ACCEPTED)
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    assert (await node.api.run_when(job, "SUCCEEDED"))["http_status"] == 202
    assert "countwheel-callback" not in receiver.calls[0].headers


async def test_a_completion_before_the_answer_counts(node: Node, receiver: WebhookReceiver) -> None:
    """The target is quick: it says how it went before its own 202. The run has ended, and the 202 changes nothing."""
    gate = asyncio.Event()
    receiver.answer_with(Reply(202, after=gate))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, callback=CALLBACK)
    (call,) = await receiver.wait_for(1)
    assert (await say(node, call, {"status": "SUCCEEDED", "result": 1})).status == 200
    before = await node.api.run(job)
    gate.set()
    await node.engine.dispatcher.wait_for_calls(10)
    await node.engine.recorder.wait_until_idle()
    assert await node.api.run(job) == before
    assert (before["status"], before["completion"]["result"]) == ("SUCCEEDED", 1)


async def test_a_reported_failure_is_tried_again_if_it_is_wished(node: Node, receiver: WebhookReceiver) -> None:
    """FAILED with retry: RETRYING by the job's policy, with the reason; without it the run ends."""
    job, call = await accepted(node, receiver, max_attempts=2, retry={"first_delay_seconds": 0.1, "jitter": "none"})
    answer = await say(node, call, {"status": "FAILED", "error": "disk full", "retry": True})
    assert (answer.status, answer.json["status"]) == (200, "RETRYING")
    calls = await receiver.wait_for(2)
    again = await say(node, call, {"status": "FAILED", "error": "disk full", "retry": True})
    assert (again.status, again.json["status"]) == (200, "RETRYING"), "the same completion, the same answer"
    await until_accepted(node, job)
    assert (await say(node, call, {"status": "FAILED"})).status == 409, "a later attempt is under way"
    last = await say(node, calls[1], {"status": "FAILED", "error": "disk full", "retry": True})
    assert last.json["status"] == "FAILED"
    ended = await node.api.run(job)
    assert (ended["status"], ended["attempt"]) == ("FAILED", 2)
    assert "reported: disk full" in ended["error"]
    assert [attempt["error"][:19] for attempt in ended["attempts"]] == ["reported: disk full"] * 2
    fences = [int(each.headers["countwheel-fence"]) for each in calls]
    assert fences[0] < fences[1]


async def test_a_failure_before_the_answer_is_not_overwritten_by_it(node: Node, receiver: WebhookReceiver) -> None:
    """Said by the target while its node waits for the answer: the fence has risen, and the answer records nothing."""
    gate = asyncio.Event()
    receiver.answer_with(Reply(200, after=gate))
    job = await node.api.create(
        schedule_oneoff=soon(0),
        job_url=receiver.url,
        callback=CALLBACK,
        retry=FAR_RETRY,
    )
    (call,) = await receiver.wait_for(1)
    assert (await say(node, call, {"status": "FAILED", "retry": True})).json["status"] == "RETRYING"
    gate.set()
    await node.engine.dispatcher.wait_for_calls(10)
    await node.engine.recorder.wait_until_idle()
    assert (await node.api.run(job))["status"] == "RETRYING"


async def test_the_word_of_an_earlier_attempt_counts(node: Node, receiver: WebhookReceiver) -> None:
    """A worker that was taken for silent has done the work after all: the run succeeds, and is not sent again."""
    callback = {"deadline_seconds": 60, "heartbeat_seconds": 30}
    job, call = await accepted(node, receiver, callback=callback, retry=FAR_RETRY)
    await make_overdue(node, job)
    waiting = await node.api.run(job)
    assert (waiting["status"], waiting["error"]) == ("RETRYING", "overdue: accepted, and no heartbeat for 30 s")
    beat = await say(node, call, None, what="heartbeat")
    assert (beat.json["status"], beat.json["continue"]) == ("RETRYING", False)
    assert (await say(node, call, {"status": "SUCCEEDED"})).json["status"] == "SUCCEEDED"
    ended = await node.api.run(job)
    assert (ended["status"], ended["attempt"], len(receiver.calls)) == ("SUCCEEDED", 1, 1)


async def test_a_heartbeat_moves_the_due_time(node: Node, receiver: WebhookReceiver) -> None:
    """Each word of the target moves it, never past the deadline; what it says of its progress is shown."""
    job, call = await accepted(node, receiver, callback={"deadline_seconds": 60, "heartbeat_seconds": 59})
    first = (await say(node, call, {"progress": "half"}, what="heartbeat")).json
    assert (first["status"], first["continue"]) == ("RUNNING", True)
    assert first["heartbeat_due_at"] <= first["deadline_at"]
    run = await node.api.run(job)
    assert (run["progress"], run["deadline_at"]) == ("half", first["deadline_at"])
    assert run["accepted_at"] < run["heartbeat_at"]
    second = (await say(node, call, {"progress": 0.75}, what="heartbeat")).json
    assert second["heartbeat_due_at"] > first["heartbeat_due_at"] or second["heartbeat_due_at"] == run["deadline_at"]
    await node.engine.overseer.run_once()
    assert (await node.api.run(job))["progress"] == "0.75"


async def test_a_lost_heartbeat_is_noticed_in_time(node: Node, receiver: WebhookReceiver) -> None:
    """By the database's clock, by a service of the node, with nothing to help it: the run is sent again."""
    job, call = await accepted(
        node,
        receiver,
        callback={"deadline_seconds": 60, "heartbeat_seconds": 1},
        retry={"first_delay_seconds": 0.1, "jitter": "none"},
    )
    calls = await receiver.wait_for(2)
    assert calls[1].received_at > call.received_at
    assert [int(each.headers["countwheel-attempt"]) for each in calls[:2]] == [1, 2]
    assert (await say(node, calls[-1], {"status": "SUCCEEDED"})).json["status"] == "SUCCEEDED"
    ended = await node.api.run(job)
    assert ended["attempts"][0]["error"] == "overdue: accepted, and no heartbeat for 1 s"


async def test_a_deadline_that_passes_holds_what_is_unknown(node: Node, receiver: WebhookReceiver) -> None:
    """at_most_once: UNKNOWN, and not sent again. The target's later word is the run's resolution."""
    job, call = await accepted(node, receiver, delivery="at_most_once")
    await make_overdue(node, job, deadline=True)
    held = await node.api.run(job)
    assert held["status"] == "UNKNOWN"
    assert "accepted, and not completed by its deadline" in held["error"]
    late = await say(node, call, {"status": "SUCCEEDED"})
    assert (late.status, late.json["status"], late.json["resolution"]) == (200, "UNKNOWN", "SUCCEEDED")
    assert (await say(node, call, {"status": "SUCCEEDED"})).json == late.json
    assert (await say(node, call, {"status": "FAILED"})).status == 409
    resolution = (await node.api.run(job))["resolution"]
    assert (resolution["as"], resolution["by"]) == ("SUCCEEDED", "target")
    assert len(receiver.calls) == 1


async def test_a_held_job_may_be_tried_again_after_a_reported_failure(node: Node, receiver: WebhookReceiver) -> None:
    """on_unknown hold: what the target says is known. At most once all the same is never sent twice."""
    job, call = await accepted(node, receiver, on_unknown="hold")
    assert (await say(node, call, {"status": "FAILED", "retry": True})).json["status"] == "RETRYING"
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    once, call = await accepted(node, receiver, delivery="at_most_once")
    assert (await say(node, call, {"status": "FAILED", "retry": True})).json["status"] == "FAILED"
    assert "at most once" in (await node.api.run(once))["error"]


async def cancel(node: Node, job: dict[str, Any]) -> str:
    path = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/"
    status: str = (await node.api.call("DELETE", path)).json["status"]
    return status


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_cancelling_an_accepted_run_tells_its_target(node: Node, receiver: WebhookReceiver, method: str) -> None:
    """CANCELED at once, though no node holds it; cancel_url gets a signed call that says which run; and it is final."""
    job, call = await accepted(node, receiver, cancel_url=f"{receiver.url}/cancel", cancel_method=method)
    assert await cancel(node, job) == "CANCELED"
    await receiver.wait_until(lambda: len(errands(receiver)) == 1)
    (told,) = errands(receiver)
    said = json.loads(told.body)
    assert (told.method, told.path) == (method, "/hook/cancel")
    assert (said["type"], said["run_id"], said["attempt"]) == ("run.cancelled", job["next_run"]["run_id"], 1)
    assert told.headers["webhook-signature"].startswith("v1,")
    assert "countwheel-callback" not in told.headers
    refused = await say(node, call, {"status": "SUCCEEDED"})
    assert (refused.status, refused.json["run_status"]) == (409, "CANCELED")
    beat = (await say(node, call, None, what="heartbeat")).json
    assert (beat["status"], beat["continue"]) == ("CANCELED", False)
    assert await cancel(node, job) == "CANCELED"
    assert len(errands(receiver)) == 1


async def test_a_cancel_after_the_completion_is_too_late(node: Node, receiver: WebhookReceiver) -> None:
    """The run stays SUCCEEDED, and nobody is told that it was cancelled."""
    job, call = await accepted(node, receiver, cancel_url=f"{receiver.url}/cancel")
    await say(node, call, {"status": "SUCCEEDED"})
    assert await cancel(node, job) == "DELETE"
    assert (await node.api.run(job))["status"] == "SUCCEEDED"
    async with node.database.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM runs")).fetchone()
    assert row == (0,)


async def test_of_a_cancel_and_a_completion_one_wins(node: Node, receiver: WebhookReceiver) -> None:
    """At the same time, over and over: both sides are told the same, and it is what the ledger says."""
    won = set()
    for _ in range(12):
        receiver.calls.clear()
        job, call = await accepted(node, receiver, cancel_url=f"{receiver.url}/cancel")
        said, cancelled = await asyncio.gather(say(node, call, {"status": "SUCCEEDED"}), cancel(node, job))
        status = (await node.api.run(job))["status"]
        won.add(status)
        expected = {"CANCELED": (409, "CANCELED"), "SUCCEEDED": (200, "DELETE")}
        assert (said.status, cancelled) == expected[status]
    assert won <= {"CANCELED", "SUCCEEDED"}


async def test_cancelling_a_call_under_way_tells_its_target(node: Node, receiver: WebhookReceiver) -> None:
    """Its node aborts the call; the errand is there with the record."""
    never = asyncio.Event()
    receiver.answer_with(lambda call: Reply() if call.path.endswith("cancel") else Reply(after=never))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, cancel_url=f"{receiver.url}/cancel")
    await receiver.wait_for(1)
    assert await cancel(node, job) == "CANCELED"
    await receiver.wait_until(lambda: len(errands(receiver)) == 1)
    assert "under way" in json.loads(errands(receiver)[0].body)["reason"]


async def test_what_was_never_sent_is_cancelled_in_silence(node: Node, receiver: WebhookReceiver) -> None:
    """Cancelled before its time, or while it is claimed: no call at all, not even to cancel_url."""
    later = await node.api.create(
        schedule_oneoff="2190-01-01T00:00:00Z", job_url=receiver.url, cancel_url=f"{receiver.url}/cancel"
    )
    claimed = await node.api.create(
        schedule_oneoff=soon(0.45), job_url=receiver.url, cancel_url=f"{receiver.url}/cancel"
    )
    assert await cancel(node, later) == "CANCELED"
    assert await cancel(node, claimed) == "CANCELED"
    after, _ = await accepted(node, receiver)
    assert [call.headers["countwheel-job-id"] for call in receiver.calls] == [after["job_id"]]


async def test_cancelling_between_attempts_tells_the_target(node: Node, receiver: WebhookReceiver) -> None:
    """A run that failed once and waits for its next attempt was sent, too."""
    receiver.answer_with(lambda call: Reply() if call.path.endswith("cancel") else Reply(500))
    job = await node.api.create(
        schedule_oneoff=soon(0), job_url=receiver.url, cancel_url=f"{receiver.url}/cancel", retry=FAR_RETRY
    )
    await node.api.run_when(job, "RETRYING")
    assert await cancel(node, job) == "CANCELED"
    await receiver.wait_until(lambda: len(errands(receiver)) == 1)


@pytest.mark.parametrize("way", ["job", "bulk"])
async def test_deleting_the_job_cancels_its_accepted_run(node: Node, receiver: WebhookReceiver, way: str) -> None:
    """CANCELED, and the target is told, though the job is gone."""
    job, call = await accepted(node, receiver, cancel_url=f"{receiver.url}/cancel", name="gone")
    if way == "job":
        assert (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")).status in {200, 201}
    else:
        assert (await node.api.call("POST", "/v1/jobs:delete", {"filter": {"name": "gone"}})).json["changed"] == 1
    await receiver.wait_until(lambda: len(errands(receiver)) == 1)
    assert (await node.api.run(job))["error"] == "its job was deleted"
    assert (await say(node, call, {"status": "SUCCEEDED"})).json["run_status"] == "CANCELED"


async def test_a_cancel_that_meets_the_202_is_carried_out(node: Node, receiver: WebhookReceiver) -> None:
    """Asked for while a node had the run, and nobody waits for the answer: accepted, and ended when looked after."""
    job, call = await accepted(node, receiver, cancel_url=f"{receiver.url}/cancel")
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET cancel_requested_at = now(), cancel_reason = 'asked', overdue_at = now() "
            "WHERE job_id = %s",
            [job["job_id"]],
        )
    beat = (await say(node, call, None, what="heartbeat")).json
    assert beat["continue"] is False
    ended = await node.api.run_when(job, "CANCELED")
    assert (ended["error"], ended["attempt"]) == ("asked", 1)
    await receiver.wait_until(lambda: len(errands(receiver)) == 1)


async def test_a_pause_lets_an_accepted_run_go_on(node: Node, receiver: WebhookReceiver) -> None:
    """It has begun: its heartbeats and its completion count as before."""
    job, call = await accepted(node, receiver, schedule_oneoff=soon(0))
    assert (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")).status == 200
    assert (await say(node, call, None, what="heartbeat")).json["continue"] is True
    assert (await say(node, call, {"status": "SUCCEEDED"})).json["status"] == "SUCCEEDED"


async def run_now(node: Node, job: dict[str, Any]) -> str:
    answer = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/")
    assert answer.status == 201, answer.body
    run_id: str = answer.json["run_id"]
    return run_id


async def test_an_accepted_run_is_an_earlier_run_that_is_alive(node: Node, receiver: WebhookReceiver) -> None:
    """Overlap queue_all: the next run waits for the completion, and is called when it has come."""
    receiver.answer_with(ACCEPTED)
    job = await node.api.create(
        schedule_recurring="0 0 1 1 *", job_url=receiver.url, callback=CALLBACK, overlap="queue_all"
    )
    first = await run_now(node, job)
    (call,) = await receiver.wait_for(1)
    await node.api.run_when(job, "RUNNING", run_id=first)
    second = await run_now(node, job)

    async def waits() -> bool:
        return bool((await node.api.run(job, second)).get("waiting"))

    await eventually(waits)
    assert len(receiver.calls) == 1
    await say(node, call, {"status": "SUCCEEDED"})
    calls = await receiver.wait_for(2)
    assert calls[1].run_id == second


async def test_overlap_cancel_running_takes_an_accepted_runs_place(node: Node, receiver: WebhookReceiver) -> None:
    """The earlier one ends CANCELED, its target is told, and the later one is called."""
    receiver.answer_with(lambda call: Reply() if call.path.endswith("cancel") else ACCEPTED)
    job = await node.api.create(
        schedule_recurring="0 0 1 1 *",
        job_url=receiver.url,
        callback=CALLBACK,
        overlap="cancel_running",
        cancel_url=f"{receiver.url}/cancel",
    )
    first = await run_now(node, job)
    await receiver.wait_for(1)
    await node.api.run_when(job, "RUNNING", run_id=first)
    second = await run_now(node, job)
    await receiver.wait_until(lambda: len(errands(receiver)) == 1 and len(called(receiver, job)) == 2)
    assert (await node.api.run(job, first))["status"] == "CANCELED"
    assert called(receiver, job)[1].run_id == second


async def test_a_restart_does_not_touch_accepted_runs(dsn: str, receiver: WebhookReceiver) -> None:
    """The node that made the call is gone for good: another one takes the completion."""
    async with running_node(dsn) as first:
        job, call = await accepted(first, receiver)
        path = call.headers["countwheel-callback"].removeprefix(first.url)
    async with running_node(dsn) as second:
        await second.engine.recovery.run_once()
        assert (await second.api.run(job))["status"] == "RUNNING"
        answer = await second.api.call("POST", path, {"status": "SUCCEEDED"}, headers={"Authorization": ""})
        assert answer.json["status"] == "SUCCEEDED"
        assert len(receiver.calls) == 1


async def test_a_failure_of_an_earlier_attempt_does_not_resolve_the_last_one(
    node: Node, receiver: WebhookReceiver
) -> None:
    """A completion that is sent again, its answer having been lost, says nothing of the attempt after it."""
    retry = {"first_delay_seconds": 0.1, "max_delay_seconds": 0.1, "jitter": "none"}
    job, call = await accepted(node, receiver, on_unknown="hold", retry=retry)
    failed = {"status": "FAILED", "error": "no", "retry": True}
    assert (await say(node, call, failed)).json["status"] == "RETRYING"
    await receiver.wait_until(lambda: len(called(receiver, job)) > 1)
    await until_accepted(node, job)
    await make_overdue(node, job, deadline=True)
    assert (await node.api.run(job))["status"] == "UNKNOWN"
    again = await say(node, call, failed)
    assert (again.status, again.json["status"]) == (200, "RETRYING")
    assert (await say(node, call, failed | {"error": "another"})).status == 409
    assert "resolution" not in await node.api.run(job)
    last = await say(node, called(receiver, job)[-1], failed)
    assert (last.status, last.json["resolution"]) == (200, "FAILED")


async def test_a_success_counts_for_a_run_that_was_redriven_meanwhile(node: Node, receiver: WebhookReceiver) -> None:
    """It is not sent again; a failure that is told again leaves it as it is."""
    job, call = await accepted(node, receiver, on_unknown="hold")
    await make_overdue(node, job, deadline=True)
    run = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    await node.engine.claimer.stop()  # the next attempt is not begun, nor counted
    assert (await node.api.call("POST", f"{run}/redrive")).status == 200
    assert (await say(node, call, {"status": "FAILED"})).status == 409
    done = await say(node, call, {"status": "SUCCEEDED", "result": 1})
    assert (done.status, done.json["status"]) == (200, "SUCCEEDED")
    assert (await say(node, call, {"status": "SUCCEEDED", "result": 1})).json == done.json
    found = await node.api.run(job)
    assert (found["status"], found["attempt"], found["completion"]["result"]) == ("SUCCEEDED", 1, 1)
    assert len(called(receiver, job)) == 1


async def test_a_failure_that_was_redriven_does_not_end_the_run_again(node: Node, receiver: WebhookReceiver) -> None:
    """The same completion once more, when the attempt after it has failed and is to be tried again: 409."""
    job, call = await accepted(node, receiver)
    assert (await say(node, call, {"status": "FAILED"})).json["status"] == "FAILED"
    receiver.answer_with(Reply(503))
    run = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    assert (await node.api.call("POST", f"{run}/redrive")).status == 200
    await receiver.wait_until(lambda: len(called(receiver, job)) > 1)

    async def has_failed_again() -> bool:
        return len((await node.api.run(job))["attempts"]) > 1

    await eventually(has_failed_again)
    assert (await say(node, call, {"status": "FAILED"})).status == 409
    assert (await node.api.run(job))["status"] != "FAILED"
