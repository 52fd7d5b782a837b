"""S9, nodes: the same drain by 1, 2 and 4 nodes with the same concurrency in sum. What do they lose to each other?

Every round has a fresh stage, so that each number of nodes meets the same machine. Claims are counted by
`benchmarks.counting`, which is countwheel itself with a line of a log a claim.
"""

import tempfile
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from benchmarks import counting
from benchmarks.drain import drain
from benchmarks.measured import Goal, Measurement
from benchmarks.row import Figures, Row, alternate
from benchmarks.stage import stage

_CONCURRENCY = 512
"""What a single node has by default."""
_SAME = 0.95
"""No loss is one that no spread of the rounds can tell from none."""
_CONTENDED = Goal("contended_share", "of the claims", at_most=0.05)
_NO_LOSS = Goal("throughput_ratio", "of one node's", at_least=_SAME)


async def _measure(nodes: int, jobs: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="countwheel-claims-") as folder:
        environment = {counting.FOLDER: folder, "COUNTWHEEL_CONCURRENCY": str(_CONCURRENCY // nodes)}
        async with stage(
            workers=nodes, module="benchmarks.counting", postgres={"max_connections": "120"}, **environment
        ) as on:
            figures = await drain(on, jobs)
        claims, empty, contended = counting.read(Path(folder))
    shares = {"empty_share": empty / max(claims, 1), "contended_share": contended / max(claims, 1)}
    return {**figures, "claims": claims, **shares}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])


async def _run(given: Namespace) -> list[Measurement]:
    names = {nodes: f"{given.jobs:,} one-off jobs, nodes: {nodes}" for nodes in given.nodes}
    measured = await alternate(given.rounds, {names[nodes]: partial(_measure, nodes, given.jobs) for nodes in names})
    alone = measured[names[min(names)]]
    cases = []
    for nodes, name in names.items():
        rounds = [
            {**figures, "throughput_ratio": figures["durable_per_second"] / base["durable_per_second"]}
            for figures, base in zip(measured[name], alone, strict=True)
        ]
        cases.append(Measurement(name, rounds, () if nodes == min(names) else (_NO_LOSS, _CONTENDED)))
    return cases


ROW = Row("nodes", "S9 nodes", "1, 2 and 4 nodes, the same concurrency in sum", _arguments, _run)
