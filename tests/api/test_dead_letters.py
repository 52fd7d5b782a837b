"""`GET /v1/runs`: the runs of all jobs, filtered and paged, however long the ledger is."""

from typing import Any

import pytest

from countwheel.store import walking
from countwheel.testing import Reply, WebhookReceiver
from harness import Api, Node, soon

MANY = 3_000
FILL = """
    INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at,
        attempt, lost_attempts, fence, http_status, error, fingerprint, target)
    SELECT %(job)s, md5('run' || n)::uuid, (SELECT tenant_id FROM jobs WHERE job_id = %(job)s), 'manual',
        CASE WHEN n %% 3 = 0 THEN 'FAILED' WHEN n %% 3 = 1 THEN 'SUCCEEDED' ELSE 'SKIPPED' END, moment, moment, moment,
        moment, 1, 0, 1, 200, CASE WHEN n %% 3 <> 1 THEN 'x' END,
        CASE WHEN n %% 3 = 0 THEN '0123456789abcdef' END, 'other.example'
    FROM (SELECT n, date_trunc('milliseconds', now() - n / 5 * interval '7 s') AS moment
        FROM generate_series(1, %(many)s) AS n) AS made
"""


async def every(node: Node, query: str, api: Api | None = None) -> list[dict[str, Any]]:
    """Follow the pages to the end."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = await (api or node.api).call("GET", f"/v1/runs?{query}" + (f"&page_token={token}" if token else ""))
        assert answer.status == 200, answer.body
        found += answer.json["items"]
        token = answer.json["next_page_token"]
        assert bool(token) == ("Link" in answer.headers)
        if not token:
            return found


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node whose ledger has thousands of rows of one job, five of them ended at each moment."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/", labels={"team": "a"})
    async with node.database.connection() as connection:
        await connection.execute(FILL, {"job": job["job_id"], "many": MANY})
    return node


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=FAILED", MANY // 3),
        ("status=FAILED&status=SKIPPED", 2 * MANY // 3),
        ("status=SUCCEEDED", MANY // 3),
        ("status=SUCCEEDED&status=FAILED&status=SKIPPED", MANY),
        ("fingerprint=0123456789abcdef", MANY // 3),
        ("target=other.example&trigger=manual", MANY),
        ("label=team:a", MANY + 1),
        ("label=team:b", 0),
    ],
)
async def test_pages_hold_everything_once_latest_first(filled: Node, query: str, count: int) -> None:
    """Also where many end at the same moment, and where no index has them."""
    found = await every(filled, f"{query}&page_size=200")
    assert len(found) == len({run["run_id"] for run in found}) == count
    moments = [run["finished_at"] or run["due_at"] for run in found]
    assert moments == sorted(moments, reverse=True)


async def test_a_walk_that_runs_out_of_time_says_where_to_go_on(filled: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may be empty and lead on; in the end everything was there once."""
    monkeypatch.setattr(walking, "WALK_SECONDS", -1.0)
    found = await every(filled, "status=SUCCEEDED&page_size=200")
    assert len({run["run_id"] for run in found}) == len(found) == MANY // 3


async def test_live_and_ended_runs_stand_side_by_side(node: Node, receiver: WebhookReceiver) -> None:
    """Of several jobs; each filter narrows; what was redriven is listed once, as it stands."""
    receiver.answer_with(Reply(400))
    failed = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(failed, "FAILED")
    waiting = await node.api.create(schedule_oneoff=soon(3600), job_url=receiver.url)
    assert [run["job_id"] for run in await every(node, "page_size=1")] == [waiting["job_id"], failed["job_id"]]
    assert [run["status"] for run in await every(node, "status=SCHEDULED")] == ["SCHEDULED"]
    (dead,) = await every(node, "status=FAILED&status=UNKNOWN")
    assert (dead["error_class"], len(dead["fingerprint"])) == ("http_400", 16)
    assert await every(node, f"job_id={waiting['job_id']}&error_class=http_400") == []
    assert len(await every(node, f"finished_before={soon(60)}".replace("+", "%2B"))) == 1
    assert await every(node, f"finished_after={soon(60)}".replace("+", "%2B")) == []
    receiver.answer_with(Reply())
    await node.api.call("POST", f"/v1/jobs/{failed['job_id']}/run/{failed['next_run']['run_id']}/redrive")
    await node.api.run_when(failed, "SUCCEEDED")
    assert await every(node, "status=FAILED") == []
    assert [run["status"] for run in await every(node, f"job_id={failed['job_id']}")] == ["SUCCEEDED"]


async def test_what_is_deleted_is_shown_on_request(node: Node, receiver: WebhookReceiver) -> None:
    """show_deleted, as in other listings."""
    receiver.answer_with(Reply(400))
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(job, "FAILED")
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/")
    assert await every(node, "status=FAILED") == []
    assert len(await every(node, "status=FAILED&show_deleted=true")) == 1


async def test_e6_a_cursor_with_other_filters_is_refused(filled: Node) -> None:
    """So is one that is none, an unknown parameter, and a value that is none."""
    token = (await filled.api.call("GET", "/v1/runs?status=FAILED&page_size=1")).json["next_page_token"]
    for query in (
        f"status=SKIPPED&page_token={token}",
        "page_token=x",
        "state=FAILED",
        "status=ASLEEP",
        "trigger=boredom",
        "fingerprint=0",
        "job_id=1",
        "finished_after=now",
        "page_size=-1",
    ):
        assert (await filled.api.call("GET", f"/v1/runs?{query}")).status == 400, query


async def test_e4_a_listing_stays_within_the_tenant_and_the_scope(filled: Node) -> None:
    """Another tenant sees nothing of it; runs:read is needed."""
    other = await filled.client(tenant="other")
    assert await every(filled, "", other) == []
    writer = await filled.client(scopes=frozenset({"runs:write"}))
    assert (await writer.call("GET", "/v1/runs")).status == 403
