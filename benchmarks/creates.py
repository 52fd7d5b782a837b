"""S4: jobs created a second, one a call, by 32 clients with kept-alive connections, each durable when it is answered.

python -m benchmarks.creates [--workers N] [--seconds S] [--rounds N] [--keys fresh repeated none] [--json]

Beside each figure stands what it cost: the CPU a create of the server, of PostgreSQL and of the load generator, and how
much of the machine was busy. Where that is near 100 % the CPU is what holds it back, and nothing else.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.processes import cpu_seconds, family
from benchmarks.served import Served, served

CLIENTS = 32
KEYS = ("fresh", "repeated", "none")


@dataclass(frozen=True, slots=True)
class Creates:
    """One measurement. Costs are microseconds of CPU a create."""

    keys: str
    workers: int
    creates_per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    server_us: float
    postgres_us: float
    load_us: float
    busy: float
    """The share of all cores that these three have used."""
    shares: list[float]
    """How the server's work was spread over its processes: near equal, or a worker idles."""
    refused: int


async def creates(on: Served, keys: str, seconds: float, *, workers: int, prefix: str) -> Creates:
    """Measure one load."""
    load = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.create_load", str(on.port), keys, str(seconds), str(CLIENTS), prefix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    servers = family(on.server_pid)
    before = [cpu_seconds([pid]) for pid in servers]
    postgres_before = _by_process(family(on.postgres_pid))
    output, _ = await load.communicate(f"{on.token}\n".encode())
    used = [cpu_seconds([pid]) - was for pid, was in zip(servers, before, strict=True)]
    # Processes of PostgreSQL come and go: those that came meanwhile had used nothing before.
    postgres = sum(now - postgres_before.get(pid, 0) for pid, now in _by_process(family(on.postgres_pid)).items())
    found = json.loads(output)
    count = found["by_status"].get("201", 0)
    total = sum(used) + postgres + found["cpu_seconds"]
    return Creates(
        keys=keys,
        workers=workers,
        creates_per_second=count / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        max_ms=found["max_ms"],
        server_us=sum(used) / count * 1e6,
        postgres_us=postgres / count * 1e6,
        load_us=found["cpu_seconds"] / count * 1e6,
        busy=total / found["seconds"] / (os.cpu_count() or 1),
        shares=[round(share / sum(used), 2) for share in used],
        refused=sum(found["by_status"].values()) - count,
    )


def _by_process(pids: Sequence[int]) -> dict[int, float]:
    return {pid: cpu_seconds([pid]) for pid in pids}


async def main(workers: int, seconds: float, rounds: int, kinds: Sequence[str], *, as_json: bool) -> None:
    """Measure and print."""
    found: list[Creates] = []
    async with served(workers) as on:
        await creates(on, "fresh", 2.0, workers=workers, prefix="warm")  # what a first call alone does: plans, caches
        for number in range(rounds):
            for keys in kinds:
                one = await creates(on, keys, seconds, workers=workers, prefix=f"round-{number}")
                found.append(one)
                print(json.dumps(asdict(one)) if as_json else _line(f"{number + 1}/{rounds}", one), flush=True)
    if not as_json:
        for keys in kinds:
            same = [one for one in found if one.keys == keys]
            rate, p99 = median(one.creates_per_second for one in same), median(one.p99_ms for one in same)
            print(f"median  {keys:9} {rate:8,.0f} creates/s   p99 {p99:6.1f} ms")


def _line(which: str, one: Creates) -> str:
    return (
        f"{which:7} {one.keys:9} {one.creates_per_second:8,.0f} creates/s   "
        f"p50 {one.p50_ms:5.1f}  p99 {one.p99_ms:5.1f}  max {one.max_ms:6.1f} ms   "
        f"CPU a create: server {one.server_us:4.0f}  postgres {one.postgres_us:4.0f}  load {one.load_us:3.0f} us   "
        f"busy {one.busy:4.0%}  shares {one.shares}  refused {one.refused}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Jobs created a second.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", nargs="+", choices=KEYS, default=KEYS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.workers, arguments.seconds, arguments.rounds, arguments.keys, as_json=arguments.json))
