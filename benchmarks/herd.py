"""S6, herd: cron jobs that all fire at one instant, and one tenant's crowd beside another tenant's stream."""

import math
import time
from argparse import ArgumentParser, Namespace
from functools import partial

from benchmarks.bulk import Jobs, insert
from benchmarks.drain import drain
from benchmarks.measured import Goal, Measurement
from benchmarks.receipts import count
from benchmarks.recurring import schedules_at
from benchmarks.row import Figures, Row, repeat
from benchmarks.stage import Stage, stage
from benchmarks.watch import ROWS_A_SECOND, watch

_BEFORE_SECONDS, _AFTER_SECONDS = 2.0, 20.0
_HERD = (Goal("p99_ms", "ms", at_most=120.0),)
_CROWD = (Goal("last_sent_seconds", "s", at_most=6.0), Goal("others_p99_ms", "ms", at_most=1000.0))


async def crowd(on: Stage, jobs: int, others: int) -> Figures:
    """Let one tenant have `jobs` due at one instant, and another one `others` a second, each at its own millisecond.

    The stream begins before the crowd, and ends after it (on a machine that sends a crowd of 100,000 in 20 s).
    """
    due = float(math.ceil(time.time() + 6 + jobs / ROWS_A_SECOND))
    stream = int(others * (_BEFORE_SECONDS + _AFTER_SECONDS))
    await insert(on.dsn, await on.tenant("crowd"), Jobs(jobs, due, f"{on.sink_url}/crowd"))
    begin = due - _BEFORE_SECONDS
    await insert(on.dsn, await on.tenant("others"), Jobs(stream, begin, f"{on.sink_url}/others", 1000 / others))
    watched = await watch(on, jobs + stream, begin, due + _AFTER_SECONDS)
    crowded = count((each for each in watched.receipts if each.flow == "c"), jobs)
    beside = count((each for each in watched.receipts if each.flow == "o"), stream)
    late = beside.lateness()
    return {
        "last_sent_seconds": crowded.last_at - due,
        "others_p50_ms": late["p50_ms"],
        "others_p99_ms": late["p99_ms"],
        "others_max_ms": late["max_ms"],
        **watched.used,
        **(crowded.faults + beside.faults).figures(),
    }


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1_000, help="cron jobs at one instant")
    parser.add_argument("--crowd", type=int, default=100_000, help="one tenant's jobs at one instant")
    parser.add_argument("--others", type=int, default=20, help="another tenant's runs a second")


async def _run(given: Namespace) -> list[Measurement]:
    herd = f"{given.jobs:,} cron jobs at one instant, workers: {given.workers}"
    crowded = (
        f"{given.crowd:,} jobs of one tenant at one instant, {given.others}/s of another, workers: {given.workers}"
    )
    async with stage(workers=given.workers) as on:
        measured = await repeat(given.rounds, herd, partial(drain, on, given.jobs, expressions=schedules_at))
    async with stage(workers=given.workers) as on:
        beside = await repeat(given.rounds, crowded, partial(crowd, on, given.crowd, given.others))
    return [Measurement(herd, measured, _HERD), Measurement(crowded, beside, _CROWD)]


ROW = Row("herd", "S6 herd", "cron jobs at one instant; one tenant's crowd beside another's stream", _arguments, _run)
