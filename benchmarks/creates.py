"""Jobs created a second, one a call, by 32 clients with kept-alive connections, each durable when it is answered.

Beside each figure stands what it cost: the CPU a create of the nodes, of PostgreSQL and of the load generator, and how
much of the machine these three used. Where that is near all of it, the CPU holds creates back, and nothing else does.
"""

import asyncio
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from itertools import count

from benchmarks.measured import Goal, Measurement
from benchmarks.row import Figures, Row, alternate
from benchmarks.stage import CLIENTS, Stage, stage
from benchmarks.usage import cpu_seconds, tree

KEYS = ("fresh", "repeated", "none")
_WARM_SECONDS = 2.0
_GOALS = (Goal("creates_per_second", "creates/s", at_least=8_000), Goal("p99_ms", "ms", at_most=20.0))
_NO_SLOWER = Goal("against_fresh", "of fresh keys'", at_least=1.0)
_rounds = count()


async def creates(on: Stage, keys: str, seconds: float, prefix: str) -> Figures:
    """Measure one load. `repeated` are the keys that a `fresh` load with the same prefix has used."""
    before = await on.usage()
    nodes = tree(on.server_pid)[1:] or [on.server_pid]
    used_before = [cpu_seconds(node) for node in nodes]
    load = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.create_load", on.url.rpartition(":")[2]),
        *(keys, str(seconds), str(CLIENTS), prefix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await load.communicate(f"{on.token}\n".encode())
    after, used_after = await on.usage(), [cpu_seconds(node) for node in nodes]
    found = json.loads(output)
    done = found["by_status"].pop("201", 0)
    if found["by_status"]:
        raise RuntimeError(f"not every create was answered with a 201: {found['by_status']}")
    cost = after.figures_since(before, done, found["seconds"])
    shares = [now - was for now, was in zip(used_after, used_before, strict=True)]
    load_us = found["cpu_seconds"] / done * 1e6
    busy = (cost["python_us"] + cost["postgres_us"] + load_us) * done / 1e6 / found["seconds"]
    return {
        "creates_per_second": done / found["seconds"],
        **{name: found[name] for name in ("p50_ms", "p99_ms", "max_ms")},
        **{name: cost[name] for name in ("python_us", "postgres_us", "wal_bytes", "commits")},
        "load_us": load_us,
        "busy": busy / (os.cpu_count() or 1),
        "least_share": min(shares) / sum(shares),  # of the work, what the least loaded node has done
    }


def _arguments(parser: ArgumentParser) -> None:
    parser.set_defaults(workers=2)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--keys", nargs="+", choices=KEYS, default=KEYS)


async def _run(given: Namespace) -> list[Measurement]:
    names = {keys: f"{CLIENTS} clients, keys: {keys}, workers: {given.workers}" for keys in given.keys}
    async with stage(workers=given.workers) as on:
        await creates(on, "fresh", _WARM_SECONDS, "warm")  # what a first call alone does: plans, caches
        current = ""

        async def measure(keys: str) -> Figures:
            nonlocal current
            if keys == "fresh" or not current:
                current = f"round-{next(_rounds)}"
            return await creates(on, keys, given.seconds, current)

        measured = await alternate(given.rounds, {name: partial(measure, keys) for keys, name in names.items()})
    cases = []
    for keys, name in names.items():
        rounds: list[Figures] = measured[name]
        goals: tuple[Goal, ...] = _GOALS
        if keys == "repeated" and "fresh" in names:
            pairs = zip(rounds, measured[names["fresh"]], strict=True)
            rounds = [
                {**one, "against_fresh": one["creates_per_second"] / fresh["creates_per_second"]}
                for one, fresh in pairs
            ]
            goals = (*_GOALS, _NO_SLOWER)
        cases.append(Measurement(name, rounds, goals))
    return cases


ROW = Row("creates", "S4 create", "one job a call, durable when answered, with token and key", _arguments, _run)
