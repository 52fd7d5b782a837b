"""Notifications: somebody is told how a run has ended, by a run with the same guarantees."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from countwheel.clock import SystemChance
from countwheel.delivery.signing import format_secret
from countwheel.store import access, nodes, runs, signing_keys
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer
from countwheel.testing import Reply, WebhookReceiver
from harness import SECRET_KEY, Node, eventually, running_node, soon


def told(receiver: WebhookReceiver) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in receiver.calls if "told" in call.path]


async def runs_of(node: Node, job: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    return items


async def ended(node: Node, job: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the job's runs as soon as so many of them have ended."""

    async def enough() -> list[dict[str, Any]]:
        found = [run for run in await runs_of(node, job) if run["finished_at"] is not None]
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await eventually(enough)
    return found


async def test_a_failure_is_told_in_a_signed_event(node: Node, receiver: WebhookReceiver) -> None:
    """Standard Webhooks: type, timestamp, the run as the API shows it and its job; listed among the job's runs."""
    receiver.answer_with(lambda call: Reply() if "told" in call.path else Reply(400))
    job = await node.api.create(
        schedule_oneoff=soon(0),
        job_url=receiver.url,
        name="bill",
        labels={"team": "a"},
        on_failure=receiver.url + "/told",
        on_success=receiver.url + "/told-success",
    )
    notification, run = await ended(node, job, 2)
    (event,) = told(receiver)
    assert (event["type"], event["timestamp"]) == ("run.failed", run["finished_at"])
    assert event["data"] == run | {"job_name": "bill", "job_labels": {"team": "a"}}
    assert (notification["trigger"], notification["status"]) == ("notification", "SUCCEEDED")
    (call,) = [call for call in receiver.calls if "told" in call.path]
    assert call.headers["webhook-id"] == notification["run_id"]
    async with node.database.connection() as connection:
        tenant = await access.find_tenant(connection, "default")
        (key,) = await signing_keys.find(connection, [tenant])
    secret = format_secret(key.opened(Sealer(SECRET_KEY, SystemChance())))
    assert Webhook(secret).verify(call.body, call.headers) == event


async def test_a_success_is_told_and_a_job_that_says_nothing_tells_nobody(
    node: Node, receiver: WebhookReceiver
) -> None:
    """run.succeeded to on_success; beside it, a job without."""
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, on_success=receiver.url + "/told")
    quiet = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await ended(node, job, 2)
    await node.api.run_when(quiet, "SUCCEEDED")
    assert [event["type"] for event in told(receiver)] == ["run.succeeded"]
    assert len(await runs_of(node, quiet)) == 1


async def test_a_tenants_default_holds_where_the_job_says_nothing(node: Node, receiver: WebhookReceiver) -> None:
    """Its own URL is preferred; other tenants have their own; null takes it away; a target that is none is refused."""
    receiver.answer_with(lambda call: Reply() if "told" in call.path else Reply(400))
    assert (await node.api.call("GET", "/v1/notifications")).json["on_failure"] is None
    put = await node.api.call("PUT", "/v1/notifications", {"on_failure": receiver.url + "/told-tenant"})
    assert (put.status, put.json["on_success"]) == (200, None)
    plain = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    own = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, on_failure=receiver.url + "/told-own")
    await ended(node, plain, 2)
    await ended(node, own, 2)
    by_path = {call.path.rpartition("/")[2]: json.loads(call.body) for call in receiver.calls if "told" in call.path}
    assert by_path["told-tenant"]["data"]["job_id"] == plain["job_id"]
    assert by_path["told-own"]["data"]["job_id"] == own["job_id"]
    other = await node.client(tenant="other")
    assert (await other.call("GET", "/v1/notifications")).json["on_failure"] is None
    await node.api.call("PUT", "/v1/notifications", {})
    assert (await node.api.call("GET", "/v1/notifications")).json["on_failure"] is None
    wrong = await node.api.call("PUT", "/v1/notifications", {"on_failure": "nowhere", "on_succes": None})
    assert {fault["pointer"] for fault in wrong.json["errors"]} == {"#/on_failure", "#/on_succes"}
    refused = await node.api.call("PUT", "/v1/notifications", {"on_success": "http://10.0.0.1/"})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "#/on_success")
    reader = await node.client(scopes=frozenset({"jobs:read"}))
    assert (await reader.call("PUT", "/v1/notifications", {})).status == 403


async def test_a_notification_never_tells_of_itself_and_is_a_dead_letter_like_any(
    node: Node, receiver: WebhookReceiver
) -> None:
    """It fails: no notification about it; it is listed among the dead, and redriven it tells what it had to tell."""
    receiver.answer_with(Reply(400))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, on_failure=receiver.url + "/told")
    notification, _ = await ended(node, job, 2)
    dead = (await node.api.call("GET", "/v1/runs?status=FAILED&trigger=notification")).json["items"]
    assert [run["run_id"] for run in dead] == [notification["run_id"]]
    receiver.answer_with(Reply())
    assert (await node.api.call("POST", "/v1/runs:redrive", {"filter": {"trigger": "notification"}})).json[
        "changed"
    ] == 1
    await node.api.run_when(job, "SUCCEEDED", run_id=notification["run_id"])
    first, second = told(receiver)
    assert first == second
    assert len(await runs_of(node, job)) == 2


async def test_each_end_of_a_redriven_run_is_told(node: Node, receiver: WebhookReceiver) -> None:
    """Two failures of one run: two notifications, with ids of their own."""
    receiver.answer_with(lambda call: Reply() if "told" in call.path else Reply(400))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, on_failure=receiver.url + "/told")
    await ended(node, job, 2)
    await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/redrive")
    await ended(node, job, 3)
    assert [event["type"] for event in told(receiver)] == ["run.failed"] * 2
    assert len({call.run_id for call in receiver.calls if "told" in call.path}) == 2


@pytest.mark.parametrize(("status", "kind"), [("EXPIRED", "run.expired"), ("SKIPPED", None)])
async def test_what_the_claim_ends_is_told_in_its_transaction(
    node: Node, receiver: WebhookReceiver, status: str, kind: str | None
) -> None:
    """An occurrence that expired is a failure; one that a policy skipped was meant so."""
    await node.engine.claimer.stop()
    said = {"job_url": receiver.url, "on_failure": receiver.url + "/told"}
    job = await node.api.create(schedule_oneoff=soon(1), **said)
    if status == "EXPIRED":
        change = (
            "UPDATE runs SET scheduled_for = scheduled_for - interval '3 days', due_at = due_at - interval '3 days'"
        )
    else:
        change = "UPDATE jobs SET state = 'PAUSED'"
    async with node.database.connection() as connection:
        await connection.execute(change)
    async with running_node(node.database.dsn) as second:
        found = await second.api.run_when(job, status)
        await ended(second, job, 1 if kind is None else 2)
    assert found["status"] == status
    assert [event["type"] for event in told(receiver)] == ([] if kind is None else [kind])


async def test_an_unknown_end_by_recovery_is_told_once(node: Node, receiver: WebhookReceiver) -> None:
    """A node is lost in the middle of an at-most-once call: UNKNOWN, with class and fingerprint, and told at once."""
    await node.engine.claimer.stop()
    job = await node.api.create(
        schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once", on_failure=receiver.url + "/told"
    )
    async with node.database.connection() as connection:
        await connection.execute(
            "INSERT INTO nodes (node_id, host, pid, version, lease_until, lost_at) "
            "VALUES ('gone', 'x', 1, '0', now(), now())"
        )
        await connection.execute(
            "UPDATE runs SET state = 'RUNNING', node_id = 'gone', attempt = 1, fence = 1, started_at = now()"
        )
    for _ in range(2):
        async with node.database.transaction() as connection:
            await runs.recover(connection)
    found = await node.api.run_when(job, "UNKNOWN")
    assert (found["error_class"], len(found["fingerprint"])) == ("lost", 16)
    assert [run["trigger"] for run in await runs_of(node, job)] == ["notification", "schedule"]
    async with running_node(node.database.dsn) as second:
        await ended(second, job, 2)
    assert [event["type"] for event in told(receiver)] == ["run.unknown"]


async def test_a_notification_of_a_lost_node_is_sent_again(database: Database, node: Node) -> None:
    """Whatever its job says of the unknown: that is of the job's own calls."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_oneoff=soon(3600), job_url="http://127.0.0.1:9/", delivery="at_most_once")
    async with database.transaction() as connection:
        await nodes.database_time(connection)
        await connection.execute(
            "INSERT INTO nodes (node_id, host, pid, version, lease_until, lost_at) "
            "VALUES ('gone', 'x', 1, '0', now(), now())"
        )
        await connection.execute(
            "UPDATE runs SET trigger = 'notification', call_method = 'POST', call_url = 'http://127.0.0.1:9/', "
            "call_body = '{}', state = 'RUNNING', node_id = 'gone', attempt = 1, fence = 1, started_at = now()"
        )
        (recovered,) = await runs.recover(connection)
    assert not recovered.is_unknown
    assert (await node.api.run(job))["status"] == "RETRYING"
