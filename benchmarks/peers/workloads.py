"""The workloads that peers and ours are measured by, side by side; each gives plain figures, every time afresh."""

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.bulk import settle
from benchmarks.ground import ground
from benchmarks.measured import percentile
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import Running
from benchmarks.receipts import Tally, count
from benchmarks.row import Figures
from benchmarks.usage import Usage

_QUIET_SECONDS = 1.0
_DAY_SECONDS = 86_400
_HERD_SECONDS = 40.0
"""How long after its minute a cron job's call is still waited for."""
_CATCH_UP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be done. `kind` is drain, punctuality, herd or create."""

    kind: str
    jobs: int
    workers: int = 1
    rate: int = 300
    """Jobs a second, where each has its own millisecond."""
    clients: int = 32


async def measure(peer: Peer, workload: Workload) -> Figures:
    """Have a peer do a workload on a fresh ground, and return its figures."""
    kinds = {"drain": _drain, "punctuality": _punctuality, "herd": _herd, "create": _create}
    async with ground() as on:
        running = Running(peer, on)
        await running.tell("install")
        return await kinds[workload.kind](running, workload)


async def _drain(running: Running, workload: Workload) -> Figures:
    """Jobs due at one instant: how many are durably done a second, counted from that instant?"""
    jobs = workload.jobs
    due = await _fill(running, jobs, apart_ms=0.0)
    async with running.workers(workload.workers) as pids:
        before = await _quiet_before(running, due, pids)
        await running.on.sink.wait_for(jobs)
        done_at = await running.wait_until_done()
        used = await _used(running, pids, before, jobs, done_at - due)
    tally = await _tally(running, jobs)
    return {
        "durable_per_second": jobs / (done_at - due),
        "sent_per_second": jobs / (tally.last_at - due),
        **used,
        **tally.faults.figures(),
    }


async def _punctuality(running: Running, workload: Workload) -> Figures:
    """A steady stream, each job at its own millisecond: how late is each call at its receiver?"""
    jobs = workload.jobs
    due = await _fill(running, jobs, apart_ms=1000 / workload.rate)
    async with running.workers(workload.workers) as pids:
        before = await _quiet_before(running, due, pids)
        await asyncio.sleep(due + jobs / workload.rate - time.time())
        await running.on.sink.wait_for(jobs)
        used = await _used(running, pids, before, jobs, jobs / workload.rate)
    tally = await _tally(running, jobs)
    return {**tally.lateness(), **used, **tally.faults.figures()}


async def _herd(running: Running, workload: Workload) -> Figures:
    """Cron jobs, all of them every minute: how late is each call of one minute?"""
    jobs, sink = workload.jobs, running.on.sink
    async with running.workers(workload.workers, crons=jobs):
        # Some catch up with the minute that was running when they began: that has to be over.
        minute = math.ceil((time.time() + _CATCH_UP_SECONDS) / 60) * 60
        await asyncio.sleep(minute - _QUIET_SECONDS - time.time())
        since = await sink.count()
        await asyncio.sleep(minute - time.time())
        with suppress(TimeoutError):
            async with asyncio.timeout(_HERD_SECONDS):
                while await sink.count() < since + jobs:
                    await sink.wait_for(since + jobs)  # gives up where nothing comes for a while
        await sink.count()  # all of them are in the file then
    receipts = [one for one in sink.receipts(since) if minute <= one.scheduled_for < minute + 60]
    late = sorted(one.lateness_ms for one in receipts)
    return {
        "p50_ms": percentile(late, 0.5),
        "p99_ms": percentile(late, 0.99),
        "max_ms": late[-1] if late else 0.0,
        "missing": jobs - len(late),
    }


async def _create(running: Running, workload: Workload) -> Figures:
    """Clients that create one job a call through the peer's own library, each durable when the call returns."""
    due_ms = (time.time() + _DAY_SECONDS) * 1000
    told = await running.tell("create", count=workload.jobs, clients=workload.clients, due_ms=due_ms)
    return {"creates_per_second": workload.jobs / told["seconds"], "p99_ms": told["p99_ms"]}


async def _fill(running: Running, jobs: int, apart_ms: float) -> float:
    """Make jobs that are due from some seconds on; return when the first of them is."""
    due = math.ceil(time.time() + 6 + jobs / 4_000)
    told = await running.tell("fill", count=jobs, due_ms=due * 1000, apart_ms=apart_ms)
    await settle(running.on.dsn)
    return float(told["due_ms"]) / 1000


async def _quiet_before(running: Running, due: float, pids: list[int]) -> Usage:
    if time.time() > due - _QUIET_SECONDS:
        raise RuntimeError("making the jobs took too long")
    await asyncio.sleep(due - _QUIET_SECONDS - time.time())
    before = await _look(running, pids)
    await asyncio.sleep(due - time.time())
    return before


async def _look(running: Running, pids: list[int]) -> Usage:
    return await Usage.look(
        running.on.dsn, {"nodes": pids[0], "postgres": running.on.postgres_pid, "sink": running.on.sink.pid}
    )


async def _used(running: Running, pids: list[int], before: Usage, jobs: int, seconds: float) -> Figures:
    used = (await _look(running, pids)).figures_since(before, jobs, seconds)
    names = {"postgres_us": "postgres_us", "wal_bytes": "wal_bytes", "commits": "commits", "sink_busy": "sink_busy"}
    worker = {"worker_us": used["python_us"]} if len(pids) == 1 else {}
    return {**worker, **{name: used[own] for own, name in names.items()}}


async def _tally(running: Running, jobs: int) -> Tally:
    await running.on.sink.count()  # all of them are in the file then
    return count(running.on.sink.receipts(0), jobs)
