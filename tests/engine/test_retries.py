"""W9: when a job's call is tried again, and when it is not, with real calls."""

from datetime import datetime

from countwheel.testing import Reply, WebhookReceiver
from harness import Node, eventually, soon


async def test_w9_the_job_says_how_often_and_how_long(node: Node, receiver: WebhookReceiver) -> None:
    """A fixed delay without chance: the second attempt is due exactly so much after the first one ended."""
    receiver.answer_with(lambda _: Reply(500))
    retry = {"backoff": "fixed", "first_delay_seconds": 0.5, "jitter": "none"}
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, max_attempts=3, retry=retry)
    ended = await node.api.run_when(job, "FAILED")
    starts = [datetime.fromisoformat(attempt["started_at"]) for attempt in ended["attempts"]]
    ends = [datetime.fromisoformat(attempt["finished_at"]) for attempt in ended["attempts"]]
    assert (len(starts), ended["attempt"]) == (3, 3)
    assert all((later - end).total_seconds() >= 0.499 for later, end in zip(starts[1:], ends[:-1], strict=True))


async def test_w9_the_job_says_which_statuses_are_tried_again(node: Node, receiver: WebhookReceiver) -> None:
    """404 is tried again where the job says so, and then 503, which it does not name, is final."""
    replies = iter([Reply(404), Reply(503)])
    receiver.answer_with(lambda _: next(replies))
    retry = {"first_delay_seconds": 0.1, "retry_statuses": [404]}
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, retry=retry)
    ended = await node.api.run_when(job, "FAILED")
    assert [attempt["http_status"] for attempt in ended["attempts"]] == [404, 503]


async def test_a_target_ends_a_run_by_a_header(node: Node, receiver: WebhookReceiver) -> None:
    """`countwheel-retry: never` on a 500: one call, FAILED, and the ledger says who wanted it so."""
    receiver.answer_with(lambda _: Reply(500, headers=(("Countwheel-Retry", "never"),)))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    ended = await node.api.run_when(job, "FAILED")
    assert ended["error"].endswith("(the target wants no more of it: countwheel-retry: never)")
    assert len(receiver.calls) == 1


async def test_w9_gone_pauses_the_job_with_its_reason(node: Node, receiver: WebhookReceiver) -> None:
    """410: the run is FAILED, its recurring job PAUSED; resumed, it goes on."""
    receiver.answer_with(lambda _: Reply(410) if len(receiver.calls) == 1 else Reply())
    job = await node.api.create(schedule_recurring="* * * * * *", job_url=receiver.url)

    async def paused() -> dict | None:
        found = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
        return found if found["status"] == "PAUSED" else None

    found = await eventually(paused)
    assert found["pause_reason"] == "its target is gone: HTTP 410 Gone"
    assert (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/resume")).json["status"] == "ACTIVE"
    await receiver.wait_for(len(receiver.calls) + 1)


async def test_w9_no_attempt_is_made_past_the_maximum_age(node: Node, receiver: WebhookReceiver) -> None:
    """What would be due later than `max_age_seconds` after the first attempt is FAILED at once."""
    receiver.answer_with(lambda _: Reply(500))
    retry = {"first_delay_seconds": 30, "jitter": "none", "max_age_seconds": 10}
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, retry=retry)
    ended = await node.api.run_when(job, "FAILED")
    assert "maximum age" in ended["error"]
