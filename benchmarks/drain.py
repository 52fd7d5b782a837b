"""Drain: many one-off jobs due at one instant. How many are durably done a second, counted from that instant?"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.stage import Stage, wait_until_drained


@dataclass(frozen=True, slots=True)
class Drained:
    """One measurement."""

    jobs: int
    creates_per_second: float
    sent_per_second: float
    durable_per_second: float
    doubles: int
    early: int
    missing: int


async def drain(stage: Stage, jobs: int, lead_seconds: float) -> Drained:
    """Create `jobs` jobs that are all due `lead_seconds` from now, and watch them go."""
    await stage.reset_sink()
    due = float(int(time.time() + lead_seconds))
    at = datetime.fromtimestamp(due, UTC).isoformat()
    job = {"schedule_oneoff": at, "job_url": f"{stage.sink_url}/hook", "job_payload": {"hello": "world"}}
    began = time.monotonic()
    await stage.create([job] * jobs)
    created_seconds = time.monotonic() - began
    if time.time() > due - 1:
        raise RuntimeError(f"creating took {created_seconds:.1f} s: give a longer lead")
    await asyncio.sleep(due - time.time())
    drained_at = await wait_until_drained(stage.dsn)
    summary = await stage.sink_summary()
    return Drained(
        jobs=jobs,
        creates_per_second=jobs / created_seconds,
        sent_per_second=jobs / (summary["last_at"] - due),
        durable_per_second=jobs / (drained_at - due),
        doubles=summary["doubles"],
        early=summary["early"],
        missing=jobs - summary["distinct"],
    )
