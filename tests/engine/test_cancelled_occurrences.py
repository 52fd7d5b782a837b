"""Whoever arms the next occurrence reads as many cancelled ones as it looks at, however many there are."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from countwheel.domain import ids
from countwheel.domain.cancelled import Cancelled
from countwheel.domain.run import Trigger
from harness import Node, eventually

HOUR = timedelta(hours=1)
IN_A_ROW = 300
VERY_MANY = 20_000

Arm = Callable[[Node, dict[str, Any]], Awaitable[object]]


async def claim(node: Node, job: dict[str, Any]) -> None:
    """Let its armed run be due: that of the hour before."""
    before = datetime.fromisoformat(job["next_run"]["scheduled_for"]) - HOUR
    run_id = ids.run_id(UUID(job["job_id"]), before, Trigger.SCHEDULE)
    await execute(node, "UPDATE runs SET run_id = %s, scheduled_for = %s, due_at = %s", run_id, before, before)


async def sweep(node: Node, job: dict[str, Any]) -> None:
    """Let its chain be broken, and mended."""
    await execute(node, "DELETE FROM runs WHERE job_id = %s", job["job_id"])
    await node.engine.sweeper.run_once()


async def cancel(node: Node, job: dict[str, Any]) -> None:
    """Let its armed run be cancelled."""
    path = f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/"
    assert (await node.api.call("DELETE", path)).status == 201


async def change(node: Node, job: dict[str, Any]) -> None:
    """Let it be planned anew."""
    body = {"schedule_recurring": "0 */1 * * *"}
    assert (await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", body)).status == 200


async def execute(node: Node, statement: str, *parameters: object) -> None:
    async with node.database.connection() as connection:
        await connection.execute(statement.encode(), parameters)


async def hourly_job(node: Node) -> tuple[dict[str, Any], datetime]:
    job = await node.api.create(schedule_recurring="0 * * * *", job_url="http://127.0.0.1:9/")
    return job, datetime.fromisoformat(job["next_run"]["scheduled_for"])


async def cancel_in_a_row(node: Node, first: datetime, count: int) -> None:
    """Cancel the occurrences of so many hours."""
    await execute(
        node,
        "INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted) "
        "SELECT job_id, %s + n * interval '1 hour', gen_random_uuid(), tenant_id, true "
        "FROM jobs, generate_series(0, %s - 1) AS n",
        first,
        count,
    )


async def armed(node: Node, job: dict[str, Any], expected: datetime) -> bool:
    """Return when the occurrence at a time is what comes next."""

    async def is_next() -> bool:
        coming = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json["next_run"]
        return coming is not None and datetime.fromisoformat(coming["scheduled_for"]) == expected

    return bool(await eventually(is_next))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each read of a job's cancelled occurrences found."""
    found: list[int] = []
    learn = Cancelled.learn

    def counted(self: Cancelled, since: datetime, until: datetime | None, instants: Iterable[datetime]) -> None:
        found.append(len(list(instants)))
        learn(self, since, until, instants)

    monkeypatch.setattr(Cancelled, "learn", counted)
    return found


@pytest.mark.parametrize("arm", [claim, sweep, cancel, change])
async def test_a_long_row_of_cancelled_occurrences_is_passed_over(node: Node, reads: list[int], arm: Arm) -> None:
    """The occurrence after the last of them is the next one; reads that go further each time are few."""
    job, first = await hourly_job(node)
    await cancel_in_a_row(node, first, IN_A_ROW)
    await arm(node, job)
    assert await armed(node, job, first + IN_A_ROW * HOUR)
    assert sum(reads) == IN_A_ROW
    assert len(reads) < 10


@pytest.mark.parametrize("arm", [claim, sweep, cancel, change])
async def test_what_is_cancelled_further_ahead_is_not_read(node: Node, reads: list[int], arm: Arm) -> None:
    """The next occurrence stands, or the one after it: one look at a few of those cancelled tells that."""
    job, first = await hourly_job(node)
    await cancel_in_a_row(node, first + 2 * HOUR, VERY_MANY)
    await arm(node, job)
    assert await armed(node, job, first + (HOUR if arm is cancel else 0 * HOUR))
    assert len(reads) == 1
    assert reads[0] < 100
