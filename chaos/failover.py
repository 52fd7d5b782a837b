"""The database fails over under load: kill -9 of the primary, promotion of the standby, nodes left alone."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from time import time

from chaos.ledger import complete
from chaos.load import span_of, steady
from chaos.pair import Pair, pair
from chaos.stage import LEASE_SECONDS, Cast, make_schema
from checker.history import Fault, History, Limits
from checker.report import Verdict, judge

_DETECTION_SECONDS = 0.5
"""How long a watcher takes to see that the primary is gone. Patroni takes longer (its `ttl`): add that."""


@dataclass(frozen=True, slots=True)
class Failover:
    """What it came to."""

    verdict: Verdict
    without_dispatch_seconds: float
    """The longest time in which the target received nothing."""
    promoted_after_seconds: float


@asynccontextmanager
async def _cast(databases: Pair, folder: Path, nodes: int) -> AsyncIterator[Cast]:
    cast = Cast(folder)
    try:
        cast.credentials = await make_schema(databases.dsn, "")
        await cast.enter(databases.dsn, seed=1, nodes=nodes)
        yield cast
    finally:
        await cast.leave()


async def play_failover(*, rate: float, seconds: float, nodes: int = 2, punctual_seconds: float = 0.05) -> Failover:
    """Let `rate` runs a second be due over `seconds`, and kill the primary after a third of the time."""
    limits = Limits(lease=LEASE_SECONDS, drain=8.0, punctual=punctual_seconds)
    history = History(began=time(), healed_at=0.0, checked_at=0.0, limits=limits)
    with tempfile.TemporaryDirectory(prefix="countwheel-failover-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with pair(folder) as databases, _cast(databases, folder, nodes) as on:
            clients = on.clients(Random(1))
            schedules = steady(rate, seconds)
            first, last = span_of(schedules)
            await clients.create_all(schedules, "/ok")
            await asyncio.sleep(max(0.0, first + (last - first) / 3 - time()))
            killed_at = time()
            databases.kill_primary()
            await asyncio.sleep(_DETECTION_SECONDS)
            await databases.promote()
            promoted_at = history.healed_at = time()
            history.faults = [Fault("database crash", "primary", killed_at, promoted_at)]
            await asyncio.sleep(max(0.0, last - time()) + limits.recovery)
            history.operations = clients.operations
            await complete(history, databases.standby.dsn, on.receipts_file)
    arrivals = sorted(receipt.received_at for receipt in history.receipts)
    gap = max((later - earlier for earlier, later in pairwise(arrivals)), default=0.0)
    return Failover(judge(history), gap, promoted_at - killed_at)
