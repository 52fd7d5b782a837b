"""Watches a stretch of work: what has come, when all of it was durably done, and what it has cost meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.receipts import Receipt
from benchmarks.stage import Stage, wait_until_drained

QUIET_SECONDS = 1.0
"""How long before the first due moment the first look is taken: runs are claimed half a second ahead."""
ROWS_A_SECOND = 6_000
"""So fast, at the least, jobs are put into the database, on a busy machine too."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen. `used` are figures a run."""

    receipts: Sequence[Receipt]
    drained_at: float
    used: dict[str, float]


async def watch(on: Stage, expected: int, first_due: float, last_due: float | None = None) -> Watched:
    """Watch `expected` runs, due from `first_due` to `last_due` (by default at one moment), from before the first.

    Raises `RuntimeError` if making them has taken until then.
    """
    since = await on.sink.count()
    if time.time() > first_due - QUIET_SECONDS:
        raise RuntimeError(
            f"making the jobs took {time.time() - first_due + QUIET_SECONDS:.1f} s too long: give more lead"
        )
    await asyncio.sleep(first_due - QUIET_SECONDS - time.time())
    before = await on.usage()
    end = first_due if last_due is None else last_due
    await asyncio.sleep(end - time.time())
    await on.sink.wait_for(since + expected)
    drained_at = await wait_until_drained(on.dsn, end)
    used = (await on.usage()).figures_since(before, expected, drained_at - first_due)
    return Watched(on.sink.receipts(since), drained_at, used)
