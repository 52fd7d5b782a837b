"""Criterion P5: a pause says why, and a resume says from when on: from now, or from the pause."""

from datetime import datetime, timedelta
from typing import Any

from countwheel.testing.receiver import WebhookReceiver
from harness import Node, eventually, passed, soon

EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 1 1 *"
NOWHERE = "http://127.0.0.1:9/"
A_SECOND = timedelta(seconds=1)


async def pause(node: Node, job: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Pause a job, and wait until what a node had claimed ahead of that is over."""
    body = None if reason is None else {"reason": reason}
    answer = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause", body)
    assert (answer.status, answer.json["status"]) == (200, "PAUSED")

    async def nothing_is_under_way() -> bool:
        return [run["status"] for run in await live(node, job)] == ["SCHEDULED"]

    await eventually(nothing_is_under_way)
    return answer.json


async def resume(node: Node, job: dict[str, Any], since: str | None = None) -> dict[str, Any]:
    body = None if since is None else {"from": since}
    answer = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/resume", body)
    assert answer.status == 200
    return answer.json


async def runs_of(node: Node, job: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/{query}")).json["items"]


async def live(node: Node, job: dict[str, Any]) -> list[dict[str, Any]]:
    return [run for run in await runs_of(node, job) if run["finished_at"] is None]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_resumed_from_now_what_was_due_meanwhile_is_one_row(node: Node, receiver: WebhookReceiver) -> None:
    """P5: while paused nobody is called and nothing is claimed; the resume writes one SKIPPED row with its count."""
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="allow")
    await receiver.wait_for(1)
    paused = await pause(node, job, "the target moves house")
    assert paused["pause_reason"] == "the target moves house"
    (armed,) = await live(node, job)
    assert armed["due_at"] is None
    sent = len(receiver.calls)
    first = instant(armed["scheduled_for"])
    await passed(node.database, first + 2 * A_SECOND)
    assert len(receiver.calls) == sent
    resumed = await resume(node, job)
    assert (resumed["status"], "pause_reason" in resumed) == ("ACTIVE", False)
    (row,) = await runs_of(node, job, "?status=SKIPPED")
    assert row["run_id"] == armed["run_id"]
    assert row["occurrences"] == (instant(resumed["updated_at"]) - first) // A_SECOND + 1
    assert row["error"].startswith("paused: ")
    assert row["superseded_by"] == resumed["next_run"]["scheduled_for"]
    await receiver.wait_for(sent + 1)
    found = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/audit")).json
    assert (found["ok"], found["totals"]["skipped"]) == (True, row["occurrences"])


async def test_resumed_from_the_pause_the_misfire_policy_decides(node: Node, receiver: WebhookReceiver) -> None:
    """P5: nothing that was due within the grace of a minute is lost; each occurrence is called once."""
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url, overlap="allow")
    await receiver.wait_for(1)
    await pause(node, job)
    (armed,) = await live(node, job)
    first = instant(armed["scheduled_for"])
    await passed(node.database, first + 3 * A_SECOND)
    await resume(node, job, "pause")
    wanted = {first + n * A_SECOND for n in range(3)}

    async def all_are_called() -> bool:
        return wanted <= {instant(call.headers["countwheel-scheduled-for"]) for call in receiver.calls}

    await eventually(all_are_called)
    assert await runs_of(node, job, "?status=SKIPPED") == []


async def test_a_long_pause_is_an_outage_to_the_misfire_policy(node: Node, receiver: WebhookReceiver) -> None:
    """P5: past the grace, only the latest of what was due meanwhile runs, and the rest is one row with its count."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=receiver.url)
    await pause(node, job)
    async with node.database.connection() as connection:  # as if it had been armed, and paused, for three years
        row = await (await connection.execute("SELECT run_id, scheduled_for FROM runs")).fetchone()
        assert row is not None
        await connection.execute("UPDATE runs SET scheduled_for = scheduled_for - interval '4 years'")
        await connection.execute("UPDATE jobs SET terms = '{\"catchup_window_seconds\": 31622400}'")
    await resume(node, job, "pause")

    async def skipped() -> Any:
        return await runs_of(node, job, "?status=SKIPPED")

    (dropped,) = await eventually(skipped)
    assert dropped["occurrences"] == 3
    assert "misfire policy fire_latest" in dropped["error"]
    await receiver.wait_for(1)


async def test_a_one_off_job_that_passes_while_paused(node: Node, receiver: WebhookReceiver) -> None:
    """Resumed from now it is SKIPPED and the job COMPLETED; resumed from the pause it is called, late."""
    for since, end in ((None, "COMPLETED"), ("pause", "ACTIVE")):
        moment = soon(1.2)
        job = await node.api.create(schedule_oneoff=moment, job_url=receiver.url)
        await pause(node, job)
        await passed(node.database, instant(job["next_run"]["scheduled_for"]))
        resumed = await resume(node, job, since)
        assert resumed["status"] == end
        if since is None:
            assert (await node.api.run_when(job, "SKIPPED"))["error"].startswith("paused")
            assert receiver.calls == []
        else:
            await node.api.run_when(job, "SUCCEEDED")
            assert len(receiver.calls) == 1


async def test_what_is_not_due_yet_is_as_it_was(node: Node) -> None:
    """A pause and a resume before the next occurrence leave no trace on it."""
    job = await node.api.create(schedule_recurring=YEARLY, window="1h", job_url=NOWHERE)
    (before,) = await live(node, job)
    await pause(node, job)
    await resume(node, job)
    assert await live(node, job) == [before]


async def test_a_paused_job_that_is_edited_waits_still(node: Node) -> None:
    """The new schedule's first occurrence is armed, and due when the job is resumed."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    await pause(node, job)
    await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"schedule_recurring": EVERY_SECOND})
    (armed,) = await live(node, job)
    assert armed["due_at"] is None
    await passed(node.database, instant(armed["scheduled_for"]) + A_SECOND)
    assert [run["run_id"] for run in await live(node, job)] == [armed["run_id"]]


async def test_a_paused_job_that_is_deleted_accounts_for_the_pause(node: Node) -> None:
    """What was due while it was paused stands in the ledger, in one CANCELED row with its count."""
    # One attempt: a run that began before the pause is over at once, and not in a back-off for minutes.
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=NOWHERE, max_attempts=1)
    await pause(node, job)
    (armed,) = await live(node, job)
    await passed(node.database, instant(armed["scheduled_for"]) + 2 * A_SECOND)
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    (row,) = await runs_of(node, job, "?status=CANCELED")
    assert row["occurrences"] >= 3
    assert row["due_at"] == armed["scheduled_for"]


async def test_a_reason_that_is_none_is_refused(node: Node) -> None:
    """E2: the body may be left out; what is there must be right."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    for verb, body in (("pause", {"reason": 1}), ("pause", {"why": "x"}), ("resume", {"from": "yesterday"})):
        answer = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/{verb}", body)
        assert answer.status == 400
        assert [fault["pointer"] for fault in answer.json["errors"]] == [f"#/{next(iter(body))}"]
