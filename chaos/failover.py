"""The database fails over under load: kill -9 of the primary, promotion of the standby, nodes left alone."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from time import time

from chaos.clients import Clients
from chaos.ledger import read_ledger, read_receipts
from chaos.pair import Pair, pair
from chaos.stage import LEASE_SECONDS, NodeProcess, make_schema, start_sink
from checker.history import Fault, History, Limits, Schedule
from checker.report import Verdict, judge

_LEAD_SECONDS = 2.0
_DETECTION_SECONDS = 0.5
"""How long a watcher takes to see that the primary is gone. Patroni takes longer (its `ttl`): add that."""


@dataclass(frozen=True, slots=True)
class Failover:
    """What it came to."""

    verdict: Verdict
    without_dispatch_seconds: float
    """The longest time in which the target received nothing."""
    promoted_after_seconds: float


@dataclass(slots=True)
class _Stage:
    folder: Path
    databases: Pair
    sink: asyncio.subprocess.Process
    sink_url: str
    credentials: tuple[str, str]
    nodes: list[NodeProcess]


@asynccontextmanager
async def _stage(nodes: int) -> AsyncIterator[_Stage]:
    folder = Path(tempfile.mkdtemp(prefix="countwheel-failover-"))
    started: list[NodeProcess] = []
    sink: asyncio.subprocess.Process | None = None
    try:
        async with pair(folder) as databases:
            try:
                credentials = await make_schema(databases.dsn, "")
                sink, sink_url = await start_sink(folder / "receipts.jsonl", 1)
                started = [NodeProcess(number + 1, folder, databases.dsn, "") for number in range(nodes)]
                await asyncio.gather(*(node.start() for node in started))
                yield _Stage(folder, databases, sink, sink_url, credentials, started)
            finally:
                for node in started:
                    await node.kill()
                if sink is not None:
                    sink.kill()
                    await sink.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def play_failover(*, rate: float, seconds: float, nodes: int = 2, punctual_seconds: float = 0.05) -> Failover:
    """Let `rate` runs a second be due over `seconds`, and kill the primary after a third of the time."""
    async with _stage(nodes) as on:
        clients = Clients(lambda: [node.url for node in on.nodes], on.credentials, on.sink_url, Random(1))
        limits = Limits(lease=LEASE_SECONDS, drain=8.0, punctual=punctual_seconds)
        history = History(began=time(), healed_at=0.0, checked_at=0.0, limits=limits)
        count = int(rate * seconds)
        first = time() + _LEAD_SECONDS + count / 700
        await clients.create_all([Schedule(at_ms=int((first + n / rate) * 1000)) for n in range(count)], "/ok")
        await asyncio.sleep(max(0.0, first + seconds / 3 - time()))
        killed_at = time()
        on.databases.kill_primary()
        await asyncio.sleep(_DETECTION_SECONDS)
        await on.databases.promote()
        promoted_at = time()
        history.faults = [Fault("database crash", "primary", killed_at, promoted_at)]
        history.healed_at = promoted_at
        await asyncio.sleep(max(0.0, first + seconds - time()) + history.limits.recovery)
        history.operations = clients.operations
        await asyncio.to_thread(read_ledger, on.databases.standby.dsn, history)
        history.checked_at = time()
        history.receipts = read_receipts(on.folder / "receipts.jsonl")
    arrivals = sorted(receipt.received_at for receipt in history.receipts)
    gap = max((later - earlier for earlier, later in pairwise(arrivals)), default=0.0)
    return Failover(judge(history), gap, promoted_at - killed_at)
