"""A record that PostgreSQL refuses is that run's own affair: it keeps no other run from its record."""

from collections.abc import Sequence
from typing import Any

import pytest

from countwheel.store import runs
from countwheel.store.database import RefusedRowError
from countwheel.testing import WebhookReceiver
from harness import Node, soon

TOO_LONG = "https://" + ".".join(["a" * 63] * 5)
"""A host of 319 characters, as jobs could have it before hosts had a limit."""


async def test_a_host_that_no_name_can_have_ends_its_run_and_no_other(node: Node, receiver: WebhookReceiver) -> None:
    """The job is from a release before: its run is FAILED on record, and what is due beside it is recorded, too."""
    old = await node.api.create(schedule_oneoff=soon(6), job_url=receiver.url, max_attempts=1)
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET job_url = %s, target_host = %s WHERE job_id = %s",
            [TOO_LONG + "/", TOO_LONG.removeprefix("https://"), old["job_id"]],
        )
    assert (await node.api.run_when(old, "FAILED"))["attempt"] == 1
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT length(target), fingerprint IS NULL FROM run_history")
        assert await cursor.fetchall() == [(253, False)]
    beside = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(beside, "SUCCEEDED")


async def test_a_run_whose_every_record_is_refused_holds_up_no_other(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is let go after every form of its record; the runs that ended after it are recorded."""
    job = await node.api.create(schedule_oneoff=soon(0.5), job_url=receiver.url)
    finish, refused = runs.finish, job["next_run"]["run_id"]
    tried: list[int] = []

    async def refuse_one(connection: Any, records: Sequence[runs.FinishedRun]) -> Any:
        if any(str(record.run_id) == refused for record in records):
            tried.append(len(records))
            raise RefusedRowError("refused by the test")
        return await finish(connection, records)

    monkeypatch.setattr(runs, "finish", refuse_one)
    await receiver.wait_for(1)
    others = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url) for _ in range(5)]
    for other in others:
        await node.api.run_when(other, "SUCCEEDED")
    assert len(tried) >= 4
