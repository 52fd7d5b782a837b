"""Pages whose walk runs out of time: they are short, and lead on (decision 0028)."""

from typing import Any

import pytest

from countwheel.store import jobs, ledger, walking
from harness import Api, Node

LEDGER = """
    INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, finished_at, attempt,
        lost_attempts, fence, error)
    SELECT job_id,
        (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '80008000000000000000')::uuid,
        tenant_id, 'schedule', CASE WHEN n = 8 THEN 'EXPIRED' ELSE 'SKIPPED' END, at, at, now(), 0, 0, 1, 'x'
    FROM jobs, generate_series(1, 9) AS n,
        LATERAL (SELECT timestamptz '2020-01-01' + n * interval '1 day' AS at) AS moment
    WHERE job_id = %s
"""
"""An ended run for each of nine days."""


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has time for one step, of two rows."""
    monkeypatch.setattr(walking, "WALK_SECONDS", -1.0)
    monkeypatch.setattr(jobs, "_FIRST_ROWS", 2)
    monkeypatch.setattr(ledger, "_FIRST_ROWS", 2)


async def pages(api: Api, path: str, query: str) -> list[list[dict[str, Any]]]:
    """Follow the pages to the end."""
    found: list[list[dict[str, Any]]] = []
    token = ""
    while True:
        answer = await api.call("GET", f"{path}?{query}" + (f"&page_token={token}" if token else ""))
        assert answer.status == 200, answer.body
        found.append(answer.json["items"])
        if not (token := answer.json["next_page_token"]):
            return found


@pytest.mark.parametrize("query", ["q=number-7", "label=number:7", "name=number-7", "page_size=3", ""])
async def test_every_job_is_on_one_page(node: Node, query: str) -> None:
    """Newest first; a page that has found nothing leads on."""
    made = [
        await node.api.create(
            schedule_oneoff="2190-01-01T00:00:00Z",
            job_url="http://127.0.0.1:9/",
            name=f"number-{number}",
            labels={"number": str(number)},
        )
        for number in range(9)
    ]
    found = await pages(node.api, "/v1/jobs", query)
    wanted = [made[7]] if "7" in query else made[::-1]
    assert [job["job_id"] for page in found for job in page] == [job["job_id"] for job in wanted]
    assert max(map(len, found)) <= 2
    assert (len(found) > 3) == (not query.startswith("name"))


async def test_every_run_of_a_job_is_on_one_page(node: Node) -> None:
    """Live and ended ones, of any status."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    async with node.database.connection() as connection:
        await connection.execute(
            LEDGER,
            [job["job_id"]],
        )
    path = f"/v1/jobs/{job['job_id']}/run/"
    everything = [run for page in await pages(node.api, path, "") for run in page]
    moments = [run["scheduled_for"] for run in everything]
    assert (len(everything), moments) == (10, sorted(moments, reverse=True))
    (expired,) = [run for page in await pages(node.api, path, "status=EXPIRED") for run in page]
    assert expired["scheduled_for"] == "2020-01-09T00:00:00.000Z"
    window = "scheduled_after=2020-01-03T00:00:00Z&scheduled_before=2020-01-05T00:00:00Z"
    within = [run["scheduled_for"] for page in await pages(node.api, path, window) for run in page]
    assert within == ["2020-01-04T00:00:00.000Z", "2020-01-03T00:00:00.000Z"]
