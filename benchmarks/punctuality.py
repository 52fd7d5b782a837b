"""S3, punctuality: a steady stream of jobs, each at its own millisecond. How late is each call at its receiver?"""

import math
import time
from argparse import ArgumentParser, Namespace

from benchmarks.bulk import Jobs, insert, put_to_sleep
from benchmarks.limits import limits_of
from benchmarks.measured import Goal, Measurement
from benchmarks.receipts import count
from benchmarks.row import Figures, Row, repeat
from benchmarks.stage import Stage, stage
from benchmarks.watch import ROWS_A_SECOND, watch

_LEAD_SECONDS = 3.0
_SLOW_RATE = 300
_MAX = Goal("max_ms", "ms", at_most=50.0)


async def punctuality(on: Stage, rate: int, seconds: float) -> Figures:
    """Make `rate` jobs a second over `seconds`, each at its own millisecond, and watch them arrive."""
    jobs = int(rate * seconds)
    begin = float(math.ceil(time.time() + _LEAD_SECONDS + jobs / ROWS_A_SECOND))
    await insert(on.dsn, await on.tenant(), Jobs(jobs, begin, f"{on.sink_url}/hook", 1000 / rate))
    watched = await watch(on, jobs, begin, begin + seconds)
    tally = count(watched.receipts, jobs)
    return {**tally.lateness(), **watched.used, **tally.faults.figures()}


def goals(rate: int) -> list[Goal]:
    """Return what has to be reached at a rate."""
    if rate <= _SLOW_RATE:
        return [Goal("p50_ms", "ms", at_most=1.0), Goal("p99_ms", "ms", at_most=3.0), _MAX]
    return [Goal("p99_ms", "ms", at_most=5.0), _MAX]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=300, help="jobs a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sleeping", type=int, default=0, help="jobs that are due in a month or later, beside")


async def _run(given: Namespace) -> list[Measurement]:
    label = f"{given.rate:,}/s, each at its own ms, over {given.sleeping:,} sleeping, workers: {given.workers}"
    async with stage(workers=given.workers) as on:
        if given.sleeping:
            await put_to_sleep(on.dsn, await on.tenant(), given.sleeping, time.time())
        limits = await limits_of(on)

        async def measure() -> Figures:
            return {**await punctuality(on, given.rate, given.seconds), **limits}

        return [Measurement(label, await repeat(given.rounds, label, measure), goals(given.rate))]


ROW = Row("punctuality", "S3 punctuality", "a steady stream of jobs, each at its own millisecond", _arguments, _run)
