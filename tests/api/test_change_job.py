"""Changing a job while its runs are claimed: what was acknowledged holds, and what came too late is said to be."""

import asyncio
from datetime import datetime, timedelta

import pytest

from countwheel.domain.schedule import parse_recurring
from countwheel.store import runs
from countwheel.store.database import Database
from countwheel.store.runs import HeldRun
from countwheel.testing import WebhookReceiver
from harness import Node, eventually, passed, soon

YEARLY = "0 0 1 1 *"
EVERY_SECOND = "* * * * * *"
NOWHERE = "http://127.0.0.1:9/"


async def patch(node: Node, job, body, **headers):
    return await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", body, headers)


async def test_e7_a_stale_version_is_refused(node: Node) -> None:
    """E7: the ETag of a job rises with each change; If-Match with an older one is 412, and changes nothing."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    read = await node.api.call("GET", f"/v1/jobs/{job['job_id']}")
    assert read.headers["ETag"] == '"1"'
    first = await patch(node, job, {"name": "first"}, **{"If-Match": '"1"'})
    assert (first.status, first.headers["ETag"], first.json["name"]) == (200, '"2"', "first")
    stale = await patch(node, job, {"name": "second"}, **{"If-Match": '"1"'})
    assert (stale.status, stale.headers["ETag"]) == (412, '"2"')
    assert (await patch(node, job, {"name": None}, **{"If-Match": "*"})).json["name"] is None


async def test_e7_of_two_concurrent_patches_one_wins(node: Node) -> None:
    """E7: twenty at once with the same If-Match: one is 200, the others 412."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    answers = await asyncio.gather(*(patch(node, job, {"name": f"n{n}"}, **{"If-Match": '"1"'}) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 19


async def test_e7_a_delete_can_name_the_version_that_it_deletes(node: Node) -> None:
    """E7: a stale If-Match is 412, and the job goes on; repeating the one that matched gives the same answer."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    path = f"/v1/jobs/{job['job_id']}"
    await patch(node, job, {"name": "changed since"})
    stale = await node.api.call("DELETE", path, headers={"If-Match": '"1"'})
    assert (stale.status, stale.headers["ETag"]) == (412, '"2"')
    kept = (await node.api.call("GET", path)).json
    assert (kept["status"], kept["next_run"]["status"]) == ("ACTIVE", "SCHEDULED")
    assert (await node.api.call("DELETE", path, headers={"If-Match": "2"})).status == 400
    first, again = [await node.api.call("DELETE", path, headers={"If-Match": '"2"'}) for _ in range(2)]
    assert (first.status, first.json["status"]) == (201, "DELETED")
    assert (again.status, again.json) == (201, first.json)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"schedule_recurring": "61 * * * *"}, 400, "#/schedule_recurring"),
        ({"schedule_oneoff": "2001-01-01T00:00:00Z"}, 400, "#/schedule_oneoff"),
        ({"schedule_recurring": YEARLY, "schedule_oneoff": "2190-01-01T00:00:00Z"}, 400, "#"),
        ({"job_url": "ftp://example.com"}, 400, "#/job_url"),
        ({"nmae": "x"}, 400, "#/nmae"),
        ({"end_at": "2020-01-01T00:00:00Z"}, 409, "#/end_at"),
        ({"dst_gap": "jump"}, 400, "#/dst_gap"),
        ({"schedule_oneoff": "2190-01-01T00:00:00Z", "start_at": "2180-01-01T00:00:00Z"}, 400, "#/start_at"),
        ({"schedule_oneoff": "2190-01-01T00:00:00"}, 409, "#/schedule_oneoff"),
    ],
)
async def test_e2_a_bad_patch_names_its_faults(node: Node, body, status: int, pointer: str) -> None:
    """What is wrong by itself is 400, what does not go with the rest of the job 409; each names the field."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    answer = await patch(node, job, body)
    assert answer.status == status
    assert pointer in {fault["pointer"] for fault in answer.json["errors"]}
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).headers["ETag"] == '"1"'


async def test_an_edit_plans_the_next_run_anew(node: Node) -> None:
    """The old occurrence is gone without a trace in the ledger; the new one is armed in the same answer."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    changed = (await patch(node, job, {"schedule_recurring": "0 0 1 7 *", "timezone": "Europe/Berlin"})).json
    now = datetime.fromisoformat(changed["updated_at"])
    expected = parse_recurring("0 0 1 7 *", "Europe/Berlin").next_after(now)
    assert datetime.fromisoformat(changed["next_run"]["scheduled_for"]) == expected
    listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    assert [run["run_id"] for run in listed] == [changed["next_run"]["run_id"]]


async def test_a_one_off_job_can_be_moved_until_it_begins(node: Node, receiver: WebhookReceiver) -> None:
    """Moved, it is called at its new time alone; once a node holds it, it is too late and the answer says so."""
    job = await node.api.create(schedule_oneoff="2190-01-01T00:00:00Z", job_url=receiver.url)
    moved = (await patch(node, job, {"schedule_oneoff": soon(0.3)})).json
    await node.api.run_when(moved, "SUCCEEDED")
    assert len(receiver.calls) == 1
    late = await patch(node, job, {"schedule_oneoff": soon(60)})
    assert (late.status, late.json["detail"]) == (409, "the job is COMPLETED: it cannot be changed any more")


async def test_a_kind_of_schedule_takes_the_place_of_the_other(node: Node) -> None:
    """Recurring to one-off and back: there is always exactly one schedule and one live run."""
    job = await node.api.create(schedule_recurring=YEARLY, timezone="Europe/Berlin", job_url=NOWHERE)
    once = (await patch(node, job, {"schedule_oneoff": "2190-01-01T00:00:00Z"})).json
    assert (once.get("schedule_recurring"), once.get("timezone")) == (None, None)
    assert once["next_run"]["scheduled_for"] == "2190-01-01T00:00:00.000Z"
    again = (await patch(node, job, {"schedule_recurring": YEARLY})).json
    assert again.get("schedule_oneoff") is None
    assert len((await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]) == 1


async def test_an_edit_races_claims_and_no_ghost_run_is_left(node: Node, receiver: WebhookReceiver) -> None:
    """Scenario "edit races a claim": a job that fires every second is moved to next year while it is claimed; after
    the answer only what the answer shows as held is called, and the chain has exactly one live run.
    """
    for _ in range(8):
        receiver.calls.clear()
        job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=receiver.url)
        due = datetime.fromisoformat(job["next_run"]["scheduled_for"])
        await receiver.wait_for(1)
        changed = (await patch(node, job, {"schedule_recurring": YEARLY})).json
        edited = datetime.fromisoformat(changed["updated_at"])

        async def only_one_is_live(job=job) -> bool:
            listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
            live = [run for run in listed if run["finished_at"] is None]
            return [run["scheduled_for"][5:10] for run in live] == ["01-01"]

        await eventually(only_one_is_live)
        sent = [datetime.fromisoformat(call.headers["countwheel-scheduled-for"]) for call in receiver.calls]
        assert len(set(sent)) == len(sent)
        assert min(sent) == due
        assert (max(sent) - edited).total_seconds() < 0.5 + 0.1, "only what was claimed ahead of the edit"


async def test_a_claim_that_read_the_job_before_an_edit_reads_it_again(
    database: Database, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that an edit leaves on the run is newer than the claim's snapshot: the claim acts on the new job."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_oneoff=soon(0.2), job_url=NOWHERE)
    await patch(node, job, {"job_url": NOWHERE + "new"})
    async with database.transaction() as claiming:
        # What a claim sees whose snapshot is older than the edit: the run as the edit left it, the job's old version.
        await claiming.execute("UPDATE jobs SET version = 1 WHERE job_id = %s", [job["job_id"]])
        (claimed,) = await runs.claim(claiming, node_id="other", look_ahead_seconds=60, size=8)
        assert (claimed.stale, claimed.job_url) == (False, NOWHERE + "new")
        monkeypatch.setattr(runs, "fresh", _as_it_was)
        await runs.release(claiming, [HeldRun(claimed.job_id, claimed.run_id, claimed.fence)])
        (claimed,) = await runs.claim(claiming, node_id="other", look_ahead_seconds=60, size=8)
        assert claimed.stale


async def _as_it_was(_connection, claimed):
    return claimed


async def test_pause_and_resume_can_be_repeated(node: Node) -> None:
    """Repeating changes nothing, not even the version; a job that has ended is 409."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    path = f"/v1/jobs/{job['job_id']}"
    tags = [(await node.api.call("POST", f"{path}/{verb}")).headers["ETag"] for verb in ("pause", "pause", "resume")]
    assert tags == ['"2"', '"2"', '"3"']
    await node.api.call("DELETE", path)
    assert (await node.api.call("POST", f"{path}/pause")).status == 409


async def test_a_cancel_while_paused_leaves_the_chain_whole(node: Node) -> None:
    """The next occurrence is armed all the same: resumed, the job goes on."""
    job = await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE)
    path = f"/v1/jobs/{job['job_id']}"
    await node.api.call("POST", f"{path}/pause")
    await node.api.call("DELETE", f"{path}/run/{job['next_run']['run_id']}/")
    resumed = (await node.api.call("POST", f"{path}/resume")).json
    assert (resumed["status"], resumed["next_run"]["status"]) == ("ACTIVE", "SCHEDULED")
    assert resumed["next_run"]["scheduled_for"] > job["next_run"]["scheduled_for"]


async def test_the_terms_of_a_schedule_can_be_changed_and_taken_away(node: Node) -> None:
    """Each plans anew at once; a schedule of another kind takes them away."""
    terms = {
        "timezone": "America/New_York",
        "start_at": "2190-03-01T00:00:00Z",
        "dst_gap": "skip",
        "end_at": "2195-01-01T00:00:00Z",
    }
    job = await node.api.create(schedule_recurring="30 2 * * *", job_url=NOWHERE, **terms)
    assert job["next_run"]["scheduled_for"] == "2190-03-01T07:30:00.000Z"
    assert {name: job[name] for name in terms} == terms | {
        "start_at": "2190-03-01T00:00:00.000Z",
        "end_at": "2195-01-01T00:00:00.000Z",
    }
    moved = (await patch(node, job, {"start_at": "2190-03-14T06:00:00Z"})).json  # the gap is at 02:00 of this day
    assert moved["next_run"]["scheduled_for"] == "2190-03-15T06:30:00.000Z"
    shifted = (await patch(node, job, {"dst_gap": None})).json
    assert "dst_gap" not in shifted
    assert shifted["next_run"]["scheduled_for"] == "2190-03-14T07:00:00.000Z"
    zoned = (await patch(node, job, {"schedule_recurring": "CRON_TZ=Asia/Tokyo 30 2 * * *"})).json
    assert ("timezone" in zoned, zoned["next_run"]["scheduled_for"]) == (False, "2190-03-14T17:30:00.000Z")
    once = (await patch(node, job, {"schedule_oneoff": "2190-01-01T00:00:00Z"})).json
    assert once.keys().isdisjoint({"start_at", "end_at", "dst_gap", "timezone"})


async def test_p4_a_job_that_has_nothing_left_is_completed(node: Node, receiver: WebhookReceiver) -> None:
    """P4: it runs from `start_at` up to `end_at`, both included, and is COMPLETED when its last run has ended."""
    start = datetime.fromisoformat(soon(1.0)).replace(microsecond=0) + timedelta(seconds=1)
    job = await node.api.create(
        schedule_recurring=EVERY_SECOND, job_url=receiver.url, start_at=start.isoformat(),
        end_at=(start + timedelta(seconds=2)).isoformat(), overlap="allow",
    )  # fmt: skip
    assert datetime.fromisoformat(job["next_run"]["scheduled_for"]) == start

    async def is_completed() -> bool:
        return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "COMPLETED"

    await eventually(is_completed)
    rows = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    assert [row["status"] for row in rows] == ["SUCCEEDED"] * 3
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/audit")).json["ok"]


async def test_p4_the_sweep_completes_what_the_last_run_did_not(node: Node) -> None:
    """P4: the last occurrence was cancelled: nothing is armed, nothing is missing, and the job is at its end."""
    end = datetime.fromisoformat(soon(3600)).replace(microsecond=0)
    job = await node.api.create(schedule_recurring="@every 59m", job_url=NOWHERE, end_at=end.isoformat())
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/")
    await node.engine.sweeper.run_once()
    assert (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "COMPLETED"


async def test_what_was_due_and_not_called_is_accounted_for_when_the_job_is_changed(node: Node) -> None:
    """Nobody claims for a while; then the schedule is changed: the occurrences that were due stand in one row."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=NOWHERE)
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    await passed(node.database, first + timedelta(seconds=2))
    changed = (await patch(node, job, {"schedule_recurring": YEARLY})).json
    edited = datetime.fromisoformat(changed["updated_at"])
    (skipped,) = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/?status=SKIPPED")).json["items"]
    assert skipped["run_id"] == job["next_run"]["run_id"]
    assert skipped["occurrences"] == (edited - first) // timedelta(seconds=1) + 1
    assert skipped["superseded_by"] == changed["next_run"]["scheduled_for"]


async def test_what_was_due_and_not_called_is_accounted_for_when_the_job_is_deleted(node: Node) -> None:
    """The same at the job's end: the cancelled run's row counts those of its chain that were never armed."""
    await node.engine.claimer.stop()
    job = await node.api.create(schedule_recurring=EVERY_SECOND, job_url=NOWHERE)
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    await passed(node.database, first + timedelta(seconds=2))
    deleted = (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")).json
    ended = datetime.fromisoformat(deleted["deleted_at"])
    (row,) = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]
    assert row["status"] == "CANCELED"
    assert row["occurrences"] >= (ended - first) // timedelta(seconds=1) + 1
