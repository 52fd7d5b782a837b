"""Countwheel as it is, with every claim written down: how many runs it got, and whether peers had been quicker.

python -m benchmarks.counting serve --workers N

A worker appends a line a claim to a file of its own in the folder that BENCHMARK_CLAIMS names. A claim that got nothing
looks (in its transaction) whether anything is due that nobody has taken: peers had it locked, then: contended.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from countwheel import main, workers
from countwheel.cli import app
from countwheel.store import runs
from countwheel.store.database import Connection
from countwheel.store.runs import ClaimedRun

FOLDER = "BENCHMARK_CLAIMS"

_IS_LEFT = """
    SELECT EXISTS (
        SELECT FROM runs
        WHERE bucket = ANY('{0,1,2,3,4,5,6,7}') AND node_id IS NULL AND NOT set_aside
          AND due_at <= now() + make_interval(secs => %s)
    )
"""


def read(folder: Path) -> tuple[int, int, int]:
    """Return how many claims there were, how many got nothing, and how many of those because peers had been quicker."""
    lines = [line.split() for file in folder.iterdir() for line in file.read_text(encoding="ascii").splitlines()]
    return len(lines), sum(taken == "0" for taken, _ in lines), sum(left == "1" for _, left in lines)


def _count_claims(folder: Path) -> None:
    claim, file = runs.claim, (folder / str(os.getpid())).open("a", buffering=1, encoding="ascii")

    async def counted(connection: Connection, *, look_ahead_seconds: float, **given: Any) -> list[ClaimedRun]:  # noqa: ANN401
        claimed = await claim(connection, look_ahead_seconds=look_ahead_seconds, **given)
        left = False
        if not claimed:
            row = await (await connection.execute(_IS_LEFT, (look_ahead_seconds,))).fetchone()
            left = bool(row and row[0])
        file.write(f"{len(claimed)} {left:d}\n")
        return claimed

    runs.claim = counted
    plan = workers.worker_plan

    def counting_plan(roles: Sequence[str], stop_seconds: float) -> workers.WorkerPlan:
        planned = plan(roles, stop_seconds)
        return replace(planned, command=[sys.executable, "-m", "benchmarks.counting", *planned.command[3:]])

    main.worker_plan = counting_plan  # type: ignore[attr-defined] # so that the workers count, too


if __name__ == "__main__":
    _count_claims(Path(os.environ[FOLDER]))
    app.main()
