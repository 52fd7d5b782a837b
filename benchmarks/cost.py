"""S7, cost: what a run costs in Python's CPU time, PostgreSQL's CPU time, bytes of WAL and commits.

CPU time is that of all processes, read from /proc before and after. Commits are those that write. Right after a
checkpoint the first change of each page writes the page to the WAL as a whole: that is a case of its own.
"""

import asyncio
from argparse import ArgumentParser, Namespace
from functools import partial

import psycopg

from benchmarks.drain import drain
from benchmarks.measured import Goal, Measurement
from benchmarks.recurring import schedules_at
from benchmarks.row import Figures, Row, alternate, repeat
from benchmarks.stage import Stage, stage

_GOALS = (
    Goal("python_us", "µs", at_most=40.0),
    Goal("postgres_us", "µs", at_most=40.0),
    Goal("wal_bytes", "bytes", at_most=1_500.0),
    Goal("commits", "a run", at_most=0.05),
)


async def _after_checkpoint(on: Stage, jobs: int) -> Figures:
    """Drain with a checkpoint between the making of the jobs and their time."""

    async def checkpoint() -> None:
        async with await psycopg.AsyncConnection.connect(on.dsn, autocommit=True) as connection:
            await connection.execute("CHECKPOINT")

    return await drain(on, jobs, before=checkpoint)


async def idle(on: Stage, seconds: float) -> Figures:
    """Return how much of a core nodes and PostgreSQL take with nothing to do."""
    before = await on.usage()
    await asyncio.sleep(seconds)
    after = await on.usage()
    return {
        "python_cores": (after.nodes_seconds - before.nodes_seconds) / seconds,
        "postgres_cores": (after.postgres_seconds - before.postgres_seconds) / seconds,
        "commits_per_second": (after.commits - before.commits) / seconds,
    }


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--idle-seconds", type=float, default=10)


async def _run(given: Namespace) -> list[Measurement]:
    one_off, recurring = f"{given.jobs:,} one-off jobs", f"{given.jobs:,} cron jobs"
    fresh, nothing = f"{one_off}, right after a checkpoint", "nothing to do"
    async with stage(workers=given.workers) as on:
        cases = {
            one_off: partial(drain, on, given.jobs),
            recurring: partial(drain, on, given.jobs, expressions=schedules_at),
            fresh: partial(_after_checkpoint, on, given.jobs),
        }
        measured = await alternate(given.rounds, cases)
        resting = await repeat(1, nothing, partial(idle, on, given.idle_seconds))
    goals = {one_off: _GOALS, recurring: _GOALS}
    drains = [Measurement(label, rounds, goals.get(label, ())) for label, rounds in measured.items()]
    return [*drains, Measurement(nothing, resting)]


ROW = Row("cost", "S7 cost", "CPU, WAL and commits a run", _arguments, _run, rounds=3)
