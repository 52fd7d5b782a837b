"""`countwheel audit` and `GET /v1/jobs/{jobId}/audit`, asked of a ledger that is whole and of one that is not."""

from datetime import datetime

import pytest

from countwheel.testing import Reply, WebhookReceiver
from harness import Ended, Node, eventually, run_command, soon


async def audited(dsn: str, *arguments: str) -> Ended:
    return await run_command("audit", *arguments, COUNTWHEEL_DATABASE_URL=dsn)


async def test_a_whole_ledger_passes_and_a_gap_does_not(dsn: str, node: Node, receiver: WebhookReceiver) -> None:
    """Exit code 0 with totals; with a row taken out of the ledger 1, and the occurrence is named; doubled likewise."""
    receiver.answer_with(lambda call: Reply(404) if "gone" in call.path else Reply())
    jobs = [await node.api.create(schedule_oneoff=soon(0.1), job_url=receiver.url) for _ in range(5)]
    gone = await node.api.create(schedule_oneoff=soon(0.1), job_url=receiver.url + "/gone")
    for job in jobs:
        await node.api.run_when(job, "SUCCEEDED")
    await node.api.run_when(gone, "FAILED")
    whole = await audited(dsn)
    assert whole.code == 0, whole
    assert "every occurrence is accounted for" in whole.output
    assert "6 jobs" in whole.output
    async with node.database.connection() as connection:
        await connection.execute(
            "INSERT INTO run_history SELECT * FROM run_history WHERE job_id = %s", [jobs[0]["job_id"]]
        )
        assert "doubled" in (doubled := await audited(dsn)).output
        assert doubled.code == 1
        await connection.execute("DELETE FROM run_history WHERE job_id = %s", [jobs[0]["job_id"]])
        await connection.execute(
            "UPDATE jobs SET schedule_oneoff = to_char(now() - interval '1 min', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
            "created_at = now() - interval '2 min' WHERE job_id = %s",
            [jobs[0]["job_id"]],
        )
    broken = await audited(dsn)
    assert broken.code == 1
    assert f"{jobs[0]['job_id']}  neither on record" in broken.output
    assert (await audited(dsn, "--job", jobs[1]["job_id"])).code == 0


async def test_the_api_audits_one_job(node: Node, receiver: WebhookReceiver) -> None:
    """A job that leaves out everything after a while: what ran is counted, what was left out is listed by page."""
    job = await node.api.create(schedule_recurring="* * * * * *", job_url=receiver.url)
    await receiver.wait_for(2)
    path = f"/v1/jobs/{job['job_id']}"
    await node.api.call("PATCH", path, {"exclude": {"cron": ["* * * * *"]}})

    async def some_are_skipped() -> bool:
        listed = await node.api.call("GET", f"{path}/run/?status=SKIPPED")
        return len(listed.json["items"]) >= 4

    await eventually(some_are_skipped)
    await node.api.call("DELETE", path)
    first = (await node.api.call("GET", f"{path}/audit?page_size=1")).json
    assert (first["ok"], len(first["items"]), first["items"][0]["finding"]) == (True, 1, "skipped")
    assert first["totals"]["ran"] >= 2
    second = (await node.api.call("GET", f"{path}/audit?page_size=1&page_token={first['next_page_token']}")).json
    instants = [datetime.fromisoformat(page["items"][0]["scheduled_for"]) for page in (first, second)]
    assert instants[0] < instants[1], (first, second)
    everything = (await node.api.call("GET", f"{path}/audit?show_ran=true&page_size=200")).json
    assert everything["next_page_token"] == ""
    assert sum(everything["totals"].values()) == len(everything["items"]) >= 4


async def test_another_tenants_job_is_not_audited(node: Node) -> None:
    """404, as for any other reading."""
    job = await node.api.create(schedule_oneoff=soon(60), job_url="http://127.0.0.1:9/")
    other = await node.client(tenant="other")
    assert (await other.call("GET", f"/v1/jobs/{job['job_id']}/audit")).status == 404


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "yesterday"), "--from yesterday"),
        (("--job", "x"), "--job x: not a job's id"),
        (("--to", "2026-13-01"), "--to 2026-13-01"),
    ],
)
async def test_a_bad_option_is_named(arguments: tuple[str, str], says: str) -> None:
    """Exit code 2, and what would be right."""
    ended = await run_command("audit", *arguments)
    assert (ended.code, says in ended.errors) == (2, True)
