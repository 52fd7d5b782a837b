"""I1, I9, I11: a request that is repeated when it would be refused, were it the first: its first answer comes again."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from countwheel.store.database_time import DatabaseClock
from countwheel.testing import WebhookReceiver
from harness import Answer, Api, Node, soon

NOWHERE = "http://127.0.0.1:9/"
YEARLY = {"schedule_recurring": "0 0 1 1 *", "job_url": NOWHERE}
HOURLY = {"schedule_recurring": "0 * * * *", "job_url": NOWHERE}
RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T05:00:00Z"}
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def five_minutes_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the API's clock be five minutes on."""
    now = DatabaseClock.now

    def pass_them() -> None:
        monkeypatch.setattr(DatabaseClock, "now", lambda clock: now(clock) + timedelta(minutes=5))

    return pass_them


async def create(node: Node, body: dict[str, Any], key: str = "k") -> Answer:
    return await node.api.call("POST", "/v1/jobs", body, {"Idempotency-Key": key})


def assert_replayed(first: Answer, again: Answer) -> None:
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")


async def listed(api: Api, path: str) -> int:
    return len((await api.call("GET", f"{path}?page_size=200&show_deleted=true")).json["items"])


@pytest.mark.parametrize(
    "when",
    [
        lambda: {"schedule_oneoff": soon(60), "catchup_window_seconds": 10},
        lambda: {"schedule_recurring": "@every 30s", "start_at": soon(-86_400), "end_at": soon(60)},
    ],
    ids=["oneoff", "end_at"],
)
async def test_a_create_is_answered_again_when_its_time_has_passed(
    node: Node, five_minutes_pass: Callable[[], None], when: Callable[[], dict[str, Any]]
) -> None:
    """The first answer and one job; a new key, or the same one with another body of that time, makes none."""
    body = when() | {"job_url": NOWHERE}
    first = await create(node, body)
    five_minutes_pass()
    assert_replayed(first, await create(node, body))
    refused, reused = await create(node, body, "other"), await create(node, body | {"name": "other"})
    assert (refused.status, reused.status) == (400, 422)
    assert await listed(node.api, "/v1/jobs") == 1


@pytest.mark.parametrize("kind", ["calendar", "secret"])
async def test_a_create_is_answered_again_when_what_it_names_is_gone(node: Node, kind: str) -> None:
    """An ended job's calendars and secrets may be deleted."""
    path, value = ("/v1/calendars/c", {"dates": ["12-25"]}) if kind == "calendar" else ("/v1/secrets/c", {"value": "x"})
    names = {"exclude": {"calendars": ["c"]}} if kind == "calendar" else {"headers": {"X-Key": {"secret": "c"}}}
    await node.api.call("PUT", path, value)
    first = await create(node, YEARLY | names)
    await node.api.call("DELETE", f"/v1/jobs/{first.json['job_id']}")
    assert (await node.api.call("DELETE", path)).status == 204
    assert_replayed(first, await create(node, YEARLY | names))
    assert (await create(node, YEARLY | names, "other")).status == 400
    assert await listed(node.api, "/v1/jobs") == 1


async def test_what_was_never_right_is_refused_as_before(node: Node) -> None:
    """A key that was not used yet is no way around a 400, and is not used up by one."""
    refused = await create(node, {"job_url": "nonsense"})
    assert (refused.status, {fault["pointer"] for fault in refused.json["errors"]}) == (400, {"#", "#/job_url"})
    assert (await create(node, YEARLY)).status == 201


async def pause(node: Node, job: dict[str, Any]) -> None:
    assert (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")).status == 200


async def delete(node: Node, job: dict[str, Any]) -> None:
    assert (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")).status == 201


async def prune(node: Node, job: dict[str, Any]) -> None:
    """Delete a job, and let nothing be left of it but its keys, as when it ended longer ago than the retention."""
    await delete(node, job)
    async with node.database.connection() as connection:
        await connection.execute("WITH live AS (DELETE FROM runs) DELETE FROM jobs")


async def crowd(node: Node, job: dict[str, Any]) -> None:
    changed = await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"schedule_recurring": "* * * * * *"})
    assert changed.status == 200


@pytest.mark.parametrize(("change", "status"), [(pause, 409), (delete, 409), (prune, 404)])
async def test_a_run_now_is_answered_again_when_nothing_is_sent_any_more(
    node: Node, change: Callable[[Node, dict[str, Any]], Awaitable[None]], status: int
) -> None:
    """The first answer and one run, whether the job is paused, deleted, or gone; a new key is refused."""
    await node.engine.claimer.stop()
    job = await node.api.create(**YEARLY)
    path = f"/v1/jobs/{job['job_id']}/run/"
    first = await node.api.call("POST", path, headers=KEY)
    await change(node, job)
    assert_replayed(first, await node.api.call("POST", path, headers=KEY))
    assert (await node.api.call("POST", path, headers={"Idempotency-Key": "other"})).status == status
    if change is not prune:
        runs = (await node.api.call("GET", path)).json["items"]
        assert [run["run_id"] for run in runs if run["trigger"] == "manual"] == [first.json["run_id"]]


@pytest.mark.parametrize("change", [pause, delete, crowd])
async def test_a_backfill_is_answered_again_when_it_would_be_refused(
    node: Node, change: Callable[[Node, dict[str, Any]], Awaitable[None]]
) -> None:
    """The first answer and its runs alone: of a job that is paused, deleted, or names too many instants by now."""
    await node.engine.claimer.stop()
    job = await node.api.create(**HOURLY)
    path = f"/v1/jobs/{job['job_id']}"
    first = await node.api.call("POST", f"{path}/backfill", RANGE, KEY)
    await change(node, job)
    assert_replayed(first, await node.api.call("POST", f"{path}/backfill", RANGE, KEY))
    for wish, headers, status in (
        (RANGE, {"Idempotency-Key": "other"}, 409),
        (RANGE | {"dry_run": True}, KEY, 409),
        (RANGE | {"only": "all"}, KEY, 422),
    ):
        assert (await node.api.call("POST", f"{path}/backfill", wish, headers)).status == status
    runs = (await node.api.call("GET", f"{path}/run/?page_size=200")).json["items"]
    assert len([run for run in runs if run["trigger"] == "backfill"]) == len(first.json["runs"]) == 5


@pytest.mark.parametrize(("verb", "body"), [("run/", None), ("backfill", RANGE)])
async def test_e5_a_quota_that_is_used_up_keeps_no_answer_back(node: Node, verb: str, body: object) -> None:
    """A run or a backfill was made, and a 429 would say that it was not."""
    made = (await node.api.call("POST", "/v1/tenants", {"name": "team-a", "runs_per_second": 0.1})).json["admin"]
    api = await node.with_credentials(made["client_id"], made["client_secret"])
    path = f"/v1/jobs/{(await api.create(**HOURLY))['job_id']}/{verb}"
    first = await api.call("POST", path, body, KEY)
    while (await api.call("POST", path, body, {"Idempotency-Key": str(uuid4())})).status != 429:
        pass
    assert_replayed(first, await api.call("POST", path, body, KEY))


async def test_i12_a_put_is_repeated_when_what_the_ended_job_names_is_gone(
    node: Node, receiver: WebhookReceiver
) -> None:
    """200 with the job as it is; another meaning is refused, and says what is gone."""
    await node.api.call("PUT", "/v1/calendars/c", {"dates": ["12-25"]})
    await node.api.call("PUT", "/v1/secrets/s", {"value": "x"})
    path = f"/v1/jobs/{uuid4()}"
    body = {
        "schedule_recurring": "* * * * * *",
        "max_runs": 1,
        "job_url": receiver.url,
        "exclude": {"calendars": ["c"]},
        "headers": {"X-Key": {"secret": "s"}},
    }
    job = (await node.api.call("PUT", path, body)).json
    await node.api.run_when(job, "SUCCEEDED")
    gone = [await node.api.call("DELETE", each) for each in ("/v1/calendars/c", "/v1/secrets/s")]
    assert [answer.status for answer in gone] == [204, 204]
    again = await node.api.call("PUT", path, body)
    assert (again.status, again.json) == (200, (await node.api.call("GET", path)).json)
    assert (again.json["status"], again.headers["ETag"]) == ("COMPLETED", '"1"')
    assert (await node.api.call("PUT", path, body | {"name": "other"})).status == 409
    other = await node.api.call("PUT", path, body | {"exclude": {"calendars": ["d"]}})
    assert (other.status, other.json["errors"][0]["pointer"]) == (400, "#/exclude/calendars/0")
