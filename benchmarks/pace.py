"""Pace: many due runs of one limited target on two nodes, and another target's runs beside them.

python -m benchmarks.pace [--runs N] [--rate N] [--others N]

Two nodes, PostgreSQL and the target are processes of their own. Counted at the target: the most calls in any second,
how far their order is from that of their due times, and how late the other target's runs are.
"""

import argparse
import asyncio
import json
from bisect import bisect_left
from pathlib import Path
from typing import Any

from benchmarks.stage import wait_until_drained
from chaos.stage import stage
from countwheel.store.database import Database
from countwheel.store.targets import Limits, put_limits

_FLOOD = """
    WITH made AS (
        INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, timeout_seconds,
            max_attempts, created_at, updated_at, calling)
        SELECT gen_random_uuid(), t.tenant_id, 'ACTIVE', 'then', %(url)s, '127.0.0.1',
            json_build_object('label', %(flow)s || '-' || n)::text, 30, 5, now(), now(),
            json_build_object('flow', %(flow)s)::text
        FROM tenants t, generate_series(1, %(count)s) AS n
        RETURNING job_id, tenant_id, split_part(job_payload::json ->> 'label', '-', 2)::int AS n
    )
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, gen_random_uuid(), tenant_id, (random() * 7)::int, 'schedule', 'SCHEDULED', due, due
    FROM made, LATERAL (
        SELECT date_trunc('milliseconds', now() + (%(first)s + n * %(apart)s) * interval '1 s') AS due
    ) AS at
"""


async def main(runs: int, rate: float, others: float) -> None:
    """Limit, fill, wait, and print the figures."""
    async with stage(seed=1, nodes=2) as on:
        database = Database(on.postgres.dsn, name="bench", size=1)
        await database.open()
        async with database.connection() as connection:
            (tenant_id,) = await (await connection.execute("SELECT tenant_id FROM tenants")).fetchone() or (None,)
            await put_limits(connection, tenant_id, "paced", Limits(None, rate, None, None))
            await asyncio.sleep(0.5)  # as long as a limit takes to be in force
            seconds = runs / rate
            url = f"{on.sink_url}/ok"
            beside = {"count": int(others * seconds), "first": 2, "apart": 1 / others, "flow": "others", "url": url}
            await connection.execute(_FLOOD, beside)
            await connection.execute(
                _FLOOD, {"count": runs, "first": -runs / 1000 - 1, "apart": 0.001, "flow": "paced", "url": url}
            )
        await wait_until_drained(on.postgres.dsn)
        await database.close()
        receipts = _read(on.receipts_file)
    _report(receipts, runs, rate)


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _report(receipts: list[dict[str, Any]], runs: int, rate: float) -> None:
    paced = sorted((one for one in receipts if one["label"].startswith("paced")), key=lambda one: one["received_at"])
    arrivals = [one["received_at"] for one in paced]
    most = max(bisect_left(arrivals, first + 1) - place for place, first in enumerate(arrivals))
    numbers = [int(one["label"].partition("-")[2]) for one in paced]
    misplaced = max(abs(place + 1 - number) for place, number in enumerate(numbers))
    others = [one for one in receipts if one["label"].startswith("others")]
    late = sorted((one["received_at"] * 1000 - one["scheduled_ms"]) for one in others)
    reached = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    print(
        f"{len(paced):,} of {runs:,} calls at {rate:,.0f}/s: reached {reached:,.1f}/s, most in any second {most:,}, "
        f"furthest from its place {misplaced}, doubles {len(paced) - len(set(numbers))}; "
        f"{len(others):,} runs of another target: late p50 {late[len(late) // 2]:.1f} ms, "
        f"p99 {late[int(len(late) * 0.99)]:.1f} ms, longest {late[-1]:.1f} ms"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pace.")
    parser.add_argument("--runs", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--others", type=float, default=20, help="runs a second of another target")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.rate, arguments.others))
