"""The sweep: it looks at a bite of the jobs at a time, and yet at all of them."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from countwheel.engine import sweeper
from countwheel.store import runs
from countwheel.store.database import Connection
from countwheel.store.runs import NewOccurrence
from harness import Node

YEARLY = "0 0 1 1 *"
NOWHERE = "http://127.0.0.1:9/"
JOBS = 5


async def break_chain(node: Node, job_id: str) -> None:
    """Take the live run of a job away, which nothing of ours does."""
    async with node.database.connection() as connection:
        await connection.execute("DELETE FROM runs WHERE job_id = %s", [job_id])


async def is_armed(node: Node, job_id: str) -> bool:
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT FROM runs WHERE job_id = %s", [job_id])
        return cursor.rowcount == 1


@pytest.mark.parametrize("bite", [1, 2, JOBS - 1, JOBS, JOBS + 1])
async def test_a_sweep_by_bites_leaves_no_job_out(node: Node, monkeypatch: pytest.MonkeyPatch, bite: int) -> None:
    """Whatever the bites are, each broken chain is armed again within one pass, and the next pass looks at all anew."""
    monkeypatch.setattr(sweeper, "_BITE", bite)
    swept = sweeper.Sweeper(node.engine.sweeper._context)
    jobs = [await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE) for _ in range(JOBS)]
    ids = sorted((job["job_id"] for job in jobs), key=UUID)
    rounds = JOBS // bite + 1  # the last one finds that there are no more
    for _ in range(2):
        await asyncio.gather(*(break_chain(node, job_id) for job_id in ids))
        for number in range(1, rounds + 1):
            pause = await swept.run_once()
            assert [await is_armed(node, job_id) for job_id in ids] == [n < number * bite for n in range(JOBS)]
            assert (pause > 30) == (number == rounds), "the next pass begins a minute after this one"


async def test_a_job_that_cannot_be_armed_keeps_no_other_unarmed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database refuses what would arm some, the next round goes on with those behind them."""
    monkeypatch.setattr(sweeper, "_BITE", 1)
    swept = sweeper.Sweeper(node.engine.sweeper._context)
    jobs = [await node.api.create(schedule_recurring=YEARLY, job_url=NOWHERE) for _ in range(2)]
    poison, healthy = sorted((job["job_id"] for job in jobs), key=UUID)
    insert = runs.insert_occurrences

    async def refuse_poison(connection: Connection, occurrences: Sequence[NewOccurrence]) -> int:
        if any(str(entry.job_id) == poison for entry in occurrences):
            raise RuntimeError("refused")
        return await insert(connection, occurrences)

    monkeypatch.setattr(runs, "insert_occurrences", refuse_poison)
    await asyncio.gather(break_chain(node, poison), break_chain(node, healthy))
    with pytest.raises(RuntimeError):
        await swept.run_once()
    await swept.run_once()
    assert [await is_armed(node, job_id) for job_id in (poison, healthy)] == [False, True]
