"""S5, standing: drain and punctuality over ever more jobs that sleep. Whoever is not due must not be felt.

A stage for each number of sleeping jobs, all at once, measured in turn: the machine's moods meet all of them.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.bulk import put_to_sleep
from benchmarks.drain import drain
from benchmarks.measured import Goal, Measurement
from benchmarks.punctuality import punctuality
from benchmarks.row import Figures, Row, alternate
from benchmarks.stage import Stage, stage

_SLOWER = 0.1
_RATIO = (
    Goal("drain_ratio", "of the fewest", at_least=1 - _SLOWER),
    Goal("p99_ratio", "of the fewest", at_most=1 + _SLOWER),
)


async def _measure(on: Stage, given: Namespace) -> Figures:
    drained = await drain(on, given.jobs)
    punctual = await punctuality(on, given.rate, given.seconds)
    faults = {name: drained[name] + punctual[name] for name in ("doubles", "early", "missing")}
    kept = {
        name: drained[name] for name in ("durable_per_second", "python_us", "postgres_us", "wal_bytes", "sink_busy")
    }
    return {**kept, **{name: punctual[name] for name in ("p50_ms", "p99_ms", "max_ms")}, **faults}


def with_ratios(rounds: Sequence[Figures], fewest: Sequence[Figures]) -> list[Figures]:
    """Add to each round how it compares with the same round over the fewest sleeping jobs."""
    return [
        {
            **figures,
            "drain_ratio": figures["durable_per_second"] / base["durable_per_second"],
            "p99_ratio": figures["p99_ms"] / base["p99_ms"],
        }
        for figures, base in zip(rounds, fewest, strict=True)
    ]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sleeping", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])


async def _run(given: Namespace) -> list[Measurement]:
    async with AsyncExitStack() as stack:
        stages = {count: await stack.enter_async_context(stage(workers=given.workers)) for count in given.sleeping}
        for count, on in stages.items():
            began = time.monotonic()
            await put_to_sleep(on.dsn, await on.tenant(), count, time.time())
            print(f"  {count:,} jobs put to sleep in {time.monotonic() - began:.0f} s", flush=True)
        names = {count: f"over {count:,} sleeping, workers: {given.workers}" for count in given.sleeping}
        measured = await alternate(
            given.rounds, {names[count]: partial(_measure, on, given) for count, on in stages.items()}
        )
    fewest = measured[names[min(given.sleeping)]]
    return [
        Measurement(
            names[count],
            with_ratios(measured[names[count]], fewest),
            _RATIO if count == max(given.sleeping) else (),
        )
        for count in given.sleeping
    ]


ROW = Row("standing", "S5 standing", "drain and punctuality over jobs that sleep", _arguments, _run)
