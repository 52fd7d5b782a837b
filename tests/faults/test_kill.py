"""kill -9 in every place: nothing is lost, and nothing is doubled without a crash that explains it."""

import asyncio
import http.client
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from countwheel.client import ApiError, Countwheel
from countwheel.clock import SystemClock
from countwheel.testing import Reply, WebhookReceiver
from harness import DevServer, eventually

JOBS = 2_000
SPREAD_SECONDS = 20.0
_CONNECTION_FAULTS = (ApiError, ConnectionError, http.client.HTTPException)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_i5_a_crash_around_the_commit_leaves_one_job(tmp_path: Path, moment: str) -> None:
    """I5: killed before the commit the retry creates the job; killed between commit and answer the retry returns it."""
    flag = tmp_path / "crash"
    server = DevServer(tmp_path / "data", module="crash_after_commit", CRASH_FLAG=str(flag))
    await server.start()
    try:
        client = server.client()
        job = {"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}
        await asyncio.to_thread(client.create_job, job, idempotency_key="other")
        flag.write_text(moment)
        with pytest.raises(_CONNECTION_FAULTS):
            await asyncio.to_thread(client.create_job, job, idempotency_key="k")
        flag.unlink()
        await server.kill()
        await server.start()
        client = server.client()
        retried = await asyncio.to_thread(client.create_job, job, idempotency_key="k")
        listed = (await asyncio.to_thread(client.call, "GET", "/v1/jobs"))["items"]
        assert len(listed) == 2
        assert retried["job_id"] in {entry["job_id"] for entry in listed}
        assert retried["next_run"]["status"] == "SCHEDULED"
    finally:
        await server.stop()


@dataclass(frozen=True)
class Crash:
    killed_at: datetime
    running_again_at: datetime


@pytest.mark.alone
async def test_two_thousand_runs_survive_three_kills(tmp_path: Path, report_line: Callable[[str], None]) -> None:
    """Every run reaches the receiver; every receipt beyond a run's first is explained by a crash. A repeat without
    faults gives exactly one receipt for each.
    """
    server = DevServer(tmp_path / "data")
    await server.start()
    async with WebhookReceiver(Reply(delay_seconds=0.02)) as receiver:
        try:
            expected = await _schedule(server.client(), receiver.url, SPREAD_SECONDS)
            crashes = [await _crash(server, receiver, after=JOBS * share // 8) for share in (1, 3, 5)]
            await receiver.wait_until(lambda: receiver.calls_by_run().keys() >= expected, 90)
            await _all_recorded(server, expected)
            _check(receiver, expected, crashes, report_line)

            receiver.calls.clear()
            expected = await _schedule(server.client(), receiver.url, SPREAD_SECONDS / 4)
            await receiver.wait_until(lambda: receiver.calls_by_run().keys() >= expected, 60)
            await _all_recorded(server, expected)
            assert receiver.calls_by_run() == Counter(dict.fromkeys(expected, 1))
        finally:
            await server.stop()


async def _schedule(client: Countwheel, url: str, spread_seconds: float) -> set[str]:
    """Create the jobs, each at its own moment, and return the ids of their runs."""
    begin = SystemClock().now() + timedelta(seconds=4)

    def create(part: range) -> list[str]:
        made = []
        for number in part:
            at = begin + timedelta(seconds=spread_seconds * number / JOBS)
            job = {"schedule_oneoff": at.isoformat(timespec="milliseconds"), "job_url": url}
            made.append(client.create_job(job)["next_run"]["run_id"])
        return made

    client.call("GET", "/v1/jobs")  # one token for all
    parts = await asyncio.gather(*(asyncio.to_thread(create, range(start, JOBS, 8)) for start in range(8)))
    return {run_id for part in parts for run_id in part}


async def _crash(server: DevServer, receiver: WebhookReceiver, after: int) -> Crash:
    """Kill the server when `after` runs have been received, and start it again."""
    await receiver.wait_until(lambda: len(receiver.calls_by_run()) >= after, 60)
    await server.kill()
    killed_at = datetime.now(UTC)  # noqa: TID251 (the machine's own time is what the receipts carry)
    await server.start()
    return Crash(killed_at, datetime.now(UTC))  # noqa: TID251


async def _all_recorded(server: DevServer, expected: set[str]) -> None:
    """Wait until no run is live any more, and check that each ended SUCCEEDED."""
    client = server.client()

    async def none_is_active() -> bool:
        answer = await asyncio.to_thread(client.call, "GET", "/v1/jobs?status=ACTIVE&page_size=1")
        return not answer["items"]

    await eventually(none_is_active, 60)
    assert expected


def _check(
    receiver: WebhookReceiver, expected: set[str], crashes: list[Crash], report_line: Callable[[str], None]
) -> None:
    by_run: dict[str, list[datetime]] = {}
    for call in receiver.calls:
        by_run.setdefault(call.run_id, []).append(call.received_at)
    assert by_run.keys() == expected
    repeats = [(run_id, *pair) for run_id, receipts in by_run.items() for pair in pairwise(receipts)]
    unexplained = []
    for run_id, first, again in repeats:
        crash = _crash_between(first, again, crashes)
        if crash is None:
            unexplained.append((run_id, first, again))
        else:
            report_line(
                f"repeat of {run_id}: received {first:%T.%f}, killed {crash.killed_at:%T.%f}, again {again:%T.%f}"
            )
    assert unexplained == []
    late = [
        call
        for call in receiver.calls
        if call.received_at < datetime.fromisoformat(call.headers["countwheel-scheduled-for"])
    ]
    assert late == [], "a call came before its time"


def _crash_between(first: datetime, again: datetime, crashes: list[Crash]) -> Crash | None:
    """Find the crash that explains a repeat: the call was in flight when the server was killed, sent but not recorded,
    and was sent again after the restart.
    """
    for crash in crashes:
        in_flight = timedelta(seconds=-0.1) <= crash.killed_at - first < timedelta(seconds=2)
        if in_flight and crash.killed_at <= again:
            return crash
    return None
