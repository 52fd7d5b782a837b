"""What the engine does with answers, errors and occurrences, with real calls."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from countwheel.clock import SystemChance, SystemClock
from countwheel.delivery.signing import format_secret
from countwheel.domain import ids
from countwheel.domain.run import Trigger
from countwheel.engine.held import Held
from countwheel.store import access, jobs, runs, signing_keys
from countwheel.store.sealing import Sealer
from countwheel.testing import Reply, WebhookReceiver
from harness import FAR_RETRY, SECRET_KEY, Node, eventually, free_port, running_node, soon


async def make_due(node: Node, job) -> None:
    """Pull a retry that waits for its back-off forward to now."""
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET due_at = greatest(scheduled_for, now()) WHERE job_id = %s AND node_id IS NULL",
            [job["job_id"]],
        )


async def test_w1_the_standard_verifier_accepts_the_calls(node: Node, receiver: WebhookReceiver) -> None:
    """W1 and W3: the PyPI verifier takes body and headers; key, fence and trace say which run and attempt it is."""
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, job_payload={"text": "grüße"})
    (call,) = await receiver.wait_for(1)
    async with node.database.connection() as connection:
        tenant = await access.find_tenant(connection, "default")
        (key,) = await signing_keys.find(connection, [tenant])
    secret = format_secret(key.opened(Sealer(SECRET_KEY, SystemChance())))
    assert Webhook(secret).verify(call.body, call.headers) == {"text": "grüße"}
    run_id = job["next_run"]["run_id"]
    headers = call.headers
    assert headers["webhook-id"] == run_id
    assert headers["idempotency-key"] == f'"{run_id}"'
    assert headers["traceparent"].startswith(f"00-{run_id.replace('-', '')}-")
    assert headers["countwheel-job-id"] == job["job_id"]
    assert headers["countwheel-scheduled-for"] == job["next_run"]["scheduled_for"]
    assert (headers["countwheel-attempt"], headers["countwheel-fence"], headers["countwheel-trigger"]) == (
        "1",
        "1",
        "schedule",
    )
    assert headers["content-type"] == "application/json"


async def test_w9_a_failed_attempt_is_tried_again_under_the_same_id(node: Node, receiver: WebhookReceiver) -> None:
    """500, then 200: two calls with one id and rising fence; the ledger keeps the failed attempt with its answer."""
    receiver.answer_with(lambda _: Reply(500, body=b"out of order") if len(receiver.calls) == 1 else Reply())
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, retry=FAR_RETRY)
    waiting = await node.api.run_when(job, "RETRYING")
    assert (waiting["attempt"], waiting["error"]) == (1, "HTTP 500 Internal Server Error")
    await make_due(node, job)
    found = await node.api.run_when(job, "SUCCEEDED")
    assert found["attempt"] == 2
    failed, succeeded = found["attempts"]
    assert (succeeded["attempt"], succeeded["http_status"], succeeded["error"]) == (2, 200, None)
    assert (failed["attempt"], failed["http_status"], failed["response_head"]) == (1, 500, "out of order")
    assert (failed["error_class"], "content-length: 12" in failed["response_headers"]) == ("http_500", True)
    for attempt in (failed, succeeded):
        trace = attempt["trace"]
        assert (trace["address"], trace["port"]) == ("127.0.0.1", receiver.port)
        assert 0 < trace["first_byte_ms"] <= trace["total_ms"]
    first, second = receiver.calls
    assert first.run_id == second.run_id
    assert int(second.headers["countwheel-fence"]) > int(first.headers["countwheel-fence"])
    assert second.headers["countwheel-attempt"] == "2"


async def test_w9_the_last_attempt_is_final(node: Node, receiver: WebhookReceiver) -> None:
    """After max_attempts the run ends FAILED, and every attempt stands in the ledger."""
    receiver.answer_with(Reply(503))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, max_attempts=2, retry=FAR_RETRY)
    await node.api.run_when(job, "RETRYING")
    await make_due(node, job)
    found = await node.api.run_when(job, "FAILED")
    assert [entry["http_status"] for entry in found["attempts"]] == [503, 503]
    assert "the last" in found["error"]


async def test_w9_other_4xx_and_redirects_are_final(node: Node, receiver: WebhookReceiver) -> None:
    """404 and 302 fail at once; a redirect is not followed."""
    receiver.answer_with(
        lambda call: Reply(302, (("Location", f"{receiver.url}/elsewhere"),)) if "redirect" in call.path else Reply(404)
    )
    made = [
        await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + path) for path in ("/gone", "/redirect")
    ]
    statuses = [(await node.api.run_when(job, "FAILED"))["http_status"] for job in made]
    assert statuses == [404, 302]
    assert sorted(call.path for call in receiver.calls) == ["/hook/gone", "/hook/redirect"]


async def test_a_target_that_cannot_be_reached_is_tried_again(node: Node) -> None:
    """Nobody listens: the attempt stands in the ledger as a connection fault, and the run waits for its next try."""
    url = f"http://127.0.0.1:{free_port()}/"
    job = await node.api.create(schedule_oneoff=soon(0), job_url=url, retry=FAR_RETRY)
    waiting = await node.api.run_when(job, "RETRYING")
    assert waiting["error"].startswith("connect:")


async def test_a_blocked_target_is_an_outcome(dsn: str) -> None:
    """A name that leads where the guard does not let calls go: FAILED with the reason, and nothing was sent."""
    async with WebhookReceiver() as receiver, running_node(dsn, allowed_networks=()) as node:
        job = await node.api.create(schedule_oneoff=soon(0), job_url=f"http://localhost:{receiver.port}/")
        found = await node.api.run_when(job, "FAILED")
        assert found["error"].startswith("blocked:")
        assert receiver.connections_made == 0


async def test_a_slow_answer_times_out(node: Node, receiver: WebhookReceiver) -> None:
    """W8: timeout_seconds spans the whole call."""
    receiver.answer_with(Reply(after=asyncio.Event()))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, timeout_seconds=1, retry=FAR_RETRY)
    waiting = await node.api.run_when(job, "RETRYING")
    assert waiting["error"].startswith("timeout:")


async def rewind(node: Node, job, by: timedelta) -> datetime:
    """Make the next run of a job as if it had been planned `by` ago, and nobody had claimed it since."""
    scheduled_for = datetime.fromisoformat(job["next_run"]["scheduled_for"]) - by
    run_id = ids.run_id(UUID(job["job_id"]), scheduled_for, Trigger.SCHEDULE)
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET run_id = %s, bucket = %s, scheduled_for = %s, due_at = %s "
            "WHERE job_id = %s AND node_id IS NULL",
            [run_id, ids.bucket_of(run_id), scheduled_for, scheduled_for, job["job_id"]],
        )
    return scheduled_for


async def listed(node: Node, job) -> list[dict]:
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]


async def test_a_missed_range_is_one_row_and_the_latest_runs(node: Node, receiver: WebhookReceiver) -> None:
    """Misfire fire_latest: after an outage one run is sent; the dropped ones stand in one row with their count."""
    # Once an hour, half an hour from now: no occurrence comes by itself meanwhile.
    minute = (SystemClock().now() + timedelta(minutes=30)).minute
    job = await node.api.create(schedule_recurring=f"{minute} * * * *", job_url=receiver.url)
    first = await rewind(node, job, timedelta(hours=12))

    async def has_run() -> bool:
        return any(run["status"] == "SUCCEEDED" for run in await listed(node, job))

    await eventually(has_run)
    by_status = {run["status"]: run for run in await listed(node, job)}
    ran, dropped = by_status["SUCCEEDED"], by_status["SKIPPED"]
    assert datetime.fromisoformat(dropped["scheduled_for"]) == first
    assert dropped["superseded_by"] == ran["scheduled_for"]
    assert datetime.fromisoformat(ran["scheduled_for"]) == first + timedelta(hours=11)
    assert dropped["occurrences"] == 11
    assert len(receiver.calls) == 1
    assert by_status.keys() & {"SCHEDULED", "CLAIMED"}


async def test_an_occurrence_past_the_catch_up_window_expires(node: Node, receiver: WebhookReceiver) -> None:
    """A yearly run that was missed by days is EXPIRED, and the next year's stands."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=receiver.url)
    missed = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    await rewind(node, job, missed - missed.replace(year=missed.year - 1))

    async def has_expired() -> bool:
        return [run["status"] for run in await listed(node, job)] == ["SCHEDULED", "EXPIRED"]

    await eventually(has_expired)
    assert receiver.calls == []


async def test_a_claim_accounts_for_the_chain_of_a_job_that_was_deleted_meanwhile(node: Node) -> None:
    """Claimed late and after the first step of a DELETE: what was due and never armed stands in the run's one row."""
    job = await node.api.create(schedule_recurring="0 * * * *", job_url="http://127.0.0.1:9/")
    async with node.database.connection() as connection:
        tenant = await access.find_tenant(connection, "default")
        assert tenant is not None
        assert await jobs.mark_deleted(connection, tenant, UUID(job["job_id"]))
    first = await rewind(node, job, timedelta(hours=3))

    async def ended() -> list[dict]:
        return [run for run in await listed(node, job) if run["status"] == "CANCELED"]

    (row,) = await eventually(ended)
    assert (row["error"], datetime.fromisoformat(row["scheduled_for"])) == ("its job was deleted", first)
    assert datetime.fromisoformat(row["superseded_by"]) == first + timedelta(hours=row["occurrences"])
    assert row["occurrences"] in {3, 4}


async def test_an_overlapping_occurrence_is_skipped(node: Node, receiver: WebhookReceiver) -> None:
    """Overlap skip: while a run is under way the next occurrence ends SKIPPED, and the one after it is armed."""
    never = asyncio.Event()
    receiver.answer_with(Reply(after=never))
    job = await node.api.create(schedule_recurring="* * * * *", job_url=receiver.url)
    await rewind(node, job, timedelta(minutes=1))
    await receiver.wait_for(1)
    job = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
    await rewind(node, job, timedelta(seconds=59))

    async def statuses() -> list[str]:
        return sorted(run["status"] for run in await listed(node, job))

    async def is_skipped() -> bool:
        return "SKIPPED" in await statuses()

    await eventually(is_skipped)
    assert len(receiver.calls) == 1
    skipped = next(run for run in await listed(node, job) if run["status"] == "SKIPPED")
    assert "overlap" in skipped["error"]
    assert "SCHEDULED" in await statuses()


async def test_a_poison_row_is_parked_and_the_rest_go_on(node: Node, receiver: WebhookReceiver) -> None:
    """A row that cannot be planned ends FAILED with its reason; others of the same batch are sent."""
    poison = await node.api.create(schedule_recurring="* * * * *", job_url=receiver.url)
    healthy = await node.api.create(schedule_oneoff=soon(0.8), job_url=receiver.url)
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET schedule_recurring = 'nonsense' WHERE job_id = %s", [poison["job_id"]]
        )
    await rewind(node, poison, timedelta(minutes=1))
    assert (await node.api.run_when(healthy, "SUCCEEDED"))["attempt"] == 1

    async def is_parked() -> bool:
        return any(run["status"] == "FAILED" and "parked" in run["error"] for run in await listed(node, poison))

    await eventually(is_parked)


async def test_a_broken_chain_is_armed_again(node: Node) -> None:
    """The sweep finds an active job with no live run and arms its next occurrence, once."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    async with node.database.connection() as connection:
        await connection.execute("DELETE FROM runs WHERE job_id = %s", [job["job_id"]])
    await node.engine.sweeper.run_once()
    await node.engine.sweeper.run_once()
    assert [run["run_id"] for run in await listed(node, job)] == [job["next_run"]["run_id"]]


async def test_a_cancelled_occurrence_is_not_armed_again_by_the_sweep(node: Node) -> None:
    """What was cancelled stays cancelled, even where the chain breaks right after it."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    run_id = job["next_run"]["run_id"]
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{run_id}/")
    async with node.database.connection() as connection:
        await connection.execute("DELETE FROM runs WHERE job_id = %s", [job["job_id"]])
    await node.engine.sweeper.run_once()
    armed, cancelled = await listed(node, job)
    assert (armed["status"], cancelled["status"], cancelled["run_id"]) == ("SCHEDULED", "CANCELED", run_id)


async def test_a_graceful_stop_releases_waits_and_records(dsn: str, receiver: WebhookReceiver) -> None:
    """At a stop the call under way is waited for and recorded; what was claimed and not due is free at once."""
    gate = asyncio.Event()
    receiver.answer_with(Reply(after=gate))
    async with running_node(dsn) as node:
        under_way = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
        await receiver.wait_for(1)
        waiting = await node.api.create(schedule_oneoff=soon(0.45), job_url=receiver.url)

        async def is_held() -> bool:
            return UUID(waiting["next_run"]["run_id"]) in node.engine.held

        await eventually(is_held)
        stopping = asyncio.create_task(node.engine.stop())

        async def is_released() -> bool:
            return (await node.api.run(waiting))["status"] == "SCHEDULED"

        await eventually(is_released)
        assert not stopping.done()
        gate.set()
        await stopping
        assert (await node.api.run(under_way))["status"] == "SUCCEEDED"
        released = await node.api.run(waiting)
        assert (released["attempt"], released["node_id"]) == (0, None)


async def test_claims_whose_answer_was_lost_are_given_back(node: Node) -> None:
    """A run that the database says is ours and that we know nothing of is released."""
    job = await node.api.create(schedule_oneoff="2190-01-01T00:00:00Z", job_url="http://127.0.0.1:9/")
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET node_id = %s, state = 'CLAIMED', fence = 1, attempt = 1 WHERE job_id = %s",
            [node.engine.node.node_id, job["job_id"]],
        )

    async def is_given_back() -> bool:
        # A round soon after one that was slow asks nothing.
        await node.engine.recovery.run_once()
        return bool((await node.api.run(job))["status"] == "SCHEDULED")

    await eventually(is_given_back)
    async with node.database.connection() as connection:
        assert (await runs.held_by(connection, node.engine.node.node_id)).found == []


async def test_a_cancel_that_a_crash_cut_in_two_reaches_the_ledger(node: Node) -> None:
    """A future occurrence that was remembered as cancelled and not written down is written down by the sweep, once."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    second = ids.run_id(UUID(job["job_id"]), first.replace(year=first.year + 1), Trigger.SCHEDULE)
    async with node.database.connection() as connection:
        await connection.execute(
            "INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted, cancelled_at) "
            "SELECT job_id, %s, %s, tenant_id, false, now() - interval '2 minutes' FROM jobs",
            [first.replace(year=first.year + 1), second],
        )
    await node.engine.sweeper.run_once()
    await node.engine.sweeper.run_once()
    assert [run["status"] for run in await listed(node, job)] == ["CANCELED", "SCHEDULED"]
    assert (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{second}/")).json == {"status": "CANCELED"}
    assert len(await listed(node, job)) == 2


async def test_a_cancel_before_the_first_step_of_a_dispatch_ends_the_run(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time has come in the very turn of the loop in which its cancel arrives: it ends CANCELED, uncalled."""
    submit = node.engine.dispatcher.submit

    def submit_and_cancel(held: Held) -> None:
        submit(held)
        node.engine.dispatcher.cancel(held, "cancelled by request")

    monkeypatch.setattr(node.engine.timer, "_on_due", submit_and_cancel)
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    assert (await node.api.run_when(job, "CANCELED"))["attempt"] == 0
    assert receiver.calls == []
