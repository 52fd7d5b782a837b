"""Peers beside ours, in turn: `python -m benchmarks peers`. Each round every contender does the work once, afresh."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from benchmarks.ceiling import ceiling
from benchmarks.ground import ground
from benchmarks.limits import commits_per_second, raw_calls_per_second
from benchmarks.measured import Faults, Goal, Measurement
from benchmarks.peers import ours
from benchmarks.peers.peer import PEERS, Peer
from benchmarks.peers.workloads import Workload, measure
from benchmarks.row import Figures, Round, Row, alternate

OURS = "countwheel"
CEILING = "the ceiling"
_COMPARED = ("graphile-worker", "pg-boss")
_JOBS = {"drain": 20_000, "punctuality": 3_000, "herd": 1_000, "create": 10_000}
_MEASURE = {"drain": "durable_per_second", "create": "creates_per_second", "punctuality": "p99_ms", "herd": "p99_ms"}
"""What contenders are compared by."""
_GOALS = {
    "drain": (Goal("times_best_peer", "times", at_least=1.3), Goal("of_ceiling", "of it", at_least=0.5)),
}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--workload", choices=list(_JOBS), default="drain")
    parser.add_argument("--against", default=",".join(_COMPARED), help=f"of {', '.join(PEERS)} (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help=f"(default: {_JOBS})")
    parser.add_argument("--rate", type=int, default=300, help="jobs a second of punctuality (default: 300)")
    parser.add_argument("--without-ours", action="store_true")


async def _run(given: Namespace) -> list[Measurement]:
    workload = Workload(given.workload, given.jobs or _JOBS[given.workload], given.workers, given.rate)
    peers = [PEERS[name] for name in given.against.split(",") if name]
    names = {peer.name: f"{peer.name} {peer.version()}" for peer in peers}
    contenders: dict[str, Round] = {} if given.without_ours else {OURS: partial(ours.measure, workload)}
    contenders |= {names[peer.name]: partial(_of_peer, peer, workload) for peer in peers}
    if workload.kind == "drain":
        contenders[CEILING] = partial(_limits, workload.jobs)
    measured = await alternate(given.rounds, contenders)
    if OURS in measured:
        measured[OURS] = compared(measured, list(names.values()), _MEASURE[workload.kind])
    about = _label(workload)
    goals = _GOALS.get(workload.kind, ())
    return [Measurement(f"{name}: {about}", rounds, goals if name == OURS else ()) for name, rounds in measured.items()]


def _label(workload: Workload) -> str:
    ways = {
        "drain": f"{workload.jobs:,} due at one instant",
        "punctuality": f"{workload.rate:,}/s, each at its own ms",
        "herd": f"{workload.jobs:,} cron jobs at one instant",
        "create": f"{workload.jobs:,} creates, {workload.clients} clients",
    }
    return f"{ways[workload.kind]}, workers: {workload.workers}"


async def _of_peer(peer: Peer, workload: Workload) -> Figures:
    """Measure a peer. What it does wrong is told, and is no fault of ours: its figures have names of their own."""
    figures = await measure(peer, workload)
    wrong = asdict(Faults())
    return {f"peer_{name}" if name in wrong else name: value for name, value in figures.items()}


async def _limits(jobs: int) -> Figures:
    async with ground() as on:
        return {
            **await ceiling(on.dsn, on.sink, jobs),
            "raw_calls_per_second": await raw_calls_per_second(on, 30_000),
            "commits_per_second_16": await commits_per_second(on, 2.0, 16),
            "commits_per_second_32": await commits_per_second(on, 2.0, 32),
        }


def compared(measured: Mapping[str, list[Figures]], peers: list[str], figure: str) -> list[Figures]:
    """Return our rounds, each held against the peers and the ceiling of the same round."""
    compared: list[Figures] = []
    for number, own in enumerate(measured[OURS]):
        beside = [measured[name][number][figure] for name in peers]
        more: dict[str, float] = {}
        if beside and figure.endswith("_per_second"):
            more["times_best_peer"] = own[figure] / max(beside)
        elif beside:
            more["best_peer_ms"] = min(beside)
        if CEILING in measured:
            more["of_ceiling"] = own[figure] / measured[CEILING][number][figure]
        compared.append({**own, **more})
    return compared


ROW = Row("peers", "Peers", "peers' workers on the same work as ours, in turn", _arguments, _run)
