"""A run that PostgreSQL lets nobody claim is put off: it keeps no other run from being claimed, and is not lost."""

import math
from typing import Any, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from countwheel.engine import refused
from countwheel.store.database import RefusedRowError
from countwheel.store.refused import Suspect
from countwheel.testing import WebhookReceiver
from harness import Node, eventually, soon

MOST_ATTEMPTS = 32_767
"""The column has no room for one more."""


async def poison(node: Node, job: dict[str, Any]) -> None:
    """Let a job's run have so many attempts that one more cannot be counted."""
    async with node.database.connection() as connection:
        changed = await connection.execute(
            "UPDATE runs SET state = 'RETRYING', attempt = %s, error = 'no answer'"
            " WHERE job_id = %s AND node_id IS NULL",
            [MOST_ATTEMPTS, job["job_id"]],
        )
        assert changed.rowcount == 1


async def put_off(node: Node, job: dict[str, Any]) -> bool:
    """Tell whether a job's run was put off for a minute, and says why."""
    async with node.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT error, due_at > now() + interval '50 seconds' FROM runs WHERE job_id = %s AND node_id IS NULL",
            [job["job_id"]],
        )
        rows = await cursor.fetchall()
    return any("cannot be claimed: PostgreSQL refused the row" in (why or "") and late for why, late in rows)


async def until_put_off(node: Node, job: dict[str, Any]) -> None:
    await eventually(lambda: put_off(node, job))


async def test_what_is_due_beside_it_is_called_and_so_is_it_when_it_is_mended(
    node: Node, receiver: WebhookReceiver
) -> None:
    """Two of thirty runs that are due at one moment cannot be claimed; one of them is mended afterwards."""
    due = soon(2)
    jobs = [await node.api.create(schedule_oneoff=due, job_url=receiver.url) for _ in range(30)]
    poisoned, healthy = [jobs[3], jobs[17]], [job for job in jobs if job not in (jobs[3], jobs[17])]
    for job in poisoned:
        await poison(node, job)
    for job in healthy:
        await node.api.run_when(job, "SUCCEEDED")
    for job in poisoned:
        await until_put_off(node, job)
    async with node.database.connection() as connection:
        await connection.execute(
            "UPDATE runs SET attempt = 1, due_at = now() WHERE job_id = %s", [poisoned[0]["job_id"]]
        )
    await node.api.run_when(poisoned[0], "SUCCEEDED")


async def test_a_chain_whose_next_occurrence_is_refused_is_put_off_whole(node: Node, receiver: WebhookReceiver) -> None:
    """Its run is not sent without the one after it: the chain would stop in silence."""
    job = await node.api.create(schedule_recurring="*/2 * * * * *", job_url=receiver.url)
    first = job["next_run"]["scheduled_for"]
    async with node.database.connection() as connection:
        await connection.execute(
            "ALTER TABLE runs ADD CONSTRAINT refused"
            f" CHECK (job_id <> '{job['job_id']}' OR scheduled_for <= '{first}') NOT VALID"
        )
    beside = await node.api.create(schedule_oneoff=soon(2.5), job_url=f"{receiver.url}/beside")
    await node.api.run_when(beside, "SUCCEEDED")
    await until_put_off(node, job)
    assert [call.path for call in receiver.calls] == ["/hook/beside"]
    async with node.database.connection() as connection:
        await connection.execute("ALTER TABLE runs DROP CONSTRAINT refused")
        await connection.execute("UPDATE runs SET due_at = now() WHERE job_id = %s", [job["job_id"]])
    await receiver.wait_for(3)


async def test_in_a_lane_the_others_go_on(node: Node, receiver: WebhookReceiver) -> None:
    """Their target is limited, so that they wait in its lane."""
    answer = await node.api.call("PUT", "/v1/targets/127.0.0.1", {"max_concurrency": 1})
    assert answer.status in {200, 201}, answer.body
    due = soon(3)
    jobs = [await node.api.create(schedule_oneoff=due, job_url=receiver.url) for _ in range(5)]
    async with node.database.connection() as connection:
        await connection.execute("UPDATE runs SET lane = '127.0.0.1', set_aside = true WHERE node_id IS NULL")
    await poison(node, jobs[0])
    for job in jobs[1:]:
        await node.api.run_when(job, "SUCCEEDED")
    await until_put_off(node, jobs[0])


SUSPECTS = [Suspect(UUID(int=number), UUID(int=number)) for number in range(512)]


class _Trials:
    """Refuses what has one of these in it, and counts how often it was asked."""

    def __init__(self, bad: frozenset[Suspect]) -> None:
        self.bad = bad
        self.count = 0

    async def __call__(self, _context: object, suspects: list[Suspect]) -> RefusedRowError | None:
        self.count += 1
        return RefusedRowError("refused") if self.bad.intersection(suspects) else None


@given(st.lists(st.sampled_from(SUSPECTS), unique=True), st.data())
async def test_exactly_those_are_found_by_few_trials(suspects: list[Suspect], data: st.DataObject) -> None:
    """Each of k refused runs of n takes two trials a halving, at the most."""
    bad = data.draw(st.frozensets(st.sampled_from(suspects)) if suspects else st.just(frozenset[Suspect]()))
    trials = _Trials(bad)
    with_trials = cast("Any", refused)
    original, with_trials._try = with_trials._try, trials
    try:
        found = await refused._refused(cast("Any", None), suspects)
    finally:
        with_trials._try = original
    assert [suspect for suspect, _ in found] == [suspect for suspect in suspects if suspect in bad]
    assert trials.count <= 1 + 2 * len(bad) * math.ceil(math.log2(max(len(suspects), 2)))
