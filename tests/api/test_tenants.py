"""Tenants: made and suspended by the operators, limited by quotas; criterion E5."""

import asyncio
from typing import Any

import pytest

from countwheel.clock import SystemClock
from countwheel.testing import WebhookReceiver
from harness import Api, Node, eventually, seen_within, soon

URL = "http://127.0.0.1:9/"
YEARLY = {"schedule_recurring": "0 0 1 1 *", "job_url": URL}


async def make(node: Node, **quotas: Any) -> tuple[dict[str, Any], Api]:
    """Return a new tenant, and an API client of its first administrator."""
    answer = await node.api.call("POST", "/v1/tenants", {"name": "team-a"} | quotas)
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    admin = answer.json.pop("admin")
    return answer.json, await node.with_credentials(admin["client_id"], admin["client_secret"])


async def suspend(node: Node, tenant: dict[str, Any], verb: str = "suspend") -> dict[str, Any]:
    answer = await node.api.call("POST", f"/v1/tenants/{tenant['tenant_id']}/{verb}")
    assert answer.status == 200
    return answer.json


async def test_the_operators_make_a_tenant_with_its_first_administrator(node: Node) -> None:
    """Its secret is shown once; a name is given once; the tenant sees itself, and the operators see all."""
    tenant, api = await make(node)
    assert (await api.call("GET", f"/v1/tenants/{tenant['tenant_id']}")).json["name"] == "team-a"
    assert [entry["name"] for entry in (await api.call("GET", "/v1/tenants")).json["items"]] == ["team-a"]
    seen = (await node.api.call("GET", "/v1/tenants")).json["items"]
    assert {entry["name"] for entry in seen} == {"default", "team-a"}
    assert (await node.api.call("POST", "/v1/tenants", {"name": "team-a"})).status == 409
    assert (await api.call("POST", "/v1/tenants", {"name": "team-b"})).status == 403


async def test_a_tenant_is_made_whole_or_not_at_all(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails halfway leaves no tenant without an administrator behind: the same request makes it later."""

    def fail(_: object) -> bytes:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr("countwheel.auth.bootstrap.hash_secret", fail)
        assert (await node.api.call("POST", "/v1/tenants", {"name": "team-a"})).status == 500
    await make(node)


async def test_nobody_of_a_suspended_tenant_is_let_in(node: Node) -> None:
    """Within five seconds every request is 403, until it is resumed; the operators' own is never suspended."""
    tenant, api = await make(node)
    assert (await api.call("GET", "/v1/jobs")).status == 200
    assert (await suspend(node, tenant))["status"] == "SUSPENDED"

    async def status() -> int:
        return (await api.call("GET", "/v1/jobs")).status

    await seen_within(5.0, 403, status)
    assert (await api.call("GET", "/v1/jobs")).json["type"].endswith("/tenant-suspended")
    assert (await suspend(node, tenant, "resume"))["status"] == "ACTIVE"
    await seen_within(5.0, 200, status)
    own = (await node.api.call("GET", "/v1/tenants")).json["items"][-1]
    assert (await node.api.call("POST", f"/v1/tenants/{own['tenant_id']}/suspend")).status == 409


async def test_nothing_of_a_suspended_tenant_is_called(node: Node, receiver: WebhookReceiver) -> None:
    """Its occurrences stand in the ledger as SKIPPED with the reason, and its chain goes on when it is resumed."""
    tenant, api = await make(node)
    await api.create(schedule_recurring="* * * * * *", job_url=receiver.url, overlap="allow")
    await receiver.wait_for(1)
    await suspend(node, tenant)

    async def skipped() -> list[Any]:
        async with node.database.connection() as connection:
            cursor = await connection.execute("SELECT error FROM run_history WHERE status = 'SKIPPED'")
            return await cursor.fetchall()

    reason = "suspended: its tenant was suspended when it was due"
    assert set(await eventually(skipped)) == {(reason,)}
    sent = len(receiver.calls)
    assert len(await eventually(skipped)) >= 1
    assert len(receiver.calls) == sent
    await suspend(node, tenant, "resume")
    await receiver.wait_for(sent + 1)


async def test_e5_creates_a_second_are_limited(node: Node) -> None:
    """Over the rate 429, with what the field reads: Retry-After, RateLimit and RateLimit-Policy."""
    _, api = await make(node, creates_per_second=2)
    begun = SystemClock().monotonic()
    answers = await asyncio.gather(*(api.call("POST", "/v1/jobs", YEARLY) for _ in range(40)))
    seconds = SystemClock().monotonic() - begun
    refused = [answer for answer in answers if answer.status == 429]
    created = sum(answer.status == 201 for answer in answers)
    assert (len(refused) + created, created <= 2 + 2 * seconds + 1) == (40, True)
    headers = refused[0].headers
    assert headers["Retry-After"] == "1"
    assert headers["RateLimit-Policy"] == '"creates_per_second";q=2;w=1'
    assert headers["RateLimit"] == '"creates_per_second";r=0;t=1'
    assert refused[0].json["type"].endswith("/quota-exceeded")

    async def is_let_through() -> bool:
        return (await api.call("POST", "/v1/jobs", YEARLY)).status == 201

    await eventually(is_let_through)


async def test_e5_jobs_are_limited(node: Node) -> None:
    """So many that have not ended; one that is deleted makes room, within seconds."""
    tenant, api = await make(node, max_jobs=2)
    jobs = [await api.create(**YEARLY) for _ in range(2)]
    refused = await api.call("POST", "/v1/jobs", YEARLY)
    assert (refused.status, "max_jobs of 2" in refused.json["detail"]) == (429, True)
    assert (await api.call("PUT", "/v1/jobs/00000000-0000-8000-8000-000000000001", YEARLY)).status == 429
    await api.call("DELETE", f"/v1/jobs/{jobs[0]['job_id']}")

    async def is_let_through() -> bool:
        return (await api.call("POST", "/v1/jobs", YEARLY)).status == 201

    await eventually(is_let_through)
    amended = await node.api.call("PATCH", f"/v1/tenants/{tenant['tenant_id']}", {"max_jobs": None})
    assert (amended.status, amended.json["max_jobs"]) == (200, None)
    await eventually(is_let_through)


async def test_i1_a_repeated_key_is_answered_although_the_quota_is_used_up(node: Node) -> None:
    """Its own job has used up the last of it: it was created, and a 429 would say that it was not."""
    _, api = await make(node, max_jobs=1)
    first, again = [await api.call("POST", "/v1/jobs", YEARLY, {"Idempotency-Key": "k"}) for _ in range(2)]
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert first.json["job_id"] == again.json["job_id"]
    assert (await api.call("POST", "/v1/jobs", YEARLY, {"Idempotency-Key": "other"})).status == 429


async def test_e5_payloads_are_limited(node: Node) -> None:
    """By the bytes of all of them together."""
    _, api = await make(node, max_payload_bytes=100)
    await api.create(**YEARLY, job_payload={"x": "a" * 60})
    refused = await api.call("POST", "/v1/jobs", YEARLY | {"job_payload": {"x": "a" * 60}})
    assert (refused.status, "max_payload_bytes" in refused.json["detail"]) == (429, True)


async def test_e5_a_payload_does_not_grow_past_the_quota_later(node: Node) -> None:
    """By a patch or a put of a job that is there: 429, and it stays as it was; a smaller one always goes."""
    _, api = await make(node, max_payload_bytes=100)
    job = await api.create(**YEARLY, job_payload={"x": "a" * 60})
    path, larger = f"/v1/jobs/{job['job_id']}", {"job_payload": {"x": "a" * 120}}
    assert (await api.call("PATCH", path, larger)).status == 429
    assert (await api.call("PUT", path, YEARLY | larger)).status == 429
    assert (await api.call("GET", path)).json["job_payload"] == {"x": "a" * 60}
    assert (await api.call("PATCH", path, {"job_payload": {"x": "a" * 80}})).status == 200
    assert (await api.call("PATCH", path, {"job_payload": {}})).status == 200


async def test_e5_wanted_runs_are_limited(node: Node, receiver: WebhookReceiver) -> None:
    """Runs by hand, and a backfill counts with all of its runs; what the schedule says is not held up."""
    _, api = await make(node, runs_per_second=1)
    job = await api.create(schedule_recurring="0 0 1 1 *", job_url=receiver.url)
    answers = await asyncio.gather(*(api.call("POST", f"/v1/jobs/{job['job_id']}/run/") for _ in range(40)))
    assert sorted({answer.status for answer in answers}) == [201, 429]
    due = await api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    assert (await api.run_when(due, "SUCCEEDED"))["attempt"] == 1


async def test_e5_a_bulk_run_is_done_whole_and_worked_off_before_the_next(node: Node) -> None:
    """All of its jobs run, whatever the rate; it is on record; what comes then is refused."""
    _, api = await make(node, runs_per_second=1)
    for _ in range(8):
        await api.create(**YEARLY, labels={"team": "a"})
    wish = {"filter": {"labels": {"team": "a"}}}
    done = await api.call("POST", "/v1/jobs:run", wish, {"Idempotency-Key": "k"})
    assert (done.status, done.json["changed"], done.json["next_page_token"]) == (200, 8, "")
    assert len((await api.call("GET", "/v1/audit-log?action=runs:Create")).json["items"]) == 1
    refused = await api.call("POST", "/v1/jobs:run", wish, {"Idempotency-Key": "k"})
    assert (refused.status, int(refused.headers["Retry-After"]) > 4) == (429, True)


async def test_a_quota_that_is_none_is_refused(node: Node) -> None:
    """E2: nothing below what means anything."""
    answer = await node.api.call("POST", "/v1/tenants", {"name": "x", "max_jobs": -1, "creates_per_second": 0})
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["#/max_jobs", "#/creates_per_second"]
