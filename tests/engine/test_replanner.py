"""C6: what newer time zones move is planned anew, once, and the schedule as it was submitted stays."""

from datetime import datetime, timedelta

import pytest

from countwheel.store import zone_release
from harness import Node

NOWHERE = "http://127.0.0.1:9/"
HOUR = timedelta(hours=1)
JOBS = {
    "one-off": {"schedule_oneoff": "2190-07-01T09:00:00", "timezone": "Europe/Berlin"},
    "recurring": {"schedule_recurring": "30 9 1 1 *", "timezone": "Asia/Tokyo"},
    "zone in front": {"schedule_recurring": "CRON_TZ=Asia/Tokyo 30 9 1 1 *"},
}


async def planned_otherwise(node: Node, job) -> None:
    """Arm the run an hour later, as a node with other zones would have."""
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET scheduled_for = scheduled_for + %s, due_at = due_at + %s WHERE job_id = %s",
            [HOUR, HOUR, job["job_id"]],
        )


async def come_with(node: Node, zones: str) -> None:
    """The node has these zones from now on, and looks."""
    node.engine.replanner.zones = zones
    await node.engine.replanner.run_once()


async def next_run(node: Node, job) -> str:
    return (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["next_run"]["scheduled_for"]


@pytest.mark.parametrize("schedule", JOBS.values(), ids=JOBS)
async def test_c6_newer_zones_plan_anew(node: Node, schedule) -> None:
    """C6: the run is armed where the wall clock of its place has it now; the job's own text is as it was."""
    job = await node.api.create(**schedule, job_url=NOWHERE)
    right = job["next_run"]["scheduled_for"]
    await planned_otherwise(node, job)
    assert datetime.fromisoformat(await next_run(node, job)) == datetime.fromisoformat(right) + HOUR
    await come_with(node, "9999a")
    assert await next_run(node, job) == right
    async with node.database.connection() as connection:
        assert await zone_release.read(connection) == "9999a"


async def test_c6_older_zones_change_nothing(node: Node) -> None:
    """C6: while nodes are renewed one by one, those with the older zones do not plan back."""
    job = await node.api.create(**JOBS["one-off"], job_url=NOWHERE)
    await planned_otherwise(node, job)
    moved = await next_run(node, job)
    await come_with(node, "2000a")
    assert await next_run(node, job) == moved


async def test_c6_times_that_no_zone_decides_are_left_alone(node: Node) -> None:
    """C6: an instant with its offset is an instant."""
    job = await node.api.create(schedule_oneoff="2190-07-01T09:00:00+02:00", job_url=NOWHERE)
    await planned_otherwise(node, job)
    moved = await next_run(node, job)
    await come_with(node, "9999b")
    assert await next_run(node, job) == moved
