"""`GET /v1/forecast`, and the warning that a minute is overfull."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from harness import Node, running_node

NOWHERE = "http://127.0.0.1:9/"
DAILY = "0 0 * * *"


async def forecast(node: Node, query: str = "") -> dict[str, Any]:
    answer = await node.api.call("GET", f"/v1/forecast{query}")
    assert answer.status == 200
    return answer.json


async def test_runs_by_minute_and_by_target(node: Node) -> None:
    """Recurring jobs, one-off jobs; not what is paused, and nothing of another tenant."""
    midnight = (await node.api.create(schedule_recurring=DAILY, job_url=NOWHERE))["next_run"]["scheduled_for"]
    await node.api.create(schedule_recurring=DAILY, job_url="http://127.0.0.2:9/")
    once = await node.api.create(schedule_oneoff=midnight, job_url=NOWHERE)
    paused = await node.api.create(schedule_recurring="* * * * *", job_url=NOWHERE)
    await node.api.call("POST", f"/v1/jobs/{paused['job_id']}/pause")
    found = await forecast(node)
    assert (found["jobs"], found["runs"], found["estimated"]) == (3, 3, False)
    assert found["busiest"] == [{"at": once["next_run"]["scheduled_for"], "runs": 3}]
    assert [(target["target"], target["runs"]) for target in found["targets"]] == [("127.0.0.1", 2), ("127.0.0.2", 1)]
    place = (datetime.fromisoformat(midnight) - datetime.fromisoformat(found["from"])) // timedelta(minutes=1)
    assert [minute for minute, runs in enumerate(found["minutes"]) if runs] == [place]
    assert (await forecast(node, "?target=127.0.0.2"))["runs"] == 1
    other = await node.client(tenant="other")
    assert (await other.call("GET", "/v1/forecast")).json["runs"] == 0


@pytest.mark.parametrize("query", ["?hours=0", "?hours=25", "?hours=x", "?target=A%20B", "?from=now"])
async def test_what_cannot_be_asked_is_refused(node: Node, query: str) -> None:
    """E2: 400."""
    assert (await node.api.call("GET", f"/v1/forecast{query}")).status == 400


async def test_an_overfull_minute_is_said_when_a_job_is_put_into_it(dsn: str) -> None:
    """The warning names the H and the window that would spread it; a job that has one gets none."""
    async with running_node(dsn, busy_minute_runs=3) as node:
        for _ in range(3):
            assert "warnings" not in await node.api.create(schedule_recurring=DAILY, job_url=NOWHERE)
        (warning,) = (await node.api.create(schedule_recurring=DAILY, job_url=NOWHERE))["warnings"]
        assert "3 runs or more" in warning
        assert "'H 0 * * *'" in warning
        assert '"window": "15m"' in warning
        for spread in ({"schedule_recurring": "H 0 * * *"}, {"schedule_recurring": DAILY, "window": "15m"}):
            assert "warnings" not in await node.api.create(job_url=NOWHERE, **spread)
        other = await node.client(tenant="other")
        assert "warnings" not in await other.create(schedule_recurring=DAILY, job_url=NOWHERE)


async def test_what_is_probably_not_meant_is_said(node: Node) -> None:
    """The doubts of a preview come with the job, too: it is created all the same."""
    job = await node.api.create(schedule_recurring="* 9 * * *", job_url=NOWHERE)
    assert job["warnings"] == ["minute * fires every minute of the hours named; for once an hour give 0: '0 9 …'"]
