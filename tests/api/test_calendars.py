"""`/v1/calendars`, `exclude`, `on_excluded`, `max_runs` and `window`: on a node, with real calls."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from countwheel.store import calendars
from countwheel.testing.receiver import WebhookReceiver
from harness import Node, eventually

EVERY_SECOND = "* * * * * *"
NOWHERE = "http://127.0.0.1:9/"
EVERY_DATE = [(date(2028, 1, 1) + timedelta(days=place)).isoformat()[5:] for place in range(366)]
ALL_DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


async def put(node: Node, name: str, status: int = 201, **body: Any) -> dict[str, Any]:
    answer = await node.api.call("PUT", f"/v1/calendars/{name}", body)
    assert answer.status == status, answer.json
    return answer.json


async def job_of(node: Node, job: dict[str, Any]) -> dict[str, Any]:
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json


async def test_a_calendar_is_made_changed_listed_and_deleted(node: Node) -> None:
    """PUT is safe to repeat: what changes nothing makes no new version."""
    made = await put(node, "de", dates=["12-25"], description="Berlin")
    assert (made["version"], made["in_force"], made["dates"]) == (1, True, ["12-25"])
    assert await put(node, "de", 200, dates=["12-25"], description="Berlin") == made
    changed = await put(node, "de", 200, dates=["12-26"])
    assert (changed["version"], changed["description"]) == (2, None)
    await put(node, "at")
    listed = await node.api.call("GET", "/v1/calendars?page_size=1")
    assert [row["name"] for row in listed.json["items"]] == ["at"]
    more = await node.api.call("GET", f"/v1/calendars?page_size=1&page_token={listed.json['next_page_token']}")
    assert [row["name"] for row in more.json["items"]] == ["de"]
    assert (await node.api.call("DELETE", "/v1/calendars/de")).status == 204
    assert (await node.api.call("GET", "/v1/calendars/de")).status == 404


async def test_calendars_are_a_tenants_own(node: Node) -> None:
    """E4: another tenant neither sees nor names it."""
    await put(node, "de", dates=["12-25"])
    other = await node.client(tenant="other")
    assert (await other.call("GET", "/v1/calendars/de")).status == 404
    body = {"schedule_recurring": EVERY_SECOND, "job_url": NOWHERE, "exclude": {"calendars": ["de"]}}
    refused = await other.call("POST", "/v1/jobs", body)
    assert refused.status == 400
    assert refused.json["errors"][0]["pointer"] == "#/exclude/calendars/0"


async def test_a_calendar_that_a_job_names_stays(node: Node) -> None:
    """409 for as long as a job that has not ended names it."""
    await put(node, "de", dates=["12-25"])
    job = await node.api.create(schedule_recurring="@daily", job_url=NOWHERE, exclude={"calendars": ["de"]})
    assert (await node.api.call("DELETE", "/v1/calendars/de")).status == 409
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    assert (await node.api.call("DELETE", "/v1/calendars/de")).status == 204


async def test_what_is_left_out_is_in_the_ledger(node: Node, receiver: WebhookReceiver) -> None:
    """on_excluded skip: each occurrence ends SKIPPED with what leaves it out; the calendar changed, the job runs."""
    await put(node, "never", cron=["* * * * *"])
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, exclude={"calendars": ["never"]})
    assert job["next_run"]["excluded"] == "* * * * * (calendar never)"
    run = await node.api.run_when(job, "SKIPPED")
    assert run["error"] == "excluded: * * * * * (calendar never)"
    assert receiver.calls == []
    await put(node, "never", 200)
    await receiver.wait_for(1)
    assert "excluded" not in (await job_of(node, job))["next_run"]


async def test_a_changed_calendar_moves_the_jobs_that_roll_by_it(node: Node) -> None:
    """The next run is planned anew before the answer; the version before is kept, and the audit goes by it."""
    job = await node.api.create(schedule_recurring="0 9 1 1 *", job_url=NOWHERE)
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    await put(node, "de", dates=[])
    rolling = await node.api.create(
        schedule_recurring="0 9 1 1 *", job_url=NOWHERE, exclude={"calendars": ["de"]}, on_excluded="next"
    )
    assert rolling["next_run"]["scheduled_for"] == job["next_run"]["scheduled_for"]
    changed = await put(node, "de", 200, dates=["01-01", "01-02"])
    assert changed["in_force"]
    moved = (await job_of(node, rolling))["next_run"]
    assert datetime.fromisoformat(moved["scheduled_for"]) == first + timedelta(days=2)


@pytest.mark.usefixtures("days_looked_at")
async def test_a_calendar_that_leaves_out_every_day_ends_what_rolls_by_it_and_nothing_else(
    node: Node, receiver: WebhookReceiver
) -> None:
    """Nothing is left of a job that finds no day to roll to: it is COMPLETED; the node goes on with all others."""
    await put(node, "de", dates=["12-25"])
    rolling = await node.api.create(
        schedule_recurring="0 9 * * *", job_url=NOWHERE, exclude={"calendars": ["de"]}, on_excluded="next"
    )
    await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url)
    changed = await put(node, "de", 200, dates=EVERY_DATE)
    assert changed["in_force"]
    assert (await job_of(node, rolling))["next_run"] is None
    await node.engine.carrier.run_once()
    await node.engine.sweeper.run_once()
    assert (await job_of(node, rolling))["status"] == "COMPLETED"
    await receiver.wait_for(len(receiver.calls) + 2)


async def test_the_nodes_carry_a_calendar_to_the_jobs_that_the_request_left(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More jobs than one request takes on: `in_force` comes soon after."""
    monkeypatch.setattr("countwheel.api.calendars._CARRIED_AT_ONCE", 1)
    await put(node, "de", dates=[])
    for _ in range(5):
        await node.api.create(
            schedule_recurring="0 9 1 1 *", job_url=NOWHERE, exclude={"calendars": ["de"]}, on_excluded="next"
        )
    await put(node, "de", 200, dates=["01-01"])

    async def all_have_it() -> bool:
        return bool((await node.api.call("GET", "/v1/calendars/de")).json["in_force"])

    await eventually(all_have_it)
    items = (await node.api.call("GET", "/v1/jobs")).json["items"]
    assert {item["next_run"]["scheduled_for"][5:10] for item in items} == {"01-02"}


async def test_a_job_that_was_created_with_the_version_before_gets_the_new_one(node: Node) -> None:
    """Its create had read the calendar before the change: what is behind is looked for again for a minute."""
    await put(node, "de", dates=[])
    job = await node.api.create(
        schedule_recurring="0 9 1 1 *", job_url=NOWHERE, exclude={"calendars": ["de"]}, on_excluded="next"
    )
    await node.engine.carrier.run_once()
    async with node.database.connection() as connection:  # the change came to its end before the job was there
        await connection.execute('UPDATE calendars SET version = 2, carried = 2, exclusion = \'{"dates": ["01-01"]}\'')
        (changed,) = await calendars.find_changed(connection)
    assert changed.version == 2

    async def is_moved() -> bool:
        return (await job_of(node, job))["next_run"]["scheduled_for"][5:10] == "01-02"

    await eventually(is_moved)


async def test_p4_a_job_runs_so_often_and_is_completed(node: Node, receiver: WebhookReceiver) -> None:
    """P4: max_runs calls, whatever the node does, and not one more."""
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, max_runs=2)

    async def is_completed() -> bool:
        return (await job_of(node, job))["status"] == "COMPLETED"

    await eventually(is_completed)
    assert len(receiver.calls) == 2
    assert (await job_of(node, job))["next_run"] is None
    found = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/audit")).json
    assert (found["ok"], found["totals"]["ran"] + found["totals"]["late"]) == (True, 2)


async def test_p4_max_runs_is_counted_over_an_edit(node: Node, receiver: WebhookReceiver) -> None:
    """P4: what has begun counts; fewer than that is refused, more lets the job go on."""
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, max_runs=1000)
    await receiver.wait_for(2)
    path = f"/v1/jobs/{job['job_id']}"
    refused = await node.api.call("PATCH", path, {"max_runs": 1})
    assert (refused.status, "max_runs" in refused.json["detail"]) == (409, True)
    assert (await node.api.call("PATCH", path, {"max_runs": 2000})).status == 200
    await receiver.wait_for(3)


async def test_p3_a_job_with_a_window_is_called_at_its_place(node: Node, receiver: WebhookReceiver) -> None:
    """P3: the run says when it is due; it is called then, never before, and every occurrence at the same distance."""
    job = await node.api.create(schedule_recurring="*/2 * * * * *", job_url=receiver.url, window="90%")
    await receiver.wait_for(2)
    listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/?status=SUCCEEDED")).json["items"]
    distances = {datetime.fromisoformat(run["due_at"]) - datetime.fromisoformat(run["scheduled_for"]) for run in listed}
    assert len(distances) == 1
    assert all(run["started_at"] >= run["due_at"] for run in listed)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"exclude": {"dates": ["2027-02-30"]}}, "#/exclude/dates/0"),
        ({"exclude": {"weekdays": ALL_DAYS}}, "#/exclude/weekdays"),
        ({"exclude": {"cron": ["* * *"]}}, "#/exclude/cron/0"),
        ({"exclude": {"calendars": ["none"]}}, "#/exclude/calendars/0"),
        ({"exclude": {}}, "#/exclude"),
        ({"exclude": {"days": []}}, "#/exclude/days"),
        ({"schedule_recurring": "@every 1h", "on_excluded": "next"}, "#/on_excluded"),
        ({"exclude": {"dates": EVERY_DATE}, "on_excluded": "next"}, "#/exclude"),
        ({"max_runs": 0}, "#/max_runs"),
        ({"window": "100%"}, "#/window"),
        ({"window": "25h"}, "#/window"),
    ],
)
@pytest.mark.usefixtures("days_looked_at")
async def test_what_means_nothing_is_refused(node: Node, changes: dict[str, Any], pointer: str) -> None:
    """E2: 400 with the place."""
    body = {"schedule_recurring": "@daily", "job_url": NOWHERE} | changes
    preview = {name: value for name, value in body.items() if name != "job_url"}
    for path, asked in (("/v1/jobs", body), ("/v1/schedules:preview", preview)):
        answer = await node.api.call("POST", path, asked)
        assert answer.status == 400
        assert pointer in [fault["pointer"] for fault in answer.json["errors"]]


async def test_a_preview_tells_what_rolls_and_what_is_left_out(node: Node) -> None:
    """What does not run is listed with its reason, what rolls is marked, a window shows when it is called."""
    await put(node, "de", dates=["12-25", "12-26"])
    body = {
        "schedule_recurring": "0 9 * * *", "from": "2027-12-23T12:00:00Z", "count": 3, "window": "10m",
        "exclude": {"calendars": ["de"], "weekdays": ["SUN"]},
    }  # fmt: skip
    found = (await node.api.call("POST", "/v1/schedules:preview", body)).json
    assert [fire["at"][:10] for fire in found["fires"]] == ["2027-12-24", "2027-12-27", "2027-12-28"]
    assert found["excluded"] == [
        {
            "at": "2027-12-25T09:00:00.000Z",
            "local": "2027-12-25T09:00:00.000+00:00",
            "reason": "2027-12-25 (calendar de)",
        },
        {"at": "2027-12-26T09:00:00.000Z", "local": "2027-12-26T09:00:00.000+00:00", "reason": "SUN"},
    ]
    assert all("2027-12" in fire["due_at"] for fire in found["fires"])
    weekly = body | {"schedule_recurring": "0 9 * * SUN", "on_excluded": "previous", "count": 1}
    (fire,) = (await node.api.call("POST", "/v1/schedules:preview", weekly)).json["fires"]
    assert (fire["at"][:10], fire["note"]) == ("2027-12-24", "rolled")
