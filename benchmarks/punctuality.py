"""Punctuality: a steady stream of jobs, each at its own millisecond. How late is each call, as its receiver sees it?"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.stage import Stage, wait_until_drained


@dataclass(frozen=True, slots=True)
class Punctual:
    """One measurement; lateness in milliseconds, at the receiver."""

    rate: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    doubles: int
    early: int
    missing: int


async def punctuality(stage: Stage, rate: int, seconds: float, lead_seconds: float) -> Punctual:
    """Create `rate` jobs a second over `seconds`, beginning `lead_seconds` from now, and watch them arrive."""
    await stage.reset_sink()
    begin = float(int(time.time() + lead_seconds))
    jobs = [
        {
            "schedule_oneoff": datetime.fromtimestamp(begin + number / rate, UTC).isoformat(timespec="milliseconds"),
            "job_url": f"{stage.sink_url}/hook",
        }
        for number in range(int(rate * seconds))
    ]
    await stage.create(jobs)
    if time.time() > begin - 1:
        raise RuntimeError("creating took too long: give a longer lead")
    await asyncio.sleep(begin + seconds - time.time())
    await wait_until_drained(stage.dsn)
    summary = await stage.sink_summary()
    return Punctual(
        rate=rate,
        p50_ms=summary["p50_ms"],
        p99_ms=summary["p99_ms"],
        max_ms=summary["max_ms"],
        doubles=summary["doubles"],
        early=summary["early"],
        missing=len(jobs) - summary["distinct"],
    )
