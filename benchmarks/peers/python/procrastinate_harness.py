"""procrastinate: see `benchmarks.peers.python.harness`."""

import asyncio
import logging
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import procrastinate
from procrastinate.tasks import Task

from benchmarks.peers.python.harness import Caller, create_by_clients, dues, main, until_stopped

_CHUNK = 5_000


def _app(pool: int) -> procrastinate.App:
    logging.getLogger("procrastinate").setLevel(logging.ERROR)  # it writes four lines a job
    return procrastinate.App(connector=procrastinate.PsycopgConnector(min_size=pool, max_size=pool))


def _call(app: procrastinate.App, caller: Caller | None = None) -> Task[..., Any, Any]:
    @app.task(name="call", pass_context=True)
    async def call(context: procrastinate.JobContext, at: str) -> None:
        if caller is not None:
            await caller.post(str(context.job.id), at)

    return call


async def install(_: dict[str, Any]) -> None:
    """Make its tables."""
    async with _app(1).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def fill(settings: dict[str, Any]) -> dict[str, float]:
    """Make all jobs: those of one due moment together, others one a call."""
    async with _app(16).open_async() as app:
        call = _call(app)

        async def defer(due: datetime, count: int) -> None:
            for first in range(0, count, _CHUNK):
                same = [{"at": due.isoformat()}] * min(_CHUNK, count - first)
                await call.configure(schedule_at=due).batch_defer_async(*same)

        await asyncio.gather(*(defer(due, len(list(same))) for due, same in groupby(dues(settings))))
    return {"due_ms": settings["due_ms"]}


async def create(settings: dict[str, Any]) -> dict[str, float]:
    """Make jobs one a call."""
    due = datetime.fromtimestamp(settings["due_ms"] / 1000, UTC)
    async with _app(settings["clients"]).open_async() as app:
        call = _call(app)
        return await create_by_clients(
            settings, lambda number: call.configure(schedule_at=due).defer_async(at=f"then {number}")
        )


async def work(settings: dict[str, Any]) -> None:
    """Consume."""
    caller = Caller(settings)
    await caller.open()
    async with _app(settings["pool"]).open_async() as app:
        _call(app, caller)
        for number in range(settings["crons"]):

            @app.periodic(cron="* * * * *", periodic_id=f"every-{number}")
            @app.task(name=f"every-{number}", pass_context=True)
            async def every(context: procrastinate.JobContext, timestamp: int) -> None:
                await caller.post(str(context.job.id), datetime.fromtimestamp(timestamp, UTC).isoformat())

        await until_stopped(
            app.run_worker_async(
                concurrency=settings["concurrency"],
                fetch_job_polling_interval=settings["fetch_job_polling_interval"],
                install_signal_handlers=False,
            )
        )


if __name__ == "__main__":
    main(install=install, fill=fill, create=create, work=work)
