"""Drills: a steady load, one thing that happens to one node, and what it costs, in figures.

kill     kill -9 of one of two nodes under 500 runs a second
restart  kill -9 of the only node in the middle of 2,000 runs, and a restart at once
stop     SIGTERM of one of two nodes under 500 runs a second
drain    jobs due at once, on one node and on four with the same concurrency in all
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from time import time

import psycopg

from chaos.ledger import complete
from chaos.load import at_once, span_of, steady
from chaos.stage import LEASE_SECONDS, Stage, stage
from checker.history import Fault, History, Limits, Receipt, Schedule
from checker.report import Verdict, judge

LIMITS = Limits(lease=LEASE_SECONDS)


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill came to."""

    name: str
    verdict: Verdict
    history: History
    figures: dict[str, str]

    def text(self) -> str:
        """Return one line of figures, and what was broken."""
        figures = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        broken = "" if self.verdict.passed else f"\n{self.verdict.text()}"
        return f"{self.name}: {figures}, repeats {dict(self.verdict.repeats)}{broken}"


async def kill(rate: float = 500, seconds: float = 12, *, blind: bool = True, limits: Limits = LIMITS) -> Drill:
    """kill -9 of one of two nodes under load; `blind`: as if on two machines, found out by the lease alone."""

    async def act(on: Stage) -> None:
        await on.nodes[0].kill()

    history = await _under_load(
        "kill -9", partial(steady, rate, seconds), act, nodes=2, path="/ok", limits=limits, CHAOS_BLIND="1" * blind
    )
    survivor = _lateness_ms(history, of_node=_nodes_of(history)[-1])
    verdict = judge(history)
    return Drill(
        "kill, on two machines" if blind else "kill, on one machine",
        verdict,
        history,
        {
            "longest lateness": f"{longest_ms(history):.0f} ms (lease {LEASE_SECONDS:.0f} s)",
            "the other node's own runs p99": f"{_p99(survivor):.1f} ms",
        },
    )


async def restart(runs: int = 2_000, seconds: float = 4, *, limits: Limits = LIMITS) -> Drill:
    """kill -9 of the only node in the middle of a burst to a target that answers after 50 ms; a restart at once."""

    async def act(on: Stage) -> None:
        await on.nodes[0].kill()
        await on.nodes[0].start()

    load = partial(steady, runs / seconds, seconds)
    history = await _under_load("kill -9", load, act, nodes=1, path="/fifty", limits=limits)
    killed_at = history.faults[0].began
    done_at = max(row.finished_at for row in history.rows)
    return Drill("restart", judge(history), history, {"all done after the kill": f"{done_at - killed_at:.2f} s"})


async def stop(rate: float = 500, seconds: float = 10, *, limits: Limits = LIMITS) -> Drill:
    """SIGTERM of one of two nodes under load."""

    async def act(on: Stage) -> None:
        on.nodes[0].send(signal.SIGTERM)
        await on.nodes[0].ended()

    load = partial(steady, rate, seconds)
    history = await _under_load("SIGTERM", load, act, nodes=2, path="/ok", limits=limits)
    return Drill("stop", judge(history), history, {"longest lateness": f"{longest_ms(history):.1f} ms"})


async def drain(nodes: int, jobs: int = 8_000, concurrency: int = 256) -> Drill:
    """Jobs that are due at one instant."""
    each = {"COUNTWHEEL_CONCURRENCY": str(concurrency // nodes)}
    history = await _under_load("", partial(at_once, jobs), None, nodes=nodes, path="/ok", limits=LIMITS, **each)
    history.limits = Limits(lease=LEASE_SECONDS, punctual=60.0)  # a burst takes its time: that is what is measured
    due, done_at = history.rows[0].scheduled_ms / 1000, max(row.finished_at for row in history.rows)
    by_node = {name: sum(row.node == name for row in history.rows) for name in _nodes_of(history)}
    figures = {"runs/s": f"{jobs / (done_at - due):,.0f}", "by node": " ".join(f"{n:,}" for n in by_node.values())}
    return Drill(f"drain on {nodes}", judge(history), history, figures)


async def _under_load(
    kind: str,
    load: Callable[[], Sequence[Schedule]],
    act: Callable[[Stage], Awaitable[None]] | None,
    *,
    nodes: int,
    path: str,
    limits: Limits,
    **environment: str,
) -> History:
    """Create jobs, do something when a third of them are due, wait until all have ended, and return what was seen."""
    history = History(began=time(), healed_at=0.0, checked_at=0.0, limits=limits)
    async with stage(seed=1, nodes=nodes, **environment) as on:
        # Not before the nodes have started: how long that takes leaves the jobs the time that they have.
        schedules = load()
        first, last = span_of(schedules)
        clients = on.clients(Random(1))
        await clients.create_all(schedules, path)
        if time() > first:
            raise RuntimeError("creating the jobs took longer than it may")
        if act is not None:
            await asyncio.sleep(first + (last - first) / 3 - time())
            began = time()
            await act(on)
            history.faults.append(Fault(kind, "node-1", began, time()))
        history.healed_at = time()
        await asyncio.sleep(max(0.0, last - time()))
        await _until_all_ended(on)
        history.operations = clients.operations
        await complete(history, on.postgres.dsn, on.receipts_file)
        # No run is live: whatever may still take its time has been waited for.
        history.checked_at = time() + history.limits.recovery
    return history


async def _until_all_ended(on: Stage) -> None:
    async with await psycopg.AsyncConnection.connect(on.postgres.dsn, autocommit=True) as connection:
        async with asyncio.timeout(60):
            while await (await connection.execute("SELECT FROM runs LIMIT 1")).fetchone() is not None:
                await asyncio.sleep(0.05)


def _nodes_of(history: History) -> list[str]:
    """Return the nodes that ended runs, in the order of their last one."""
    last = {row.node: row.finished_at for row in sorted(history.rows, key=lambda row: row.finished_at)}
    return sorted(last, key=lambda name: last[name])


def _lateness_ms(history: History, of_node: str) -> list[float]:
    """Return the lateness of the runs that a node claimed first, sorted."""
    own = {row.run_id for row in history.rows if row.node == of_node and row.fence == 1}
    return sorted(_late_ms(receipt) for receipt in history.receipts if receipt.run_id in own)


def longest_ms(history: History) -> float:
    """Return the longest lateness of any run's first receipt."""
    first: dict[str, float] = {}
    for receipt in history.receipts:
        first[receipt.run_id] = min(_late_ms(receipt), first.get(receipt.run_id, float("inf")))
    return max(first.values())


def _late_ms(receipt: Receipt) -> float:
    return receipt.received_at * 1000 - receipt.scheduled_ms


def _p99(values: list[float]) -> float:
    return values[int(len(values) * 0.99)] if values else 0.0
