"""S2, recurring drain: many cron jobs due at one instant; the next occurrence is inserted with each claim."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import datetime

from benchmarks.drain import drain
from benchmarks.limits import limits_of
from benchmarks.measured import Goal, Measurement
from benchmarks.row import Figures, Row, repeat
from benchmarks.stage import stage

_GOAL = Goal("durable_per_second", "runs/s", at_least=15_000, limit="raw_calls_per_second")


def schedules_at(at: datetime) -> Sequence[str]:
    """Return schedules of several kinds that all fire at an instant (whole seconds), and not in the hour after."""
    moment = f"{at.second} {at.minute}"
    return (
        f"{moment} * * * *",
        f"{moment} {at.hour} * * *",
        f"{moment} {at.hour} {at.day} * *",
        f"{moment} {at.hour} * * {at.isoweekday() % 7}",
        f"CRON_TZ=Europe/Berlin {moment} * * * *",
        f"CRON_TZ=Asia/Kolkata {at.second} {(at.minute + 30) % 60} * * * *",
    )


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=20_000)


async def _run(given: Namespace) -> list[Measurement]:
    label = f"{given.jobs:,} cron jobs, workers: {given.workers}"
    async with stage(workers=given.workers) as on:
        limits = await limits_of(on)

        async def measure() -> Figures:
            return {**await drain(on, given.jobs, expressions=schedules_at), **limits}

        return [Measurement(label, await repeat(given.rounds, label, measure), [_GOAL])]


ROW = Row("recurring", "S2 recurring drain", "many cron jobs due at one instant", _arguments, _run)
