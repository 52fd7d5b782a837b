"""At most once, and held runs: what may have arrived is not sent again by itself (promise 5)."""

import asyncio
import signal

from countwheel.testing import Reply, WebhookReceiver
from harness import FAR_RETRY, Node, ServeNode, eventually, free_port, running_node, soon


async def retry(node: Node, job):
    return await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/retry")


async def resolve(node: Node, job, **body):
    return await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/resolve", body)


async def test_sent_without_an_answer_ends_unknown(node: Node, receiver: WebhookReceiver) -> None:
    """The target reads the call and hangs up: UNKNOWN, one receipt, and nothing more is sent."""
    receiver.answer_with(Reply(close_without_answer=True))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
    assert (job["delivery"], job["on_unknown"]) == ("at_most_once", "hold")
    found = await node.api.run_when(job, "UNKNOWN")
    assert "may have received it" in found["error"]
    assert len(receiver.calls) == 1


async def test_what_provably_never_left_is_sent_again(node: Node) -> None:
    """Nobody listens: no byte left, so the run is tried again like any other."""
    url = f"http://127.0.0.1:{free_port()}/"
    job = await node.api.create(schedule_oneoff=soon(0), job_url=url, delivery="at_most_once", retry=FAR_RETRY)
    assert (await node.api.run_when(job, "RETRYING", "UNKNOWN"))["status"] == "RETRYING"


async def test_an_answer_of_any_kind_is_final_at_most_once(node: Node, receiver: WebhookReceiver) -> None:
    """503: the target had the call, so it is not sent again; the ordinary job beside it is."""
    receiver.answer_with(Reply(503))
    once = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
    ordinary = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, retry=FAR_RETRY)
    assert "at most once" in (await node.api.run_when(once, "FAILED", "RETRYING"))["error"]
    await node.api.run_when(ordinary, "RETRYING")


async def test_at_least_once_can_hold_the_unknown_too(node: Node, receiver: WebhookReceiver) -> None:
    """on_unknown: hold retries what was answered and holds what was not."""
    receiver.answer_with(lambda call: Reply(503) if "answered" in call.path else Reply(close_without_answer=True))
    answered = await node.api.create(
        schedule_oneoff=soon(0), job_url=receiver.url + "/answered", on_unknown="hold", retry=FAR_RETRY
    )
    dropped = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, on_unknown="hold")
    await node.api.run_when(answered, "RETRYING")
    await node.api.run_when(dropped, "UNKNOWN")


async def test_a_held_run_is_sent_again_by_hand_under_its_own_id(node: Node, receiver: WebhookReceiver) -> None:
    """Retried: the same webhook-id, a higher fence; the ledger keeps that it was UNKNOWN, and who decided."""
    receiver.answer_with(lambda _: Reply(close_without_answer=True) if len(receiver.calls) == 1 else Reply())
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
    await node.api.run_when(job, "UNKNOWN")
    assert (await retry(node, job)).status == 200
    found = await node.api.run_when(job, "SUCCEEDED")
    assert [(attempt["error"] or "")[:12] for attempt in found["attempts"]] == ["disconnected", ""]
    first, second = receiver.calls
    assert first.run_id == second.run_id
    assert int(second.headers["countwheel-fence"]) > int(first.headers["countwheel-fence"])
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT status, resolution FROM run_history ORDER BY fence")
        assert await cursor.fetchall() == [("UNKNOWN", "RETRIED"), ("SUCCEEDED", None)]
    listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    assert [run["status"] for run in listed] == ["SUCCEEDED"]
    assert (await retry(node, job)).status == 409
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "COMPLETED"


async def test_a_held_run_is_resolved_by_hand_and_stays_what_it_is(node: Node, receiver: WebhookReceiver) -> None:
    """Resolved: still UNKNOWN, with what was found out beside it; saying otherwise later is 409."""
    receiver.answer_with(Reply(close_without_answer=True))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
    await node.api.run_when(job, "UNKNOWN")
    resolved = await resolve(node, job, **{"as": "SUCCEEDED", "note": "their log has it"})
    assert (resolved.status, resolved.json["status"]) == (200, "UNKNOWN")
    assert (resolved.json["resolution"]["as"], resolved.json["resolution"]["note"]) == ("SUCCEEDED", "their log has it")
    assert (await resolve(node, job, **{"as": "SUCCEEDED"})).status == 200
    assert (await resolve(node, job, **{"as": "FAILED"})).status == 409
    assert (await retry(node, job)).status == 409


async def test_only_unknown_runs_are_retried_or_resolved(node: Node, receiver: WebhookReceiver) -> None:
    """A run that succeeded, and one that never was."""
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(job, "SUCCEEDED")
    assert (await retry(node, job)).status == 409
    assert (await resolve(node, job, **{"as": "FAILED"})).status == 409
    job["next_run"]["run_id"] = "00000000-0000-8000-8000-000000000000"
    assert (await retry(node, job)).status == 404


async def test_at_most_once_with_retry_is_refused(node: Node) -> None:
    """The two contradict each other: 400 that names the field."""
    body = {"schedule_oneoff": soon(60), "job_url": "http://127.0.0.1:9/", "delivery": "at_most_once"}
    answer = await node.api.call("POST", "/v1/jobs", body | {"on_unknown": "retry"})
    assert (answer.status, [fault["pointer"] for fault in answer.json["errors"]]) == (400, ["#/on_unknown"])


async def test_scenario_crash_after_send_before_the_record(dsn: str, receiver: WebhookReceiver) -> None:
    """Scenario "crash after send, before the record": kill -9 in the middle of calls. At least once sends again with a
    higher fence; at most once ends UNKNOWN and is not sent again; what was only claimed is sent.
    """
    gate = asyncio.Event()
    receiver.answer_with(lambda call: Reply(after=gate) if call.headers["countwheel-fence"] == "1" else Reply())
    async with ServeNode(dsn) as killed, running_node(dsn) as node:
        await node.engine.claimer.stop()
        twice = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
        once = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
        await receiver.wait_for(2)
        waiting = await node.api.create(schedule_oneoff=soon(0.45), job_url=receiver.url, delivery="at_most_once")

        async def is_held() -> bool:
            return (await node.api.run(waiting))["node_id"] is not None

        await eventually(is_held)
        killed.send(signal.SIGKILL)
        await killed.end()
        async with ServeNode(dsn):
            await node.api.run_when(twice, "SUCCEEDED")
            unknown = await node.api.run_when(once, "UNKNOWN", "SUCCEEDED")
            assert unknown["status"] == "UNKNOWN"
            await node.api.run_when(waiting, "SUCCEEDED")
        received = receiver.calls_by_run()
        assert [received[job["next_run"]["run_id"]] for job in (twice, once, waiting)] == [2, 1, 1]
