"""Which commands make the whole table: the short form of every row, and the long one.

Each runs in a process of its own: one that fails fails the whole, and keeps the others from nothing.
"""

import subprocess
import sys
import time
from pathlib import Path

SHORT = {
    "drain-20000-1": "drain --jobs 20000 --rounds 2",
    "drain-20000-2": "drain --jobs 20000 --workers 2 --rounds 2",
    "drain-api": "drain --jobs 3000 --api --rounds 1",
    "recurring-20000": "recurring --jobs 20000 --rounds 2",
    "punctuality-300": "punctuality --rate 300 --seconds 5 --rounds 2",
    "punctuality-1000": "punctuality --rate 1000 --seconds 5 --rounds 2",
    "creates": "creates --rounds 1 --seconds 3",
    "standing": "standing --sleeping 10000 200000 --rounds 1 --seconds 5",
    "herd": "herd --crowd 20000 --rounds 2",
    "cost": "cost --jobs 10000 --rounds 1 --idle-seconds 5",
    "endurance": "endurance --rate 500 --minutes 2 --idle-minutes 1 --after-minutes 0 --minute-seconds 15",
    "nodes": "nodes --jobs 10000 --rounds 1",
    "reads": "reads --scale 0.01 --requests 20",
    "start": "start --rounds 2",
}
FULL = {
    "drain-20000-1": "drain --jobs 20000",
    "drain-20000-2": "drain --jobs 20000 --workers 2",
    "drain-200000-1": "drain --jobs 200000",
    "drain-200000-2": "drain --jobs 200000 --workers 2",
    "drain-api": "drain --jobs 20000 --api",
    "recurring-20000-1": "recurring --jobs 20000",
    "recurring-20000-2": "recurring --jobs 20000 --workers 2",
    "punctuality-300-0": "punctuality --rate 300",
    "punctuality-1000-0": "punctuality --rate 1000",
    "punctuality-300-1000000": "punctuality --rate 300 --sleeping 1000000",
    "punctuality-1000-1000000": "punctuality --rate 1000 --sleeping 1000000",
    "creates": "creates",
    "standing": "standing",
    "herd": "herd",
    "cost": "cost",
    "endurance": "endurance --minutes 30 --idle-minutes 10",
    "nodes": "nodes --jobs 50000",
    "reads": "reads",
    "start": "start",
    "peers-drain-20000": "peers --workload drain --against graphile-worker,pg-boss,pgqueuer,procrastinate",
    "peers-drain-200000": "peers --workload drain --jobs 200000 --rounds 3",
    "peers-punctuality": "peers --workload punctuality --against graphile-worker,graphile-worker-10ms,pg-boss,pgqueuer",
    "peers-herd": "peers --workload herd --rounds 3",
    "peers-create": "peers --workload create --workers 2 --against graphile-worker,pg-boss,pgqueuer,procrastinate",
}


def run_all(plan: dict[str, str], folder: Path | None) -> int:
    """Run every command of a plan, keep the results in `folder` if there is one, and return the exit code of all."""
    failed, began = [], time.monotonic()
    for name, command in plan.items():
        kept = ("--json", str(folder / f"{name}.json")) if folder is not None else ()
        started = time.monotonic()
        arguments = [sys.executable, "-m", "benchmarks", *command.split(), *kept]
        if subprocess.run(arguments, check=False).returncode != 0:
            failed.append(name)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"{len(plan)} commands in {time.monotonic() - began:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0
