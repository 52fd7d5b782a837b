"""`POST /v1/jobs:pause|resume|delete|run`, searching, and the versions of a job."""

from typing import Any
from uuid import uuid4

import pytest

from countwheel.testing.receiver import WebhookReceiver
from harness import Answer, Node, eventually

YEARLY = "0 0 1 1 *"
NOWHERE = "http://127.0.0.1:9/"


async def bulk(node: Node, verb: str, key: str | None = None, **body: Any) -> Answer:
    headers = None if key is None else {"Idempotency-Key": key}
    return await node.api.call("POST", f"/v1/jobs:{verb}", body, headers)


async def make(node: Node, count: int, url: str = NOWHERE, **labels: str) -> list[str]:
    jobs = [await node.api.create(schedule_recurring=YEARLY, job_url=url, labels=labels) for _ in range(count)]
    return [job["job_id"] for job in jobs]


async def statuses(node: Node, job_ids: list[str]) -> set[str]:
    return {(await node.api.call("GET", f"/v1/jobs/{job_id}")).json["status"] for job_id in job_ids}


async def test_each_operation_is_on_what_the_filter_finds(node: Node) -> None:
    """A dry run counts exactly what is changed after it; other jobs stay as they are."""
    mine, others = await make(node, 3, team="a"), await make(node, 2, team="b")
    only_mine = {"filter": {"labels": {"team": "a"}}}
    for verb, state, more in (
        ("pause", "PAUSED", {"reason": "moving"}),
        ("resume", "ACTIVE", {}),
        ("delete", "DELETED", {}),
    ):
        dry = await bulk(node, verb, **only_mine, **more, dry_run=True)
        assert dry.json == {"dry_run": True, "matched": 3, "changed": 0, "next_page_token": ""}
        done = await bulk(node, verb, **only_mine, **more)
        assert done.json == {"dry_run": False, "matched": 3, "changed": 3, "next_page_token": ""}
        assert await statuses(node, mine) == {state}
        assert (await bulk(node, verb, **only_mine, **more)).json["changed"] == 0
    assert await statuses(node, others) == {"ACTIVE"}


async def test_many_jobs_are_run_once_for_each_key(node: Node, receiver: WebhookReceiver) -> None:
    """I1: repeated with its key, no job runs twice; with another key, each runs once more."""
    await make(node, 3, receiver.url, team="a")
    key = str(uuid4())
    for _ in range(2):
        assert (await bulk(node, "run", key, filter={"labels": {"team": "a"}})).status == 200
    await receiver.wait_for(3)
    done = await bulk(node, "run", str(uuid4()), filter={"labels": {"team": "a"}})
    assert done.json["changed"] == 3
    await receiver.wait_for(6)
    ids = [call.headers["webhook-id"] for call in receiver.calls]
    assert len(set(ids)) == len(ids) == 6


async def test_what_takes_too_long_for_one_request_goes_on_in_the_next(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token leads on; with another filter it is refused."""
    monkeypatch.setattr("countwheel.api.bulk._WORK_SECONDS", 0.0)
    job_ids = await make(node, 6, team="a")
    by_label = {"filter": {"labels": {"team": "a"}}}
    first = (await bulk(node, "pause", **by_label)).json
    assert 0 < first["changed"] < 6
    other = await bulk(node, "pause", filter={"labels": {"team": "b"}}, page_token=first["next_page_token"])
    assert other.status == 400
    changed, token = first["changed"], first["next_page_token"]
    while token:
        more = (await bulk(node, "pause", **by_label, page_token=token)).json
        changed, token = changed + more["changed"], more["next_page_token"]
    assert changed == 6
    assert await statuses(node, job_ids) == {"PAUSED"}


async def test_a_bulk_operation_needs_a_filter(node: Node) -> None:
    """An empty filter is a slip that costs every job: it is refused, and so is what is misspelt."""
    await make(node, 1)
    for body in ({}, {"filter": {}}, {"filter": {"lable": {}}}, {"filter": {"status": "ASLEEP"}}):
        assert (await bulk(node, "delete", **body)).status == 400
    wrong = await bulk(node, "delete", filter={"created_after": "yesterday"})
    assert wrong.json["errors"][0]["pointer"] == "#/filter/created_after"


async def test_bulk_stays_within_the_tenant_and_the_scope(node: Node) -> None:
    """E4: another tenant's jobs are not found; `jobs:run` needs the right to run, not to write."""
    job_ids = await make(node, 2, team="a")
    other = await node.client(tenant="other")
    answer = await other.call("POST", "/v1/jobs:delete", {"filter": {"labels": {"team": "a"}}})
    assert (answer.json["matched"], await statuses(node, job_ids)) == (0, {"ACTIVE"})
    writer = await node.client(scopes=frozenset({"jobs:write"}))
    assert (await writer.call("POST", "/v1/jobs:run", {"filter": {"status": "ACTIVE"}})).status == 403


async def test_jobs_are_found_by_text_and_name(node: Node) -> None:
    """In the name, the URL, a label or the expression, in any case; what means something to SQL means itself."""
    named = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE, name="Nightly 100% report")
    labelled = await node.api.create(
        schedule_recurring="7 7 7 7 *", job_url=NOWHERE + "hook", labels={"team": "Billing"}
    )

    async def found(query: str) -> list[str]:
        return [job["job_id"] for job in (await node.api.call("GET", f"/v1/jobs?{query}")).json["items"]]

    assert await found("q=nightly") == [named["job_id"]]
    assert await found("q=100%25") == [named["job_id"]]
    assert await found("q=1%25r") == []
    assert await found("q=billing") == [labelled["job_id"]]
    assert await found("q=/HOOK") == [labelled["job_id"]]
    assert await found("q=7%207%207") == [labelled["job_id"]]
    assert await found("name=Nightly%20100%25%20report") == [named["job_id"]]
    assert await found("name=nightly") == []


async def test_a_job_remembers_what_it_was(node: Node) -> None:
    """Each change is a version, with the time that it was in force, and as it would be submitted."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE, job_payload={"n": 1}, labels={"a": "b"})
    path = f"/v1/jobs/{job['job_id']}"
    await node.api.call("PATCH", path, {"job_payload": {"n": 2}})
    await node.api.call("POST", f"{path}/pause", {"reason": "why not"})
    await node.api.call("PATCH", path, {"schedule_recurring": "@daily"})
    items = (await node.api.call("GET", f"{path}/versions")).json["items"]
    assert [(row["version"], row["status"], row["pause_reason"]) for row in items] == [
        (4, "PAUSED", "why not"),
        (3, "PAUSED", "why not"),
        (2, "ACTIVE", None),
        (1, "ACTIVE", None),
    ]
    assert [row["job"]["job_payload"] for row in items] == [{"n": 2}, {"n": 2}, {"n": 2}, {"n": 1}]
    assert [row["job"]["schedule_recurring"] for row in items] == ["@daily", YEARLY, YEARLY, YEARLY]
    assert [row["effective_until"] for row in items] == [None, *(row["effective_from"] for row in items[:-1])]
    again = await node.api.call("POST", "/v1/jobs", items[-1]["job"])
    assert again.status == 201
    page = (await node.api.call("GET", f"{path}/versions?page_size=3")).json
    (last,) = (await node.api.call("GET", f"{path}/versions?page_token={page['next_page_token']}")).json["items"]
    assert last == items[-1]
    other = await node.client(tenant="other")
    assert (await other.call("GET", f"{path}/versions")).status == 404


async def test_a_bulk_delete_ends_what_is_live(node: Node) -> None:
    """Nothing of a deleted job is called after it."""
    job_ids = await make(node, 2, team="a")
    await bulk(node, "delete", filter={"labels": {"team": "a"}})

    async def none_is_live() -> bool:
        async with node.database.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM runs")).fetchone()
        return row is not None and row[0] == 0

    await eventually(none_is_live)
    assert await statuses(node, job_ids) == {"DELETED"}
