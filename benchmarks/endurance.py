"""S8, endurance: minute after minute of recurring jobs, then with an idle transaction open, then without it again.

Each job fires once a minute at its own millisecond (`@every 60s`), so that a rate is held without anybody creating
jobs: each claim inserts the next occurrence, each end appends to the ledger. An idle transaction keeps vacuum from what
has gone since.
"""

import asyncio
import math
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median

import psycopg

from benchmarks.bulk import Jobs, insert
from benchmarks.measured import Faults, Goal, Measurement, percentile
from benchmarks.receipts import Receipt, read
from benchmarks.row import Figures, Row
from benchmarks.stage import Stage, stage, wait_until_drained
from benchmarks.usage import own_mib
from benchmarks.watch import ROWS_A_SECOND

_PERIOD_SECONDS = 60
"""How often each job fires."""
_FLAT = Goal("p99_ratio", "times the first minute", at_most=1.2)
_MEMORY = Goal("nodes_growth", "times the second minute", at_most=1.1)
_BOUNDED = Goal("runs_growth", "times the second minute", at_most=1.5)

_SIZES = """
    SELECT pg_table_size('runs') / 1048576.0, pg_indexes_size('runs') / 1048576.0,
        pg_total_relation_size('jobs') / 1048576.0,
        (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('run_history')) / 1048576.0
"""


@dataclass(frozen=True, slots=True)
class Phase:
    """So many minutes, with an idle transaction open or not."""

    label: str
    minutes: int
    idle_transaction: bool = False


async def _endure(on: Stage, given: Namespace, phases: Sequence[Phase]) -> list[Measurement]:
    jobs, minute = given.rate * _PERIOD_SECONDS, given.minute_seconds
    begin = float(math.ceil(time.time() + 6 + jobs / ROWS_A_SECOND))
    apart_ms = _PERIOD_SECONDS * 1000 / jobs
    stream = Jobs(jobs, begin, f"{on.sink_url}/hook", apart_ms, ["@every 60s"], begin - 3600, apart_ms)
    await insert(on.dsn, await on.tenant(), stream)
    if time.time() > begin - 1:
        raise RuntimeError("making the jobs took too long")
    looks: list[Figures] = []
    for phase in phases:
        async with AsyncExitStack() as stack:
            if phase.idle_transaction:
                await stack.enter_async_context(_idle_transaction(on.dsn))
            for _ in range(phase.minutes):
                await asyncio.sleep(begin + (len(looks) + 1) * minute - time.time())
                looks.append(await _look(on))
                print(f"  minute {len(looks)}, {phase.label}: {Measurement('', looks[-1:]).line()}", flush=True)
    end = begin + len(looks) * minute
    await wait_until_drained(on.dsn, end - 0.001)
    await on.sink.count()
    minutes = by_minute(read(on.sink.file), begin, len(looks), seconds=minute, expected=given.rate * minute)
    for number, (figures, faults) in enumerate(minutes):
        print(f"  minute {number + 1}: {Measurement('', [figures | faults.figures()]).line()}", flush=True)
    return _measurements(phases, looks, minutes)


async def _look(on: Stage) -> Figures:
    async with await psycopg.AsyncConnection.connect(on.dsn, autocommit=True) as connection:
        row = await (await connection.execute(_SIZES)).fetchone()
    if row is None:
        raise RuntimeError("no sizes")
    memory = {"nodes_mib": on.server_pid, "postgres_mib": on.postgres_pid}
    own = await asyncio.to_thread(lambda: {name: own_mib(pid) for name, pid in memory.items()})
    sizes = zip(("runs_mib", "runs_indexes_mib", "jobs_mib", "history_mib"), map(float, row), strict=True)
    return {**own, **dict(sizes)}


@asynccontextmanager
async def _idle_transaction(dsn: str) -> AsyncIterator[None]:
    """Hold a snapshot open, as a forgotten session of an operator does. No time-out of ours binds it."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SELECT count(*) FROM nodes")
        yield
        await connection.rollback()


def by_minute(
    receipts: Iterable[Receipt], begin: float, minutes: int, *, seconds: int, expected: int
) -> list[tuple[dict[str, float], Faults]]:
    """Return lateness and faults of each minute's occurrences; `expected` are due in each. Later ones are left out."""
    late: defaultdict[int, list[float]] = defaultdict(list)
    ids: defaultdict[int, set[bytes]] = defaultdict(set)
    for receipt in receipts:
        minute = int((receipt.scheduled_for - begin) // seconds)
        late[minute].append(receipt.lateness_ms)
        ids[minute].add(receipt.id)
    found = []
    for minute in range(minutes):
        ordered = sorted(late[minute])
        figures = {"p50_ms": percentile(ordered, 0.5), "p99_ms": percentile(ordered, 0.99)}
        early = sum(1 for value in ordered if value < 0)
        faults = Faults(len(ordered) - len(ids[minute]), early, expected - len(ids[minute]))
        found.append((figures, faults))
    return found


def _measurements(
    phases: Sequence[Phase], looks: Sequence[Figures], minutes: Sequence[tuple[Mapping[str, float], Faults]]
) -> list[Measurement]:
    """Hold each phase against the first minute (lateness) and the second (memory and tables, which the first fills)."""
    first_p99, second = minutes[0][0]["p99_ms"], looks[min(1, len(looks) - 1)]
    measured, since = [], 0
    for phase in phases:
        own = range(since, since + phase.minutes)
        since += phase.minutes
        if not own:
            continue
        late = [minutes[minute][0]["p99_ms"] for minute in own]
        last = looks[own[-1]]
        faults = sum((minutes[minute][1] for minute in own), Faults())
        figures = {
            "p50_ms": median(minutes[minute][0]["p50_ms"] for minute in own),
            "p99_ms": median(late),
            "p99_ratio": median(late) / first_p99,
            "worst_p99_ratio": max(late) / first_p99,
            "nodes_growth": last["nodes_mib"] / second["nodes_mib"],
            "runs_growth": _of_runs(last) / _of_runs(second),
            **last,
            **faults.figures(),
        }
        names = dict.fromkeys(name for minute in own for name in (*minutes[minute][0], *looks[minute]))
        series = {name: [{**minutes[minute][0], **looks[minute]}[name] for minute in own] for name in names}
        goals = (_FLAT, _MEMORY) if phase.idle_transaction else (_FLAT, _MEMORY, _BOUNDED)
        measured.append(Measurement(phase.label, [figures], goals, series))
    return measured


def _of_runs(look: Figures) -> float:
    return look["runs_mib"] + look["runs_indexes_mib"]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=3_000, help="runs a second")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--idle-minutes", type=int, default=10, help="with an idle transaction open")
    parser.add_argument("--after-minutes", type=int, default=2, help="when it is closed again")
    parser.add_argument("--minute-seconds", type=int, default=60, help="less makes a trial of it")


async def _run(given: Namespace) -> list[Measurement]:
    of = f"of {given.rate:,}/s, workers: {given.workers}"
    phases = (
        Phase(f"{given.minutes} minutes {of}", given.minutes),
        Phase(
            f"{given.idle_minutes} minutes {of}, an idle transaction open", given.idle_minutes, idle_transaction=True
        ),
        Phase(f"{given.after_minutes} minutes {of}, after it", given.after_minutes),
    )
    async with stage(workers=given.workers) as on:
        return await _endure(on, given, phases)


ROW = Row("endurance", "S8 endurance", "minute after minute, then with an idle transaction", _arguments, _run, rounds=1)
