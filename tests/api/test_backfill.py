"""`POST /v1/jobs/{jobId}/backfill`: occurrences of the past, run now, beside the schedule."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from countwheel.api import backfills
from countwheel.domain.backfill import named_between
from countwheel.testing.receiver import Reply, WebhookReceiver
from harness import Answer, Node, eventually, soon
from locks import until_waiting

YEARLY = "0 0 1 1 *"
NOWHERE = "http://127.0.0.1:9/"
HOURLY = "0 * 1 3 *"
"""Each hour of the day that is backfilled; nothing is due now, whatever the time."""
RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T05:00:00Z"}


async def backfill(node: Node, job: dict[str, Any], key: str | None = None, **wish: Any) -> Answer:
    headers = None if key is None else {"Idempotency-Key": key}
    return await node.api.call("POST", f"/v1/jobs/{job['job_id']}/backfill", RANGE | wish, headers)


async def all_ended(node: Node, job: dict[str, Any], count: int) -> list[dict[str, Any]]:
    async def ended() -> Any:
        listed = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/?page_size=200")).json["items"]
        found = [run for run in listed if run["trigger"] == "backfill" and run["finished_at"] is not None]
        return found if len(found) == count else None

    return await eventually(ended)


def hours(items: list[dict[str, Any]]) -> list[int]:
    return [datetime.fromisoformat(item["scheduled_for"]).hour for item in items]


async def test_a_dry_run_tells_and_does_nothing(node: Node, receiver: WebhookReceiver) -> None:
    """200 with what would be run; nothing is."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url)
    answer = await backfill(node, job, dry_run=True)
    assert (answer.status, answer.json["count"], hours(answer.json["runs"])) == (200, 5, [0, 1, 2, 3, 4])
    assert len((await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]) == 1


async def test_one_after_another_in_the_order_of_time(node: Node, receiver: WebhookReceiver) -> None:
    """By default each waits for the one before; each tells its receiver which occurrence it is, and why it comes."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url)
    answer = await backfill(node, job)
    assert answer.status == 201
    await all_ended(node, job, 5)
    assert [call.headers["countwheel-trigger"] for call in receiver.calls] == ["backfill"] * 5
    sent = [call.headers["countwheel-scheduled-for"] for call in receiver.calls]
    assert sent == sorted(sent)
    assert [call.headers["webhook-id"] for call in receiver.calls] == [run["run_id"] for run in answer.json["runs"]]


async def test_missing_failed_and_all(node: Node, receiver: WebhookReceiver) -> None:
    """What succeeded is neither missing nor failed; wanted again, it comes under an id that no receiver has seen."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url, max_attempts=1)
    receiver.answer_with(Reply(status=500))
    await backfill(node, job, overlap="allow", to="2026-03-01T01:00:00Z")
    await all_ended(node, job, 1)
    receiver.answer_with(Reply())
    assert (await backfill(node, job, dry_run=True, only="missing")).json["count"] == 4
    assert hours((await backfill(node, job, dry_run=True, only="failed")).json["runs"]) == [0]
    await backfill(node, job, overlap="allow", only="failed")
    await all_ended(node, job, 2)
    assert (await backfill(node, job, dry_run=True, only="failed")).json["count"] == 0
    await backfill(node, job, overlap="allow", only="all")
    await all_ended(node, job, 7)
    ids = [call.headers["webhook-id"] for call in receiver.calls]
    assert len(set(ids)) == len(ids) == 7


async def test_i1_a_repeated_backfill_is_one(node: Node, receiver: WebhookReceiver) -> None:
    """I1, I3: the same key and body give the same runs; the same key with another range is refused."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url)
    key = str(uuid4())
    first = await backfill(node, job, key, only="all")
    await all_ended(node, job, 5)
    again = await backfill(node, job, key, only="all")
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(receiver.calls) == 5
    assert (await backfill(node, job, key, only="missing")).status == 422


async def test_a_backfill_and_the_schedule_do_not_wait_for_each_other(node: Node, receiver: WebhookReceiver) -> None:
    """An every-second job under overlap policy skip goes on while its backfill hangs in a call."""
    go_on = asyncio.Event()
    receiver.answer_with(lambda call: Reply(after=go_on if call.headers["countwheel-trigger"] == "backfill" else None))
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url)
    await backfill(node, job, to="2026-03-01T02:00:00Z")
    await receiver.wait_for(1)
    await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"schedule_recurring": "* * * * * *"})
    await receiver.wait_for(2)
    assert [call.headers["countwheel-trigger"] for call in receiver.calls] == ["backfill", "schedule"]
    go_on.set()
    await all_ended(node, job, 2)


async def test_what_cannot_be_backfilled_is_refused(node: Node) -> None:
    """E2: the future, a range that is none; too many runs of this job; a paused job and one that is not there."""
    job = await node.api.create(schedule_recurring="* * * * *", job_url=NOWHERE)
    tomorrow = soon(86_400)
    for wish, pointer in (
        ({"to": tomorrow}, "#/to"),
        ({"to": "2026-02-01T00:00:00Z"}, "#/to"),
        ({"from": "yesterday"}, "#/from"),
        ({"only": "some"}, "#/only"),
        ({"overlap": "skip"}, "#/overlap"),
    ):
        answer = await backfill(node, job, **wish)
        assert (answer.status, [fault["pointer"] for fault in answer.json["errors"]]) == (400, [pointer]), wish
    for too_long, limit in (({"to": "2026-03-03T00:00:00Z"}, "1000 "), ({"from": "1970-01-01T00:00:00Z"}, "100000 ")):
        answer = await backfill(node, job, **too_long)
        assert (answer.status, limit in answer.json["detail"]) == (409, True), too_long
    await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")
    assert (await backfill(node, job)).status == 409
    assert (await backfill(node, {"job_id": uuid4()})).status == 404


@pytest.mark.parametrize("only", ["missing", "all"])
async def test_a_one_off_job_has_one_occurrence(node: Node, receiver: WebhookReceiver, only: str) -> None:
    """It is wanted again where all are; where only the missing are, it ran."""
    job = await node.api.create(schedule_oneoff=soon(-60), job_url=receiver.url)
    await node.api.run_when(job, "SUCCEEDED")
    answer = await backfill(node, job, **{"from": soon(-3600), "to": soon(-5)}, only=only)
    assert answer.json["count"] == (1 if only == "all" else 0)


@dataclass(frozen=True)
class Choosing:
    """Backfills choose their occurrences for as long as it takes: until they may go on."""

    begun: asyncio.Event
    may_go_on: threading.Event


@pytest.fixture
async def choosing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Choosing]:
    loop, held = asyncio.get_running_loop(), Choosing(asyncio.Event(), threading.Event())

    def slowly(*of: Any) -> Iterator[datetime]:
        loop.call_soon_threadsafe(held.begun.set)
        held.may_go_on.wait()
        yield from named_between(*of)

    monkeypatch.setattr(backfills, "named_between", slowly)
    yield held
    held.may_go_on.set()


@pytest.mark.parametrize("dry_run", [True, False])
async def test_runs_are_recorded_while_a_backfill_is_chosen(
    node: Node, receiver: WebhookReceiver, choosing: Choosing, dry_run: bool
) -> None:
    """However long that takes: a call of the job that ends meanwhile is written down."""
    may_end = asyncio.Event()
    receiver.answer_with(Reply(after=may_end))
    job = await node.api.create(schedule_recurring=HOURLY, job_url=receiver.url)
    run = (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/run/")).json
    await receiver.wait_for(1)
    answer = asyncio.create_task(backfill(node, job, dry_run=dry_run))
    await asyncio.wait_for(choosing.begun.wait(), 20)
    may_end.set()
    await node.api.run_when(job, "SUCCEEDED", run_id=run["run_id"])
    assert not answer.done()
    choosing.may_go_on.set()
    assert ((await answer).status, (await answer).json["count"]) == (200 if dry_run else 201, 5)


async def test_a_job_that_is_changed_while_its_backfill_is_chosen(node: Node, choosing: Choosing) -> None:
    """What was chosen may be wrong by then: 409, nothing is run, and asked again it is of the job as it is now."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=NOWHERE)
    answer = asyncio.create_task(backfill(node, job))
    await asyncio.wait_for(choosing.begun.wait(), 20)
    changed = await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"schedule_recurring": "30 1 * * *"})
    assert changed.status == 200
    choosing.may_go_on.set()
    assert ((await answer).status, "changed" in (await answer).json["detail"]) == (409, True)
    assert (await backfill(node, job)).json["count"] == 1


async def test_two_backfills_at_once_run_each_occurrence_once(node: Node) -> None:
    """Both have chosen before either is written down: what the first one runs is live, and left alone by the other."""
    job = await node.api.create(schedule_recurring=HOURLY, job_url=NOWHERE)
    async with node.database.transaction() as connection:
        await connection.execute("SELECT FROM jobs WHERE job_id = %s FOR UPDATE", [job["job_id"]])
        answers = [asyncio.create_task(backfill(node, job)) for _ in range(2)]
        await until_waiting(node.database, 2)
    assert sorted([(await answer).json["count"] for answer in answers]) == [0, 5]
