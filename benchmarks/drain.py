"""S1, drain: many one-off jobs due at one instant. How many are durably done a second, counted from that instant?"""

import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from benchmarks.bulk import Jobs, insert
from benchmarks.limits import limits_of
from benchmarks.measured import Goal, Measurement
from benchmarks.receipts import count
from benchmarks.row import Figures, Row, repeat
from benchmarks.stage import Stage, stage
from benchmarks.watch import ROWS_A_SECOND, watch

_API_IS_SLOWER = 10
_GOAL = Goal("durable_per_second", "runs/s", at_least=20_000, limit="raw_calls_per_second")

Expressions = Callable[[datetime], Sequence[str]]
"""Names recurring schedules that all fire at an instant."""


async def drain(
    on: Stage,
    jobs: int,
    *,
    api: bool = False,
    lead_seconds: float | None = None,
    expressions: Expressions | None = None,
    before: Callable[[], Awaitable[None]] | None = None,
) -> Figures:
    """Make `jobs` jobs that are all due at one instant, let happen what is to happen `before` it, and watch them go."""
    lead = lead_seconds or 4 + jobs / (ROWS_A_SECOND / (_API_IS_SLOWER if api else 1))
    due = float(math.ceil(time.time() + lead))
    at = datetime.fromtimestamp(due, UTC)
    if api:
        job = {"schedule_oneoff": at.isoformat(), "job_url": f"{on.sink_url}/hook", "job_payload": {"hello": "world"}}
        await on.create([job] * jobs)
    else:
        schedules = expressions(at) if expressions is not None else ()
        await insert(on.dsn, await on.tenant(), Jobs(jobs, due, f"{on.sink_url}/hook", expressions=schedules))
    if before is not None:
        await before()
    watched = await watch(on, jobs, due)
    tally = count(watched.receipts, jobs)
    return {
        "durable_per_second": jobs / (watched.drained_at - due),
        "sent_per_second": jobs / (tally.last_at - due),
        **tally.lateness(),
        **watched.used,
        **tally.faults.figures(),
    }


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--api", action="store_true", help="create the jobs over the API, one a call")
    parser.add_argument("--lead-seconds", type=float, help="how long making the jobs may take")


async def _run(given: Namespace) -> list[Measurement]:
    way = ", created over the API" if given.api else ""
    label = f"{given.jobs:,} one-off jobs, workers: {given.workers}{way}"
    async with stage(workers=given.workers) as on:
        limits = await limits_of(on)

        async def measure() -> Figures:
            return {**await drain(on, given.jobs, api=given.api, lead_seconds=given.lead_seconds), **limits}

        return [Measurement(label, await repeat(given.rounds, label, measure), [_GOAL])]


ROW = Row("drain", "S1 drain", "many one-off jobs due at one instant", _arguments, _run)
