"""The same workloads by Countwheel, all of it on: durable database, token, key, guard, signature, policies, ledger."""

import asyncio
import json
import time
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from benchmarks.bulk import settle
from benchmarks.drain import drain
from benchmarks.measured import percentile
from benchmarks.peers.workloads import Workload
from benchmarks.punctuality import punctuality
from benchmarks.raw_client import RawClient
from benchmarks.recurring import schedules_at
from benchmarks.row import Figures
from benchmarks.stage import Stage, stage

_DAY_SECONDS = 86_400
_CREATED = 201


async def measure(workload: Workload) -> Figures:
    """Have Countwheel do a workload on a fresh ground, and return its figures."""
    async with stage(workers=workload.workers) as on:
        at_rest = partial(settle, on.dsn)  # as the peers have it
        if workload.kind == "drain":
            return await drain(on, workload.jobs, before=at_rest)
        if workload.kind == "punctuality":
            return await punctuality(on, workload.rate, workload.jobs / workload.rate)
        if workload.kind == "herd":
            return await drain(on, workload.jobs, expressions=schedules_at, before=at_rest)
        return await _create(on, workload)


async def _create(on: Stage, workload: Workload) -> Figures:
    """Clients that create one job a request, with token and key, by the leanest HTTP client."""
    at = datetime.fromtimestamp(time.time() + _DAY_SECONDS, UTC).isoformat()
    job = {"schedule_oneoff": at, "job_url": f"{on.sink_url}/hook", "job_payload": {"hello": "world"}}
    body = json.dumps(job).encode()
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nhost: {on.url.removeprefix('http://')}\r\nauthorization: Bearer {on.token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nidempotency-key: "
    ).encode()
    took: list[float] = []

    async def client(jobs: int) -> None:
        connection = await RawClient.connect(on.url, 1)
        for _ in range(jobs):
            began = time.perf_counter()
            status = await connection.post(b'%b"%b"\r\n\r\n%b' % (head, str(uuid4()).encode(), body))
            if status != _CREATED:
                raise RuntimeError(f"the server answered {status}")
            took.append(time.perf_counter() - began)
        connection.close()

    each = workload.jobs // workload.clients
    await asyncio.gather(*(client(each // 10) for _ in range(workload.clients)))  # what first calls alone do
    took.clear()
    began = time.perf_counter()
    await asyncio.gather(*(client(each) for _ in range(workload.clients)))
    seconds = time.perf_counter() - began
    return {"creates_per_second": each * workload.clients / seconds, "p99_ms": percentile(sorted(took), 0.99) * 1000}
