"""A drill: every kind of hostile target beside a healthy one, on one node. What does the healthy one notice?"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import psycopg

from chaos.hostile_sink import MISBEHAVIOURS
from chaos.ledger import read_receipts
from chaos.stage import Stage, stage, start_target

_TIMEOUT_SECONDS = 3
_LEAD_SECONDS = 14.0
_CREATED = 201


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it. `outcomes` counts, for each misbehaviour, status and class of error of the runs."""

    healthy: int
    healthy_p99_ms: float
    outcomes: dict[str, Counter[str]]
    peak_mib: float

    def text(self) -> str:
        """Return it in a few lines."""
        healthy = f"healthy: {self.healthy} runs, lateness p99 {self.healthy_p99_ms:.1f} ms"
        lines = [f"{healthy}; the node's peak of memory {self.peak_mib:.0f} MiB"]
        lines += [f"{kind}: {dict(outcomes)}" for kind, outcomes in self.outcomes.items()]
        return "\n".join(lines)


async def beside_hostile(healthy_rate: float = 100, hostile_rate: float = 5, seconds: float = 12) -> Seen:
    """Call a healthy target `healthy_rate` times a second, and each hostile one `hostile_rate` times, side by side."""
    async with stage(seed=1, nodes=1) as on:
        hostile, hostile_url = await start_target("chaos.hostile_sink")
        try:
            first = time() + _LEAD_SECONDS
            jobs = [_job(f"{on.sink_url}/ok", "healthy", at) for at in _instants(first, healthy_rate, seconds)]
            for kind in MISBEHAVIOURS:
                jobs += [_job(f"{hostile_url}/{kind}", kind, at) for at in _instants(first, hostile_rate, seconds)]
            await _create_all(on, jobs)
            if time() > first:
                raise RuntimeError("creating the jobs took longer than it may")
            await _until_ended(on, len(jobs))
            return await _read(on)
        finally:
            hostile.kill()
            await hostile.wait()


def _instants(first: float, rate: float, seconds: float) -> list[int]:
    return [int((first + number / rate) * 1000) for number in range(int(rate * seconds))]


def _job(url: str, kind: str, at_ms: int) -> dict[str, Any]:
    return {
        "schedule_oneoff": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "job_url": url,
        "name": kind,
        "job_payload": {"label": kind},
        "flow": kind,
        "timeout_seconds": _TIMEOUT_SECONDS,
        "max_attempts": 1,
    }


async def _create_all(on: Stage, jobs: list[dict[str, Any]]) -> None:
    url, (client_id, secret) = on.nodes[0].url, on.credentials
    async with aiohttp.ClientSession() as session:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        async with session.post(f"{url}/oauth/token", data=form) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        # A breaker would soon leave most of them alone: here each run is to meet its target.
        for kind in MISBEHAVIOURS:
            async with session.put(f"{url}/v1/targets/{kind}", json={"breaker": "off"}, headers=headers) as answer:
                answer.raise_for_status()
        waiting = iter(jobs)

        async def client() -> None:
            for job in waiting:
                async with session.post(f"{url}/v1/jobs", json=job, headers=headers) as answer:
                    if answer.status != _CREATED:
                        raise RuntimeError(f"not created: {await answer.text()}")

        await asyncio.gather(*(client() for _ in range(16)))


async def _until_ended(on: Stage, jobs: int) -> None:
    async with await psycopg.AsyncConnection.connect(on.postgres.dsn, autocommit=True) as connection:
        async with asyncio.timeout(180):
            while True:
                row = await (await connection.execute("SELECT count(*) FROM run_history")).fetchone()
                if row is not None and row[0] >= jobs:
                    return
                await asyncio.sleep(0.1)


async def _read(on: Stage) -> Seen:
    async with await psycopg.AsyncConnection.connect(on.postgres.dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT j.name, h.status, coalesce(h.error_class, h.http_status::text) "
            "FROM run_history h JOIN jobs j USING (job_id)"
        )
        rows = await cursor.fetchall()
    receipts = read_receipts(on.receipts_file)
    late = sorted(receipt.received_at * 1000 - receipt.scheduled_ms for receipt in receipts)
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in MISBEHAVIOURS}
    for name, status, why in rows:
        if name in outcomes:
            outcomes[name][f"{status} {why}"] += 1
    return Seen(len(late), late[int(len(late) * 0.99)], outcomes, _peak_mib(on))


def _peak_mib(on: Stage) -> float:
    process = on.nodes[0].process
    if process is None:
        return 0.0
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
